"""Token sequences of two answers to one prompt, as the trainer sees them, and batches of like length.

No torch is needed here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Sides:
    """The tokens of prompt + answer + end for both answers; the first `prompt` tokens of each are the prompt's."""

    prompt: int
    chosen: tuple[int, ...]
    rejected: tuple[int, ...]

    @property
    def longest(self) -> int:
        return max(len(self.chosen), len(self.rejected))


def batches(pairs: Sequence[Sides], budget: int) -> Iterator[list[int]]:
    """Positions of pairs, longest first, in batches of at most `budget` tokens, padding included; one at least.

    Both sides of a pair lie in one batch. Longest first: whatever memory it takes is known at the start.
    """
    return packed([2 * pair.longest for pair in pairs], budget)


def packed(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Places of what has these lengths, longest first, so many that size times longest is at most `budget`."""
    order = sorted(range(len(lengths)), key=lambda place: (-lengths[place], place))
    while order:
        size = max(1, budget // lengths[order[0]])
        yield order[:size]
        order = order[size:]
