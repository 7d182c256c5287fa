"""The faults of the campaign: what befalls a launch, how it must end then, and what its message asks for.

A fault strikes from outside (a signal), inside (victim.py), in a child (the fakes, by environment), behind an address
(endpoint.py), or between two launches, on disk (`spoil`). `mend` does what the message told a person to do.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Ends = Literal["killed", "stopped", "error", "survives"]
Deed = Callable[[Path], None]  # on the folder of the store
SIGNALS: dict[str, Ends] = {"SIGKILL": "killed", "SIGTERM": "killed", "SIGINT": "stopped"}
VLLM = ("engine.kind=vllm", "engine.python={stand}/bin/vllm", "engine.timeout=4", "engine.options={{}}")
OPENAI = ("engine.kind=openai", "engine.options={{}}", "engine.served_model=M_0", "engine.timeout=1")
NOTE, INSERT, MAKING = "toolkit.lab:Lab.note", "toolkit.store.database:Store.insert", "toolkit.training.making"


@dataclass(frozen=True)
class Fault:
    """One fault. before: what ends a launch whose files are then spoiled; share: of an undisturbed run's seconds,
    after which the signal comes; says: words of the message; lasting: it strikes each launch until one completes."""

    kind: str
    name: str
    ends: Ends
    signal: str = ""
    share: float = 0.0
    inside: Mapping[str, Any] = field(default_factory=dict)
    before: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    changes: tuple[str, ...] = ()
    endpoint: Mapping[str, Any] = field(default_factory=dict)
    spoil: Deed | None = None
    mend: Deed | None = None
    says: tuple[str, ...] = ()
    lasting: bool = False


def all_faults(steps: int, seed: int) -> list[Fault]:
    """Every fault, for a run of so many steps; the seed draws the moments."""
    draw = random.Random(seed)
    groups = (_moments(draw), _boundaries(steps), _commits(draw), trainers(), engines(), endpoints(), disks())
    return [fault for group in (*groups, checkpoints(), logs(), surroundings()) for fault in group]


def _moments(draw: random.Random) -> list[Fault]:
    times = {"SIGKILL": 14, "SIGTERM": 8, "SIGINT": 8}
    shares = [(name, round(draw.uniform(0.0, 0.95), 3)) for name, count in times.items() for _ in range(count)]
    return [moment(name, share) for name, share in shares]


def moment(name: str, share: float) -> Fault:
    """A signal from outside at a share of an undisturbed run."""
    return Fault(f"{name} at a random moment", f"at {share:.0%}", SIGNALS[name], signal=name, share=share)


def _boundaries(steps: int) -> list[Fault]:
    every = [boundary("SIGKILL", number) for number in range(1, steps + 1)]
    return every + [boundary(name, number) for name in ("SIGTERM", "SIGINT") for number in range(2, steps + 1, 5)]


def boundary(name: str, number: int) -> Fault:
    """A signal where a stage has ended and the next has not begun."""
    inside = {"at": NOTE, "number": number, "act": name}
    return Fault(f"{name} at a stage boundary", f"after step {number}", SIGNALS[name], inside=inside)


def _commits(draw: random.Random) -> list[Fault]:
    inserts = [(INSERT, number, draw.choice(("before", "after"))) for number in draw.sample(range(2, 60), 8)]
    places = [
        (f"{MAKING}:_export", 1, "after"),
        (f"{MAKING}:run_trainer", 2, "after"),
        ("toolkit.engines.checkpoint:adopt_tokenizer", 1, "after"),
        ("toolkit.engines.checkpoint:promote", 1, "before"),
        ("toolkit.engines.checkpoint:promote", 1, "after"),
        ("toolkit.engines.checkpoint:promote", 3, "after"),
        ("toolkit.recipes.run:report_run", 1, "before"),
    ]
    return [point(*place) for place in (*inserts, *places)]


def point(at: str, number: int, when: str, name: str = "SIGKILL") -> Fault:
    """A signal before or after the n-th call of a function."""
    inside = {"at": at, "number": number, "when": when, "act": name}
    return Fault(f"{name} between two commits", f"{when} call {number} of {at}", SIGNALS[name], inside=inside)


def trainers() -> list[Fault]:
    told = {
        "exit": ("trainer ended with exit code 1", "out of memory, says the fake", "trainer.log"),
        "killed": ("killed by signal 9", "after", "micro_batch_size"),
        "between": ("killed by signal 9", "micro_batch_size"),
        "partial": ("model.safetensors has", "safetensors header says", "train it again"),
        "cut": ("trainer ended with exit code 1", "trainer.log"),
        "rows": ("the trainer kept 3 of", "report this"),
        "short": ("the trainer made 0 of 1 steps", "did not save"),
        "log": ("steps.jsonl", "is no step of a training"),
    }
    return [trainer(fault, *says) for fault, says in told.items()]


def trainer(fault: str, *says: str) -> Fault:
    """A failure of the fake trainer."""
    return Fault("trainer", fault, "error", environment={"FAKE_TRAINER_FAIL": fault}, says=says)


def engines() -> list[Fault]:
    told = {
        "killed:5": ("vLLM was killed by signal 9", "log ", "run again: finished answers are stored"),
        "killed:17": ("vLLM was killed by signal 9", "lower engine.max_num_seqs"),
        "raises:9": ("vLLM ended with exit code 1", "an illegal memory access", "run again"),
        "hangs:6": ("vLLM said nothing for 4 s and was stopped", "raise engine.timeout"),
        "torn:4": ("vLLM was killed by signal 9", "run again"),
        "start:0": ("vLLM ended with exit code 1", "no memory for the weights", "log "),
    }
    children = [engine(fault, *says) for fault, says in told.items()]
    dies = [
        Fault("engine", f"dies after {n} answers, each time", "error", changes=(f"engine.options={{{{\"die_after\":{n}}}}}",),
              says=("the scripted engine dies here", "engine.options.die_after"), lasting=True)
        for n in (25, 11)
    ]  # fmt: skip
    return children + dies


def engine(fault: str, *says: str) -> Fault:
    """A failure of the engine's child process."""
    return Fault("engine child", fault, "error", environment={"CHAOS_ENGINE": fault}, changes=VLLM, says=says)


