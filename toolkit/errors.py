"""Every error a user can meet, as one tree.

    ToolkitError
    ├── RecipeError      a recipe or an option is wrong; nothing was started
    ├── InputError       a prompt file, rubric or model directory is wrong
    ├── StoreError       the DuckDB file cannot be opened, read or written
    │   └── StoreLocked  another process has it open for writing
    ├── EngineError      an engine did not start, died or answered nonsense
    ├── JudgeError       too few verdicts can be used
    ├── GateError        too few pairs would survive the trainer's tokenisation
    ├── TrainerError     the trainer refused, died or left an incomplete checkpoint
    └── OutputError      a file beside the store cannot be written: a full disk, a forbidden place

A message has three parts: what is wrong with which value, where it stands, and the remedy.
The command line prints the message without a traceback and exits with the class's code.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FULL = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}


class ToolkitError(Exception):
    """Base of all errors above. `exit_code` is what the command line returns."""

    exit_code = 1

    def __init__(self, problem: str, *, where: object = "", remedy: str = "") -> None:
        self.problem, self.where, self.remedy = problem, str(where), remedy
        parts = [problem]
        if self.where:
            parts.append(f"  where:  {self.where}")
        if remedy:
            parts.append(f"  remedy: {remedy}")
        super().__init__("\n".join(parts))


class RecipeError(ToolkitError):
    exit_code = 2


class InputError(ToolkitError):
    exit_code = 3


class StoreError(ToolkitError):
    exit_code = 4


class StoreLocked(StoreError):
    """The one that has it open can be asked instead: toolkit.store.serving."""


class EngineError(ToolkitError):
    exit_code = 5


class JudgeError(ToolkitError):
    exit_code = 6


class GateError(ToolkitError):
    exit_code = 7


class TrainerError(ToolkitError):
    exit_code = 8


class OutputError(ToolkitError):
    exit_code = 9


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What the operating system says to a write at or under this path, as an OutputError."""
    try:
        yield
    except OSError as error:
        full = "free some space and run the same command again: it resumes"
        remedy = full if error.errno in _FULL else "choose a place with --store where this user may write"
        where = error.filename or path
        raise OutputError(f"cannot write: {error.strerror or error}", where=where, remedy=remedy) from error
