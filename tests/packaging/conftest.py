"""The wheel, built once, and an environment that holds it and the packages it declares, nothing else of ours.

Those packages are links to the ones installed here, so no registry is asked: what is tested is that the core
dependencies suffice, not that they resolve. `make package` does that: it installs the wheel into a new environment
from a registry, and runs these tests with TOOLKIT_CLEAN naming its bin folder.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the wheel and the source distribution."""
    return build(ROOT, tmp_path_factory.mktemp("dist"))


def build(source: Path, out: Path, *words: str) -> Path:
    """What hatchling makes of this source, in the folder `out`; with the packages of this environment, no registry."""
    line = [sys.executable, "-m", "hatchling", "build", "-d", out, *words]
    done = subprocess.run(line, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="session")
def clean(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment with the wheel and its core dependencies."""
    if made := os.environ.get("TOOLKIT_CLEAN"):
        return Path(made)
    folder = tmp_path_factory.mktemp("clean") / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (wheel,) = built.glob("*.whl")
    install = ["install", "--quiet", "--no-deps", "--no-index", "--no-compile", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", "--python", folder / "bin" / "python", *install], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for name in closure(PROJECT["dependencies"]):
        link(metadata.distribution(name), site)
    return folder / "bin"


def closure(wanted: Iterable[str]) -> set[str]:
    """The names of all distributions that these requirements ask for, here, without extras but those they name."""
    found: dict[str, set[str]] = {}
    todo = [Requirement(text) for text in wanted]
    while todo:
        asked = todo.pop()
        name = canonicalize_name(asked.name)
        if name in found and asked.extras <= found[name]:
            continue
        extras = found.setdefault(name, set())
        extras |= asked.extras
        for text in metadata.distribution(name).requires or ():
            needed = Requirement(text)
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                todo.append(needed)
    return set(found)


def link(found: metadata.Distribution, site: Path) -> None:
    tops = {file.parts[0] for file in found.files or () if file.parts[0] not in ("..", "__pycache__")}
    for top in tops:
        if not (site / top).exists():
            os.symlink(str(found.locate_file(top)), site / top)
