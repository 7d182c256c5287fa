"""One side of a check, in a process of its own: locks itself in, then plays the program or the checker.

Started by check.py by path, under `python -s -S -P`; imports the standard library alone, nothing of the toolkit.

    keeper     started by the parent; makes the namespaces, ends its child on SIGTERM, passes its status on
    └── init   process 1 of the new process space: mounts the small root, reaps orphans (mechanism "namespaces" alone)
        └── the program, or the checker: without rights, under limits

The job is JSON on stdin, an unlinked file that is closed before a line of foreign code runs.
"""

from __future__ import annotations

import builtins
import ctypes
import errno
import json
import os
import resource
import signal
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from fractions import Fraction
from typing import Any, NoReturn

Job = dict[str, Any]
LONGEST = 16 << 20  # bytes of one message between the two sides
NEW_USER, NEW_NET, NEW_MOUNTS, NEW_REST = 0x10000000, 0x40000000, 0x00020000, 0x20000000 | 0x08000000 | 0x04000000
READ_ONLY, NO_SUID, NO_DEV, BIND, RECURSIVE, PRIVATE = 1, 2, 4, 4096, 16384, 1 << 18
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
CAPSET = {"x86_64": 126, "aarch64": 91}
MOUNT_SETATTR = 442  # the same on every architecture; Linux 5.12 and later
DEATH_SIGNAL, DUMPABLE, SECCOMP, DROP_BOUND, NO_NEW_PRIVILEGES = 1, 4, 22, 24, 38
# Shared memory, semaphores and queues of System V: no limit counts them, and they outlive the process that made them.
SYSTEM_V = {"x86_64": (0xC000003E, (29, 64, 68)), "aarch64": (0xC00000B7, (194, 190, 186))}  # the audit's number; calls
DEVICES = ("null", "zero", "urandom", "random")
SYSTEM = ("/usr", "/lib", "/lib64", "/etc/ld.so.cache")

libc = ctypes.CDLL(None, use_errno=True)


# the lock


