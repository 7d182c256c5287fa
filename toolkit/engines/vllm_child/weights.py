"""Another checkpoint's weights in a running vLLM, with a proof that they are what the engine computes with.

vLLM's `reload_weights` alone is not enough on a CPU: linear layers run on packed copies, and where the head is tied to
the embeddings its copy stays the old one. Nothing fails then; answers come from two models at once. So the head is
packed again, what the prefix cache computed with the old weights is dropped, and every layer is compared with the file:

    packed layers     their product with unit vectors is the weight's columns, without rounding; COLUMNS of each layer
    everything else   parameter by parameter

Left out: several devices and quantized weights, where parameters are not the file's tensors one to one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

COLUMNS = 32
HEAD, TABLE = "lm_head.weight", "model.embed_tokens.weight"


def swap(llm: Any, path: str) -> str:
    """Gives vLLM these weights. "" where they are proven; else why not, and the engine is of no use any more."""
    llm.collective_rpc("reload_weights", kwargs={"weights_path": path})
    llm.apply_model(_pack_head)
    if not llm.reset_prefix_cache():
        return "the prefix cache was not emptied"
    found: str = llm.apply_model(partial(difference, Path(path)))[0]
    return found


def difference(path: Path, model: Any) -> str:
    """The first layer that does not compute with the weights of this checkpoint; "" where all do."""
    from safetensors import safe_open

    packed = getattr(model, "packed_modules_mapping", {})
    with ExitStack() as stack:
        files = [stack.enter_context(safe_open(file, "pt")) for file in sorted(path.glob("*.safetensors"))]
        stored = {name: file for file in files for name in file.keys()}  # noqa: SIM118
        for name, found in _computed(model):
            parts = _names(name, packed, stored, tied=model.config.get_text_config().tie_word_embeddings)
            if missing := [part for part in parts if part not in stored]:
                return f"no tensor {missing[0]} in the checkpoint for {name}"
            if not _same(found, [stored[part].get_tensor(part) for part in parts]):
                return f"{name} is not what the checkpoint says"
    return ""


def _pack_head(model: Any) -> None:
    from vllm.model_executor.layers.utils import dispatch_cpu_unquantized_gemm

    if hasattr(getattr(model, "lm_head", None), "cpu_linear"):
        dispatch_cpu_unquantized_gemm(model.lm_head, remove_weight=False)


def _computed(model: Any) -> Iterator[tuple[str, Any]]:
    """(name, what is computed with): the module for a packed layer, the parameter for all others."""
    for name, module in model.named_modules():
        packed = hasattr(module, "cpu_linear") and not name.endswith("embed_tokens")
        if packed:
            yield f"{name}.weight", module
        for own, parameter in module.named_parameters(recurse=False):
            if not (packed and own == "weight"):
                yield f"{name}.{own}", parameter


def _names(name: str, packed: Any, stored: Any, *, tied: bool) -> list[str]:
    """The file's tensors that make up this one, one below the other."""
    if name == HEAD and (tied or HEAD not in stored):
        return [TABLE]
    before, layer, own = name.rsplit(".", 2) if name.count(".") > 1 else ("", *name.rsplit(".", 1))
    return [".".join(filter(None, (before, part, own))) for part in packed.get(layer, [layer])]


def _same(found: Any, tensors: list[Any]) -> bool:
    import torch

    expected = torch.cat(tensors)
    if isinstance(found, torch.nn.Module):
        dtype = next((p.dtype for p in found.parameters() if p.numel()), torch.get_default_dtype())
        dtype = getattr(found, "params_dtype", dtype)
        columns = torch.linspace(0, expected.shape[1] - 1, min(COLUMNS, expected.shape[1])).long()
        units = torch.zeros(len(columns), expected.shape[1], dtype=dtype)
        units[torch.arange(len(columns)), columns] = 1
        found, expected = found.cpu_linear(units, found.weight, None), expected[:, columns].T.to(dtype)
        return bool(torch.equal(found[:, : expected.shape[1]].to(dtype), expected))
    rows = found[: expected.shape[0]]
    return bool(rows.shape == expected.shape and torch.equal(rows.float(), expected.to(found.dtype).float()))
