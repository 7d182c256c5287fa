"""A checkpoint as a torch module in this process, in evaluation mode, by transformers and from safetensors only.

The diagnostics take features and gradients of it, which no engine gives; the transformers engine generates by it.
transformers fills a tensor that a checkpoint lacks with random numbers, and leaves out one that it does not know; both
are refused here by name, from the files' headers, before any memory is taken for weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from toolkit.engines import checkpoint
from toolkit.errors import InputError
from toolkit.hardware import has_gpu

LISTED = 3  # names of tensors in a message


def load_network(path: Path, dtype: str = "float32", device: str = "", *, trust_remote_code: bool = False) -> Any:
    """The model; no parameter requires a gradient. device: "cpu" or "cuda"; "" is the GPU where there is one.

    Raises InputError for a checkpoint that `check_tensors` refuses.
    """
    import torch
    from transformers import AutoModelForCausalLM, logging

    check_tensors(path, trust_remote_code=trust_remote_code)
    logging.disable_progress_bar()  # of loading: a second's, and control characters in a log
    model = AutoModelForCausalLM.from_pretrained(
        path, use_safetensors=True, dtype=getattr(torch, dtype), trust_remote_code=trust_remote_code
    )
    return model.to(device or ("cuda" if has_gpu() else "cpu")).eval().requires_grad_(False)


def check_tensors(path: Path, *, trust_remote_code: bool = False) -> None:
    """Raise InputError unless the tensors of the checkpoint are those of its model, by name and shape.

    A head or table that is tied to another need not be in the file. The model is made on torch's meta device, which
    has shapes and no numbers, by transformers' own loading: what it renames or is known to leave out is no fault.
    """
    from transformers import AutoModelForCausalLM

    checkpoint.refuse_scripted(path, path.name)
    with _quiet():
        try:
            _, report = AutoModelForCausalLM.from_pretrained(
                path,
                use_safetensors=True,
                device_map="meta",
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # reported instead of raised
                trust_remote_code=trust_remote_code,
            )
        except (ValueError, KeyError, RuntimeError) as error:
            raise InputError(
                f"transformers cannot make this model: {str(error).splitlines()[0]}",
                where=path / "config.json",
                remedy="copy the whole checkpoint again, or install the version of transformers that knows it",
            ) from error
    problems = [
        *_listed("missing", report["missing_keys"]),
        *_listed("unexpected", report["unexpected_keys"]),
        *_listed("of another shape", {entry[0] for entry in report["mismatched_keys"]}),
    ]
    if problems:
        raise InputError(
            f"the tensors are not those of the model that config.json names: {'; '.join(problems)}",
            where=path,
            remedy="copy the whole checkpoint again; an unexpected tensor has to be removed from its safetensors",
        )


def _listed(problem: str, names: Sequence[str] | set[str]) -> list[str]:
    ordered = sorted(names)
    more = f" and {len(ordered) - LISTED} more" if len(ordered) > LISTED else ""
    return [f"{problem}: {', '.join(ordered[:LISTED])}{more}"] if ordered else []


@contextmanager
def _quiet() -> Iterator[None]:
    """transformers reports such tensors as a table of warnings too."""
    from transformers import logging

    level = logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
