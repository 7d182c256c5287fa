"""Which parameters a gradient has, where each belongs, and whether the batched form is exact for all of them.

A part is a module that owns parameters. Its layer is the number of its block, "embedding", "head" (untied) or "norm";
its group is its own name ("q_proj"), with its parent's before it where a block has two of that name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch.func import functional_call

from toolkit.diagnostics.sequences import Sides
from toolkit.errors import InputError

Kind = Literal["linear", "scale", "input", "embedding", "head", "unknown"]
TRIAL = 16  # tokens of a trial


@dataclass(frozen=True)
class Part:
    name: str
    module: Any
    kind: Kind
    layer: str
    group: str

    @property
    def own(self) -> dict[str, Any]:
        return dict(self.module.named_parameters(recurse=False))

    @property
    def where(self) -> tuple[str, str]:
        return self.layer, self.group


def parts(model: Any, last_blocks: int | None = None) -> tuple[Part, ...]:
    """Every module with parameters of its own, or those of the last blocks alone."""
    prefix, blocks = block_list(model)
    if last_blocks is not None and not 1 <= last_blocks <= len(blocks):
        raise InputError(
            f"last_blocks is {last_blocks} and the model has {len(blocks)} blocks that can be told apart",
            where=type(model).__name__,
            remedy="name at least one and at most all of them, or none for the gradient of all parameters",
        )
    first = 0 if last_blocks is None else len(blocks) - last_blocks
    owners = [(name, module) for name, module in model.named_modules() if _owns(model, module)]
    layers = {name: _layer(model, name, module, prefix) for name, module in owners}
    short = Counter((layers[name], _tail(name, 1)) for name, _ in owners)
    return tuple(
        Part(
            name, module, _kind(model, module), layers[name], _tail(name, 1 + (short[layers[name], _tail(name, 1)] > 1))
        )
        for name, module in owners
        if last_blocks is None or (layers[name].isdigit() and int(layers[name]) >= first)
    )


def block_list(model: Any) -> tuple[str, Sequence[Any]]:
    """The list of the model's blocks and its name; empty where no list is as long as the configuration says."""
    count = getattr(model.config.get_text_config(), "num_hidden_layers", 0)
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == count:
            return name, module
    return "", ()


def is_tied(model: Any) -> bool:
    return model.get_output_embeddings().weight is model.get_input_embeddings().weight


@contextmanager
def requiring(model: Any, wanted: Sequence[Any]) -> Iterator[None]:
    """Inside, the wanted parameters alone require a gradient; afterwards all is as it was."""
    before = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        model.requires_grad_(False)
        for parameter in wanted:
            parameter.requires_grad_(True)
        yield
    finally:
        for parameter, required in before:
            parameter.requires_grad_(required)


def uncovered(model: Any, wanted: Sequence[Part], pair: Sides) -> str:
    """Why the batched form is not exact for this model, "" if it is: found by reading it and by one short trial."""
    for part in wanted:
        if part.kind == "unknown":
            return f"{part.name} ({type(part.module).__name__}) has parameters of a kind without a batched form"
    uses = Counter(id(parameter) for part in parts(model) for parameter in part.own.values())
    for part in wanted:
        for name, parameter in part.own.items():
            if uses[id(parameter)] > 1:
                return f"{part.name}.{name} is shared with another module"
    return _trial(model, wanted, pair)


def unit(module: Any, inputs: Any) -> Any:
    """What an elementwise scale multiplies, normalised inputs: the module with a scale of one less that of zero."""
    return _with_scale(module, inputs, 1.0) - _with_scale(module, inputs, 0.0)


def embedding_factor(module: Any, ids: Any) -> float:
    """What an embedding multiplies its table's rows by (Gemma: the square root of the width)."""
    if type(module) is torch.nn.Embedding:
        return 1.0
    rows, made = module.weight[ids].float(), module(ids).float()
    return float((rows * made).sum() / (rows * rows).sum())


def _owns(model: Any, module: Any) -> bool:
    """A parameter of its own; a tied head has none."""
    own = list(module.parameters(recurse=False))
    table = model.get_input_embeddings().weight
    return any(parameter is not table for parameter in own) or (bool(own) and module is model.get_input_embeddings())


def _kind(model: Any, module: Any) -> Kind:
    from transformers.pytorch_utils import Conv1D

    own = dict(module.named_parameters(recurse=False))
    if not set(own) <= {"weight", "bias"} or "weight" not in own:
        return "unknown"
    if module is model.get_input_embeddings():
        return "input"
    if module is model.get_output_embeddings():
        return "unknown" if is_tied(model) else "head"  # a tied head with a bias of its own
    if type(module) in (torch.nn.Linear, Conv1D):
        return "linear"
    if type(module) is torch.nn.Embedding and module.max_norm is None:
        return "embedding"
    return "scale" if all(parameter.dim() == 1 for parameter in own.values()) else "unknown"


