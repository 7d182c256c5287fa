"""One rule for the interval of a score: unread verdicts, several draws, pass@k, metrics that are not means."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import needs
from toolkit.evaluation.aggregation import aggregate, paired_resampled, resampled
from toolkit.evaluation.intervals import compared, estimated, of_score, sample
from toolkit.evaluation.statistics import interval
from toolkit.records import Item, Score
from toolkit.store.database import Store


def items(metric: str, values: dict[str, float | None], settings: dict[str, Any] | None = None) -> list[Item]:
    return [Item("m", "bench", metric, question, settings or {}, None, value) for question, value in values.items()]


def test_a_verdict_that_could_not_be_read_is_not_a_zero_of_the_interval(tmp_path: Path) -> None:
    """Two of five read, both 4: the score is 4.0, and its interval was [0.4, 2.8]."""
    told = items("score", {"a": 4.0, "b": 4.0, "c": None, "d": None, "e": None}, {"rubric": "r"})
    score = Score("m", "bench", "score", {"rubric": "r"}, 4.0, 2)
    with Store(tmp_path / "s.duckdb") as store:
        unknown = of_score(store, score, told, [score])
        body = json.dumps({"scale": [0, 5]})
        store.insert("rubric", [{"id": "r", "name": "r", "body": body, "launch": "l"}])
        known = of_score(store, score, told, [score])
    assert unknown.low is None and "all 2 values are equal" in unknown.method
    assert known.low is not None and known.high is not None and known.low < 4.0 < known.high <= 5.0
    assert sample("score", told).unread == 3


def test_several_draws_of_a_problem_are_one_item() -> None:
    names = [f"P{i}" + (f"#{draw}" if draw else "") for i in range(12) for draw in range(10)]
    told = items("pass@1", {name: float(place < 60) for place, name in enumerate(names)})
    span = estimated(0.5, 12, sample("pass@1", told))
    alone = interval([1.0] * 6 + [0.0] * 6)
    assert (span.low, span.high) == (alone.low, alone.high)


def test_pass_at_k_is_estimated_from_the_draws_of_each_problem() -> None:
    told = items("pass@1", {"P0": 1.0, "P0#1": 0.0, "P0#2": 0.0, "P1": 0.0, "P1#1": 0.0, "P1#2": 0.0})
    of = sample("pass@2", told)
    assert dict(of.statistics) == {"P0": pytest.approx(2 / 3), "P1": 0.0}
    assert estimated(1 / 3, 2, of).low is not None


def test_items_that_do_not_give_the_score_give_no_interval() -> None:
    span = estimated(0.9, 3, sample("exact", items("exact", {"a": 0.0, "b": 1.0, "c": 0.0})))
    assert (span.low, span.method) == (None, "no interval: the score is not the mean of its 3 items")
    assert estimated(0.9, 3, sample("exact", [])).method == "no interval: no items are stored"


def test_an_aggregation_without_a_formula_is_named_and_not_compared() -> None:
    detail = json.dumps({"aggregation": "bleu", "found": "x"})
    of = sample("bleu", [replace(one, detail=detail) for one in items("bleu", {"a": None, "b": None})])
    assert estimated(31.0, 2, of).method == "no interval: bleu is not a mean and cannot be resampled"
    assert compared(of, of) is None


def test_the_formulas_are_lm_evals_own() -> None:
    needs("lm_eval")
    from lm_eval.api.registry import get_aggregation

    generator = np.random.default_rng(0)
    two = [(int(a), int(b)) for a, b in generator.integers(0, 2, (60, 2))]
    four = [(int(a), int(b)) for a, b in generator.integers(0, 4, (60, 2))]
    for name, statistics in (("f1", two), ("matthews_corrcoef", two), ("matthews_corrcoef", four)):
        assert aggregate(name, statistics) == pytest.approx(float(get_aggregation(name)(statistics)))
    logs = [float(x) for x in generator.normal(-2, 1, 20)]
    assert aggregate("perplexity", logs) == pytest.approx(float(get_aggregation("perplexity")(logs)))


def test_a_resampled_interval_is_that_of_resampling_one_by_one() -> None:
    pairs = [(1, 1)] * 20 + [(1, 0)] * 10 + [(0, 1)] * 8 + [(0, 0)] * 30
    found = resampled("f1", pairs)
    generator = np.random.default_rng(1)
    plain = [aggregate("f1", [pairs[i] for i in generator.integers(0, 68, 68)]) for _ in range(1000)]
    assert found.low is not None and found.high is not None
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(plain, [0.025, 0.975])), abs=0.02)
    assert resampled("f1", [(1, 1)] * 5).method == "no interval: every resample has the same f1"


def test_perplexity_has_the_interval_of_its_mean_log_likelihood() -> None:
    logs = [-1.0, -2.0, -2.5, -4.0]
    mean, found = interval(logs), resampled("perplexity", logs)
    assert mean.low is not None and mean.high is not None
    assert (found.low, found.high) == (pytest.approx(math.exp(-mean.high)), pytest.approx(math.exp(-mean.low)))


def test_two_models_are_tested_by_exchanging_their_results() -> None:
    gold = [i % 2 for i in range(80)]
    good = {f"q{i}": [label, label if i % 8 else 1 - label] for i, label in enumerate(gold)}
    poor = {f"q{i}": [label, label if i % 2 else 1 - label] for i, label in enumerate(gold)}
    better = paired_resampled("f1", poor, good)
    assert better.difference == pytest.approx(
        aggregate("f1", list(good.values())) - aggregate("f1", list(poor.values()))
    )
    assert better.p < 0.001 and better.low is not None and better.low > 0
    same = paired_resampled("f1", good, good)
    assert (same.difference, same.p, same.low) == (0.0, 1.0, None)
    with pytest.raises(ValueError, match="no item in common"):
        paired_resampled("f1", {"a": [1, 1]}, {"b": [1, 1]})
