"""The dtype that engine and trainer compute in: what `auto` means on this machine, and how fast each dtype is here.

    GPU of compute capability 8.0 or higher          bfloat16
    CPU with avx512_bf16, amx_bf16 or Arm's bf16     bfloat16
    any other GPU or CPU                             float32
    engine of a recipe that trains in float32        float32

A CPU without such instructions multiplies bfloat16 matrices 2 to 120 times slower than float32 ones. float16 is never
chosen: PyTorch has no fast path for it on most CPUs. The choice follows from the processor's flags alone, so that a
rerun on a busy machine chooses the same; `rates` measures, for `doctor` and for warnings.

An engine that rounds trained weights to bfloat16 serves nearly the model that training began with: of a margin of 0.67
that 4 steps in float32 made at a learning rate of 5e-6, 0.02 were left after rounding (SmolLM2-135M, 16 pairs, 1 seed).

Left out: macOS and Windows, where no flags are read; `auto` is float32 there.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Sequence
from functools import cache

from toolkit.child_process import PYTHON, environment
from toolkit.config import Engine, Recipe
from toolkit.hardware import compute_capability, has_gpu, instruction_sets

BFLOAT16, FLOAT16, FLOAT32 = "bfloat16", "float16", "float32"
FAST_BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16")
# The instruction sets that ONEDNN_MAX_CPU_ISA may leave to oneDNN, which multiplies PyTorch's and vLLM's matrices:
# https://uxlfoundation.github.io/oneDNN/dev_guide_cpu_dispatcher_control.html
LIMITS = {
    "SSE41": (), "AVX": (), "AVX2": (), "AVX2_VNNI": (), "AVX2_VNNI_2": (), "AVX512_CORE": (), "AVX512_CORE_VNNI": (),
    "AVX512_CORE_BF16": ("avx512_bf16",), "AVX512_CORE_FP16": ("avx512_bf16",),
}  # fmt: skip
AMPERE = 8.0
SLOWER = 1.5  # a named dtype that is so many times slower than float32 is warned of
SHAPE = (256, 576, 1536)  # rows, inputs and outputs of the product that is timed: a layer of the embedded model
SECONDS = 0.2  # of timing for each dtype; a slow one takes one product, 0.4 s
TIMEOUT = 120.0  # of the process that measures: importing torch takes seconds, on a busy machine more


def resolve_device(device: str) -> str:
    """cpu or gpu; "auto" looks for an NVIDIA device without loading torch."""
    return ("gpu" if has_gpu() else "cpu") if device == "auto" else device


def resolve_dtype(dtype: str, device: str) -> str:
    """The dtype to compute in. dtype: "auto" or a name, which is obeyed; device: "auto", "cpu" or "gpu"."""
    if dtype != "auto":
        return dtype
    fast = gpu_has_bfloat16() if resolve_device(device) == "gpu" else fast_bfloat16()
    return BFLOAT16 if fast else FLOAT32


def gpu_has_bfloat16() -> bool:
    """Whether the GPUs compute bfloat16: from Ampere on. A plan for GPUs that are not here assumes it."""
    capability = compute_capability()
    return capability is None or capability >= AMPERE


def computes(engine: Engine) -> bool:
    """Whether this engine computes with weights: a server chooses its own dtype, the scripted engine has none."""
    return engine.kind in ("vllm", "transformers") or (engine.kind == "ray" and engine.cluster.inner != "scripted")


def resolve_recipe(recipe: Recipe) -> Recipe:
    """The same recipe with both dtypes named."""
    trainer = resolve_dtype(recipe.trainer.dtype, recipe.trainer.device)
    wide = recipe.engine.dtype == "auto" and trainer == FLOAT32
    engine = FLOAT32 if wide else resolve_dtype(recipe.engine.dtype, recipe.engine.device)
    changes = {"engine": {"dtype": engine}, "trainer": {"dtype": trainer}}
    return recipe.model_copy(
        update={name: getattr(recipe, name).model_copy(update=change) for name, change in changes.items()}
    )


def summary(recipe: Recipe) -> str:
    """What engine and trainer compute in, and why, in one line for people."""
    asked, chosen = _dtypes(recipe), _dtypes(resolve_recipe(recipe))
    parts = [f"{name} {chosen[name]}" + ("" if asked[name] == "auto" else " (named)") for name in asked]
    devices = {resolve_device(recipe.engine.device), resolve_device(recipe.trainer.device)}
    return f"dtype: {', '.join(parts)}" + (f"; {why()}" if "cpu" in devices else "")


def warnings(recipe: Recipe) -> list[str]:
    """What to warn of in the dtypes that a recipe names: slow ones, and an engine that rounds what is trained."""
    asked, chosen = _dtypes(recipe), _dtypes(resolve_recipe(recipe))
    devices = {"engine": recipe.engine.device, "trainer": recipe.trainer.device}
    found = [warning(f"{name}.dtype", dtype, devices[name]) for name, dtype in asked.items()]
    if chosen["trainer"] == FLOAT32 and chosen.get("engine", FLOAT32) != FLOAT32:
        found.append(rounding("what is trained", chosen["engine"]))
    return [line for line in found if line]


def kind(dtype: str, sets: Sequence[str] | None = None) -> str:
    """The dtype with "slow " before it where a CPU with these instruction sets has no instructions for it, as rates are
    kept apart. sets: None is this CPU's."""
    fast = any(name in FAST_BFLOAT16 for name in (_allowed() if sets is None else sets))
    return dtype if dtype in ("", FLOAT32) or (dtype == BFLOAT16 and fast) else f"slow {dtype}"


