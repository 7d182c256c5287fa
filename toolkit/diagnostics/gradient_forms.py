"""What a layer adds to squared norms and dot product of two gradients, from its inputs A and output gradients G.

One example is one answer: its gradient of a weight is G^T A, summed over tokens. For both answers of a pair each form
returns (chosen . chosen, rejected . rejected, chosen . rejected) in float64, shape [pairs, 3]; these add over layers.

    linear     sum((A A^T) * (G G^T)) over token pairs, or |G^T A|^2 with the product formed a few rows at a time
    vector     the sum over tokens, for biases and elementwise scales
    embedding  sum over token pairs with the same id of g . g'

Goodfellow, "Efficient Per-Example Gradient Computations" (arXiv 1510.01799), has the first for one token an example.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

Tensor = Any
Two = tuple[Tensor, Tensor]  # of the chosen and of the rejected answers, [pairs, tokens, features]
Three = tuple[Tensor, Tensor, Tensor]

EXPLICIT = 2.0  # one thread of an EPYC: G^T A 45 to 60 GFLOP/s, being written and read again; Gram matrices 95
ROOM = 2**19  # numbers of a G^T A that are formed at a time: both sides stay in a core's cache


@dataclass(frozen=True)
class Chunk:
    """Some pairs of a batch of `pairs`, cut to their longest chosen and rejected input."""

    pairs: int
    first: int
    last: int
    chosen: int
    rejected: int

    def of(self, rows: Tensor) -> Two:
        """Of a batch whose first half of rows is the chosen answers', its second half the rejected ones'."""
        rejected = rows[self.pairs + self.first : self.pairs + self.last, : self.rejected]
        return _wide(rows[self.first : self.last, : self.chosen]), _wide(rejected)


@dataclass
class Inputs:
    """The input of one or more layers (q, k and v share theirs), kept until the last of them has had its gradient."""

    rows: Tensor
    users: int = 0
    left: int = 0
    grams: dict[Chunk, Three] = field(default_factory=dict)

    def gram(self, chunk: Chunk) -> Three:
        if chunk not in self.grams:
            self.grams[chunk] = gram(chunk.of(self.rows))
        return self.grams[chunk]

    def add_user(self) -> None:
        self.users, self.left = self.users + 1, self.left + 1

    def done(self) -> None:
        self.left -= 1
        if not self.left:
            self.rows, self.grams = None, {}


def linear(inputs: Inputs, gradients: Tensor, chunks: Sequence[Chunk]) -> Tensor:
    """Of a layer's weight, by the cheaper form for each chunk. The inputs' Gram matrix is shared by their users."""
    return torch.cat(
        [
            weight(chunk.of(inputs.rows), chunk.of(gradients), inputs.users, partial(inputs.gram, chunk))
            for chunk in chunks
        ]
    )


def weight(inputs: Two, gradients: Two, users: int = 1, known: Callable[[], Three] | None = None) -> Tensor:
    if gram_is_cheaper((inputs[0].shape[1], inputs[1].shape[1]), inputs[0].shape[2], gradients[0].shape[2], users):
        return contract(known() if known else gram(inputs), gram(gradients))
    return explicit(inputs, gradients)


def gram_is_cheaper(tokens: tuple[int, int], inputs: int, outputs: int, users: int = 1) -> bool:
    """Multiplications of three token-by-token blocks, of A (a user's share of it) and G, against those of G^T A."""
    chosen, rejected = tokens
    blocks = chosen * chosen + rejected * rejected + chosen * rejected
    return blocks * (inputs / users + outputs) < EXPLICIT * (chosen + rejected) * inputs * outputs


def gram(sides: Two) -> Three:
    chosen, rejected = sides
    return chosen @ chosen.mT, rejected @ rejected.mT, chosen @ rejected.mT


def contract(one: Three, other: Three) -> Tensor:
    """Sums over token pairs of the products of two Gram matrices."""
    return torch.stack([_dot(a, b) for a, b in zip(one, other, strict=True)], -1)


def explicit(inputs: Two, gradients: Two) -> Tensor:
    """The same by forming G^T A, as many of its rows at a time as ROOM has place for."""
    return sum(dots(*(g.mT @ a for a, g in zip(inputs, some, strict=True))) for some in _columns(gradients, inputs[0]))


def _columns(gradients: Two, inputs: Tensor) -> Iterator[Two]:
    pairs, _, features = inputs.shape
    step = max(1, ROOM // (pairs * features))
    for start in range(0, gradients[0].shape[-1], step):
        yield gradients[0][..., start : start + step], gradients[1][..., start : start + step]


def vector(rows: Tensor) -> Tensor:
    """Of what has one number a feature, from its gradient at every token: [rows, ..., features]."""
    summed = _wide(rows).flatten(1, -2).sum(1)
    pairs = len(summed) // 2
    return dots(summed[:pairs], summed[pairs:])


def embedding(gradients: Tensor, ids: Tensor, chunks: Sequence[Chunk]) -> Tensor:
    """Of a table whose row `id` gathers the gradients of all tokens with that id, on both sides."""
    return torch.cat([contract(_same(chunk.of(ids)), gram(chunk.of(gradients))) for chunk in chunks])


def _same(ids: Two) -> Three:
    chosen, rejected = (side[:, :, None] for side in ids)
    return tuple((a == b.mT).float() for a, b in ((chosen, chosen), (rejected, rejected), (chosen, rejected)))


def dots(chosen: Tensor, rejected: Tensor) -> Tensor:
    return torch.stack([_dot(chosen, chosen), _dot(rejected, rejected), _dot(chosen, rejected)], -1)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return torch.linalg.vecdot(a.flatten(1), b.flatten(1)).double()


def _wide(rows: Tensor) -> Tensor:
    return rows.float() if rows.dtype in (torch.bfloat16, torch.float16) else rows
