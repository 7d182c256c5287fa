"""check(): does a function that nobody trusts pass a test? Decided where the function cannot reach.

The program and the test run in two processes, each locked in by itself (child.py). The test calls a stand-in
that sends the arguments to the program and gets plain data back, so a program holds neither the test, nor the expected
values, nor the pipe on which "passed" is said. To pass it must answer every call rightly.

How the two are locked in is the first of these that works here; probe.py sees what holds:
    bubblewrap   bwrap. As root the next is tried first: it has a user of its own, so that processes can be counted.
    namespaces   own network, mounts, processes and (unless root) users; a root of libraries, read-only; no rights.
    limits       an ordinary process under rlimits, without forks; as root, as a user that no one else is.

Not stopped, whatever the mechanism: a hole in the kernel (the system-call filter refuses System V's memory, semaphores
and queues alone); reading the libraries of the interpreter and the system; using cores and memory up to the limits,
memory being counted for each process, and 64 unnamed files of `file_bytes` besides; seeing the arguments it is called
with, and so remembering a published test. Under "limits" also, as its protection says: reading and writing what the
user may, and the network; and unless root: ending the user's other processes, attaching a debugger to the checker where
the kernel lets a user do so to processes that asked not to be, and sleeping on after its end. Not the same as running
both in one process: what is no plain data (an object of the program's own class, a generator) cannot be answered, and
changes that a function makes to its arguments are not seen by the test. Only the standard library can be imported.
Linux alone.
"""

from __future__ import annotations

import json
import math
import os
import secrets
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Mechanism = Literal["bubblewrap", "namespaces", "limits"]
Kind = Literal["passed", "failed", "timed out", "out of memory", "too much output", "crashed", "killed"]
CHILD = Path(__file__).with_name("child.py")
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"}
GRACE = 2.0  # seconds for a killed process to be gone


@dataclass(frozen=True)
class Limits:
    """seconds: wall clock of the whole check. processes: those of the program, itself included, and threads."""

    seconds: float = 10.0
    memory_bytes: int = 1 << 30
    output_bytes: int = 1 << 20
    file_bytes: int = 16 << 20
    processes: int = 8


@dataclass(frozen=True)
class Check:
    """program: text that defines the function `entry`. test: trusted text that defines check(candidate).

    What else the test calls it must define itself; where it names `entry`, it gets the candidate.
    """

    program: str
    entry: str
    test: str


@dataclass(frozen=True)
class Verdict:
    kind: Kind
    detail: str = ""


def check(asked: Check, limits: Limits, mechanism: Mechanism) -> Verdict:
    """Run the check. Nothing of it is left when this returns."""
    with _folder() as folder, _Pipes() as pipes:
        shared = _job(limits, mechanism, folder)
        program = {"role": "program", "program": asked.program, "entry": asked.entry}
        test = {"role": "checker", "test": asked.test, "entry": asked.entry}
        first = _start(shared | program, (pipes.requests[0], pipes.replies[1]), pipes.output[1])
        try:
            ends = (pipes.requests[1], pipes.replies[0], pipes.result[1])
            second = _start(shared | test, ends, pipes.output[1])
            try:
                pipes.close_theirs()
                return _verdict(pipes, limits, first)
            finally:
                _stop(second)
        finally:
            _stop(first)
            pipes.drain()


class _Pipes:
    """requests and replies between the two sides; result and output to us. Each is (read end, write end)."""

    def __init__(self) -> None:
        self.requests, self.replies, self.result, self.output = (os.pipe() for _ in range(4))
        self._open = {*self.requests, *self.replies, *self.result, *self.output}

    def __enter__(self) -> _Pipes:
        return self

    def __exit__(self, *_: object) -> None:
        self._close(set(self._open))

    def close_theirs(self) -> None:
        """Ours are closed once the two have theirs, so that the end of one is seen by the other."""
        self._close({*self.requests, *self.replies, self.result[1], self.output[1]})

    def drain(self) -> None:
        """Wait until nobody holds the output any more: all of them are gone then."""
        self._close({self.output[1]})
        end = time.monotonic() + GRACE
        with selectors.DefaultSelector() as ready:
            ready.register(self.output[0], selectors.EVENT_READ)
            while ready.select(max(0.0, end - time.monotonic())) and os.read(self.output[0], 1 << 16):
                pass

    def _close(self, ends: set[int]) -> None:
        for end in ends & self._open:
            os.close(end)
        self._open -= ends