def endpoints() -> list[Fault]:
    failing = ("did not complete a request", "http://127.0.0.1", "check the server's log")
    faults = [
        endpoint(fault, 9, "error", *failing) for fault in ("429", "500", "401", "garbage", "half", "no choice", "nothing")
    ]  # fmt: skip
    faults.append(endpoint("silence", 30, "error", *failing))
    return faults + [endpoint(fault, 9, "survives", lasts=2) for fault in ("429", "500", "half", "nothing")]


def endpoint(fault: str, answers: int, ends: Ends, *says: str, lasts: int = 10**9) -> Fault:
    """A server that fails after so many answers, for good or for so many requests."""
    name = fault if ends == "error" else f"{fault}, {lasts} times"
    asked = {"fault": fault, "answers": answers, "lasts": lasts}
    return Fault("endpoint", name, ends, endpoint=asked, changes=OPENAI, says=says)


def disks() -> list[Fault]:
    store = ("the disk is full", "s.duckdb", "free some space and run the same command again")
    handed = ("File too large", "free some space")
    places = [
        ("hand-off", f"{MAKING}:_export", "before", handed),
        ("training", f"{MAKING}:run_trainer", "before", ("free some space",)),
        ("outcome", "toolkit.engines.checkpoint:adopt_tokenizer", "after", handed),
        ("report", "toolkit.recipes.run:report_run", "before", handed),
    ]
    found = [
        Fault("disk full", f"at the {name}", "error", says=says,
              inside={"at": at, "when": when, "act": "full at 100"}) for name, at, when, says in places
    ]  # fmt: skip
    sizes = [Fault("disk full", f"no file beyond {n} bytes", "error", inside={"act": f"full at {n}"}, says=store)
             for n in (0, 40_000, 400_000)]  # fmt: skip
    inserts = [
        Fault("disk full", f"at insert {n}", "error", says=store,
              inside={"at": INSERT, "number": n, "act": "full at 40000"}) for n in (7, 30)
    ]  # fmt: skip
    return found + sizes + inserts


def checkpoints() -> list[Fault]:
    gone, damaged = ("no checkpoint directory", "restore it"), ("model.safetensors", "safetensors")
    changed = ("the weights of", "changed since they were stored", "models/", "restore the checkpoint from a backup")
    cases: list[tuple[str, Deed, tuple[str, ...]]] = [
        ("vanished", shutil.rmtree, gone),
        ("without weights", lambda path: (path / "model.safetensors").unlink(), ("no weights", "safetensors")),
        ("one bit of the weights flipped", flip, changed),
        ("weights cut off", lambda path: cut(path / "model.safetensors", 3), damaged),
        ("header damaged", lambda path: overwrite(path / "model.safetensors", 8, b"#"), damaged),
        ("tokenizer vanished", lambda path: (path / "tokenizer.json").unlink(), ("no tokenizer", "tokenizer files")),
        ("template changed", lambda path: edit(path / "tokenizer_config.json", "<|im_start|>", "<|im_begin|>"),
         ("the tokenizer or template of", "changed since they were stored", "models/", "restore the checkpoint")),
        ("config is garbage", lambda path: overwrite(path / "config.json", 0, b"garbage"), ("not valid JSON", "config.json")),
    ]  # fmt: skip
    return [checkpoint(name, deed, says) for name, deed, says in cases] + [unadopted()]


