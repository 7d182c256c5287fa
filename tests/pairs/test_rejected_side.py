"""The rules for the rejected side: picks computed by hand, random draws, chance values by enumeration."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pairs.test_chance import Scores, _deals, pool, sides
from toolkit.identity import derive_seed
from toolkit.judgments.judge import Pool
from toolkit.pairs import chance
from toolkit.pairs.chance import measure
from toolkit.pairs.deals import Side, blocks_of, select
from toolkit.pairs.picks import Picks
from toolkit.pairs.selection import best, pair_up, worst
from toolkit.records import Role

SPOT, RANDOM = "mean_minus_2sd", "random"


def by_rule(rule: str, *pools: Pool, seed: int = 0, ties: str = "first") -> Picks:
    return worst(*(replace(pool, rejected=rule, seed=seed, ties=ties) for pool in pools))


def picked(picks: Picks) -> tuple[str, int, float | None]:
    """Role, draw and score."""
    pick = picks.by_prompt["p"]
    assert pick is not None
    return pick.response.role, pick.response.draw, pick.score


def test_the_score_nearest_to_mean_minus_2_sd_is_rejected() -> None:
    """Mean 128 / 20 = 6.4, population variance 66.8 / 20 = 3.34, target 6.4 - 2 * 1.828 = 2.74."""
    now, then = pool("present", {"p": [7.0] * 10}), pool("past", {"p": [7.0] * 8 + [0.0, 2.0]})
    assert picked(by_rule(SPOT, now, then)) == ("past", 9, 2.0)
    assert picked(worst(now, then)) == ("past", 8, 0.0)


# With a 0 and a 2: mean 55 / 11 = 5, population variance 44 / 11 = 4, target 1, and both are equally near. The sample
# variance 44 / 10 would give a target of 0.80 and the 0.
TWO_AS_NEAR = [5.0, 5.0, *[6.0] * 6, 7.0]


def test_an_earlier_pool_keeps_a_tie_in_distance_and_inside_a_pool_the_recipe_decides() -> None:
    for first, second in ((0.0, 2.0), (2.0, 0.0)):
        pools = pool("present", {"p": [first, *TWO_AS_NEAR]}), pool("past", {"p": [second]})
        for ties in ("first", "shortest", "longest"):
            assert picked(by_rule(SPOT, *pools, ties=ties)) == ("present", 0, first)
    inside = pool("present", {"p": [2.0, *TWO_AS_NEAR, 0.0]}, lengths=lambda draw: 20 - draw)
    expected = {"first": (0, 2.0), "shortest": (10, 0.0), "longest": (0, 2.0)}
    assert {ties: picked(by_rule(SPOT, inside, ties=ties))[1:] for ties in expected} == expected
    equal = pool("present", {"p": [7.0, 1.0, 1.0]}, lengths=lambda draw: 9 - draw)
    assert [picked(by_rule(SPOT, equal, ties=ties))[1] for ties in ("first", "shortest", "longest")] == [1, 2, 1]


@given(st.lists(st.integers(0, 50), min_size=1, max_size=10))
def test_with_ten_candidates_or_fewer_the_lowest_score_is_picked(points: list[int]) -> None:
    only = pool("present", {"p": [float(value) for value in points]})
    assert picked(by_rule(SPOT, only))[2] == min(points)


def test_a_random_candidate_depends_on_seed_prompt_and_number_alone() -> None:
    now, then = pool("present", {"p": [1.0, 5.0, 3.0]}), pool("past", {"p": [2.0, 4.0]})
    for seed in range(20):
        position = derive_seed(seed, "p", "rejected") % 5
        role, draw = [*(("present", draw) for draw in range(3)), ("past", 0), ("past", 1)][position]
        assert picked(by_rule(RANDOM, now, then, seed=seed))[:2] == (role, draw)
        scored = pool("present", {"p": [5.0, 0.0, 0.0]}, lengths=lambda draw: 40 * draw)
        backward = replace(scored, candidates={"p": scored.candidates["p"][::-1]})
        assert picked(by_rule(RANDOM, backward, then, seed=seed, ties="longest"))[:2] == (role, draw)


def test_every_candidate_is_drawn_equally_often() -> None:
    prompts = {f"p{number}": [1.0, 2.0, 3.0] for number in range(3000)}
    picks = by_rule(RANDOM, pool("present", prompts), pool("past", {prompt: [4.0] for prompt in prompts}), seed=3)
    counts = Counter(pick.score for pick in picks.by_prompt.values() if pick)
    assert len(counts) == 4 and all(650 < count < 850 for count in counts.values()), counts  # 750, sd 24


@pytest.mark.parametrize("rule", [SPOT, RANDOM])
def test_a_barred_prompt_and_one_without_scores_give_no_pick(rule: str) -> None:
    barred = replace(pool("present", {"p": [5.0]}), barred=frozenset({"p"}))
    assert by_rule(rule, barred, pool("past", {"p": [4.0]})).by_prompt["p"] is None
    assert by_rule(rule, Pool("judge", {"p": ()})).by_prompt["p"] is None


def test_a_random_candidate_that_is_not_below_the_chosen_is_a_counted_drop() -> None:
    only = pool("present", {f"p{number}": [3.0, 1.0] for number in range(40)})
    pairs, drops = pair_up(best(only), by_rule(RANDOM, only))
    assert len(pairs) + len(drops) == 40 and {drop.reason for drop in drops} == {"tie"}
    assert {pair.rejected_score for pair in pairs} == {1.0}


def test_chance_values_of_the_sweet_spot_are_those_of_every_deal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten sevens, a 0, a 2 and an 8 in 13 columns: 1716 deals, equally likely."""
    monkeypatch.setattr(chance, "PERMUTATIONS", 6000)
    sizes: dict[Role, int] = {"present": 6, "past": 6, "future": 1}

    def dealt(row: Sequence[float]) -> list[Pool]:
        rest = iter(row)
        pools = [pool(role, {"p": list(itertools.islice(rest, size))}) for role, size in sizes.items()]
        return [replace(each, rejected=SPOT) for each in pools]

    rows = []
    for low, middle, high in itertools.permutations(range(13), 3):
        rows.append([{low: 0.0, middle: 2.0, high: 8.0}.get(column, 7.0) for column in range(13)])
    gaps = [gap_of(sides("guided", *dealt(row))) for row in rows]
    stats = measure(*sides("guided", *dealt(rows[0])))
    assert stats.gap == gaps[0]
    assert stats.gap_all_chance == pytest.approx(fmean(gaps), abs=0.05)
    lowest = [gap_of(sides("guided", *(replace(each, rejected="worst") for each in dealt(row)))) for row in rows]
    assert fmean(lowest) - fmean(gaps) > 1, "the rule makes a difference here"


