"""Every error a user can meet, as one tree; beside each its exit code.

    ToolkitError            1
    ├── RecipeError         2
    ├── InputError          3
    ├── StoreError          4
    │   └── StoreLocked     4
    ├── EngineError         5
    ├── JudgeError          6
    ├── GateError           7
    ├── TrainerError        8
    └── OutputError         9

A message has three parts: what is wrong with which value, where it stands, and the remedy. It may quote a file, a child
or a server that repeats a key, so secrets are taken out of every part, here and once for all.
The command line prints the message without a traceback and exits with the class's code; `exit_codes()` says what each
code means, and `toolkit --help` prints it.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from toolkit.redaction import hidden

FULL = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}
INTERRUPTED, UNREAD = 130, 141  # as shells count them: 128 and the number of SIGINT, of SIGPIPE


class ToolkitError(Exception):
    """Base of all errors above. `exit_code` is what the command line returns."""

    exit_code, meaning = 1, "a fault of the toolkit itself, with a traceback"

    def __init__(self, problem: str, *, remedy: str, where: object = "") -> None:
        self.problem, self.where, self.remedy = hidden(problem), hidden(str(where)), hidden(remedy)
        parts = [_indented(self.problem)]
        if self.where:
            parts.append(f"  where:  {_indented(self.where)}")
        if self.remedy:
            parts.append(f"  remedy: {_indented(self.remedy)}")
        super().__init__("\n".join(parts))


def _indented(text: str) -> str:
    """Further lines of a text stand under it, so that a name with line ends in it forges no part of the message."""
    return re.sub(r"\n(?!    )", "\n    ", text)


class RecipeError(ToolkitError):
    exit_code, meaning = 2, "a recipe or an option is wrong; nothing was started"


class InputError(ToolkitError):
    exit_code, meaning = 3, "a prompt file, rubric, set name or model directory is wrong"


class StoreError(ToolkitError):
    exit_code, meaning = 4, "the store cannot be opened, read or written, or is not whole"


class StoreLocked(StoreError):
    """Process `holder` has it open for writing. It can be asked instead: toolkit.store.serving."""

    def __init__(self, problem: str, *, remedy: str, holder: int, where: object = "") -> None:
        super().__init__(problem, remedy=remedy, where=where)
        self.holder = holder


class EngineError(ToolkitError):
    exit_code, meaning = 5, "an engine did not start, died or answered nonsense"


class JudgeError(ToolkitError):
    exit_code, meaning = 6, "too few verdicts, or pairs, can be used"


class GateError(ToolkitError):
    exit_code, meaning = 7, "too few pairs would survive the trainer's tokenisation"


class TrainerError(ToolkitError):
    exit_code, meaning = 8, "the trainer refused, died or left an incomplete checkpoint"


class OutputError(ToolkitError):
    exit_code, meaning = 9, "a file beside the store cannot be written: a full disk, a forbidden place"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What the operating system says to a write at or under this path, as an OutputError."""
    try:
        yield
    except OSError as error:
        full = "free some space and run the same command again: it resumes"
        remedy = full if error.errno in FULL else "choose a place with --store where this user may write"
        where = error.filename or path
        raise OutputError(f"cannot write: {error.strerror or error}", where=where, remedy=remedy) from error


def exit_codes() -> dict[int, str]:
    """Every exit code of the command line with its meaning."""
    kinds: list[type[ToolkitError]] = [ToolkitError, *ToolkitError.__subclasses__()]
    return {
        0: "done",
        **{kind.exit_code: kind.meaning for kind in kinds},
        INTERRUPTED: "stopped by Ctrl-C; the same command goes on from there",
        UNREAD: "whoever read the output went away, as head does",
    }