def checkpoint(name: str, deed: Deed, says: tuple[str, ...]) -> Fault:
    """Damage to a model that a killed run had finished and the rest of it needs; a backup of it is at hand."""

    def spoil(folder: Path) -> None:
        shutil.copytree(folder / "models", folder / "backup")
        for model in (folder / "models").iterdir():
            deed(model)

    def mend(folder: Path) -> None:
        shutil.rmtree(folder / "models")
        (folder / "backup").rename(folder / "models")

    before = {"at": NOTE, "number": 8, "act": "SIGKILL"}
    return Fault("checkpoint", name, "error", before=before, spoil=spoil, mend=mend, says=says)


def unadopted() -> Fault:
    """A bit flips after the checkpoint got its name and before the store knew its checksum; the remedy: train again."""

    def spoil(folder: Path) -> None:
        for model in (folder / "models").iterdir():
            flip(model)

    def mend(folder: Path) -> None:
        shutil.rmtree(folder / "models")

    before = {"at": "toolkit.engines.checkpoint:promote", "act": "SIGKILL"}
    says = ("the weights changed since the training left them", "models/", "remove this directory")
    return Fault("checkpoint", "one bit flipped before adoption", "error", before=before, spoil=spoil, mend=mend, says=says)


def flip(model: Path) -> None:
    """One bit of the last weight, which no header tells."""
    weights = model / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-2] ^= 16
    weights.write_bytes(data)


def cut(path: Path, most: int) -> None:
    """Without its last bytes."""
    os.truncate(path, path.stat().st_size - most)


def overwrite(path: Path, at: int, words: bytes) -> None:
    """Other bytes at this place."""
    data = bytearray(path.read_bytes())
    data[at : at + len(words)] = words
    path.write_bytes(data)


def edit(path: Path, words: str, instead: str) -> None:
    """Other words in a file of text."""
    path.write_text(path.read_text().replace(words, instead))


def logs() -> list[Fault]:
    before = {"at": NOTE, "number": 9, "act": "SIGKILL"}

    def shortened(folder: Path) -> None:
        cut(folder / "s.duckdb.wal", 200)

    def garbled(folder: Path) -> None:
        overwrite(folder / "s.duckdb.wal", 0, b"garbage" * 20)

    def move_away(folder: Path) -> None:
        (folder / "s.duckdb.wal").rename(folder / "moved-away")

    told = ("the write-ahead log is damaged", "s.duckdb.wal", "move the .wal file away")
    return [
        Fault("write-ahead log", "cut off", "survives", before=before, spoil=shortened),
        Fault("write-ahead log", "garbage", "error", before=before, spoil=garbled, mend=move_away, says=told),
    ]


def surroundings() -> list[Fault]:
    before = {"at": NOTE, "number": 9, "act": "SIGKILL"}

    def forbid(folder: Path) -> None:
        (folder / "s.duckdb").chmod(0o444)
        folder.chmod(0o555)

    def allow(folder: Path) -> None:
        folder.chmod(0o755)
        (folder / "s.duckdb").chmod(0o644)

    def garble(folder: Path) -> None:
        (folder / "s.duckdb").rename(folder / "backup")
        (folder / "s.duckdb").write_bytes(b"no database" * 99)

    def restore(folder: Path) -> None:
        (folder / "backup").rename(folder / "s.duckdb")

    written = ("the store cannot be written", "s.duckdb", "choose a writable place with --store")
    other = ("not a DuckDB database", "s.duckdb", "--store")
    return [
        Fault("store", "read-only folder", "error", before=before, spoil=forbid, mend=allow, says=written,
              inside={"act": "nobody"}),
        Fault("store", "another file in its place", "error", before=before, spoil=garble, mend=restore, says=other),
        Fault("clock", "ten years back", "survives", before=before, inside={"act": "clock back"}),
        Fault("clock", "ten years ahead", "survives", before=before, inside={"act": "clock ahead"}),
    ]  # fmt: skip
