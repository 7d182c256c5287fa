"""What this machine computes on: processor, instruction sets, memory, GPUs. Read once a launch; nothing is loaded."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

CPUINFO = Path("/proc/cpuinfo")
# Flags of /proc/cpuinfo that decide how fast arithmetic is: x86-64, then Arm.
INSTRUCTION_SETS = (
    "avx", "avx2", "fma", "avx_vnni", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16", "avx512_fp16",
    "amx_tile", "amx_int8", "amx_bf16", "amx_fp16", "asimd", "sve", "sve2", "bf16", "i8mm",
)  # fmt: skip

LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY")  # variables that leave some sets unused


def hardware() -> dict[str, Any]:
    """The machine as a launch keeps it."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "cpu": cpu_name(),
        "instruction_sets": list(instruction_sets()),
        "limits": {name: os.environ[name] for name in LIMITS if os.environ.get(name)},
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(memory / 2**30, 1),
        "gpus": gpus(),
    }


def has_gpu() -> bool:
    """Whether an NVIDIA device is visible, without importing torch."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        return False
    return any(Path("/dev").glob("nvidia[0-9]*"))


@cache
def instruction_sets() -> tuple[str, ...]:
    """The processor's instruction sets that matter for arithmetic; () where the system has no /proc/cpuinfo."""
    flags = _cpuinfo("flags", "Features").split()
    return tuple(name for name in INSTRUCTION_SETS if name in flags)


def cpu_name() -> str:
    """As the processor calls itself. Two kinds may share a name, as "AMD EPYC" in a virtual machine."""
    return _cpuinfo("model name") or platform.processor()


@cache
def compute_capability() -> float | None:
    """The lowest CUDA compute capability of the NVIDIA devices; None where nvidia-smi does not say."""
    lines = _nvidia_smi("compute_cap")
    try:
        return min(map(float, lines), default=None)
    except ValueError:
        return None


def gpus() -> list[str]:
    """Name, memory and driver of each NVIDIA device, by nvidia-smi."""
    return _nvidia_smi("name,memory.total,driver_version")


def _nvidia_smi(fields: str) -> list[str]:
    """A line for each device; none without nvidia-smi."""
    if not has_gpu() or not shutil.which("nvidia-smi"):
        return []
    command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.splitlines()


def _cpuinfo(*names: str) -> str:
    """The first value under one of these names; "" without one."""
    if not CPUINFO.exists():
        return ""
    for line in CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip() in names:
            return value.strip()
    return ""
