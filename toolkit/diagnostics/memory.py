"""need_of(): the memory that measuring a checkpoint takes, from its files' headers and config.json alone."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from toolkit.diagnostics.measure import Measuring
from toolkit.engines import checkpoint
from toolkit.hardware import has_gpu

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
SUM_BYTES = 4  # of a number in the sum of gradients, whatever the dtype of the weights
# Numbers that a Llama-like block keeps for each token until the backward pass, in widths of its hidden states (norms,
# attention, residuals) and of its MLP's inner layer.
KEPT_HIDDEN, KEPT_INNER = 9, 4


@dataclass(frozen=True)
class Need:
    """Bytes that measuring one model takes, by what they are for. batch: an estimate, of a full batch."""

    weights: int
    coherence: int
    batch: int

    @property
    def total(self) -> int:
        return self.weights + self.coherence + self.batch

    def words(self) -> str:
        parts = {"weights": self.weights, "sum of gradients": self.coherence, "a full batch": self.batch}
        return f"{gib(self.total)} ({', '.join(f'{name} {gib(size)}' for name, size in parts.items() if size)})"


def need_of(path: Path, how: Measuring, *, gradients: bool) -> Need:
    """What measuring this checkpoint takes. The weights are exact. The sum of gradients counts all parameters, also
    where the last blocks alone are measured. A batch is an estimate for Llama-like blocks, and is left out where no
    gradient is measured."""
    size, shape, parameters = BYTES[how.dtype], checkpoint.shape_of(path), checkpoint.parameters(path)
    batch = shape.blocks * (KEPT_HIDDEN * shape.hidden + KEPT_INNER * shape.inner) * how.budget * size
    coherence = SUM_BYTES * parameters if gradients and how.coherence else 0
    return Need(parameters * size, coherence, batch if gradients else 0)


def available_memory() -> int:
    """Bytes that are free on the GPU where the network goes, or the memory of this machine."""
    if has_gpu():
        import torch

        return int(torch.cuda.mem_get_info()[0])
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def gib(size: int) -> str:
    """A number of bytes in GiB, in MiB below one GiB."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"
