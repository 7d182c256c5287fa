"""A checkpoint as a torch module, for what no engine gives: features and gradients. No parameter requires a gradient.

Loaded by transformers, safetensors only, in the diagnostics' own process, in float32 unless asked otherwise.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from toolkit.provenance import has_gpu


def load_network(path: Path, dtype: str = "float32", *, trust_remote_code: bool = False) -> Any:
    """The model in evaluation mode, on the GPU where there is one."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        path, use_safetensors=True, dtype=getattr(torch, dtype), trust_remote_code=trust_remote_code
    )
    return model.to("cuda" if has_gpu() else "cpu").eval().requires_grad_(False)
