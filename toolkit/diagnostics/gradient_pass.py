"""Products of per-answer gradients for a whole batch of pairs, from one forward and one backward pass.

No parameter requires a gradient: the input embeddings are a leaf that does, so no weight's gradient is ever formed.
Each layer's input is kept until the gradient of its output arrives; the two are reduced to three numbers a pair
(gradient_forms.py) and freed; where a Total is given, their product with the sides' signs goes into it first
(gradient_sum.py). Both answers enter with a positive sign: rows of a batch do not meet, so the gradient of
chosen minus rejected follows from the products.

No attention mask is given: padding stands at the right of causal models, where no token sees it, its gradient is zero.
The last token of an answer predicts nothing and is no input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from toolkit.diagnostics import gradient_forms as forms
from toolkit.diagnostics.gradient_head import Head, cross
from toolkit.diagnostics.gradient_parts import Part, block_list, embedding_factor, is_tied, unit
from toolkit.diagnostics.gradient_sum import Total, signed
from toolkit.diagnostics.sequences import Sides

Tensor = Any
Where = tuple[str, str]  # layer, group
TOGETHER = 4  # pairs of a batch that a CPU cuts to one length; a GPU takes all of them at once


@dataclass(frozen=True)
class Batch:
    """Inputs of the chosen answers, then those of the rejected ones, padded at the right."""

    pairs: list[Sides]
    ids: Tensor
    chunks: tuple[forms.Chunk, ...]


@dataclass
class Found:
    """Products by layer and group, [pairs, 3], and the layer inputs that still wait for their gradients.

    total: where the sum of all pairs' gradients is kept, if it is asked for.
    """

    batch: Batch
    total: Total | None = None
    by_place: dict[Where, Tensor] = field(default_factory=dict)
    waiting: dict[int, forms.Inputs] = field(default_factory=dict)

    def add(self, part: Part, products: Tensor) -> None:
        self.by_place[part.where] = self.by_place.get(part.where, 0.0) + products

    def watch(self, part: Part) -> Any:
        return part.module.register_forward_hook(partial(HOOKS[part.kind], self, part))

    def keep_linear(self, part: Part, _: Any, args: tuple[Tensor], output: Tensor) -> None:
        inputs = self.waiting.setdefault(id(args[0]), forms.Inputs(args[0]))
        inputs.add_user()
        output.register_hook(partial(self._linear, part, inputs))

    def keep_scale(self, part: Part, _: Any, args: tuple[Tensor], output: Tensor) -> None:
        inputs = self.waiting.setdefault(id(args[0]), forms.Inputs(args[0]))
        inputs.add_user()
        output.register_hook(partial(self._scale, part, inputs))

    def make_leaf(self, part: Part, _: Any, args: tuple[Tensor], output: Tensor) -> Tensor:
        """The embeddings once for each row, as they may be given once for all (positions)."""
        rows = len(self.batch.ids)
        leaf = output.expand(rows, -1, -1).clone().requires_grad_(True)
        leaf.register_hook(partial(self._table, part, args[0].expand(rows, -1)))
        return leaf

    def _linear(self, part: Part, inputs: forms.Inputs, gradient: Tensor) -> None:
        self.add(part, forms.linear(inputs, gradient, self.batch.chunks))
        if self.total is not None:
            self.total.add_product((id(part.module), "weight"), signed(gradient), inputs.rows)
            if part.module.bias is not None:
                self.total.add_vector((id(part.module), "bias"), signed(gradient))
        if part.module.bias is not None:
            self.add(part, forms.vector(gradient))
        inputs.done()

    def _scale(self, part: Part, inputs: forms.Inputs, gradient: Tensor) -> None:
        scaled = unit(part.module, inputs.rows) * gradient
        self.add(part, forms.vector(scaled))
        if has_bias := getattr(part.module, "bias", None) is not None:
            self.add(part, forms.vector(gradient))
        if self.total is not None:
            self.total.add_vector((id(part.module), "weight"), signed(scaled))
            if has_bias:
                self.total.add_vector((id(part.module), "bias"), signed(gradient))
        inputs.done()

    def _table(self, part: Part, ids: Tensor, gradient: Tensor) -> None:
        gathered = of_table(part.module, ids, gradient)
        self.add(part, forms.embedding(gathered, ids, self.batch.chunks))
        if self.total is not None:
            self.total.add_rows((id(part.module), "weight"), part.module.weight, ids, signed(gathered))


HOOKS = {"linear": Found.keep_linear, "scale": Found.keep_scale, "embedding": Found.make_leaf}


def batch_of(pairs: list[Sides], device: Any) -> Batch:
    rows = [torch.tensor(tokens[:-1]) for tokens in [pair.chosen for pair in pairs] + [pair.rejected for pair in pairs]]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(device)
    step = TOGETHER if ids.device.type == "cpu" else len(pairs)
    return Batch(pairs, ids, tuple(_chunk(pairs, first, step) for first in range(0, len(pairs), step)))


def _chunk(pairs: list[Sides], first: int, step: int) -> forms.Chunk:
    some = pairs[first : first + step]
    chosen, rejected = max(len(pair.chosen) for pair in some) - 1, max(len(pair.rejected) for pair in some) - 1
    return forms.Chunk(len(pairs), first, first + len(some), chosen, rejected)


def products(model: Any, wanted: Sequence[Part], batch: Batch, total: Total | None = None) -> dict[Where, Tensor]:
    """[pairs, 3] for each layer and group: chosen . chosen, rejected . rejected, chosen . rejected.

    total: the sum of the batch's gradients, chosen minus rejected, is added to it.
    """
    found = Found(batch, total)
    table = next((part for part in wanted if part.kind == "input"), None)
    start, features = _forward(model, wanted, found)
    tied = is_tied(model)
    head = Head(model.get_output_embeddings(), features, counted=table is not None, tied=tied)
    if total is not None and table is not None:
        head.total = total
        head.key = id(table.module) if tied else id(head.module)
    head.run(batch.pairs)
    torch.autograd.backward(features, head.gradient)
    if table is not None:
        _add_tables(found, table, next((part for part in wanted if part.kind == "head"), table), head, start.grad)
    return found.by_place


def _forward(model: Any, wanted: Sequence[Part], found: Found) -> tuple[Tensor, Tensor]:
    """The body's features, each part watched; what precedes the parts that are wanted has no graph."""
    handles = [found.watch(part) for part in wanted if part.kind in HOOKS]
    start = model.get_input_embeddings()(found.batch.ids).detach()
    if any(part.kind == "input" for part in wanted):
        start.requires_grad_(True)
    else:
        first = block_list(model)[1][int(wanted[0].layer)]
        handles.append(first.register_forward_pre_hook(_begin, with_kwargs=True))
    try:
        features = model.base_model(inputs_embeds=start, use_cache=False).last_hidden_state
    finally:
        for handle in handles:
            handle.remove()
    found.waiting.clear()
    return start, features


