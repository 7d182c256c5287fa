"""What happens inside a launch: a fault at a named point of the code, or a protection taken out.

A point is `module:name`, a function or a method; the fault strikes before or after its n-th call, with `about` only
calls that have this argument counted, with `delay` so many seconds later.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import os
import re
import resource
import signal
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psutil

Act = Callable[..., None]  # on the arguments of the call
NOBODY = 65534


def prepare(fault: Mapping[str, Any], without: str) -> None:
    """Make this process the victim of the fault, without the protection of this name ("" keeps all)."""
    if without:
        PROTECTIONS[without]()
    if "at" in fault:
        strike(fault)
    elif fault:
        ACTS[fault["act"]]()


def strike(fault: Mapping[str, Any]) -> None:
    """Let the act happen before or after the n-th call of the point."""
    owner, name, original = found(fault["at"])
    act, calls = ACTS[fault["act"]], itertools.count(1)
    if "delay" in fault:
        act = later(act, fault["delay"])

    def struck(*arguments: Any, **keywords: Any) -> Any:
        counts = "about" not in fault or fault["about"] in arguments
        now = counts and next(calls) == fault.get("number", 1)
        if now and fault.get("when") == "before":
            act(*arguments)
        result = original(*arguments, **keywords)
        if now and fault.get("when", "after") == "after":
            act(*arguments)
        return result

    setattr(owner, name, struck)


def found(point: str) -> tuple[Any, str, Any]:
    """Whoever holds the point, its name there, and the function."""
    module, _, path = point.partition(":")
    owner: Any = importlib.import_module(module)
    *holders, name = path.split(".")
    for holder in holders:
        owner = getattr(owner, holder)
    return owner, name, getattr(owner, name)


# acts


def killing(name: str) -> Act:
    """The signal to the whole group, as a terminal sends it."""
    return lambda *_: os.killpg(0, getattr(signal, name))


def child(part: str, name: str) -> Act:
    """The signal to the child whose command line has this part."""

    def send(*_: object) -> None:
        for process in psutil.Process().children():
            if part in " ".join(process.cmdline()):
                process.send_signal(getattr(signal, name))

    return send


def later(act: Act, seconds: float) -> Act:
    return lambda *_: threading.Timer(seconds, act).start()


def full(size: int) -> Act:
    """From now on no file of this process or its children grows beyond so many bytes."""
    return lambda *_: resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def nobody(*_: object) -> None:
    """Root may write anywhere, whatever chmod said."""
    if os.geteuid() == 0:
        os.seteuid(NOBODY)


def clock(days: int) -> Act:
    """Other days on the wall, wherever the toolkit looks at it."""

    class Turned(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + timedelta(days=days)

    def turn(*_: object) -> None:
        for module in ("toolkit.provenance", "toolkit.pairs.versions"):
            importlib.import_module(module).datetime = Turned  # type: ignore[attr-defined]

    return turn


def cut(path: Path, *_: object) -> None:
    """A file ends within a line."""
    os.truncate(path, path.stat().st_size - 20)


def cut_row(path: Path, *_: object) -> None:
    """A file lacks its last line."""
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


ACTS: dict[str, Act] = {
    **{name: killing(name) for name in ("SIGKILL", "SIGTERM", "SIGINT")},
    **{f"full at {size}": full(size) for size in (0, 100, 6_000, 40_000, 400_000)},
    "kill vLLM": child("vllm_child", "SIGKILL"),
    "stop vLLM": child("vllm_child", "SIGSTOP"),
    "kill OpenRLHF": child("launcher.py", "SIGKILL"),
    "nobody": nobody,
    "clock back": clock(-3650),
    "clock ahead": clock(3650),
    "cut": cut,
    "cut a row": cut_row,
}

# protections


KEYS = ((r"PRIMARY KEY \(.*?\)", "CHECK (true)"), (" PRIMARY KEY| ON CONFLICT DO NOTHING", ""))


def no_keys() -> None:
    """Tables without a primary key, and inserts that do not look for one."""
    import duckdb

    class Keyless:
        def __init__(self, database: Any) -> None:
            self._database = database

        def __getattr__(self, name: str) -> Any:
            return getattr(self._database, name)

        def execute(self, sql: str, *more: Any) -> Any:
            for words, instead in KEYS:
                sql = re.sub(words, instead, sql)
            return self._database.execute(sql, *more)

    connect = duckdb.connect
    duckdb.connect = lambda *arguments, **keywords: Keyless(connect(*arguments, **keywords))  # type: ignore[assignment]


def no_transaction() -> None:
    from toolkit.store.database import Store

    Store.transaction = contextlib.nullcontext  # type: ignore[assignment, method-assign]


def no_checksum() -> None:
    from toolkit.lab import Lab

    Lab.unchanged = Lab.path  # type: ignore[method-assign]


def no_watchdog() -> None:
    from toolkit.engines.vllm import VllmEngine

    receive = VllmEngine._receive
    VllmEngine._receive = lambda self, seconds: receive(self, None)  # type: ignore[arg-type, method-assign]


PROTECTIONS: dict[str, Callable[[], None]] = {
    "keys": no_keys,
    "transaction": no_transaction,
    "checksum": no_checksum,
    "watchdog": no_watchdog,
}
