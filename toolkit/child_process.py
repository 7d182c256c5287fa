"""How a child process starts: it imports nothing of the current folder, and looks up no settings there.

`python -m NAME` and `python -c` put the current folder first among the places where modules are looked for, so a folder
with a `marimo.py` or `csv.py` in it would run. Here -P keeps it out, of children's own children too (PYTHONSAFEPATH).

Left out: a PYTHONPATH of absolute folders, which is the user's own word.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]  # where this package lies
PYTHON = (sys.executable, "-P")


def empty_folder() -> str:
    """A private folder with nothing in it, until this process ends; made again where a long run has lost it."""
    os.makedirs(_folder(), mode=0o700, exist_ok=True)
    return _folder()


@cache
def _folder() -> str:
    folder = tempfile.mkdtemp(prefix="toolkit-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process' environment with changes, for a child that may work in another folder."""
    given = [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if os.path.isabs(folder)]
    installed = {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")}
    paths = given if ROOT in installed else [*given, str(ROOT)]
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    own = {"PYTHONPATH": os.pathsep.join(paths)} if paths else {}
    return {**kept, **own, "PYTHONSAFEPATH": "1", **(changes or {})}


def outside(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """The same for a child that does not import this package, perhaps in another Python environment."""
    kept = environment(changes)
    paths = [folder for folder in kept.get("PYTHONPATH", "").split(os.pathsep) if folder and folder != str(ROOT)]
    return {**kept, "PYTHONPATH": os.pathsep.join(paths)}


def program(python: str) -> str:
    """An interpreter as it is found from here, for a child that works in another folder."""
    return str(Path(python).expanduser().absolute()) if os.sep in python else python
