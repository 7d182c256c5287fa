"""Gaps and shares beside their chance values: exact on small cases, the published figures, false alarms, bad input."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest

from tests.recipes.test_temporal import launch
from toolkit.config import Recipe
from toolkit.errors import InputError
from toolkit.judgments.judge import Pool, Scored
from toolkit.pairs import chance
from toolkit.pairs.chance import SelectionStats, measure
from toolkit.pairs.picks import Picks
from toolkit.pairs.selection import best, pair_up, worst
from toolkit.records import Response, Role
from toolkit.store.database import Store

Scores = dict[str, Sequence[float]]


def pool(role: Role, scores: Scores, rho: float | None = None, lengths: Callable[[int], int] = lambda _: 5) -> Pool:
    candidates = {
        prompt: tuple(
            Scored(Response(prompt, f"model {role}", role, draw, None, draw, "x" * lengths(draw)), score)
            for draw, score in enumerate(row)
        )
        for prompt, row in scores.items()
    }
    return Pool("judge", candidates, rho=rho)


def noise(seed: int, role: Role, prompts: int, k: int, mean: float = 0.0, sd: float = 0.29) -> Pool:
    import numpy as np

    values = np.random.default_rng([seed, len(role)]).normal(3 + mean, sd, (prompts, k)).round(6)
    return pool(role, {f"p{number}": [float(value) for value in row] for number, row in enumerate(values)})


def sides(name: str, present: Pool, past: Pool, future: Pool) -> tuple[Picks, Picks]:
    return {
        "self_rewarding": (best(present), worst(present)),
        "anchored": (best(present), worst(present, past)),
        "guided": (best(present, future), worst(present, past)),
        "future_only": (best(present, future), worst(present)),
    }[name]


@pytest.mark.parametrize(
    ("k", "name", "expected"),
    [
        (4, "self_rewarding", 0.595), (4, "anchored", 0.697), (4, "guided", 0.823), (4, "future_only", 0.721),
        (7, "self_rewarding", 0.782), (7, "anchored", 0.883), (7, "guided", 0.987), (7, "future_only", 0.886),
    ],
)  # fmt: skip
def test_noise_gives_the_gaps_of_order_statistics_and_the_chance_value_says_so(
    k: int, name: str, expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chance, "PERMUTATIONS", 200)
    monkeypatch.setattr(chance, "LEAST", 200)
    roles: tuple[Role, ...] = ("present", "past", "future")
    stats = measure(*sides(name, *(noise(k, role, 800, k) for role in roles)))
    assert stats.gap == pytest.approx(expected, abs=0.03)
    assert stats.gap_chance == pytest.approx(expected, abs=0.03)
    if name == "self_rewarding":
        assert stats.gap == stats.gap_chance and stats.p_roles is None and "one pool" in stats.reason
    for share in (stats.future_chance, stats.past_chance):
        assert share is None or share == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("rho", [None, 0.0, 0.3])
def test_chance_values_are_those_of_every_permutation(rho: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two prompts, eight answers: all deals enumerated, each selected by the rule itself."""
    monkeypatch.setattr(chance, "PERMUTATIONS", 6000)
    scores: dict[Role, Scores] = {
        "present": {"a": [1.0, 4.0], "b": [2.0]}, "past": {"a": [3.0], "b": [0.5]},
        "future": {"a": [4.0, 0.0], "b": [2.0]},
    }  # fmt: skip
    pools = [pool(role, rows, rho, lambda draw: 5 + 3 * draw) for role, rows in scores.items()]
    stats = measure(*sides("guided", *pools))
    deals = [_deals(pools, prompt) for prompt in ("a", "b")]
    gaps, every, futures = [], [], []
    for first, second in itertools.product(*deals):
        dealt = [
            replace(one, candidates={"a": a, "b": b}) for one, a, b in zip(pools, first, second, strict=True)
        ]  # fmt: skip
        pairs, _ = pair_up(*sides("guided", *dealt))
        differences = [(pair.chosen_score or 0) - (pair.rejected_score or 0) for pair in pairs]
        every.append(sum(differences) / 2)
        if pairs:
            gaps.append(fmean(differences))
            futures.append(fmean(pair.chosen_role == "future" for pair in pairs))
    assert stats.gap_all_chance == pytest.approx(fmean(every), abs=0.03)
    assert stats.gap_chance == pytest.approx(fmean(gaps), abs=0.03)
    assert stats.future_chance == pytest.approx(fmean(futures), abs=0.02)