def called(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def mount(source: str, target: str, kind: str | None, flags: int, data: str = "") -> None:
    words = [word.encode() if word is not None else None for word in (source, target, kind)]
    called(libc.mount(*words, ctypes.c_ulong(flags), data.encode() or None), f"mount {target}")


def read_only(path: str, recursive: bool) -> None:
    wanted = struct.pack("=QQQQ", READ_ONLY | NO_SUID | NO_DEV, 0, 0, 0)
    flags = 0x8000 if recursive else 0
    called(libc.syscall(MOUNT_SETATTR, -100, path.encode(), flags, wanted, len(wanted)), f"read-only {path}")


def enter_namespaces() -> bool:
    """A net, mount and process space of its own. True as root, who needs no user space for them."""
    user, group = os.geteuid(), os.getegid()
    if user == 0 and libc.unshare(NEW_NET | NEW_MOUNTS | NEW_REST) == 0:
        return True
    called(libc.unshare(NEW_USER | NEW_NET | NEW_MOUNTS | NEW_REST), "unshare")
    for name, line in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(line)
    return False


def mount_root(job: Job) -> None:
    """A root of its own: the system's libraries and the interpreter's, read-only, four devices and a scratch folder."""
    root = job["folder"]
    mount("none", "/", None, RECURSIVE | PRIVATE)
    mount("tmpfs", root, "tmpfs", NO_SUID, "size=1m,mode=755")
    for path in (*SYSTEM, *(f"/dev/{name}" for name in DEVICES), job["python"]):
        show(path, root)
    os.mkdir(f"{root}/tmp")
    mount("tmpfs", f"{root}/tmp", "tmpfs", NO_SUID | NO_DEV, f"size={job['file_bytes']},nr_inodes=1000,mode=1777")
    os.chdir(root)
    called(libc.syscall(PIVOT_ROOT[os.uname().machine], b".", b"."), "pivot_root")
    called(libc.umount2(b".", 2), "umount")
    read_only("/", recursive=False)


def show(path: str, root: str) -> None:
    """Make this path of the system visible below `root`; what does not exist, or is visible already, is left out."""
    target = root + path
    if not os.path.lexists(path) or os.path.lexists(target):
        return
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if os.path.islink(path):
        os.symlink(os.readlink(path), target)
        return
    if os.path.isdir(path):
        os.mkdir(target)
    else:
        os.close(os.open(target, os.O_CREAT))
    mount(path, target, None, BIND | RECURSIVE)
    if not path.startswith("/dev/"):
        read_only(target, recursive=True)


def drop_rights(stranger: int) -> None:
    """No capability is left, and none can be regained. stranger: as root, become this user, whom no one else is."""
    for capability in range(64):
        libc.prctl(DROP_BOUND, capability, 0, 0, 0)
    if stranger:
        os.setgroups([])
        os.setresgid(stranger, stranger, stranger)
        os.setresuid(stranger, stranger, stranger)
    libc.syscall(CAPSET[os.uname().machine], struct.pack("=Ii", 0x20080522, 0), bytes(24))
    libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    libc.prctl(DUMPABLE, 0, 0, 0, 0)
    libc.prctl(DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)


def refuse_system_v() -> None:
    """shmget, semget and msgget are refused, and every call in the manner of another architecture (i386, x32)."""
    architecture, refused = SYSTEM_V[os.uname().machine]
    load, equal, least, end = 0x20, 0x15, 0x35, 0x06  # of classic BPF; load takes a field of struct seccomp_data
    tests = [(least, 0x40000000), *((equal, number) for number in refused)]
    steps = [(load, 0, 0, 4), (equal, 0, len(tests) + 2, architecture), (load, 0, 0, 0)]
    steps += [(kind, len(tests) - i, 0, value) for i, (kind, value) in enumerate(tests)]  # where true, to the last
    steps += [(end, 0, 0, 0x7FFF0000), (end, 0, 0, 0x00050000 | errno.EPERM)]  # allowed; refused
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    told = ctypes.create_string_buffer(struct.pack("@HP", len(steps), ctypes.addressof(program)))
    called(libc.prctl(SECCOMP, 2, told, 0, 0), "seccomp")


def set_limits(job: Job) -> None:
    limits = {
        resource.RLIMIT_CPU: job["cpu_seconds"],
        resource.RLIMIT_AS: job["memory_bytes"],
        resource.RLIMIT_FSIZE: job["file_bytes"],
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NPROC: job["processes"],
    }
    for name, most in limits.items():
        hard = resource.getrlimit(name)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(name, (most, most))


def keep(child: int, everyone: bool = False) -> NoReturn:
    """Wait for the child, end it on SIGTERM, and end as it did (128 + n for signal n). everyone: reap orphans too."""
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGKILL))
    ended, status = os.waitpid(-1 if everyone else child, 0)
    while ended != child:
        ended, status = os.waitpid(-1, 0)
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


# what the two sides say to each other: plain data, never code


