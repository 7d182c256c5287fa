"""Judgement examples: which rated answers become examples, in what balance, and what they look like to a judge."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.demonstrations.judgements import RatedAnswer, agreeing, balanced, held_out
from toolkit.demonstrations.source import SHIPPED, _read
from toolkit.judgments.rubric import load_rubric
from toolkit.judgments.verdict import parse_verdict


def rated(*scores_and_ratings: tuple[float, float], prompt: str = "p") -> list[RatedAnswer]:
    return [RatedAnswer(prompt, f"answer {i}", r, "Because.", s) for i, (s, r) in enumerate(scores_and_ratings)]


def test_the_one_verdict_that_contradicts_the_others_is_dropped_alone() -> None:
    kept, drops = agreeing(rated((0, 1), (1, 3), (2, 5), (5, 2)))
    assert [answer.score for answer in kept] == [0, 1, 2]
    assert [(drop.reason, drop.detail) for drop in drops] == [("against_rating", "points 5, rating 2")]


def test_equal_scores_or_ratings_contradict_nothing() -> None:
    answers = rated((3, 1), (3, 9), (4, 9), (5, 9))
    assert agreeing(answers) == (answers, [])


def test_answers_of_different_prompts_are_not_compared() -> None:
    answers = rated((0, 9), prompt="a") + rated((5, 1), prompt="b")
    assert agreeing(answers) == (answers, [])


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 10)), max_size=12))
def test_whatever_is_kept_is_free_of_contradictions(values: list[tuple[int, int]]) -> None:
    answers = rated(*values)
    kept, drops = agreeing(answers)
    assert len(kept) + len(drops) == len(answers)
    assert all((a.score - b.score) * (a.rating - b.rating) >= 0 for a in kept for b in kept)


def test_no_score_stands_in_more_examples_than_the_median_score() -> None:
    answers = rated(*[(5, 9)] * 9, *[(3, 5)] * 4, (0, 1))
    kept, drops = balanced(answers, seed=0)
    assert Counter(answer.score for answer in kept) == {5: 4, 3: 4, 0: 1} and len(drops) == 5
    assert balanced(answers, seed=0) == (kept, drops)
    assert balanced(answers, seed=1)[0] != kept


def test_a_held_out_prompt_is_nowhere_learned() -> None:
    answers = [answer for i in range(10) for answer in rated((1, 1), (4, 8), prompt=f"p{i}")]
    learn, aside = held_out(answers, 0.3, seed=0)
    assert len(aside) == 6 and len(learn) == 14
    assert not {answer.prompt for answer in learn} & {answer.prompt for answer in aside}


def test_an_example_asks_as_the_judge_asks_and_answers_as_the_parser_reads() -> None:
    rubric = load_rubric("additive")
    prompt, text = RatedAnswer("What is two?", "A number.", 7, "It names what two is.", 3).example(rubric)
    assert prompt.messages() == rubric.messages("What is two?", "A number.")
    verdict = parse_verdict(text, "stop", rubric.scale, rubric.lead)
    assert (verdict.status, verdict.score) == ("scored", 3)


def test_the_shipped_examples_lose_the_verdicts_that_were_written_against_their_ratings_and_no_other() -> None:
    _, answers = _read(["eft"])
    kept, drops = agreeing(answers)
    assert len(answers) == 120 and len(drops) == 8 and len(kept) == 112
    taught, _ = balanced(kept, seed=0)
    counts = Counter(answer.score for answer in taught)
    assert set(counts) == {0, 1, 2, 3, 4, 5} and max(counts.values()) - min(counts.values()) <= 3


def test_the_shipped_sets_hold_no_prompt_twice_nor_one_of_the_starter_set() -> None:
    examples, answers = _read(list(SHIPPED))
    from toolkit.prompts.source import SHIPPED as PROMPTS

    starter = {line.strip().lower() for line in PROMPTS["starter"].read_text().splitlines()}
    asked = [prompt.text.lower() for prompt, _ in examples]
    assert len(asked) == len(set(asked)) == 72
    assert not starter & {*asked, *(answer.prompt.lower() for answer in answers)}


@pytest.mark.parametrize("share", [0.0, 0.05])
def test_a_small_share_may_hold_nothing_out(share: float) -> None:
    answers = rated((1, 1), (4, 8))
    assert held_out(answers, share, seed=0) == (answers, [])
