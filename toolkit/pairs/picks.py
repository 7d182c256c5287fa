"""Picks: one answer per prompt, what selection makes of pools and pairing makes pairs of."""

from __future__ import annotations

from collections.abc import Mapping
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
