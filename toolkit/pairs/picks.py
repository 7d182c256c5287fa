"""Picks: one answer per prompt, what selection makes of pools and pairing makes pairs of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from toolkit.judgments.judge import Pool, Scored
from toolkit.records import Response


@dataclass(frozen=True)
class Unscored:
    """An answer that takes its side without a verdict: a label, or SPIN's own answer."""

    response: Response
    score: None = None


@dataclass(frozen=True)
class Picks:
    """One answer per prompt, or none where no answer of its pools has a score. judge: None where nobody judged.

    A plan picks nobody yet; `asked` tells from what and how it will be picked.
    """

    judge: str | None
    by_prompt: Mapping[str, Scored | Unscored | None]
    planned: bool
    asked: str = ""
    pools: tuple[Pool, ...] = ()  # that the answers were selected from; none for labels


def in_tie_order(candidates: Sequence[Scored], ties: str) -> Sequence[Scored]:
    """Candidates so ordered that the first of equal score is the one the rule wants."""
    if ties == "first":
        return candidates
    sign = 1 if ties == "shortest" else -1
    return sorted(candidates, key=lambda scored: sign * len(scored.response.text or ""))


def in_draw_order(candidates: Sequence[Scored]) -> list[Scored]:
    """Answers of a pool in an order that the stored rows always give."""
    return sorted(candidates, key=lambda scored: (scored.response.draw, scored.response.id))
