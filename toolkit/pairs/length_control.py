"""Length control of Meta-Rewarding (arXiv 2407.19594, section 2.2): among answers scored alike, length decides.

    chosen    the shortest answer scoring in [(1 - rho) S_max + rho S_min, S_max]
    rejected  the longest answer scoring in  [S_min, (1 - rho) S_min + rho S_max]

S_max and S_min are those of a prompt over the pools of that side. rho = 0 is the plain rule of selection.py, with the
shortest or longest of equal score; below 0.5 the two ranges do not meet. A recipe says rho as `pairs.length_control`.
Length is in characters. At equal length an earlier pool and an earlier draw win, whatever the pools' `ties`.
Left out: a rho per iteration.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from toolkit.judgments.judge import SCORE_DIGITS, Pool, Scored
from toolkit.pairs.picks import Picks


def shortest_near(high: Picks, low: Picks, pools: Sequence[Pool]) -> Picks:
    """The shortest of the answers to each prompt that score near the highest."""
    return _first(high, low, pools, _characters)


def longest_near(low: Picks, high: Picks, pools: Sequence[Pool]) -> Picks:
    """The longest of the answers to each prompt that score near the lowest."""
    return _first(low, high, pools, lambda scored: -_characters(scored))


def _first(near: Picks, far: Picks, pools: Sequence[Pool], rank: Callable[[Scored], int]) -> Picks:
    """The first by rank of the answers whose score lies from `near` at most rho of the way to `far`."""
    by_prompt, rho = {}, pools[0].rho or 0.0
    for prompt, end in near.by_prompt.items():
        other = far.by_prompt[prompt]
        low, high = (1.0, 0.0)  # empty
        if isinstance(end, Scored) and isinstance(other, Scored):
            low, high = _range(end.score, other.score, rho)
        scored = [answer for pool in pools for answer in pool.candidates.get(prompt, ())]
        inside = [answer for answer in scored if low <= answer.score <= high]
        by_prompt[prompt] = min(inside, key=rank, default=None)
    return replace(near, by_prompt=by_prompt)


def _range(end: float, other: float, rho: float) -> tuple[float, float]:
    """From `end` rho of the way to `other`, low before high."""
    # Rounded as scores are: 0.75 * 4.7 + 0.25 * 0.3 comes out as 3.6000000000000005, which would bar a score of 3.6.
    edge = round((1 - rho) * end + rho * other, SCORE_DIGITS)
    return min(end, edge), max(end, edge)


def _characters(scored: Scored) -> int:
    return len(scored.response.text or "")
