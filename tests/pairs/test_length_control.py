"""best and worst with a rho against a transcription of Meta-Rewarding's length control in exact fractions."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.config import parse
from toolkit.errors import InputError, RecipeError
from toolkit.judgments.judge import Pool, Scored
from toolkit.pairs.picks import Picks
from toolkit.pairs.selection import best, worst
from toolkit.records import Response, Role

Answers = list[tuple[int, int]]  # (score in tenths, characters)
answers = st.lists(st.tuples(st.integers(0, 50), st.integers(1, 4)), min_size=1, max_size=6)
rhos = st.integers(0, 49)


def pool(role: Role, given_: Answers, **more: object) -> Pool:
    made = [
        Scored(Response("p", "m", role, draw, None, None, text=f"{draw:x}" * size), points / 10)
        for draw, (points, size) in enumerate(given_)
    ]
    return Pool("judge", {"p": tuple(made)}, **more)  # type: ignore[arg-type]


def transcription(pools: list[Answers], rho: Fraction) -> tuple[tuple[int, int], tuple[int, int]]:
    """(pool, draw) of chosen and rejected, as the paper's section 2.2 says it, the first of equals."""
    all_ = [(score, size, (p, d)) for p, answers_ in enumerate(pools) for d, (score, size) in enumerate(answers_)]
    high, low = max(score for score, *_ in all_), min(score for score, *_ in all_)
    top = [a for a in all_ if (1 - rho) * high + rho * low <= a[0] <= high]
    bottom = [a for a in all_ if low <= a[0] <= (1 - rho) * low + rho * high]
    shortest, longest = min(size for _, size, _ in top), max(size for _, size, _ in bottom)
    return next(a[2] for a in top if a[1] == shortest), next(a[2] for a in bottom if a[1] == longest)


def best_within(*pools: Pool, rho: float) -> Picks:
    return best(*(replace(pool, rho=rho) for pool in pools))


def worst_within(*pools: Pool, rho: float) -> Picks:
    return worst(*(replace(pool, rho=rho) for pool in pools))


def place(picks: Picks) -> tuple[int, int]:
    picked = picks.by_prompt["p"]
    assert picked is not None
    return ["present", "future"].index(picked.response.role), picked.response.draw


@given(answers, answers, rhos)
def test_length_control_is_the_papers_rule(now: Answers, soon: Answers, percent: int) -> None:
    pools = pool("present", now), pool("future", soon)
    made = place(best_within(*pools, rho=percent / 100)), place(worst_within(*pools, rho=percent / 100))
    assert made == transcription([now, soon], Fraction(percent, 100))


@given(answers, answers)
def test_without_rho_the_scores_are_those_of_the_plain_rule(now: Answers, soon: Answers) -> None:
    pools = pool("present", now), pool("future", soon)
    for controlled, plain in ((best_within(*pools, rho=0), best(*pools)), (worst_within(*pools, rho=0), worst(*pools))):
        a, b = controlled.by_prompt["p"], plain.by_prompt["p"]
        assert a is not None and b is not None
        assert a.score == b.score
        scores = [scored.score for each in pools for scored in each.candidates["p"]]
        assert scores.count(b.score) > 1 or a == b


def test_rho_trades_a_little_score_for_a_shorter_chosen_and_a_longer_rejected_answer() -> None:
    only = pool("present", [(50, 4), (48, 1), (30, 2), (12, 4), (10, 1)])
    assert [place(best_within(only, rho=rho))[1] for rho in (0, 0.1)] == [0, 1]
    assert [place(worst_within(only, rho=rho))[1] for rho in (0, 0.1)] == [4, 3]


def test_a_score_on_the_very_edge_is_within_the_range() -> None:
    assert 0.75 * 4.7 + 0.25 * 0.3 > 3.6  # the edge, unless rounded
    assert place(best_within(pool("present", [(47, 2), (36, 1), (3, 2)]), rho=0.25)) == (0, 1)


def test_an_earlier_pool_keeps_a_tie_of_equal_length_whatever_its_ties() -> None:
    pools = pool("present", [(50, 2), (50, 2)], ties="longest"), pool("future", [(50, 2)])
    assert place(best_within(*pools, rho=0.2)) == (0, 0)
    assert place(worst_within(*pools, rho=0.2)) == (0, 0)


def test_a_barred_prompt_and_one_without_scores_give_no_pick() -> None:
    barred = pool("present", [(50, 2)], barred=frozenset({"p"}))
    assert best_within(barred, pool("future", [(40, 1)]), rho=0.1).by_prompt["p"] is None
    assert worst_within(Pool("judge", {"p": ()}), rho=0.1).by_prompt["p"] is None


@pytest.mark.parametrize("rho", [-0.1, 0.5, 1, float("nan")])
def test_a_rho_whose_ranges_meet_is_refused(rho: float) -> None:
    with pytest.raises(RecipeError, match="length_control"):
        parse({"pairs": {"length_control": rho}})


def test_pools_of_two_judges_are_refused() -> None:
    other = Pool("another", pool("past", [(1, 1)]).candidates)
    with pytest.raises(InputError, match="2 judges"):
        worst_within(pool("present", [(2, 1)]), other, rho=0.1)
