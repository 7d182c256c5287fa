"""Picks: one scored answer per prompt, what selection makes of pools and pairing makes pairs of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from toolkit.judgments.judge import Scored


@dataclass(frozen=True)
class Picks:
    """One scored answer per prompt, or none where no answer of its pools has a score."""

    judge: str
    by_prompt: Mapping[str, Scored | None]
    planned: bool
