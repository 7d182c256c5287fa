"""Total: the sum of many pairs' directional gradients, from the backward passes that give their norms, and coherence.

    coherence = norm of the mean gradient / mean of the norms = |sum g| / sum |g|,  between 0 and 1

With n orthogonal gradients of equal norm it is 1/sqrt(n). `if_swapped` is the root mean square of the same number if
the two sides of every pair were swapped at random, sqrt(sum |g|^2) / sum |g|: never below 1/sqrt(n), and above it
where norms differ.

Memory: one float32 number for each parameter whose gradient is counted, as much as the weights in float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch

Tensor = Any
Key = tuple[int, str]  # id of the module that owns the parameter, and the parameter's name there
SLICE = 2**20  # numbers that are held in float64 at a time


@dataclass
class Total:
    """Sums of chosen minus rejected, by parameter, and the norms of the pairs that are in them."""

    sums: dict[Key, Tensor] = field(default_factory=dict)
    norms: list[float] = field(default_factory=list)
    value: float | None = None  # the coherence
    if_swapped: float | None = None

    def add_product(self, key: Key, outputs: Tensor, inputs: Tensor) -> None:
        """outputs^T inputs: [tokens, out] and [tokens, in], already signed."""
        rows, columns = outputs.shape[-1], inputs.shape[-1]
        known = self._sum(key, (rows, columns), outputs.device)
        known.addmm_(outputs.reshape(-1, rows).float().T, inputs.reshape(-1, columns).float())

    def add_vector(self, key: Key, rows: Tensor) -> None:
        """The sum over all but the last dimension."""
        self._sum(key, rows.shape[-1:], rows.device).add_(rows.reshape(-1, rows.shape[-1]).float().sum(0))

    def add_rows(self, key: Key, table: Tensor, ids: Tensor, rows: Tensor) -> None:
        """Each of the rows to that row of the table which its id names."""
        known = self._sum(key, tuple(table.shape), rows.device)
        known.index_add_(0, ids.reshape(-1), rows.reshape(-1, rows.shape[-1]).float())

    def add_whole(self, key: Key, gradient: Tensor) -> None:
        """The gradient of a whole parameter."""
        self._sum(key, tuple(gradient.shape), gradient.device).add_(gradient)

    def cosine(self, other: Total) -> float | None:
        """Between the two sums, before they are settled. None where one of them is zero."""
        product, squares = 0.0, [0.0, 0.0]
        for key in self.sums.keys() | other.sums.keys():
            mine, theirs = self.sums.get(key), other.sums.get(key)
            for place, tensor in enumerate((mine, theirs)):
                if tensor is not None:
                    squares[place] += sum(float(part.double().square().sum()) for part in tensor.flatten().split(SLICE))
            if mine is not None and theirs is not None:
                parts = zip(mine.flatten().split(SLICE), theirs.flatten().split(SLICE), strict=True)
                product += sum(float((a.double() * b.double()).sum()) for a, b in parts)
        return product / math.sqrt(squares[0] * squares[1]) if all(squares) else None

    def settle(self) -> None:
        """Compute `value` and `if_swapped`, and free the sums. Both are None where no norm is above zero."""
        whole = math.fsum(self.norms)
        if any(self.norms):
            parts = (known.flatten().split(SLICE) for known in self.sums.values())
            square = sum(float(part.double().square().sum()) for slices in parts for part in slices)
            self.value = math.sqrt(square) / whole
            self.if_swapped = math.sqrt(math.fsum(norm * norm for norm in self.norms)) / whole
        self.sums.clear()

    def _sum(self, key: Key, shape: tuple[int, ...], device: Any) -> Tensor:
        if key not in self.sums:
            self.sums[key] = torch.zeros(shape, dtype=torch.float32, device=device)
        return self.sums[key]


def signed(rows: Tensor) -> Tensor:
    """Rows of a batch, the second half of which is the rejected answers', with their sign."""
    half = len(rows) // 2
    return torch.cat([rows[:half], -rows[half:]])
