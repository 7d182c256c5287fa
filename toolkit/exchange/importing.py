"""import_pairs(): a preference file becomes a frozen version; every row that is no pair is kept with its reason.

Rows are read, checked and inserted in batches inside one transaction: a kill leaves nothing, and the same file again
finds its version. An export of ours, known by the manifest.json beside it, must come back as it left: its rows are held
against the manifest, and checks.py is left to what no store can hold, since a frozen set may have empty answers.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from toolkit.errors import InputError
from toolkit.exchange.adopting import adopt
from toolkit.exchange.checks import CHECKS, STORABLE, check
from toolkit.exchange.formats import Shape, detect, parse, shape_named
from toolkit.exchange.manifest import Manifest, check_files, drift, read_manifest
from toolkit.exchange.rows import Flaw, RawRow
from toolkit.identity import content_id
from toolkit.pairs.versions import Version, check_name, commit, load, stage
from toolkit.reading import Line, read_lines
from toolkit.records import PairSet
from toolkit.store.database import Store

BATCH = 2000
FIRST = 64  # rows by which a shape is found


@dataclass(frozen=True)
class Source:
    """What is read (a path, or a hub id), and the manifest in its folder."""

    name: str
    folder: Path
    manifest: Manifest | None


@dataclass(frozen=True)
class Sieve:
    """Rows go through it one after the other. aside: what it kept back since it was last emptied."""

    shape: Shape
    checked: bool
    counts: Counter[str] = field(default_factory=Counter)
    aside: list[dict[str, str]] = field(default_factory=list)
    seen: dict[str, str] = field(default_factory=dict)  # content of a row -> its place

    def __call__(self, line: Line) -> RawRow | None:
        """The row of a line, or None where it was set aside."""
        try:
            row = parse(self.shape, line)
            check(row, CHECKS if self.checked else STORABLE)
            if self.checked:
                self._check_new(row)
        except Flaw as flaw:
            self.counts[flaw.reason] += 1
            self.aside.append(
                {"place": line.place, "reason": flaw.reason, "detail": flaw.detail, "row": line.as_text()}
            )
            return None
        return row

    def _check_new(self, row: RawRow) -> None:
        key = content_id("row", [[list(turn) for turn in row.said.turns], *row.said.sides])
        first = self.seen.setdefault(key, row.place)
        if first != row.place:
            raise Flaw("duplicate", f"the same prompt and answers as {first}")


def import_pairs(
    store: Store, path_or_id: str | Path, name: str, launch: str, *, shape: str = "auto", message: str = ""
) -> tuple[PairSet, bool, Counter[str]]:
    """The rows of a file, folder or hub id as a version of `name`; whether it was there; rows set aside by reason.

    Raises InputError where the shape is unknown, no row is a pair, or an export is not what its manifest says.
    """
    check_name(name)
    source = _source(str(path_or_id))
    with closing(read_lines(source.name)) as lines, store.transaction():
        found_shape, lines_again = _shaped(source, lines, shape)
        sieve = Sieve(found_shape, checked=source.manifest is None)
        members = _adopt_all(store, lines_again, sieve, launch)
        said = _outcome(source, len(members), sieve)
        stage(store, members)
        version, found = commit(store, PairSet(name, 0, None, (), message=message or said), launch)
        _hold_against(source, version, said)
        _keep_aside(store, version.id, launch)
    return load(store, version.id), found, sieve.counts


def find_shape(path_or_id: str | Path) -> str:
    """The name of the shape that `auto` finds; nothing is imported. Raises InputError."""
    source = _source(str(path_or_id))
    with closing(read_lines(source.name)) as lines:
        return _shaped(source, lines, "auto")[0].name


def _source(name: str) -> Source:
    """What a name means: of an export its one data file, or the data set folder that it is."""
    path = Path(name).expanduser()
    folder = path if path.is_dir() else path.parent
    manifest = read_manifest(folder) if path.exists() else None
    if manifest is None or not (path.is_dir() or path.name in manifest.files):
        return Source(name, folder, None)
    check_files(manifest, folder)
    if path.is_dir() and len(manifest.files) == 1:
        path = folder / next(iter(manifest.files))
    return Source(str(path), folder, manifest)


def _shaped(source: Source, lines: Iterator[Line], wanted: str) -> tuple[Shape, Iterator[Line]]:
    """The shape, and all lines again. `auto` is the manifest's shape, or what the first rows look like."""
    if wanted == "auto" and source.manifest:
        wanted = source.manifest.shape
    if wanted != "auto":
        return shape_named(wanted), lines
    first = list(itertools.islice(lines, FIRST))
    return detect(first, source.name), itertools.chain(first, lines)


def _adopt_all(store: Store, lines: Iterator[Line], sieve: Sieve, launch: str) -> list[str]:
    """Insert every line as a pair or as a row set aside; the ids of the pairs."""
    columns = "place VARCHAR PRIMARY KEY, reason VARCHAR, detail VARCHAR, row VARCHAR"
    store.query(f"CREATE OR REPLACE TEMP TABLE set_aside ({columns})")
    members: list[str] = []
    while batch := list(itertools.islice(lines, BATCH)):
        members += adopt(store, [row for line in batch if (row := sieve(line))], launch)
        store.insert("set_aside", sieve.aside)
        sieve.aside.clear()
    return members


def _outcome(source: Source, pairs: int, sieve: Sieve) -> str:
    """What became of the rows, in words. Raises InputError where none is a pair."""
    counts = ", ".join(f"{count} {reason}" for reason, count in sorted(sieve.counts.items()))
    aside = f", {sieve.counts.total()} rows set aside ({counts})" if counts else ""
    name = Path(source.name).name if Path(source.name).expanduser().exists() else source.name
    if not pairs:
        raise InputError(
            f"no row of {source.name} is a pair{aside or ': it has no rows'}",
            where=f"read as {sieve.shape.name}",
            remedy="mend the rows, or name another shape",
        )
    return f"imported from {name} as {sieve.shape.name}: {pairs} pairs{aside}"


def _hold_against(source: Source, version: Version, said: str) -> None:
    """Raise InputError where an export did not come back as it left."""
    manifest = source.manifest
    if manifest and (version.size, version.fingerprint) != (manifest.rows, manifest.fingerprint):
        wanted = f"{manifest.rows} pairs with fingerprint {manifest.fingerprint}"
        raise drift(manifest, source.folder, f"{said}, fingerprint {version.fingerprint}; it left with {wanted}")


def _keep_aside(store: Store, version: str, launch: str) -> None:
    """Store the rows set aside; those that an earlier import kept for this version are left alone."""
    store.query(
        "INSERT INTO rejected_row SELECT $version, s.place, s.reason, s.detail, s.row, $launch FROM set_aside s "
        "ON CONFLICT DO NOTHING",
        {"version": version, "launch": launch},
    )