@pytest.mark.parametrize("seed", range(3))
def test_chance_values_of_a_random_rejected_answer_are_those_of_every_deal(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(chance, "PERMUTATIONS", 6000)
    scores: dict[Role, Scores] = {
        "present": {"a": [1.0, 4.0], "b": [2.0]}, "past": {"a": [3.0], "b": [0.5]},
        "future": {"a": [4.0, 0.0], "b": [2.0]},
    }  # fmt: skip
    pools = [replace(pool(role, rows), rejected=RANDOM, seed=seed) for role, rows in scores.items()]
    stats = measure(*sides("guided", *pools))
    every, pasts = [], []
    for first, second in itertools.product(*(_deals(pools, prompt) for prompt in ("a", "b"))):
        dealt = [replace(each, candidates={"a": a, "b": b}) for each, a, b in zip(pools, first, second, strict=True)]
        pairs, _ = pair_up(*sides("guided", *dealt))
        every.append(sum((pair.chosen_score or 0) - (pair.rejected_score or 0) for pair in pairs) / 2)
        if pairs:
            pasts.append(fmean(pair.rejected_role == "past" for pair in pairs))
    assert stats.gap_all_chance == pytest.approx(fmean(every), abs=0.05)
    assert stats.past_chance == pytest.approx(fmean(pasts), abs=0.03)


def test_in_a_single_pool_a_random_rejected_answer_has_a_chance_value_and_no_p_value() -> None:
    """The best is 4; whatever the position, 4, 1 or 0 is there in a third of the deals each."""
    only = replace(pool("present", {"p": [4.0, 1.0, 0.0]}), rejected=RANDOM)
    stats = measure(best(only), worst(only))
    assert stats.gap_all_chance == pytest.approx((0 + 3 + 4) / 3, abs=0.1)
    assert stats.gap_chance == pytest.approx((3 + 4) / 2, abs=0.1)
    assert stats.p_roles is None and "no p-value" in stats.reason


@pytest.mark.parametrize("ties", ["first", "shortest", "longest"])
@pytest.mark.parametrize("rule", [SPOT, RANDOM])
@given(st.lists(st.lists(st.integers(0, 6), min_size=12, max_size=12), min_size=1, max_size=3), st.integers(0, 9))
def test_arrays_select_what_pools_select(rule: str, ties: str, rows: list[list[int]], seed: int) -> None:
    rows = [[0, 2, 5, 5, 6, 6, 6, 6, 6, 6, 7, 7], *rows]
    pools = [
        replace(
            pool(role, {f"p{n}": [float(v) for v in row[part]] for n, row in enumerate(rows)}, lengths=lambda d: 9 - d),
            rejected=rule, ties=ties, seed=seed,
        )
        for role, part in (("present", slice(0, 7)), ("past", slice(7, 12)))
    ]  # fmt: skip
    prompts = sorted(pools[0].candidates)
    (block,) = blocks_of(pools, prompts)
    scores, numbers = select(block, Side((0, 1), rule, None, ties))
    picks = [worst(*pools).by_prompt[prompt] for prompt in prompts]
    roles = [("present", "past")[number] for number in numbers]
    expected = [(pick.score, pick.response.role) for pick in picks if pick]
    assert list(zip(scores, roles, strict=True)) == expected


def test_what_identifies_a_selection_by_algorithm_1_is_what_it_was_before_there_were_other_rules() -> None:
    """Stored sets and measurements are recognized by these ids."""
    now, then = pool("present", {"p": [3.0, 1.0]}), pool("past", {"p": [2.0]})
    assert measure(best(now), worst(now, then)).content == "af4979956714e9709355105b"
    digests = worst(replace(now, asked="a"), replace(then, asked="b")).asked, best(now).asked
    assert digests == ("a1fda449b8d3f3ffce1b0ebd", "9f4278a460688d50df805568")
    for rule in (SPOT, RANDOM):
        ruled = replace(now, rejected=rule), replace(then, rejected=rule)
        assert measure(best(ruled[0]), worst(*ruled)).content != "af4979956714e9709355105b"
        assert worst(*ruled).asked != worst(now, then).asked and best(ruled[0]).asked == best(now).asked


def gap_of(both: tuple[Picks, Picks]) -> float:
    """Over all prompts of these two sides; 0 where there is no pair."""
    pairs, drops = pair_up(*both)
    return sum((pair.chosen_score or 0) - (pair.rejected_score or 0) for pair in pairs) / len([*pairs, *drops])