def plain(value: Any) -> Any:
    """JSON that keeps the type. Raises TypeError for what is no plain data: an object of the program's own class."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {"dict": [[plain(key), plain(item)] for key, item in value.items()]}
    for kind, told in TOLD.items():
        if isinstance(value, kind):
            return {kind.__name__: told(value)}
    raise TypeError(f"{type(value).__name__} is no plain data")


TOLD: dict[type, Callable[[Any], Any]] = {
    tuple: lambda value: [plain(item) for item in value],
    set: lambda value: [plain(item) for item in value],
    frozenset: lambda value: [plain(item) for item in value],
    bytes: lambda value: value.decode("latin-1"),
    complex: lambda value: [value.real, value.imag],
    range: lambda value: [value.start, value.stop, value.step],
    Decimal: str,
    Fraction: str,
}
MADE: dict[str, Callable[[Any], Any]] = {
    "dict": lambda told: {made(key): made(item) for key, item in told},
    "tuple": lambda told: tuple(made(item) for item in told),
    "set": lambda told: {made(item) for item in told},
    "frozenset": lambda told: frozenset(made(item) for item in told),
    "bytes": lambda told: told.encode("latin-1"),
    "complex": lambda told: complex(*told),
    "range": lambda told: range(*told),
    "Decimal": Decimal,
    "Fraction": Fraction,
}


def made(told: Any) -> Any:
    """The inverse of `plain`."""
    if isinstance(told, list):
        return [made(item) for item in told]
    if isinstance(told, dict):
        ((kind, inner),) = told.items()
        return MADE[kind](inner)
    return told


class Ended(BaseException):
    """The other side is gone. No Exception, so that no test can swallow it."""


def send(pipe: int, message: Any) -> None:
    data = json.dumps(message).encode()
    data = len(data).to_bytes(4, "big") + data
    while data:
        data = data[os.write(pipe, data) :]


def receive(pipe: int) -> Any:
    size = int.from_bytes(exactly(pipe, 4), "big")
    if size > LONGEST:
        raise Ended(f"a message of {size} bytes")
    return json.loads(exactly(pipe, size))


def exactly(pipe: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = os.read(pipe, size - len(data))
        if not more:
            raise Ended("the program ended before it answered")
        data += more
    return data


# the program


def serve(job: Job) -> None:
    """Run the program, then answer calls of its function until the checker is gone."""
    space: dict[str, Any] = {"__name__": "candidate"}
    requests, replies = job["pipes"]
    try:
        exec(compile(job["program"], "program", "exec"), space)
        function = space[job["entry"]]
        send(replies, {"value": None})
    except BaseException as error:
        send(replies, told_error(error))
        return
    while True:
        arguments, keywords = made(receive(requests))
        try:
            reply = {"value": plain(function(*arguments, **keywords))}
        except BaseException as error:
            reply = told_error(error)
        send(replies, reply)


def told_error(error: BaseException) -> dict[str, str]:
    return {"error": type(error).__name__, "text": str(error)[:300]}


# the checker


# made of more than a text; would end a loop of the test in silence
NEVER_RAISED = (UnicodeError, StopIteration, StopAsyncIteration)


class Candidate:
    """What a test calls: the function in the other process. Its arguments and answers are plain data."""

    def __init__(self, requests: int, replies: int) -> None:
        self.requests, self.replies = requests, replies
        self.error = ""

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        send(self.requests, plain((arguments, keywords)))
        return self.answer()

    def answer(self) -> Any:
        """The next answer; an error there is an error here, by its name where Python has it."""
        reply = receive(self.replies)
        if "error" not in reply:
            return made(reply["value"])
        self.error = str(reply["error"])
        kind = getattr(builtins, self.error, None)
        if isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, NEVER_RAISED):
            raise kind(reply["text"])
        raise RuntimeError(f"{self.error}: {reply['text']}")


def check(job: Job) -> None:
    """Run the test on the candidate and tell the parent what came of it."""
    candidate = Candidate(*job["pipes"])
    space: dict[str, Any] = {"__name__": "checker"}
    try:
        exec(compile(job["test"], "test", "exec"), space)
        space[job["entry"]] = candidate
        candidate.answer()
        space["check"](candidate)
        outcome = {"kind": "passed", "detail": ""}
    except Ended as error:
        outcome = {"kind": "ended", "detail": str(error)}
    except BaseException as error:
        kind = "out of memory" if candidate.error == "MemoryError" else "failed"
        outcome = {"kind": kind, "detail": f"{type(error).__name__}: {error}"[:300].rstrip(": ")}
    send(job["result"], outcome)


def main() -> None:
    job = json.loads(exactly(0, os.fstat(0).st_size))
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    libc.prctl(DEATH_SIGNAL, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != job["parent"] and job["mechanism"] != "bubblewrap":
        os._exit(1)  # it died before it could be watched
    root = os.geteuid() == 0
    if job["mechanism"] == "namespaces":
        root = enter_namespaces()
        if child := os.fork():
            keep(child)
        libc.prctl(DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
        mount_root(job)
    else:
        libc.prctl(DUMPABLE, 0, 0, 0, 0)
    if child := os.fork():
        keep(child, everyone=True)
    os.chdir("/tmp" if job["mechanism"] != "limits" else job["folder"])
    drop_rights(job["stranger"] if root and job["mechanism"] != "bubblewrap" else 0)
    refuse_system_v()
    set_limits(job)
    sys.set_int_max_str_digits(0)
    play = serve if job["role"] == "program" else check
    with suppress(Ended):
        play(job)
    os._exit(0)


if __name__ == "__main__":
    main()
