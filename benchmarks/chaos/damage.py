"""Faults that strike between two launches, on disk: checkpoints, the log, the store, the volume that it lies on."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from benchmarks.chaos.fault import NOTE, Deed, Fault

SOCKET = shutil.ignore_patterns("*.sock")  # what a killed writer left is no file to copy
KILLED = {"at": NOTE, "number": 9, "act": "SIGKILL"}


def damages() -> list[Fault]:
    """All of them; those of small and read-only volumes only where this user may mount one."""
    return checkpoints() + logs() + stores() + (volumes() if may_mount() else [])


def checkpoints() -> list[Fault]:
    gone, damaged = ("no checkpoint directory", "restore it"), ("model.safetensors", "safetensors")
    restore = ("changed since they were stored", "models/", "restore the checkpoint from a backup")
    rendering = ("the tokenizer or template of", *restore)
    cases: list[tuple[str, Deed, tuple[str, ...]]] = [
        ("vanished", shutil.rmtree, gone),
        ("without weights", lambda path: (path / "model.safetensors").unlink(), ("no weights", "safetensors")),
        ("one bit of the weights flipped", flip_weight, ("the weights of", *restore)),
        ("weights cut off", lambda path: cut(path / "model.safetensors", 3), damaged),
        ("header damaged", lambda path: overwrite(path / "model.safetensors", 8, b"#"), damaged),
        ("tokenizer vanished", lambda path: (path / "tokenizer.json").unlink(), rendering),
        ("template changed", lambda path: edit(path / "tokenizer_config.json", "assistant", "helper"), rendering),
        ("config is garbage", lambda path: overwrite(path / "config.json", 0, b"garbage"), ("not valid JSON",)),
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
            flip_weight(model)

    def mend(folder: Path) -> None:
        shutil.rmtree(folder / "models")

    before = {"at": "toolkit.engines.checkpoint:promote", "act": "SIGKILL"}
    says = ("the weights changed since the training left them", "models/", "remove this directory")
    return Fault(
        "checkpoint", "one bit flipped before adoption", "error", before=before, spoil=spoil, mend=mend, says=says
    )


def flip_weight(model: Path) -> None:
    """One bit of the last weight, which no header tells."""
    flip(model / "model.safetensors", -2)


def flip(path: Path, at: int) -> None:
    """One bit."""
    data = bytearray(path.read_bytes())
    data[at] ^= 16
    path.write_bytes(data)


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
    """DuckDB leaves out a log with another start, and says where it fails within one."""

    def move_away(folder: Path) -> None:
        (folder / "s.duckdb.wal").rename(folder / "moved-away")

    def shorten(folder: Path) -> None:
        cut(folder / "s.duckdb.wal", 200)

    def garble(folder: Path) -> None:
        overwrite(folder / "s.duckdb.wal", 0, b"garbage" * 20)

    def flip_one(folder: Path) -> None:
        flip(folder / "s.duckdb.wal", 100)

    told = ("the write-ahead log is damaged", "s.duckdb.wal", "move the .wal file away")
    return [
        Fault("write-ahead log", "cut off", "survives", before=KILLED, spoil=shorten),
        Fault("write-ahead log", "begins with garbage", "survives", before=KILLED, spoil=garble),
        Fault("write-ahead log", "one bit flipped", "error", before=KILLED, spoil=flip_one, mend=move_away, says=told),
    ]


def stores() -> list[Fault]:
    def forbid(folder: Path) -> None:
        (folder / "s.duckdb").chmod(0o444)
        folder.chmod(0o555)

    def allow(folder: Path) -> None:
        folder.chmod(0o755)
        (folder / "s.duckdb").chmod(0o644)

    def replace(folder: Path) -> None:
        (folder / "s.duckdb").rename(folder / "backup")
        (folder / "s.duckdb").write_bytes(b"no database" * 99)

    def restore(folder: Path) -> None:
        (folder / "backup").rename(folder / "s.duckdb")

    written = ("the store cannot be written", "s.duckdb", "choose a writable place with --store")
    other = ("not a DuckDB database", "s.duckdb", "--store")
    return [
        Fault("store", "forbidden folder", "error", before=KILLED, spoil=forbid, mend=allow, says=written,
              inside={"act": "nobody"}),
        Fault("store", "another file in its place", "error", before=KILLED, spoil=replace, mend=restore, says=other),
    ]  # fmt: skip


def volumes() -> list[Fault]:
    """Real volumes in memory: too small ones, and a read-only one. The mend is a larger one."""
    full, forbidden = ("free some space", "run the same command again"), ("the store cannot be written", "--store")
    sizes = ("8k", "64k", "300k", "600k", "800k", "900k", "950k", "1000k")
    small = [Fault("disk full", f"a volume of {size}", "error", spoil=onto(size), mend=off, says=full)
             for size in sizes]  # fmt: skip
    read_only = onto("64m", read_only=True)
    return [
        *small,
        Fault("store", "read-only volume", "error", before=KILLED, spoil=read_only, mend=off, says=forbidden),
    ]


def onto(size: str, *, read_only: bool = False) -> Deed:
    """What lies in the folder lies on a volume of its own from now on."""

    def deed(folder: Path) -> None:
        copy = folder.rename(folder.with_name(f"{folder.name}-copy"))
        folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder], check=True)
        shutil.copytree(copy, folder, dirs_exist_ok=True, ignore=SOCKET)
        shutil.rmtree(copy)
        if read_only:
            subprocess.run(["mount", "-o", "remount,ro", folder], check=True)

    return deed


def off(folder: Path) -> None:
    """The same files on the volume that there was before."""
    copy = shutil.copytree(folder, folder.with_name(f"{folder.name}-copy"), ignore=SOCKET)
    subprocess.run(["umount", folder], check=True)
    folder.rmdir()
    copy.rename(folder)


def may_mount() -> bool:
    return os.geteuid() == 0 and subprocess.run(["unshare", "-m", "true"], check=False).returncode == 0
