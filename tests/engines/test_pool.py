from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from toolkit import config
from toolkit.engines.pool import EnginePool
from toolkit.engines.protocol import Completion, Request


class Noted:
    """An engine that notes its opening and closing."""

    def __init__(self, path: Path, notes: list[str]) -> None:
        self.name, self.notes = path.name, notes
        notes.append(f"open {self.name}")

    def complete(self, requests: Sequence[Request]) -> Iterator[Completion]:
        yield from ()

    def close(self) -> None:
        self.notes.append(f"close {self.name}")


class Taking(Noted):
    """One that takes over other weights, but not those of a checkpoint called "other"."""

    def swap(self, path: Path) -> bool:
        taken = path.name != "other"
        self.notes.append(f"{self.name} -> {path.name}" if taken else f"{self.name} refuses {path.name}")
        self.name = path.name
        return taken


def pool(notes: list[str], **settings: object) -> EnginePool:
    engine = config.Engine.model_validate({"kind": "scripted", "device": "cpu", **settings})
    return EnginePool(engine, opener=lambda path, *_: Noted(path, notes))


def ask(engines: EnginePool, *names: str) -> None:
    for name in names:
        engines.get(name, Path(name))


def test_the_least_recently_used_engine_makes_room_before_the_next_opens() -> None:
    notes: list[str] = []
    engines = pool(notes, resident=2)
    ask(engines, "a", "b", "a", "c")
    assert notes == ["open a", "open b", "close b", "open c"]


def test_one_resident_engine_is_closed_before_another_opens() -> None:
    notes: list[str] = []
    ask(pool(notes, resident=1), "a", "a", "b")
    assert notes == ["open a", "close a", "open b"]


def test_the_least_recently_used_engine_takes_new_weights_or_makes_room() -> None:
    notes: list[str] = []
    settings = config.Engine.model_validate({"kind": "scripted", "device": "cpu", "resident": 2})
    engines = EnginePool(settings, opener=lambda path, *_: Taking(path, notes))
    ask(engines, "a", "b", "c", "other", "b")
    assert notes == ["open a", "open b", "a -> c", "b refuses other", "close other", "open other", "c -> b"]


def test_a_trainer_gets_a_gpus_memory_and_leaves_a_cpus_engines_alone() -> None:
    for device, expected in (("gpu", ["open a", "close a"]), ("cpu", ["open a"])):
        notes: list[str] = []
        engines = pool(notes, device=device)
        ask(engines, "a")
        engines.release()
        assert notes == expected


def test_closing_ends_every_engine_once() -> None:
    notes: list[str] = []
    engines = pool(notes, resident=3)
    ask(engines, "a", "b")
    engines.close()
    engines.close()
    assert notes[2:] == ["close a", "close b"]
