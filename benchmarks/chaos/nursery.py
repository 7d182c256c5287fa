"""Starts launches quickly: one process imports what a launch imports (7 s on two cores), and each launch is its fork.

A launch has a session of its own, the command line, the environment and the ends that it would have as
`python -m toolkit.recipes.temporal`; its words go through a pipe to a file. To the nursery goes one JSON line a
launch; back come two: its process id, and how it ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 600.0  # on a machine that has much else to do


@dataclass(frozen=True)
class Launch:
    """What is started: arguments, where its words go, more environment, what befalls it, what it lacks."""

    arguments: list[str]
    log: Path
    environment: Mapping[str, str]
    fault: Mapping[str, Any]
    without: str


class Nursery:
    """One launch at a time: `start`, then `ended` until it has."""

    def __init__(self) -> None:
        self._reader: threading.Thread | None = None
        line = [sys.executable, "-m", "benchmarks.chaos.nursery"]
        self._process = subprocess.Popen(line, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self._told()

    def start(self, launch: Launch) -> int:
        """The process id of the launch, which leads a process group of its own.

        Its words come through a pipe: a launch that may write no file still has something to say.
        """
        assert self._process.stdin is not None
        pipe = launch.log.with_suffix(".pipe")
        pipe.unlink(missing_ok=True)
        os.mkfifo(pipe)
        self._reader = threading.Thread(target=_copy, args=(pipe, launch.log), daemon=True)
        self._reader.start()
        self._process.stdin.write(json.dumps({**vars(launch), "log": str(launch.log)}).encode() + b"\n")
        return self._told()

    def ended(self, seconds: float) -> int | None:
        """The exit code, negative for a signal; None where it still runs after so many seconds."""
        code = self._hear(seconds)
        if code is not None and self._reader:
            self._reader.join(5.0)
        return code

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)

    def _told(self) -> int:
        """What it must say soon. A number taken for the next one would be the wrong process."""
        number = self._hear(START_SECONDS)
        if number is None:
            raise TimeoutError(f"the nursery said nothing for {START_SECONDS:.0f} s")
        return number

    def _hear(self, seconds: float) -> int | None:
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], seconds)[0]:
            return None
        return int(self._process.stdout.readline())


def main() -> None:
    """Import, then fork whatever is asked for."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # threads that a fork would not have
    import transformers.tokenization_utils_fast  # noqa: F401
    from transformers import AutoTokenizer  # noqa: F401

    import toolkit.recipes.temporal  # noqa: F401

    print(0, file=out, flush=True)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            become(json.loads(line))
        print(child, file=out, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=out, flush=True)


def become(asked: dict[str, Any]) -> None:
    """Be the launch, and end as it would."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    words = os.open(Path(asked["log"]).with_suffix(".pipe"), os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(words, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.update(asked["environment"])
    sys.argv = ["temporal", *asked["arguments"]]
    code: Any = 1
    try:
        from benchmarks.chaos.victim import prepare
        from toolkit.recipes.run import main as command
        from toolkit.recipes.temporal import temporal

        prepare(asked["fault"], asked["without"])
        command(temporal)
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 1)


def _copy(pipe: Path, log: Path) -> None:
    with pipe.open("rb") as words, log.open("ab") as file:
        shutil.copyfileobj(words, file)


def settle(folder: Path, seconds: float = 10.0) -> None:
    """Wait until no process names this folder in its command line: a trainer looks for its parent once a second."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and any(str(folder) in line for line in _command_lines()):
        time.sleep(0.05)


def _command_lines() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if int(path.parent.name) != os.getpid():
                found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return found


if __name__ == "__main__":
    main()
