"""Tokens drawn by seed and position: a race in two heats, the rows of a batch together.

A token that weighs w arrives at a time that is exponential with rate w; the first one is drawn. Blocks of tokens race
first, each with the weight of all its tokens, then the tokens of the winning block: the same distribution, and 448
random numbers a race in place of 49,152. In a race a rounding error changes the winner only where two arrive together,
so a seed gives the same text whichever requests share its batch; a cumulated sum would be passed on by every token.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

BLOCK = 256


def noise(seeds: Sequence[int], positions: Sequence[int], size: int) -> Tensor:
    """Exponential numbers (rows, size), float64: Philox of NumPy, whose bits a key and a counter fix for good."""
    counters = [[0, 0, 0, position] for position in positions]
    raw = [np.random.Philox(key=seed, counter=at).random_raw(size) for seed, at in zip(seeds, counters, strict=True)]
    uniform = ((np.stack(raw) >> np.uint64(12)) + 0.5) * 2.0**-52  # never 0, never 1
    return torch.from_numpy(-np.log(uniform))


def numbers(vocabulary: int) -> int:
    """How many random numbers `choose` takes for a row."""
    return 2 * (-(-vocabulary // BLOCK) + BLOCK)


def choose(logits: Tensor, top_p: Tensor, random: Tensor) -> Tensor:
    """The drawn token of each row. logits: (rows, vocabulary), over the temperature; random: (rows, `numbers` of it).

    top_p: (rows,). Below 1 only the nucleus counts, the tokens than which the more probable ones weigh less than top_p
    together, equal ones included. A first draw from all that falls into it is a draw from it; else there is a second.
    """
    first, second = random.chunk(2, -1)
    weights = (logits - logits.amax(-1, keepdim=True)).exp_()
    chosen, cut = _race(weights, first), (top_p < 1).nonzero()[:, 0]
    if len(cut):
        some = weights[cut]
        likelier = some.where(some > some.gather(-1, chosen[cut, None]), 0).sum(-1)
        out = cut[likelier >= top_p[cut] * some.sum(-1)]
        chosen[out] = _race(_nucleus(weights[out], top_p[out]), second[out])
    return chosen


def _race(weights: Tensor, random: Tensor) -> Tensor:
    blocks = torch.nn.functional.pad(weights, (0, -weights.shape[-1] % BLOCK)).unflatten(-1, (-1, BLOCK))
    among, inside = random.split([blocks.shape[1], BLOCK], -1)
    block = (blocks.sum(-1) / among).argmax(-1)
    return block * BLOCK + (blocks[torch.arange(len(block)), block] / inside).argmax(-1)


def _nucleus(weights: Tensor, top_p: Tensor) -> Tensor:
    ordered = weights.sort(descending=True).values
    until = ordered.double().cumsum(-1)
    likelier = (until - ordered).where(ordered != ordered.roll(1, -1), 0).cummax(-1).values  # equal ones stay together
    least = ordered.where(likelier < (top_p * until[:, -1])[:, None], torch.inf).amin(-1, keepdim=True)
    return weights.where(weights >= least, 0)
