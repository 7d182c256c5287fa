"""A stored verdict against its own reply: the rubric's rules are applied to the judge's words again.

Whether a reply ended or was cut at max_tokens is not stored: a verdict agrees where either reading gives it. Expected
scores are kept with probabilities of six decimals; a score agrees where those round to it. Left out: a reward function,
which is not run, and scores that came from a file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from toolkit.judgments.choice import Choices, parse_choice
from toolkit.judgments.rubric import PairRubric, Rubric
from toolkit.judgments.verdict import parse_verdict
from toolkit.records import MIN_MASS, Comparison, Finish, Judgment

ENDS: tuple[Finish, ...] = ("stop", "length")
HALF = 5e-7  # of the last decimal of a stored probability
NOT_RUN = "scores of reward functions, which are compared with their stored reply and not run again"
FROM_FILE = "scores that were read from a file"
TOO_SMALL = "expected scores whose labels have too little probability for six decimals"


def rubric_of(name: str, body: Mapping[str, Any]) -> Rubric | PairRubric:
    """The rubric that a row of the store holds. Raises KeyError, TypeError or ValueError where it holds none."""
    if "choices" in body:
        choices = Choices(str(body["answer"]), *(str(word) for word in body["choices"]))
        return PairRubric(name, choices, str(body["system"]), str(body["user"]))
    low, high = (int(point) for point in body["scale"])
    return Rubric(name, (low, high), str(body["lead"]), str(body["system"]), str(body["user"]))


def unchecked(judgment: Judgment) -> str:
    """Why this verdict's score cannot be computed again, empty where it can."""
    if judgment.method == "given":
        return FROM_FILE
    if judgment.method == "reward":
        return NOT_RUN
    if judgment.method == "expected" and judgment.status == "scored" and _mass(judgment.reply or "") <= 20 * HALF:
        return TOO_SMALL
    return ""


def verdict_problem(judgment: Judgment, rubric: Rubric | PairRubric | None) -> str:
    """How the stored verdict contradicts its reply; empty where it follows from it."""
    if judgment.method == "given":
        return ""  # the score is part of the id
    if judgment.method == "reward":
        return _reward_problem(judgment)
    if not isinstance(rubric, Rubric):
        return "its rubric is not in the store, or not one for scores"
    if not judgment.reply and judgment.status == "unreadable" and judgment.score is None:
        return ""  # the prompt did not fit the engine, so the judge was not asked
    if judgment.method == "expected":
        return _expected_problem(judgment, rubric)
    read = [parse_verdict(judgment.reply or "", end, rubric.scale, rubric.lead) for end in ENDS]
    if any((verdict.status, verdict.score) == (judgment.status, judgment.score) for verdict in read):
        return ""
    return f"stored as {_said(judgment.status, judgment.score)}, its reply says {_said(read[0].status, read[0].score)}"


def comparison_problem(comparison: Comparison, rubric: Rubric | PairRubric | None) -> str:
    """The same for the choice between two answers."""
    if not isinstance(rubric, PairRubric):
        return "its rubric is not in the store, or not one for two answers"
    sides = {"first": comparison.first, "second": comparison.second, None: None}
    read = [parse_choice(comparison.reply or "", end, rubric.choices) for end in ENDS]
    if any((choice.status, sides[choice.side]) == (comparison.status, comparison.winner) for choice in read):
        return ""
    stored = _said(comparison.status, comparison.winner)
    return f"stored as {stored}, its reply says {_said(read[0].status, sides[read[0].side])}"


def _reward_problem(judgment: Judgment) -> str:
    text = {"True": "1", "False": "0"}.get(judgment.reply or "", judgment.reply or "")
    try:
        value = round(float(text), 9)
    except ValueError:  # a number of another library, which has its own words for itself
        return ""
    agrees = judgment.score is None or judgment.score == value
    return "" if agrees else f"stored as {_said(judgment.status, judgment.score)}, its reply says {value:g}"


def _expected_problem(judgment: Judgment, rubric: Rubric) -> str:
    stored, kept = _said(judgment.status, judgment.score), _probabilities(judgment.reply or "")
    low, high = rubric.scale
    if not rubric.single_digit or set(kept) != {str(point) for point in range(low, high + 1)}:
        return f"stored as {stored}, its reply holds no probabilities of the scale {low}-{high}"
    if None in kept.values():
        return "" if judgment.status == "unreadable" else f"stored as {stored}, its reply lacks probabilities"
    points = {int(label): p for label, p in kept.items() if p is not None}
    total, slack = sum(points.values()), len(points) * HALF
    limit = judgment.sampling.min_mass if judgment.sampling else None
    if judgment.status != "scored" or judgment.score is None:
        least = MIN_MASS if limit is None else limit
        return "" if total <= slack + least else f"stored as {stored}, its reply has probabilities"
    if limit is not None and total < limit - slack:  # older stores hold scores below the default limit
        return f"stored as {stored}, the probabilities of its reply are below judge.min_mass = {limit:g}"
    if not low <= judgment.score <= high:
        return f"stored as {stored}, outside the scale {low}-{high}"
    if total <= 2 * slack:
        return ""
    mean = sum(point * p for point, p in points.items()) / total
    most = HALF * sum(abs(point - mean) for point in points) / (total - slack) + 1e-9
    return "" if abs(judgment.score - mean) <= most else f"stored as {stored}, its reply says {mean:.6f}"


def _probabilities(reply: str) -> dict[str, float | None]:
    """Label -> probability, None where it was not finite; empty where the reply holds something else."""
    try:
        kept = json.loads(reply)["probabilities"]
        return {label: None if p is None else _probability(p) for label, p in kept.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _probability(value: float) -> float:
    if isinstance(value, bool) or not math.isfinite(value) or value < 0:
        raise ValueError(f"{value!r} is not a probability")
    return float(value)


def _mass(reply: str) -> float:
    return sum(p or 0 for p in _probabilities(reply).values())


def _said(status: str | None, value: float | str | None) -> str:
    return str(status) if value is None else f"{status} {value}"
