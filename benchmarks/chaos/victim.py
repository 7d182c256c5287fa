"""What happens inside a launch: a fault at a named point of the code, or a protection taken out.

A point is `module:name`, a function or a method; the fault strikes before or after its n-th call. A protection is some
words of the toolkit's source and what they are replaced by; words that are no longer there end the campaign.
"""

from __future__ import annotations

import importlib
import inspect
import os
import resource
import signal
import sys
import textwrap
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

NOBODY = 65534
Change = tuple[str, str, str]  # point, the words of its source, what stands there instead
PROTECTIONS: dict[str, tuple[Change, ...]] = {
    "on conflict": (("toolkit.store.database:Store.insert", " ON CONFLICT DO NOTHING", ""),),
    "transaction": (
        ("toolkit.store.database:Store.transaction", 'execute("BEGIN")', 'execute("SELECT 1")'),
        ("toolkit.store.database:Store.transaction", 'execute("COMMIT")', 'execute("SELECT 1")'),
    ),
    "checksum": (
        ("toolkit.lab:Lab.unchanged", "if checkpoint.weights_digest(path) != model.weights:", "if False:"),
    ),
    "late checkpoint": (
        ("toolkit.training.making:_make", 'output=work / "checkpoint"', "output=final"),
        ("toolkit.training.making:_make", "checkpoint.promote(job.output, final)", "pass"),
        ("toolkit.training.making:_make", "checkpoint.verify(job.output)", "pass"),
        ("toolkit.training.making:_adopted", "if not checkpoint.is_trained(final):", "if not final.exists():"),
    ),
    "watchdog": (("toolkit.engines.vllm:VllmEngine._receive", "timeout=seconds", "timeout=None"),),
}


def prepare(fault: Mapping[str, Any], without: str) -> None:
    """Make this process the victim of the fault, without the protection of this name ("" keeps all)."""
    for point, words, instead in PROTECTIONS[without] if without else ():
        take_out(point, words, instead)
    if "at" in fault:
        strike(fault["at"], fault.get("number", 1), fault.get("when", "after"), ACTS[fault["act"]])
    elif "act" in fault:
        ACTS[fault["act"]]()


def full(size: int) -> Callable[[], None]:
    """From now on no file of this process or its children grows beyond so many bytes."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def clock(days: int) -> Callable[[], None]:
    """Other days on the wall; nothing else of the machine has a say in when a launch started."""

    def turn() -> None:
        class Turned(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> Any:
                return datetime.now(tz) + timedelta(days=days)

        importlib.import_module("toolkit.provenance").datetime = Turned  # type: ignore[attr-defined]

    return turn


ACTS: dict[str, Callable[[], None]] = {
    **{name: lambda name=name: os.kill(os.getpid(), getattr(signal, name)) for name in ("SIGKILL", "SIGTERM", "SIGINT")},
    **{f"full at {size}": full(size) for size in (0, 100, 40_000, 400_000, 1_300_000)},
    "nobody": lambda: os.seteuid(NOBODY) if os.geteuid() == 0 else None,
    "clock back": clock(-3650),
    "clock ahead": clock(3650),
}


def strike(point: str, number: int, when: str, act: Callable[[], None]) -> None:
    """Let `act` happen before or after the n-th call of the point."""
    owner, name, original = found(point)
    calls = iter(range(1, sys.maxsize))

    def struck(*arguments: Any, **keywords: Any) -> Any:
        now = next(calls) == number
        if now and when == "before":
            act()
        result = original(*arguments, **keywords)
        if now and when == "after":
            act()
        return result

    setattr(owner, name, struck)


def take_out(point: str, words: str, instead: str) -> None:
    """Make the function anew from its source with other words."""
    owner, name, original = found(point)
    whole = SOURCES.get(point) or textwrap.dedent(inspect.getsource(original))
    if words not in whole:
        raise SystemExit(f"{point} has no {words!r} any more: mend PROTECTIONS in {__file__}")
    SOURCES[point] = whole.replace(words, instead)
    made: dict[str, Any] = {}
    module = importlib.import_module(point.partition(":")[0])
    exec(f"from __future__ import annotations\n{SOURCES[point]}", vars(module), made)
    setattr(owner, name, made[name])


SOURCES: dict[str, str] = {}  # of points changed before


def found(point: str) -> tuple[Any, str, Any]:
    """Whoever holds the point, its name there, and the function."""
    module, _, path = point.partition(":")
    owner: Any = importlib.import_module(module)
    *holders, name = path.split(".")
    for holder in holders:
        owner = getattr(owner, holder)
    return owner, name, getattr(owner, name)