def _begin(_: Any, args: tuple[Any, ...], named: dict[str, Any]) -> None:
    (args[0] if args else named["hidden_states"]).requires_grad_(True)


def _add_tables(found: Found, table: Part, output: Part, head: Head, gradient: Tensor) -> None:
    """Both embeddings, which may be one: the squares of each, and what they have in common."""
    batch, pairs = found.batch, len(found.batch.pairs)
    found.add(output, torch.cat(head.found))
    gathered = of_table(table.module, batch.ids, gradient)
    found.add(table, forms.embedding(gathered, batch.ids, batch.chunks))
    if found.total is not None:
        found.total.add_rows((id(table.module), "weight"), table.module.weight, batch.ids, signed(gathered))
    if head.tied:
        places = enumerate(zip(head.kept, batch.pairs, strict=True))
        mixed = [
            cross(kept, (gathered[i, : len(pair.chosen) - 1], gathered[pairs + i, : len(pair.rejected) - 1]))
            for i, (kept, pair) in places
        ]
        found.add(table, torch.stack(mixed))


def of_table(module: Any, ids: Tensor, gradient: Tensor) -> Tensor:
    """What reaches the table's rows. The row of `padding_idx` is never trained by being read."""
    made = gradient.float() * embedding_factor(module, ids)
    return made if module.padding_idx is None else made.masked_fill((ids == module.padding_idx)[..., None], 0.0)