def rounding(model: str, dtype: str) -> str:
    """What to warn of where an engine narrows float32 weights of a training."""
    return (
        f"warning: the engine rounds the float32 weights of {model} to {dtype}, so small updates are lost; "
        "engine.dtype = float32 serves them as they are"
    )


def _dtypes(recipe: Recipe) -> dict[str, str]:
    engine = {"engine": recipe.engine.dtype} if computes(recipe.engine) else {}
    return {**engine, "trainer": recipe.trainer.dtype}


def fast_bfloat16() -> bool:
    """Whether this processor has bfloat16 instructions, and oneDNN is allowed to use them."""
    return any(name in _allowed() for name in FAST_BFLOAT16)


def why() -> str:
    """The reason for what `auto` chooses on this CPU, for people."""
    held = [name for name in FAST_BFLOAT16 if name in instruction_sets()]
    limit = _limit()
    if held and not fast_bfloat16():
        return f"this CPU has {held[0]}, but ONEDNN_MAX_CPU_ISA={limit} rules it out"
    return f"this CPU has {held[0]}" if held else "this CPU has no bfloat16 instructions"


@cache
def rates() -> dict[str, float]:
    """Billions of floating-point operations a second of a matrix product here, by dtype. {} without torch.

    Measured now, in a process of its own: torch does not stay in this one.
    """
    command = [*PYTHON, "-m", __name__]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=True, env=environment())
        measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return {}
    return measured


def warning(field: str, dtype: str, device: str) -> str:
    """What to warn of a dtype that the user named for `field`, with the ratio measured now; "" where it is not slow."""
    fine = dtype in ("auto", FLOAT32) or (dtype == BFLOAT16 and fast_bfloat16())
    if fine or resolve_device(device) == "gpu":
        return ""
    measured = rates()
    asked, single = measured.get(dtype, 0), measured.get(FLOAT32, 0)
    if not asked:
        return f"warning: {field} = {dtype} may be slow: {why()}; its rate could not be measured"
    if single < SLOWER * asked:
        return ""
    return (
        f"warning: {field} = {dtype} is {single / asked:.0f} times slower than float32 on this CPU ({asked:.3g} "
        f"against {single:.3g} GFLOP/s, measured now); {field} = auto takes {resolve_dtype('auto', device)}"
    )


def _limit() -> str:
    return (os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or "").upper()


def _allowed() -> tuple[str, ...]:
    """The instruction sets that oneDNN may use: the processor's, within ONEDNN_MAX_CPU_ISA."""
    held = instruction_sets()
    allowed = LIMITS.get(_limit())
    return held if allowed is None else tuple(name for name in held if name in allowed)


def _measure() -> dict[str, float]:
    import torch

    rows, inputs, outputs = SHAPE
    left, right = torch.randn(rows, inputs), torch.randn(inputs, outputs)
    measured = {}
    for name in (FLOAT32, BFLOAT16, FLOAT16):
        a, b = left.to(getattr(torch, name)), right.to(getattr(torch, name))
        a[:8] @ b  # the first call chooses its kernel
        started, count = time.perf_counter(), 0
        while time.perf_counter() - started < SECONDS:
            a @ b
            count += 1
        measured[name] = round(2e-9 * rows * inputs * outputs * count / (time.perf_counter() - started), 2)
    return measured


if __name__ == "__main__":
    print(json.dumps(_measure()))
