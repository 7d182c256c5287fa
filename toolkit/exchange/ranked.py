"""Rows with many rated answers: the best against the worst, of equal ones the first.

UltraFeedback gave overall_score 10 to some answers that meant 1 (https://github.com/OpenBMB/UltraFeedback/issues/8), so
the mean of the fine-grained ratings ranks, and overall_score only where fewer than two answers have such a mean: the
two scales are never mixed. Left out: custom_system_prompt, which differs between the answers of one instruction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.exchange.rows import Flaw, Row, Said, number, text_of
from toolkit.exchange.turns import prompt_of, system_of


@dataclass(frozen=True)
class Rated:
    """An answer that has a text and a score."""

    text: str
    score: float
    model: str | None


def completions(row: Row) -> Said:
    """UltraFeedback raw: instruction, and completions with response, model, annotations and overall_score."""
    answers = [answer for answer in _list(row, "completions") if isinstance(answer, Mapping)]
    scores = [_fine_grained(answer) for answer in answers]
    if sum(score is not None for score in scores) < 2:
        scores = [number(answer.get("overall_score")) for answer in answers]
    texts, models = ([answer.get(name) for answer in answers] for name in ("response", "model"))
    return _extremes(row, texts, scores, models)


def generations(row: Row) -> Said:
    """distilabel: instruction or prompt, generations, ratings, and perhaps generation_models."""
    texts, ratings = _list(row, "generations"), _list(row, "ratings")
    models = _list(row, "generation_models") if row.get("generation_models") else [None] * len(texts)
    if len({len(texts), len(ratings), len(models)}) != 1:
        counts = f"{len(texts)} generations, {len(ratings)} ratings, {len(models)} generation_models"
        raise Flaw("missing_field", counts)
    return _extremes(row, texts, [number(rating) for rating in ratings], models)


def _fine_grained(answer: Row) -> float | None:
    annotations = answer.get("annotations")
    aspects = annotations.values() if isinstance(annotations, Mapping) else ()
    ratings = [number(aspect.get("Rating")) for aspect in aspects if isinstance(aspect, Mapping)]
    known = [rating for rating in ratings if rating is not None]
    return number(sum(known) / len(known)) if known else number(answer.get("fine-grained_score"))


def _extremes(row: Row, texts: Sequence[Any], scores: Sequence[float | None], models: Sequence[Any]) -> Said:
    prompt = prompt_of(row)
    if not isinstance(prompt, str):
        raise Flaw("missing_field", "no text under 'instruction' or 'prompt'")
    rated = [
        Rated(text, score, text_of(model))
        for text, score, model in zip(texts, scores, models, strict=True)
        if isinstance(text, str) and score is not None
    ]
    if len(rated) < 2:
        raise Flaw("missing_field", f"{len(rated)} of {len(texts)} answers have a text and a score")
    best, worst = max(rated, key=lambda it: it.score), min(rated, key=lambda it: it.score)
    if best.score == worst.score:
        raise Flaw("not_ordered", f"all {len(rated)} answers score {best.score:g}")
    turns = (*system_of(row), ("user", prompt))
    return Said(turns, (best.text, worst.text), (best.score, worst.score), (best.model, worst.model))


def _list(row: Row, name: str) -> list[Any]:
    value = row.get(name)
    if not isinstance(value, list):
        raise Flaw("missing_field", f"no list under {name!r}")
    return value
