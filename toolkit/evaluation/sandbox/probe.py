"""protection(): which mechanism works on this machine, and what it was seen to stop. Looked at, not looked up.

Each property is a small program that tries to break it, checked in the sandbox as any other (check.py). A second or
so, once a process.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from toolkit.errors import InputError
from toolkit.evaluation.sandbox.check import Check, Limits, Mechanism, Verdict, check

REFUSED = """
def check(candidate):
    try:
        candidate({path!r})
    except OSError:
        return
    raise AssertionError("it was let")
"""
PROBES = {
    "network": ("import socket\ndef probe(path): return [n for _, n in socket.if_nameindex() if n != 'lo']", "== []"),
    "writing": ("def probe(path): open(path, 'a').close()", REFUSED),
    "reading": ("def probe(path): open(path).close()", REFUSED),
    "processes": (
        "import os, time\n"
        "def probe(path):\n"
        "    for count in range(64):\n"
        "        try:\n"
        "            if os.fork() == 0: time.sleep(60)\n"
        "        except OSError: return count\n"
        "    return 64",
        "< 64",
    ),
    "apart": ("import os\ndef probe(path): return os.getpid()", "< 4"),  # process 2 or 3 of a space of its own
}


@dataclass(frozen=True)
class Protection:
    """What was seen to hold for a program under this mechanism on this machine."""

    mechanism: Mechanism
    network: bool  # none to reach
    writing: bool  # only in its scratch folder
    reading: bool  # nothing of the user's
    processes: bool  # their number is bounded
    apart: bool  # sees no process but its own, and all of them end with it

    @property
    def text(self) -> str:
        """One line, as in the settings of a score."""
        stopped = [name for name in PROBES if getattr(self, name)]
        left = [name for name in PROBES if not getattr(self, name)]
        return f"{self.mechanism}; held: {', '.join(stopped) or 'nothing'}; open: {', '.join(left) or 'nothing'}"


@cache
def protection() -> Protection:
    """That of the first mechanism that works here. Raises InputError where none does."""
    said = []
    for mechanism in order():
        verdict = works(mechanism)
        if verdict.kind == "passed":
            return look(mechanism)
        said.append(f"{mechanism}: {verdict.kind}, {verdict.detail}")
    raise InputError(
        f"no sandbox works here ({'; '.join(said)})",
        remedy="use Linux, as an ordinary user or as root with an interpreter that every user may read",
    )


def order() -> tuple[Mechanism, ...]:
    """As root bubblewrap's programs run as root in effect, whose processes no limit counts: it comes second."""
    if os.geteuid() == 0:
        return ("namespaces", "bubblewrap", "limits")
    return ("bubblewrap", "namespaces", "limits")


def works(mechanism: Mechanism) -> Verdict:
    """Passed where a harmless program runs under it, the standard library's compiled modules included."""
    if mechanism == "bubblewrap" and shutil.which("bwrap") is None:
        return Verdict("crashed", "bwrap is not installed")
    program = "import math, random, hashlib\ndef probe(x): return math.floor(x)"
    return check(Check(program, "probe", "def check(candidate): assert candidate(1.5) == 1"), Limits(20), mechanism)


def look(mechanism: Mechanism) -> Protection:
    """Try to break each property under this mechanism."""
    held = {}
    with _open_file() as path:
        for name, (program, expected) in PROBES.items():
            test = expected if expected is REFUSED else f"def check(candidate): assert candidate({{path!r}}) {expected}"
            asked = Check(program, "probe", test.format(path=str(path)))
            held[name] = check(asked, Limits(20), mechanism).kind == "passed"
    return Protection(mechanism, **held)


@contextmanager
def _open_file() -> Iterator[Path]:
    """A file that every user of this machine may read and write."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "open"
        path.touch()
        os.chmod(folder, 0o777)
        path.chmod(0o666)
        yield path
