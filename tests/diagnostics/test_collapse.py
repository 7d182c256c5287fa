"""The verdict on planted runs: it fires on a collapse, and on nothing else."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from tests.diagnostics.planted import Turn, plant
from toolkit.diagnostics.collapse import Finding, Verdict, verdict
from toolkit.diagnostics.summary import summed
from toolkit.store.database import Store


def noise(seed: int, n: int = 24, mean: float = 100.0, spread: float = 25.0) -> list[float]:
    rng = random.Random(seed)
    return [max(1.0, rng.gauss(mean, spread)) for _ in range(n)]


def said(turns: Sequence[Turn]) -> Verdict:
    store = Store(None)
    lab = plant(store, turns)
    summed(lab, "planted")
    return verdict(store, "planted")


def finding(found: Verdict, name: str) -> Finding:
    return next(one for one in found.findings if one.name == name)


def test_sides_that_grow_alike_are_a_collapse() -> None:
    turns = [
        Turn(noise(i, mean=100 / (1 + 2 * i), spread=10), noise(10 + i, mean=1 / (1 + i), spread=0.1), noise(20 + i))
        for i in range(3)
    ]
    found = said(turns)
    assert found.verdict == "collapse"
    assert "beyond the floor" in found.headline
    assert "iterations 0 and 2" in found.headline


def test_a_gap_that_closes_alone_is_no_collapse_of_the_gradient() -> None:
    gaps = [[x / (1 + 3 * i) for x in noise(10 + i)] for i in range(3)]
    found = said([Turn(noise(i), gaps[i], noise(20 + i)) for i in range(3)])
    assert found.verdict == "no collapse seen"
    assert finding(found, "gradient").holds is False
    assert "the gap closes" in found.headline.lower()


def test_a_fall_with_the_floor_is_less_variety() -> None:
    norms, floors = ([[x / (1 + 2 * i) for x in noise(i + salt)] for i in range(3)] for salt in (0, 20))
    found = said([Turn(norms[i], noise(10 + i), floors[i]) for i in range(3)])
    assert found.verdict == "no collapse seen"
    assert "less variety" in finding(found, "gradient").said


def test_two_draws_of_one_model_are_no_collapse() -> None:
    """Twenty runs of nothing but noise: the corrected tests may err in few of them; none does here."""
    fired = []
    for seed in range(20):
        salts = [(seed * 100 + i, seed * 100 + 50 + i, seed * 100 + 70 + i) for i in range(2)]
        fired.append(said([Turn(*(noise(salt, 16) for salt in three)) for three in salts]).verdict)
    assert set(fired) == {"no collapse seen"}


def test_one_iteration_has_no_trend() -> None:
    found = said([Turn(noise(1), noise(2), noise(3))])
    assert found.verdict == "not enough data"
    assert "1 iteration" in found.headline


def test_without_gradients_there_is_no_verdict() -> None:
    turns = [Turn([None] * 8, noise(10 + i, 8, 1 / (1 + 9 * i), 0.01)) for i in range(2)]
    assert said(turns).verdict == "not enough data"


def test_a_bias_for_length_is_called_length() -> None:
    longer = [Turn(noise(i), noise(10 + i), noise(20 + i), [(40, 20)] * 22 + [(20, 30)] * 2) for i in range(2)]
    found = said(longer)
    assert found.verdict == "no collapse seen"
    assert finding(found, "length").holds is True
    assert "22 of 24" in finding(found, "length").said
    even = [Turn(noise(i), noise(10 + i), noise(20 + i), [(40, 20), (20, 40)] * 12) for i in range(2)]
    assert finding(said(even), "length").holds is False


def test_a_step_without_a_number_is_reported() -> None:
    turns = [Turn(noise(i), noise(10 + i), noise(20 + i), losses=(0.69, None, float("nan"), 0.5)) for i in range(2)]
    told = finding(said(turns), "training")
    assert told.holds is True
    assert "4 of 8 steps have no finite loss" in told.said


def test_a_pair_without_a_number_is_counted_and_in_no_mean() -> None:
    store = Store(None)
    lab = plant(store, [Turn([10.0, None, 30.0], [1.0, 1.0, 1.0])])
    summed(lab, "planted")
    row = store.query("FROM summaries WHERE metric = 'gradient.norm' AND under = 'parent'")[0]
    assert (row["n"], row["missing"], row["mean"]) == (2, 1, 20.0)


def test_a_summary_is_what_sql_says_of_the_pairs() -> None:
    store = Store(None)
    lab = plant(store, [Turn(noise(1), noise(2), noise(3))])
    summed(lab, "planted")
    for row in store.query("FROM summaries WHERE n > 0"):
        asked = store.query(
            "SELECT count(value) AS n, avg(value) AS mean, quantile_cont(value, 0.25) AS q25, stddev_samp(value) AS sd "
            "FROM pair_values WHERE run = 'planted' AND pair_set = ? AND control = ? AND metric = ? AND under = ?",
            [row["pair_set"], row["control"], row["metric"], row["under"]],
        )[0]
        assert row["n"] == asked["n"]
        for name in ("mean", "q25", "sd"):
            assert row[name] == pytest.approx(asked[name], rel=1e-12)


def test_summing_again_adds_nothing() -> None:
    store = Store(None)
    lab = plant(store, [Turn(noise(i), noise(10 + i), noise(20 + i)) for i in range(2)])
    counted = []
    for _ in range(2):
        summed(lab, "planted")
        counted.append(store.query("SELECT (SELECT count(*) FROM summary) AS s, (SELECT count(*) FROM change) AS c"))
    assert counted[0] == counted[1]
    assert counted[0][0]["c"] == 2  # the norm and the gap: nothing else was measured
