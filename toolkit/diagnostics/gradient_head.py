"""The output embedding: log-probabilities of the answers and their gradients, pair by pair, at answer tokens only.

For logits h W^T the gradient of log pi(token) with respect to the logits is G = 1[token] - softmax, so no graph is kept
over the vocabulary. Where input and output embeddings are one table, its gradient is G^T H + E, where E gathers the
gradients e of the input embeddings by token id, and <G^T H, E> = sum over t, s of G[t, id of s] (h_t . e_s): the
columns of G that are ids of the pair's inputs are all that is kept until E is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from toolkit.diagnostics import gradient_forms as forms
from toolkit.diagnostics.gradient_sum import Total
from toolkit.diagnostics.sequences import Sides

Tensor = Any


@dataclass(frozen=True)
class Kept:
    """Of one pair: features at answer tokens, and the columns of G of all its input ids, chosen then rejected."""

    features: forms.Two
    columns: forms.Two


class Head:
    """Fills `gradient`, of the body's features; adds up products in `found` and `kept` where they are counted.

    total, key: where the sum of the pairs' gradients is kept, and as which module's, if it is asked for.
    """

    def __init__(self, module: Any, features: Tensor, *, counted: bool, tied: bool) -> None:
        self.module, self.features = module, features.detach()
        self.counted, self.tied = counted, tied
        self.gradient = torch.zeros_like(self.features)
        self.found: list[Tensor] = []
        self.kept: list[Kept] = []
        self.total: Total | None = None
        self.key = 0

    def run(self, pairs: list[Sides]) -> None:
        for place, pair in enumerate(pairs):
            rows = (place, pair.chosen), (place + len(pairs), pair.rejected)
            spots = [(row, slice(max(pair.prompt, 1) - 1, len(tokens) - 1)) for row, tokens in rows]
            self._pair(pair, spots)

    def _pair(self, pair: Sides, spots: list[tuple[int, slice]]) -> None:
        features = torch.cat([self.features[row, span] for row, span in spots])
        sizes = [span.stop - span.start for _, span in spots]
        answers = [tokens[max(pair.prompt, 1) :] for tokens in (pair.chosen, pair.rejected)]
        g = toward(self.module(features), torch.tensor(answers[0] + answers[1], device=features.device))
        for (row, span), part in zip(spots, (g.to(features.dtype) @ self.module.weight).split(sizes), strict=True):
            self.gradient[row, span] = part
        if self.counted:
            self._count(pair, features.float().split(sizes), g.split(sizes))

    def _count(self, pair: Sides, features: forms.Two, g: forms.Two) -> None:
        inputs, outputs = (features[0][None], features[1][None]), (g[0][None], g[1][None])
        self.found.append(forms.weight(inputs, outputs))
        if self.total is not None:
            signs = torch.cat([g[0], -g[1]])
            self.total.add_product((self.key, "weight"), signs, torch.cat(features))
            if self.module.bias is not None:
                self.total.add_vector((id(self.module), "bias"), signs)
        if self.module.bias is not None:
            self.found[-1] = self.found[-1] + forms.dots(outputs[0].sum(1), outputs[1].sum(1))
        if self.tied:
            ids = torch.tensor(pair.chosen[:-1] + pair.rejected[:-1], device=g[0].device)
            self.kept.append(Kept(features, (g[0][:, ids], g[1][:, ids])))


def toward(logits: Tensor, tokens: Tensor) -> Tensor:
    """Gradient of the sum of the tokens' log-probabilities with respect to the logits, in place of them."""
    g = torch.softmax(logits.float(), -1).neg_()
    g[torch.arange(len(tokens), device=g.device), tokens] += 1
    return g


def cross(kept: Kept, table: forms.Two) -> Tensor:
    """What a shared table adds to the products beside |G^T H|^2 and |E|^2, from a pair's embedding gradients."""
    split = len(table[0])
    both = torch.cat(table)
    sums = [
        (columns * (features @ both.T)).double().sum(0)
        for features, columns in zip(kept.features, kept.columns, strict=True)
    ]
    (ww, wl), (lw, ll) = ((one[:split].sum(), one[split:].sum()) for one in sums)
    return torch.stack([2 * ww, 2 * ll, wl + lw])