def _job(limits: Limits, mechanism: Mechanism, folder: str) -> dict[str, object]:
    return {
        "mechanism": mechanism,
        "parent": os.getpid(),
        "folder": folder,
        "python": sys.base_prefix,
        "stranger": 20_000 + secrets.randbelow(40_000),
        "cpu_seconds": math.ceil(limits.seconds) + 1,
        "memory_bytes": limits.memory_bytes,
        "file_bytes": limits.file_bytes,
        "processes": 1 if mechanism == "limits" else limits.processes,  # counted over all of a user's: 1 is no fork
    }


def _start(job: dict[str, object], ends: Sequence[int], output: int) -> subprocess.Popen[bytes]:
    job = job | {"pipes": ends[:2], "result": ends[-1]}
    with tempfile.TemporaryFile() as stdin:
        stdin.write(json.dumps(job).encode())
        stdin.seek(0)
        return subprocess.Popen(
            [*_lock(job), _python(), "-s", "-S", "-P", "-B", str(CHILD)],
            stdin=stdin,
            stdout=output,
            stderr=output,
            pass_fds=ends,
            env=ENVIRONMENT,
            start_new_session=True,
        )


def _python() -> str:
    """The interpreter itself: a virtual environment's would look for its packages."""
    return str(getattr(sys, "_base_executable", sys.executable))


def _lock(job: dict[str, object]) -> list[str]:
    if job["mechanism"] != "bubblewrap":
        return []
    shown = [path for path in ("/usr", "/lib", "/lib64", "/etc/ld.so.cache", sys.base_prefix) if os.path.exists(path)]
    binds = [word for path in (*shown, str(CHILD)) for word in ("--ro-bind", path, path)]
    scratch = ["--dev", "/dev", "--size", str(job["file_bytes"]), "--tmpfs", "/tmp"]
    ends = ["--unshare-all", "--die-with-parent", "--cap-drop", "ALL", "--remount-ro", "/", "--"]
    return [shutil.which("bwrap") or "bwrap", *scratch, *binds, *ends]


def _verdict(pipes: _Pipes, limits: Limits, program: subprocess.Popen[bytes]) -> Verdict:
    end = time.monotonic() + limits.seconds
    seen, told, tail = 0, b"", b""
    with selectors.DefaultSelector() as ready:
        for pipe in (pipes.result[0], pipes.output[0]):
            ready.register(pipe, selectors.EVENT_READ)
        while events := ready.select(max(0.0, end - time.monotonic())):
            for key, _ in events:
                data = os.read(key.fd, 1 << 16)
                if key.fd == pipes.result[0]:
                    told += data
                    if not data:
                        return _read(told[4:], tail, program)
                elif not data:
                    ready.unregister(key.fd)
                seen, tail = seen + len(data), (tail + data)[-300:]
            if seen > limits.output_bytes:
                return Verdict("too much output", f"more than {limits.output_bytes} bytes")
            if time.monotonic() > end:
                break
    return Verdict("timed out", f"after {limits.seconds:g} seconds")


def _read(told: bytes, tail: bytes, program: subprocess.Popen[bytes]) -> Verdict:
    """What the checker said; where the program ended, how it did."""
    if not told:
        return Verdict("crashed", _shown(f"the checker ended: {tail.decode(errors='replace').strip()}"[:300]))
    said = json.loads(told)
    if said["kind"] != "ended":
        return Verdict(said["kind"], _shown(said["detail"]))
    with suppress(subprocess.TimeoutExpired):
        program.wait(GRACE)
    code = program.returncode
    if code is None:
        return Verdict("failed", "the program closed its pipe")
    number = -code if code < 0 else code - 128
    if number <= 0:
        return Verdict("failed", f"the program ended itself with status {code}")
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    kind: Kind = {"SIGKILL": "killed", "SIGXCPU": "timed out"}.get(name, "crashed")  # type: ignore[assignment]
    return Verdict(kind, f"ended by {name}")


def _shown(text: str) -> str:
    """A program's words on one line, and such as every file can hold."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the keeper to end its child; if it does not, end its group. What is in namespaces ends with its keeper."""
    process.terminate()
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def _folder() -> Iterator[str]:
    """A scratch folder that an unknown user may write in: under "limits" it is all the program has."""
    with tempfile.TemporaryDirectory(prefix="check-", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o777)
        yield folder
