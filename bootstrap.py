"""Sets up `.venv` from the pinned requirements, once, and runs Python in it with the arguments given.

    python3 bootstrap.py -m toolkit.recipes.temporal --iters 2
    python3 bootstrap.py -m pytest

Pins are requirements/cpu.txt, or gpu.txt where an NVIDIA device is visible (TOOLKIT_PINS=cpu|gpu decides otherwise).
They are complete, so they are installed without looking at dependencies. Where packages come from is the
environment's own business: find-links, index-url and cert of pip, from its variables (PIP_FIND_LINKS ...) or its
configuration files, and PIP_EXTRA_INDEX_URL are handed on to uv, which does not read them itself.
The environment is left alone until the pins or pyproject.toml change. Needs Python 3.11+ with venv, nothing else.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / "python"
HANDED_ON = {"find-links": "UV_FIND_LINKS", "index-url": "UV_DEFAULT_INDEX", "cert": "SSL_CERT_FILE"}


def main() -> None:
    if sys.version_info < (3, 11):
        sys.exit(f"error: Python {sys.version.split()[0]} is too old\n  remedy: run this with Python 3.11 or newer")
    pins = ROOT / "requirements" / f"{pins_name()}.txt"
    mark = VENV / ".installed"
    wanted = hashlib.sha256(pins.read_bytes() + (ROOT / "pyproject.toml").read_bytes()).hexdigest()
    if not (mark.exists() and mark.read_text() == wanted):
        install(pins)
        mark.write_text(wanted)
    if sys.argv[1:]:
        os.execv(PYTHON, [str(PYTHON), *sys.argv[1:]])


def pins_name() -> str:
    """Which pins: what TOOLKIT_PINS says, else gpu where an NVIDIA device is visible."""
    default = "gpu" if any(Path("/dev").glob("nvidia[0-9]*")) else "cpu"
    return os.environ.get("TOOLKIT_PINS") or default


def install(pins: Path) -> None:
    print(f"setting up {VENV} from {pins.relative_to(ROOT)} (once; a few minutes)", file=sys.stderr, flush=True)
    if not PYTHON.exists():
        run(
            [sys.executable, "-m", "venv", str(VENV)],
            "install Python's venv module (Debian: apt-get install python3-venv)",
        )
    uv = shutil.which("uv") or str(BIN / "uv")
    if not Path(uv).exists():
        run(
            [str(PYTHON), "-m", "pip", "install", "--quiet", "uv"],
            "look at pip's message; a package registry is needed",
        )
    environment = pip_settings() | os.environ
    # Compiled now: imports by half faster (vLLM starts in 11 s instead of 23 s), also where Python may not write later.
    command = [uv, "pip", "install", "--python", str(PYTHON), "--no-deps", "--compile-bytecode", "--quiet"]
    # PyPI's torch is the CUDA build; without a place of the environment's own, uv knows where the CPU build is.
    backend = ["--torch-backend", "cpu"] if pins.stem == "cpu" and "UV_FIND_LINKS" not in environment else []
    run(
        [*command, *backend, "--requirement", str(pins)],
        "run the same command again: what was downloaded is kept",
        environment,
    )
    run([*command, "--editable", str(ROOT)], "see the message above", environment)


def pip_settings() -> dict[str, str]:
    """What pip is told here about places, under uv's names."""
    found = {}
    for name, variable in HANDED_ON.items():
        asked = [str(PYTHON), "-m", "pip", "config", "get", f"global.{name}"]
        value = os.environ.get(f"PIP_{name.upper().replace('-', '_')}")
        value = value or subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
        if value:
            found[variable] = value
    if extra := os.environ.get("PIP_EXTRA_INDEX_URL"):
        found["UV_INDEX"] = extra
    return found


def run(command: list[str], remedy: str, environment: dict[str, str] | None = None) -> None:
    """Run, or end this program with the remedy."""
    code = subprocess.run(command, env=environment, check=False).returncode
    if code:
        sys.exit(f"error: `{' '.join(command)}` ended with exit code {code}\n  remedy: {remedy}")


if __name__ == "__main__":
    main()
