"""The scores of a selection as arrays: dealt out anew to its pools, and the rules of selection.py on them.

For chance.py, which selects thousands of times. A rule gives on an undealt block what selection.py gives on its pools.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from toolkit.errors import InputError
from toolkit.judgments.judge import SCORE_DIGITS, Pool, Scored
from toolkit.pairs.picks import in_draw_order
from toolkit.pairs.rejected_side import EQUAL_DISTANCE, draw_seed


@dataclass(frozen=True)
class Block:
    """Prompts with equally many answers in each pool. scores, lengths: prompts x answers, pool after pool."""

    scores: Any
    lengths: Any
    pool: Any  # of each answer, its number
    seeds: Any  # of each prompt, for the random rule; its position stays when scores are dealt out


@dataclass(frozen=True)
class Side:
    """How a side selects. pools: in the order in which an earlier pool keeps a tie.

    rule: "best", or one of `Pairs.rejected`. rho: length control of "best" and "worst". ties: inside a pool.
    """

    pools: tuple[int, ...]
    rule: str
    rho: float | None
    ties: str


def blocks_of(pools: Sequence[Pool], prompts: Sequence[str]) -> list[Block]:
    """The answers of all pools, prompts with equal numbers of answers together."""
    import numpy as np

    rows: dict[tuple[int, ...], list[tuple[str, list[Scored]]]] = {}
    for prompt in sorted(prompts):
        answers = [in_draw_order(pool.candidates.get(prompt, ())) for pool in pools]
        rows.setdefault(tuple(map(len, answers)), []).append((prompt, [answer for row in answers for answer in row]))
    blocks = []
    for sizes, group in sorted(rows.items()):
        scores = np.array([[answer.score for answer in row] for _, row in group], dtype=float)
        if not np.isfinite(scores).all():
            raise InputError("a score that is not finite", where="selection", remedy="judge these answers again")
        lengths = np.array([[len(answer.response.text or "") for answer in row] for _, row in group], dtype=float)
        seeds = np.array([draw_seed(pools[0].seed, prompt) for prompt, _ in group])
        blocks.append(Block(scores, lengths, np.repeat(np.arange(len(sizes)), sizes), seeds))
    return blocks


def deal(block: Block, generator: Any) -> Block:
    """The answers to each prompt in a random order, so that each pool gets as many as it had."""
    import numpy as np

    order = generator.random(block.scores.shape).argsort(axis=1)
    scores, lengths = (np.take_along_axis(values, order, axis=1) for values in (block.scores, block.lengths))
    return replace(block, scores=scores, lengths=lengths)


def select(block: Block, side: Side) -> tuple[Any, Any]:
    """The selected score and its pool, a prompt each."""
    import numpy as np

    columns = np.concatenate([np.flatnonzero(block.pool == pool) for pool in side.pools])
    scores, lengths = block.scores[:, columns], block.lengths[:, columns]
    if side.rule == "random":
        position = block.seeds % len(columns)
    elif side.rule == "mean_minus_2sd":
        position = _nearest_to_low(scores, lengths, block.pool[columns], side)
    else:
        position = _extreme(scores, lengths, side.rho, 1 if side.rule == "best" else -1)
    return scores[np.arange(len(scores)), position], block.pool[columns[position]]


def _extreme(scores: Any, lengths: Any, rho: float | None, sign: int) -> Any:
    """sign: 1 for the highest, -1 for the lowest."""
    import numpy as np

    scores = sign * scores
    if rho is None:
        return scores.argmax(axis=1)  # the first of equal ones: an earlier pool keeps a tie
    high, low = scores.max(axis=1, keepdims=True), scores.min(axis=1, keepdims=True)
    near = scores >= np.round((1 - rho) * high + rho * low, SCORE_DIGITS)
    return np.where(near, sign * lengths, np.inf).argmin(axis=1)


def _nearest_to_low(scores: Any, lengths: Any, pool: Any, side: Side) -> Any:
    """Of the scores nearest to mean - 2 sd the first by pool, then by `ties`."""
    import numpy as np

    target = scores.mean(axis=1, keepdims=True) - 2 * scores.std(axis=1, keepdims=True)  # numpy's sd: the population's
    distance = np.abs(scores - target)
    nearest = distance < distance.min(axis=1, keepdims=True) + EQUAL_DISTANCE
    preferred = {"first": 0, "shortest": 1, "longest": -1}[side.ties] * lengths
    number = np.array([side.pools.index(value) for value in pool])
    order = number * (2 * lengths.max() + 1) + preferred  # the pool first
    return np.where(nearest, order, np.inf).argmin(axis=1)
