"""Files beside a store: checkpoints that a row misses, checkpoints that no row knows, and what killed runs left.

What may be removed (`safe`) is what the toolkit provably made, nobody holds, and a launch makes again from nothing or
never reads: a temporary folder with the toolkit's prefix and no living owner, the empty database of a store that an
older version was making, the socket of a writer that is gone, and the half-saved checkpoint of a training that no row
knows, with its hand-off and its free lock next to it. The last only where the folder has no other store, whose training
it might be. A finished checkpoint is never safe, known or not: the next launch of its recipe takes it in.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from toolkit.engines import checkpoint
from toolkit.errors import InputError, writing
from toolkit.store.database import Store
from toolkit.store.serving import address, is_left_socket
from toolkit.trust.paths import inside
from toolkit.trust.safe_files import PREFIX, abandoned, is_locked, remove_abandoned

HAND_OFF = ("pairs.jsonl", "demonstrations.jsonl")
EMPTY_STORE = 12_288  # bytes of a database without a table: three headers
UNBORN_SECONDS = 60.0  # an older version makes an empty database in less than a second
HALF_SAVED = ("checkpoint", "adapter")  # what a trainer saves into, before it is moved to models/


@dataclass(frozen=True)
class Leftover:
    """A file or folder that is not as the store says. safe: it may be removed without loss."""

    path: Path
    what: str
    safe: bool = False

    def row(self, fixed: bool) -> dict[str, object]:
        state = ("removed" if fixed else "removed by doctor --fix") if self.safe else "left alone"
        return {"check": str(self.path), "state": state, "found": self.what}


def leftovers(store: Store) -> list[Leftover]:
    """All of them, for a store that this process holds open for writing."""
    assert store.path is not None  # one in memory has no folder
    return [*_missing(store), *_unknown(store), *_temporary(store.path), *_half_saved(store)]


def remove(found: Leftover) -> None:
    """Remove one that is safe to remove; never what a link leads to."""
    with writing(found.path):
        if found.path.name.startswith(PREFIX):
            remove_abandoned(found.path)
        elif found.path.is_dir() and not found.path.is_symlink():
            shutil.rmtree(found.path)
        else:
            found.path.unlink(missing_ok=True)


def _missing(store: Store) -> Iterator[Leftover]:
    assert store.path is not None
    for row in store.query("SELECT name, path FROM model WHERE training IS NOT NULL ORDER BY name, path"):
        path = store.path.parent / row["path"]
        try:
            checkpoint.verify(inside(store.path.parent, row["path"], row["name"]))
        except InputError as error:
            yield Leftover(path, f"the checkpoint of {row['name']}: {error.problem}; restore it from a backup")


def _unknown(store: Store) -> Iterator[Leftover]:
    assert store.path is not None
    known = {store.path.parent / row["path"] for row in store.query("SELECT path FROM model")}
    for path in sorted(store.path.parent.glob("models/*")):
        if path not in known:
            yield Leftover(path, "a checkpoint that no row knows: another store's, or one that a rerun takes in")


def _temporary(store: Path) -> Iterator[Leftover]:
    for path in abandoned(store.parent):
        yield Leftover(path, "the temporary folder of a process that was killed", safe=True)
    for path in sorted(store.parent.iterdir()):
        if _is_unborn_store(path, store.name):
            yield Leftover(path, "left by a launch that was killed while it made the store", safe=True)
    if is_left_socket(address(store)):
        yield Leftover(Path(os.path.abspath(address(store))), "the socket of a writer that was killed", safe=True)


def _is_unborn_store(path: Path, name: str) -> bool:
    """Whether an older version left this: `.STORE.` and eight characters, and in it at most an empty database."""
    if not re.fullmatch(rf"\.{re.escape(name)}\.[a-z0-9_]{{8}}", path.name) or path.is_symlink() or not path.is_dir():
        return False
    age = time.time() - path.stat().st_mtime
    files = list(path.iterdir())
    empty = all(file.name == name and _is_store(file) and file.stat().st_size <= EMPTY_STORE for file in files)
    return empty and age > UNBORN_SECONDS and path.stat().st_uid == os.geteuid()


def _half_saved(store: Store) -> Iterator[Leftover]:
    assert store.path is not None
    alone = not any(_is_store(file) for file in store.path.parent.iterdir() if file != store.path)
    known = {row["id"] for row in store.query("SELECT id FROM training")}
    for name in HALF_SAVED:
        for path in sorted(store.path.parent.glob(f"trainings/*/{name}")):
            if path.parent.name not in known:
                what = "half saved by a training that was killed; the same command trains again"
                yield Leftover(path, what, alone and _is_our_training(path.parent))


def _is_our_training(folder: Path) -> bool:
    """Whether a training of the toolkit left this folder, and no process makes it: its id, hand-off and free lock."""
    paths = (folder.parent, folder, *folder.rglob("*"))
    if not re.fullmatch("[0-9a-f]{24}", folder.name) or any(path.is_symlink() for path in paths):
        return False  # what a link leads to is another's
    handed_off = any((folder / name).is_file() for name in HAND_OFF)
    return handed_off and (folder / "lock").is_file() and not is_locked(folder / "lock")


def _is_store(file: Path) -> bool:
    """Whether the file is a DuckDB database, whatever it is called."""
    if not file.is_file():
        return False
    with file.open("rb") as opened:
        return opened.read(12)[8:] == b"DUCK"
