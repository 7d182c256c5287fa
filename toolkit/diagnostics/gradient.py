"""The directional gradient of a pair: grad log pi(chosen | prompt) - grad log pi(rejected | prompt), exact.

It is the direction in which DPO moves the policy on that pair: the gradient of its loss is -beta sigma(-r) times it, r
being the implicit reward margin. Log-probabilities are sums over the answer's tokens. Names, per pair:

    norm, chosen_norm, rejected_norm   of the directional gradient, and of either answer's
    cosine                             between the two answers' gradients
    layer/0, layer/embedding ...       shares of the squared norm, sum 1: blocks, embedding (the output's too where it
    group/q_proj ...                   is the same table), head, norm; and by the modules' own names

A batch takes one forward and one backward pass (gradient_pass.py). A model that has parameters without a batched form
takes one backward pass for each answer (gradient_each.py); `uncovered` says why. Both are checked against each other
in float32 (tests). The norm is the root of a difference of products, so where it is far below both answers' own norms
it is rounding, in bfloat16 sooner than in float32.

Left out: models that are not causal, training mode (dropout), random projections.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from toolkit.diagnostics.sequences import Sides, batches

if TYPE_CHECKING:
    from toolkit.diagnostics.gradient_sum import Total

BUDGET = 2048  # tokens of a batch, padding included
# By layer and group: chosen . chosen, rejected . rejected, chosen . rejected
Products = Mapping[tuple[str, str], Sequence[float]]


def directional_gradients(
    model: Any,
    pairs: Sequence[Sides],
    *,
    last_blocks: int | None = None,
    budget: int = BUDGET,
    total: Total | None = None,
) -> Iterator[tuple[int, dict[str, float]]]:
    """(position of the pair, what was found), as batches finish.

    last_blocks: of the parameters of that many last blocks alone; the backward pass ends there.
    total: the pairs' gradients and norms are added to it (gradient_sum.py, which states its memory).
    A number that is not finite is nan. Where the norm is zero (two equal answers) there are no shares; where an answer
    has no tokens there is no cosine.
    """
    from toolkit.diagnostics.gradient_parts import parts, requiring
    from toolkit.diagnostics.gradient_pass import batch_of, products

    if uncovered(model, pairs, last_blocks):
        yield from per_pair_gradients(model, pairs, last_blocks=last_blocks, total=total)
        return
    wanted = parts(model, last_blocks)
    for places in batches(pairs, budget):
        with requiring(model, ()):
            batch = batch_of([pairs[place] for place in places], model.device)
            by_place = products(model, wanted, batch, total)
        rows = {where: found.tolist() for where, found in by_place.items()}
        for row, place in enumerate(places):
            numbers = told(pairs[place], {where: found[row] for where, found in rows.items()})
            if total is not None:
                total.norms.append(numbers["norm"])
            yield place, numbers


def per_pair_gradients(
    model: Any, pairs: Sequence[Sides], *, last_blocks: int | None = None, total: Total | None = None
) -> Iterator[tuple[int, dict[str, float]]]:
    """The same by ordinary backward passes, a pair at a time."""
    from toolkit.diagnostics.gradient_each import products_of_one
    from toolkit.diagnostics.gradient_parts import parts

    wanted = parts(model, last_blocks)
    for place, pair in enumerate(pairs):
        found = products_of_one(model, wanted, pair, total)
        numbers = told(pair, {where: products[0].tolist() for where, products in found.items()})
        if total is not None:
            total.norms.append(numbers["norm"])
        yield place, numbers


def uncovered(model: Any, pairs: Sequence[Sides], last_blocks: int | None = None) -> str:
    """Why the batched form does not hold for this model, with the parameter's name; "" where it does."""
    from toolkit.diagnostics import gradient_parts

    return gradient_parts.uncovered(model, gradient_parts.parts(model, last_blocks), pairs[0]) if pairs else ""


def told(pair: Sides, products: Products) -> dict[str, float]:
    """Norms, cosine and shares of one pair."""
    chosen, rejected, both = (math.fsum(numbers[i] for numbers in products.values()) for i in range(3))
    square = 0.0 if pair.chosen == pair.rejected else _square(chosen, rejected, both)
    found = {"norm": square, "chosen_norm": chosen, "rejected_norm": rejected}
    found = {name: math.sqrt(value) if math.isfinite(value) else math.nan for name, value in found.items()}
    if chosen and rejected:
        found["cosine"] = both / (found["chosen_norm"] * found["rejected_norm"])
    return found | (_shares(products, square) if square else {})


def _shares(products: Products, square: float) -> dict[str, float]:
    shares: dict[str, float] = {}
    for places, numbers in products.items():
        for kind, name in zip(("layer", "group"), places, strict=True):
            known = shares.get(f"{kind}/{name}", 0.0)
            shares[f"{kind}/{name}"] = known + _square(*numbers) / square
    return {name: value if math.isfinite(value) else math.nan for name, value in shares.items()}


def _square(chosen: float, rejected: float, both: float) -> float:
    return chosen + rejected - 2 * both
