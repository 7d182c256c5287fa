"""Files beside a store: checkpoints that a row misses, checkpoints that no row knows, and what killed runs left.

What may be removed without a thought (`safe`) is what a launch makes again from nothing or never reads: the temporary
folder of a store that was being made, the socket of a writer that is gone, and the half-saved checkpoint of a training
that no row knows. The last only where the folder has no other store, whose training it might be. A finished checkpoint
is never safe, known or not: the next launch of its recipe takes it in.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from toolkit.engines import checkpoint
from toolkit.errors import InputError, writing
from toolkit.store.database import Store
from toolkit.store.serving import address

HALF_SAVED = ("checkpoint", "adapter")  # what a trainer saves into, before it is moved to models/


@dataclass(frozen=True)
class Leftover:
    """A file or folder that is not as the store says. safe: it may be removed without loss."""

    path: Path
    what: str
    safe: bool = False

    def row(self, removed: bool) -> dict[str, object]:
        after = "removed" if removed else "removed by doctor --fix" if self.safe else "left alone"
        return {"check": str(self.path), "state": after, "found": self.what}


def leftovers(store: Store) -> list[Leftover]:
    """All of them, for a store that this process holds open for writing."""
    assert store.path is not None  # one in memory has no folder
    return [*_missing(store), *_unknown(store), *_of_killed_launches(store.path), *_half_saved(store)]


def remove(found: Leftover) -> None:
    """Remove one that is safe to remove."""
    with writing(found.path):
        if found.path.is_dir():
            shutil.rmtree(found.path)
        else:
            found.path.unlink(missing_ok=True)


def _missing(store: Store) -> Iterator[Leftover]:
    assert store.path is not None
    for row in store.query("SELECT name, path FROM model WHERE training IS NOT NULL ORDER BY name, path"):
        path = store.path.parent / row["path"]
        try:
            checkpoint.verify(path)
        except InputError as error:
            yield Leftover(path, f"the checkpoint of {row['name']}: {error.problem}; restore it from a backup")


def _unknown(store: Store) -> Iterator[Leftover]:
    assert store.path is not None
    known = {store.path.parent / row["path"] for row in store.query("SELECT path FROM model")}
    for path in sorted(store.path.parent.glob("models/*")):
        if path not in known:
            yield Leftover(path, "a checkpoint that no row knows: another store's, or one that a rerun takes in")


def _of_killed_launches(store: Path) -> Iterator[Leftover]:
    for path in sorted(store.parent.glob(f".{store.name}.*")):
        yield Leftover(path, "left by a launch that was killed while it made the store", safe=True)
    if address(store).exists():
        yield Leftover(Path(os.path.abspath(address(store))), "the socket of a writer that was killed", safe=True)


def _half_saved(store: Store) -> Iterator[Leftover]:
    assert store.path is not None
    alone = not any(_is_store(file) for file in store.path.parent.iterdir() if file != store.path)
    known = {row["id"] for row in store.query("SELECT id FROM training")}
    for name in HALF_SAVED:
        for path in sorted(store.path.parent.glob(f"trainings/*/{name}")):
            if path.parent.name not in known:
                inside = path.resolve().is_relative_to(store.path.parent.resolve())  # what a link leads to is another's
                what = "half saved by a training that was killed; the same command trains again"
                yield Leftover(path, what, alone and inside)


def _is_store(file: Path) -> bool:
    """Whether the file is a DuckDB database, whatever it is called."""
    if not file.is_file():
        return False
    with file.open("rb") as opened:
        return opened.read(12)[8:] == b"DUCK"
