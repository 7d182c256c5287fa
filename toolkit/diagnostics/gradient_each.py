"""The same products by ordinary backward passes, one for each answer: exact for any model, about three times slower.

Two gradients of all wanted parameters are held at once, and refused where there is no memory for them; their sum over
the pairs is a third, where it is asked for (gradient_sum.py).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch

from toolkit.diagnostics.gradient_parts import Part, requiring
from toolkit.diagnostics.gradient_sum import Total
from toolkit.diagnostics.sequences import Sides
from toolkit.errors import InputError

Tensor = Any
SLICE = 2**20  # numbers that are held in float64 at a time


def products_of_one(
    model: Any, wanted: Sequence[Part], pair: Sides, total: Total | None = None
) -> dict[tuple[str, str], Tensor]:
    """[1, 3] for each layer and group: chosen . chosen, rejected . rejected, chosen . rejected.

    total: the gradient of chosen minus rejected is added to it.
    """
    owners = {id(parameter): (parameter, part.where) for part in reversed(wanted) for parameter in part.own.values()}
    parameters = [parameter for parameter, _ in owners.values()]
    _check_memory(parameters)
    with requiring(model, parameters):
        chosen, rejected = (_gradients(model, parameters, pair.prompt, side) for side in (pair.chosen, pair.rejected))
    found: dict[tuple[str, str], Tensor] = {}
    for (parameter, where), a, b in zip(owners.values(), chosen, rejected, strict=True):
        if total is not None:
            total.add_whole((id(parameter), ""), a.float() - b.float())
        found[where] = found.get(where, 0.0) + torch.stack([_dot(a, a), _dot(b, b), _dot(a, b)])[None]
    return found


def logprob(model: Any, prompt: int, tokens: Sequence[int]) -> Tensor:
    """log pi(answer | prompt), summed over the answer's tokens."""
    ids = torch.tensor([tokens], device=model.device)
    first = max(prompt, 1)
    logits = model(input_ids=ids[:, :-1], use_cache=False).logits[0, first - 1 :]
    return torch.log_softmax(logits.float(), -1).gather(1, ids[0, first:, None]).sum()


def _check_memory(parameters: Sequence[Any]) -> None:
    needed = 2 * sum(parameter.numel() * parameter.element_size() for parameter in parameters)
    on_gpu = parameters[0].device.type == "cuda"
    there = torch.cuda.mem_get_info()[0] if on_gpu else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there:
        raise InputError(
            f"two gradients of one backward pass each take {needed / 2**30:.1f} GiB, and there are {there / 2**30:.1f}",
            where=str(parameters[0].device),
            remedy="ask for the gradient of the last blocks alone (last_blocks)",
        )


def _gradients(model: Any, parameters: list[Any], prompt: int, tokens: Sequence[int]) -> list[Tensor]:
    value = logprob(model, prompt, tokens)
    return list(torch.autograd.grad(value, parameters, allow_unused=True, materialize_grads=True))


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """In float64, a slice at a time: float32 sums over the 28 million numbers of an embedding were 2e-5 off."""
    slices = zip(a.flatten().split(SLICE), b.flatten().split(SLICE), strict=True)
    return torch.stack([torch.dot(one.double(), other.double()) for one, other in slices]).sum()
