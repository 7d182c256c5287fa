"""A checkpoint as a torch module in this process, in evaluation mode, by transformers and from safetensors only.

The diagnostics take features and gradients of it, which no engine gives; the transformers engine generates by it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from toolkit.hardware import has_gpu


def load_network(path: Path, dtype: str = "float32", device: str = "", *, trust_remote_code: bool = False) -> Any:
    """The model; no parameter requires a gradient. device: "cpu" or "cuda"; "" is the GPU where there is one."""
    import torch
    from transformers import AutoModelForCausalLM, logging

    logging.disable_progress_bar()  # of loading: a second's, and control characters in a log
    model = AutoModelForCausalLM.from_pretrained(
        path, use_safetensors=True, dtype=getattr(torch, dtype), trust_remote_code=trust_remote_code
    )
    return model.to(device or ("cuda" if has_gpu() else "cpu")).eval().requires_grad_(False)