def _layer(model: Any, name: str, module: Any, blocks: str) -> str:
    if blocks and name.startswith(f"{blocks}."):
        return name.removeprefix(f"{blocks}.").split(".")[0]
    if isinstance(module, torch.nn.Embedding):
        return "embedding"
    return "head" if module is model.get_output_embeddings() else "norm"


def _tail(name: str, words: int) -> str:
    return ".".join(name.split(".")[-words:])


def _trial(model: Any, wanted: Sequence[Part], pair: Sides) -> str:
    """One forward pass of a few tokens: each part called once, on [rows, tokens, ...], and doing what its form says."""
    length = min(TRIAL, len(pair.chosen), len(pair.rejected))
    ids = torch.tensor([pair.chosen[:length], pair.rejected[:length]], device=model.device)
    calls: dict[str, list[tuple[Any, Any, int]]] = {part.name: [] for part in wanted}

    def watch(part: Part) -> Any:
        def hook(_: Any, args: tuple[Any, ...], output: Any) -> None:
            calls[part.name].append((args[0], output, args[0]._version) if len(args) == 1 else (None, output, 0))

        return part.module.register_forward_hook(hook)

    with torch.no_grad():
        handles = [watch(part) for part in wanted if part.kind != "head"]
        try:
            last = getattr(model.base_model(input_ids=ids, use_cache=False), "last_hidden_state", None)
        finally:
            for handle in handles:
                handle.remove()
        problems = [_misfit(part, calls[part.name], ids) for part in wanted if part.kind != "head"]
        return next(filter(None, problems), "") or _head_misfit(model, ids, last)


def _misfit(part: Part, calls: list[tuple[Any, Any, int]], ids: Any) -> str:
    if len(calls) != 1:
        return f"{part.name} is called {len(calls)} times in a forward pass"
    inputs, output, version = calls[0]
    if inputs is None or inputs._version != version:
        return f"{part.name} is called with more than one input, or its input is changed afterwards"
    if not _has_rows(part, inputs, output, ids):
        return f"{part.name} makes {list(output.shape)} of {list(inputs.shape)} for {list(ids.shape)} tokens"
    return "" if _does_as_told(part, inputs, output) else f"{part.name} does not do what its form says"


def _has_rows(part: Part, inputs: Any, output: Any, ids: Any) -> bool:
    """Whether answers can be told apart: they are the rows, and, but for a scale, tokens come next."""
    if part.kind == "embedding":
        return bool(inputs.dim() == 2 and output.dim() == 3 and output.shape[1] == ids.shape[1])
    if part.kind == "scale":
        return bool(output.shape == inputs.shape and output.shape[0] == len(ids))
    return bool(inputs.shape[:2] == output.shape[:2] == ids.shape and output.dim() == 3)


def _does_as_told(part: Part, inputs: Any, output: Any) -> bool:
    module = part.module
    if part.kind == "scale":
        trial = torch.rand_like(module.weight)
        return _close(
            _with_scale(module, inputs, trial), _with_scale(module, inputs, 0.0) + trial * unit(module, inputs)
        )
    if part.kind == "input":
        return _close(output, module.weight[inputs] * embedding_factor(module, inputs))
    return True


def _head_misfit(model: Any, ids: Any, last: Any) -> str:
    """Whether the head's plain product with the body's features is what the model gives (not with capped logits)."""
    if last is None or model.base_model is model:
        return "its body gives no features apart from its head"
    embedded = model.get_input_embeddings()(ids)
    again = model.base_model(inputs_embeds=embedded, use_cache=False).last_hidden_state
    logits = model(input_ids=ids, use_cache=False).logits
    fits = _close(again, last) and _close(logits, model.get_output_embeddings()(last))
    return "" if fits else "its logits are not the output embedding's product with its body's features"


def _with_scale(module: Any, inputs: Any, scale: Any) -> Any:
    changed = {"weight": torch.zeros_like(module.weight) + scale}
    if getattr(module, "bias", None) is not None:
        changed["bias"] = torch.zeros_like(module.bias)
    return functional_call(module, changed, (inputs,))


def _close(found: Any, expected: Any) -> bool:
    """Equal but for rounding. What is not a number counts as equal: it is reported, not hidden by another form."""
    tolerance = 1e-4 if found.dtype in (torch.float32, torch.float64) else 3e-2
    difference = (found.float() - expected.float()).norm()
    return not bool(difference > tolerance * expected.float().norm())
