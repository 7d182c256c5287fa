"""best, worst and pair_up against a direct transcription of Algorithm 1, over random scores with many ties."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.errors import InputError
from toolkit.judgments.judge import Pool, Scored, _candidates
from toolkit.pairs.selection import best, pair_up, worst
from toolkit.records import Judgment, Response, Role, Sampling

SAMPLING = Sampling(1.0, 1.0, 8)
scores = st.lists(st.integers(0, 5), min_size=1, max_size=7)


def pool(role: Role, values: list[int], **more: object) -> Pool:
    answers = [Response("p", role, role, draw, SAMPLING, draw, text="x" * (9 - draw)) for draw in range(len(values))]
    candidates = tuple(Scored(answer, float(value)) for answer, value in zip(answers, values, strict=True))
    return Pool("judge", {"p": candidates}, **more)  # type: ignore[arg-type]


def algorithm_1(r_i: list[int], r_0: list[int], r_f: list[int]) -> tuple[object, object]:
    """Lines of the paper, word for word in code: (score, pool) of chosen and rejected in both phases."""
    chosen_1 = (max(r_i), "present")
    rejected = (min(r_0), "past") if min(r_0) < min(r_i) else (min(r_i), "present")
    chosen_2 = (max(r_f), "future") if max(r_f) > max(r_i) else (max(r_i), "present")
    phase_1 = (chosen_1, rejected) if chosen_1[0] > rejected[0] else None
    phase_2 = (chosen_2, rejected) if chosen_2[0] > rejected[0] else None
    return phase_1, phase_2


def made(pairs: list) -> object:  # type: ignore[type-arg]
    if not pairs:
        return None
    (pair,) = pairs
    return (pair.chosen_score, pair.chosen_role), (pair.rejected_score, pair.rejected_role)


@given(scores, scores, scores)
def test_selection_is_algorithm_1_ties_included(r_i: list[int], r_0: list[int], r_f: list[int]) -> None:
    now, then, soon = pool("present", r_i), pool("past", r_0), pool("future", r_f)
    rejected = worst(now, then)
    anchored, drops_1 = pair_up(best(now), rejected)
    guided, drops_2 = pair_up(best(now, soon), rejected)
    assert (made(anchored), made(guided)) == algorithm_1(r_i, r_0, r_f)
    assert len(anchored) + len(drops_1) == 1
    assert len(guided) + len(drops_2) == 1


def test_inside_a_pool_a_tie_goes_by_the_recipe() -> None:
    for ties, length in (("first", 9), ("shortest", 7), ("longest", 9)):
        picked = best(pool("present", [4, 4, 4], ties=ties)).by_prompt["p"]
        assert picked is not None
        assert len(picked.response.text or "") == length
    picked = worst(pool("present", [1, 4, 1], ties="shortest")).by_prompt["p"]
    assert picked is not None
    assert picked.response.draw == 2


def test_a_prompt_without_scores_is_a_counted_drop() -> None:
    empty = Pool("judge", {"p": ()})
    pairs, drops = pair_up(best(empty), worst(empty))
    assert pairs == []
    assert [drop.reason for drop in drops] == ["no_score"]


def test_a_barred_prompt_gives_no_pair_even_where_another_pool_has_scores() -> None:
    barred = pool("present", [5, 1], barred=frozenset({"p"}))
    pairs, drops = pair_up(best(barred, pool("future", [5])), worst(barred))
    assert (pairs, len(drops)) == ([], 1)


def test_pools_of_two_judges_are_refused() -> None:
    other = Pool("another", pool("past", [1]).candidates)
    with pytest.raises(InputError, match="2 judges"):
        worst(pool("present", [2]), other)
    with pytest.raises(InputError, match="another"):
        pair_up(best(pool("present", [2])), worst(other))


def judged(*verdicts: list[float | None]) -> tuple[Pool, list[Response]]:
    """Answers with these verdicts each; None is one that could not be read."""
    answers = [
        Response("p", "m", "present", draw, SAMPLING, draw, text=f"answer {draw}") for draw in range(len(verdicts))
    ]
    asked = [
        replace(Judgment(answer.id, "judge", "rubric", "generated", SAMPLING, draw, 1), status="scored", score=score)
        for answer, scores in zip(answers, verdicts, strict=True)
        for draw, score in enumerate(scores)
    ]
    return Pool("judge", _candidates(answers, asked)[0]), answers


@given(st.lists(st.lists(st.none() | st.integers(0, 5).map(float), min_size=1, max_size=3), min_size=1, max_size=8))
def test_an_answer_without_a_verdict_stands_on_neither_side(verdicts: list[list[float | None]]) -> None:
    now, answers = judged(*verdicts)
    pairs, _ = pair_up(best(now), worst(now))
    read = {a.id for a, scores in zip(answers, verdicts, strict=True) if any(s is not None for s in scores)}
    assert all({pair.chosen, pair.rejected} <= read for pair in pairs)


@given(st.floats(0, 5), st.floats(-4e-10, 4e-10))
def test_scores_less_than_a_billionth_apart_are_a_tie(score: float, less: float) -> None:
    score = round(score, 9)  # the middle of the billionth, not its edge
    now, _ = judged([score], [score + less], [score, score + less])
    pairs, drops = pair_up(best(now), worst(now))
    assert (pairs, [drop.reason for drop in drops]) == ([], ["tie"])


def test_one_answer_with_a_verdict_makes_no_pair() -> None:
    now, _ = judged([None], [3.0], [None])
    pairs, drops = pair_up(best(now), worst(now))
    assert (pairs, [drop.reason for drop in drops]) == ([], ["tie"])
