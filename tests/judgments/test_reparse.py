"""A stored verdict follows from its reply, or the difference is named."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest

from toolkit.judgments.expected import expected_score
from toolkit.judgments.reparse import TOO_SMALL, comparison_problem, rubric_of, unchecked, verdict_problem
from toolkit.judgments.rubric import load_pair_rubric, load_rubric
from toolkit.judgments.verdict import parse_verdict
from toolkit.records import MIN_MASS, Comparison, Finish, Judgment, Sampling

RUBRIC = load_rubric("additive")
ASKED = Judgment("r", "j", RUBRIC.id, "generated", Sampling(1.0, 1.0, 8), 0, 1)
REPLIES = ("Score: 3", "fine. Score: 5", "Score: 4 or 5", "no", "", "Score: 77", "Score: 1", "Score: **2** points")


@pytest.mark.parametrize("reply", REPLIES)
@pytest.mark.parametrize("finish", ["stop", "length"])
def test_what_the_parser_stored_agrees_and_another_score_does_not(reply: str, finish: Finish) -> None:
    read = parse_verdict(reply, finish, RUBRIC.scale, RUBRIC.lead)
    stored = replace(ASKED, reply=reply, status=read.status, score=read.score, reason=read.reason)
    assert verdict_problem(stored, RUBRIC) == "" == unchecked(stored)
    raised = replace(stored, status="scored", score=(read.score or 0) + 0.5)
    assert "its reply says" in verdict_problem(raised, RUBRIC)


def test_expected_scores_agree_within_their_six_decimals_and_no_further() -> None:
    low, high = RUBRIC.scale
    labels, draw = {str(point): point for point in range(low, high + 1)}, random.Random(1)
    for _ in range(2000):
        mass = 10 ** draw.uniform(-8, 0)
        weights = [draw.random() ** 4 for _ in labels]
        logprobs = {t: math.log(mass * w / sum(weights)) for t, w in zip(labels.values(), weights, strict=True)}
        expected = expected_score(logprobs, labels)
        stored = replace(
            ASKED, method="expected", reply=expected.as_reply(), status="scored", score=expected.verdict().score
        )
        assert verdict_problem(stored, RUBRIC) == ""
        if mass > 1e-3:
            assert not unchecked(stored)
            assert "its reply says" in verdict_problem(replace(stored, score=(stored.score or 0) + 0.02), RUBRIC)
        assert mass > 1e-6 or unchecked(stored) == TOO_SMALL
        assert "outside the scale" in verdict_problem(replace(stored, score=high + 1.0), RUBRIC)


def test_a_verdict_below_its_minimum_mass_is_unreadable_and_above_it_a_score() -> None:
    labels = {str(point): point for point in range(RUBRIC.scale[0], RUBRIC.scale[1] + 1)}
    for mass, limit in ((0.05, None), (0.05, 0.2), (0.15, 0.2), (0.15, None), (0.05, 0.01)):
        logprobs = dict.fromkeys(labels.values(), math.log(mass / len(labels)))
        expected = expected_score(logprobs, labels)
        read = expected.verdict(MIN_MASS if limit is None else limit)
        asked = replace(ASKED, method="expected", sampling=Sampling(1.0, 1.0, 1, limit))
        stored = replace(asked, reply=expected.as_reply(), status=read.status, score=read.score, reason=read.reason)
        assert read.status == ("unreadable" if mass < (MIN_MASS if limit is None else limit) else "scored")
        assert verdict_problem(stored, RUBRIC) == ""
        other = expected.verdict(0.0 if read.status == "unreadable" else 0.9)
        swapped = replace(stored, status=other.status, score=other.score)
        older = limit is None and read.status == "unreadable"  # scored by a store from before the limit
        assert (verdict_problem(swapped, RUBRIC) == "") is older


@pytest.mark.parametrize(
    "reply", ["", "no JSON", '{"probabilities": {"1": 1}}', '{"probabilities": {"0": "x"}}', "[" * 9999]
)
def test_a_reply_without_the_scales_probabilities_gives_no_expected_score(reply: str) -> None:
    stored = replace(ASKED, method="expected", reply=reply, status="scored", score=4.0)
    assert "holds no probabilities of the scale" in verdict_problem(stored, RUBRIC)


@pytest.mark.parametrize(("reply", "score"), [("3", 3.0), ("True", 1.0), ("0.1234567891", 0.123456789)])
def test_a_reward_agrees_with_the_reply_that_was_stored(reply: str, score: float) -> None:
    stored = replace(ASKED, method="reward", rubric=None, sampling=None, reply=reply, status="scored", score=score)
    assert verdict_problem(stored, None) == ""
    assert "its reply says" in verdict_problem(replace(stored, score=score + 5), None)


def test_a_choice_agrees_with_its_reply_and_the_other_winner_does_not() -> None:
    rubric = load_pair_rubric("pairwise")
    reply = rubric.choices.answer.format(choice=rubric.choices.first)
    stored = Comparison("a", "b", "j", rubric.id, Sampling(1.0, 1.0, 8), 0, 1, reply, "decided", "", "a")
    assert comparison_problem(stored, rubric_of("pairwise", rubric.body())) == ""
    assert "decided a" in comparison_problem(replace(stored, winner="b"), rubric)
    assert "not one for two answers" in comparison_problem(stored, RUBRIC)


def test_a_rubric_comes_back_from_its_row_with_its_id() -> None:
    assert rubric_of("x", RUBRIC.body()).id == RUBRIC.id
    with pytest.raises((KeyError, TypeError, ValueError)):
        rubric_of("x", {"scale": [0]})