def _deals(pools: Sequence[Pool], prompt: str) -> list[tuple[tuple[Scored, ...], ...]]:
    """Every way to give the answers to a prompt to the pools; the answer takes the pool's role."""
    answers = [answer for one in pools for answer in one.candidates[prompt]]
    sizes = [len(one.candidates[prompt]) for one in pools]
    deals = []
    for order in itertools.permutations(answers):
        rest = iter(order)
        deals.append(
            tuple(
                tuple(
                    replace(a, response=replace(a.response, role=role, draw=draw))
                    for draw, a in enumerate(itertools.islice(rest, n))
                )
                for n, role in zip(sizes, ("present", "past", "future"), strict=True)
            )
        )
    return deals


def test_false_alarms_are_as_many_as_promised_and_a_better_future_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chance, "PERMUTATIONS", 199)
    monkeypatch.setattr(chance, "LEAST", 199)

    def stats(seed: int, better: float) -> SelectionStats:
        pools = noise(seed, "present", 16, 4), noise(seed, "past", 16, 4), noise(seed, "future", 16, 4, better)
        return measure(*sides("guided", *pools))

    rounds = [stats(seed, 0.0) for seed in range(120)]
    for name in ("p_roles", "p_future", "p_past"):
        alarms = sum(getattr(one, name) <= 0.05 for one in rounds)
        assert alarms <= 14, (name, alarms)  # of 120; more by chance once in 1000
        assert alarms >= 1, name
    better = [stats(seed, 0.29) for seed in range(20)]  # by one standard deviation
    assert sum(one.p_roles is not None and one.p_roles <= 0.05 for one in better) >= 18
    assert all(one.future and one.future_chance and one.future > one.future_chance for one in better)


def test_ties_count_as_zero_in_the_gap_over_all_prompts() -> None:
    present = pool("present", {"a": [3.0, 2.0], "b": [2.0, 2.0], "c": [1.0, 1.0]})
    stats = measure(best(present), worst(present))
    assert (stats.gap, stats.gap_all, stats.pairs, stats.prompts, stats.scored) == (1.0, pytest.approx(1 / 3), 1, 3, 3)


def test_bad_input_gives_a_number_or_a_reason() -> None:
    one = measure(*sides("guided", *(pool(role, {"a": [1.0]}) for role in ("present", "past", "future"))))
    assert (one.pairs, one.gap, one.gap_all, one.p_roles) == (0, None, 0.0, 1.0)
    single = measure(best(pool("present", {"a": [1.0]})), worst(pool("present", {"a": [1.0]})))
    assert (single.gap, single.gap_all) == (None, 0.0)
    nothing = measure(best(pool("present", {"a": []})), worst(pool("present", {"a": []})))
    assert (nothing.scored, nothing.gap, nothing.reason) == (0, None, "no prompt has scores")
    some = (
        pool("present", {"a": [1.0, 2.0], "b": []}),
        pool("past", {"a": [], "b": [1.0]}),
        pool("future", {"a": [3.0]}),
    )
    missing = measure(*sides("guided", *some))
    assert (missing.prompts, missing.scored, missing.pairs) == (2, 1, 1)
    with pytest.raises(InputError, match="not finite"):
        measure(*sides("guided", *(pool(role, {"a": [math.nan, 1.0]}) for role in ("present", "past", "future"))))
    unscored = measure(Picks(None, {"a": None}, False), Picks(None, {"a": None}, False))
    assert (unscored.pairs, unscored.reason) == (0, "a side has no scores")


def test_a_run_stores_the_chance_values_of_each_set_once_and_every_table_shows_them(
    scripted_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = scripted_recipe()
    launch(recipe, tmp_path / "s.duckdb")
    launch(recipe, tmp_path / "s.duckdb")
    with Store(tmp_path / "s.duckdb") as store:
        rows = store.named("gap_by_iteration")
        stored = store.query("SELECT count(*) AS n, count(DISTINCT pair_set) AS sets FROM selection")
        newest = store.query("SELECT id FROM launch ORDER BY position DESC LIMIT 1")[0]["id"]
        tables = [store.named(name, launch=newest) for name in ("run_iterations", "run_chance")]
        compared = store.named("compare_iterations", launches=newest)
    assert stored == [{"n": 4, "sets": 4}]
    for row in rows:
        assert (
            row["gap"] > 0 and row["gap_chance"] > 0 and 0 < row["yield"] <= 1 and row["gap_all"] <= row["gap"] + 1e-6
        )
        assert row["p_roles"] > 0.01, "scores are hashes: roles make no difference"
    for table in (*tables, compared):
        assert len(table) == 4 and all(row["p roles"] is not None for row in table)


def test_a_selection_that_does_not_follow_from_its_pairs_is_named(
    scripted_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    from toolkit.pairs.audit import audit

    launch(scripted_recipe(iterations=1), tmp_path / "s.duckdb")
    with Store(tmp_path / "s.duckdb") as store:
        assert not audit(store).findings
        store.query("UPDATE selection SET gap = gap + 1 WHERE pair_set = 'guided@1'")
        (finding,) = audit(store).findings
    assert (finding.table, finding.id) == ("selection", "guided@1")
