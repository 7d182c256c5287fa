"""export_pairs(): a version as files that a trainer reads, with a manifest by which they come back.

A folder is written in a temporary folder of its own and renamed; of a file, manifest.json beside it is renamed first,
so that a kill between the two renames is found as drift and repaired by the next export. Of two exports to one place
each is written apart, and the second takes the place of the first. Only an earlier export whose files nobody changed
since is replaced, and not once its card was completed. A folder has a card; a file has none, for the README.md beside
it is somebody else's.
Rows stand in the order of their pair ids: the same version gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from toolkit import __version__
from toolkit.errors import InputError
from toolkit.exchange import card
from toolkit.exchange.layouts import EXTRA, INFO, Layout, dataset_info, layout
from toolkit.exchange.manifest import NAME, Manifest, checksums, read_manifest
from toolkit.exchange.writing import write_rows
from toolkit.pairs.versions import Version, resolve, verify
from toolkit.redaction import hidden, redact_mapping
from toolkit.store.database import Store
from toolkit.trust.paths import check_name
from toolkit.trust.safe_files import RECORD, clear_abandoned, is_recorded, locked, move_in, scratch, sync

BATCH = 2000  # rows in memory at a time; the join is made once, in the database
FILES = {".jsonl", ".json", ".csv", ".gz", ".parquet", ".arrow"}
_ROWS = (
    "CREATE OR REPLACE TEMP TABLE exported AS SELECT row_number() OVER (ORDER BY x.id) AS place, "
    "x.id AS pair_id, x.chosen AS chosen_id, x.rejected AS rejected_id, x.chosen_score, x.rejected_score, "
    "x.chosen_role, x.rejected_role, p.text AS prompt, p.history, c.text AS chosen, r.text AS rejected, "
    "m.name AS chosen_model, n.name AS rejected_model, j.name AS judge "
    "FROM members($version) v JOIN pair x ON x.id = v.pair JOIN prompt p ON p.id = x.prompt "
    "JOIN response c ON c.id = x.chosen JOIN response r ON r.id = x.rejected "
    "LEFT JOIN model m ON m.id = c.model LEFT JOIN model n ON n.id = r.model LEFT JOIN model j ON j.id = x.judge "
    "ORDER BY place"
)
_MODELS = (
    "SELECT DISTINCT m.name, m.id, CASE WHEN m.template <> 'external' THEN m.template END AS template "
    "FROM (SELECT unnest([x.chosen, x.rejected]) AS id FROM members($version) v JOIN pair x ON x.id = v.pair) side "
    "JOIN response r ON r.id = side.id JOIN model m ON m.id = r.model ORDER BY ALL"
)


def export_pairs(store: Store, reference: str, folder_or_file: str | Path, shape: str) -> Path:
    """Write a version in this shape into a folder, or a file with manifest.json beside it; where it was written.

    Raises InputError where something else is in the way, StoreError where the version has drifted.
    """
    chosen = layout(shape)
    version = resolve(store, reference)
    check_name(version.name, "a set", store.path or "")  # of a stranger's store: it stands in the card
    verify(store, version)
    target = Path(folder_or_file).expanduser().resolve()
    as_file = _is_file(target, chosen)
    with _boundary(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with locked(target.parent):
            _refuse_others(target, as_file)
        clear_abandoned(target.parent, "export")
        with scratch(target.parent, "export") as aside:
            partial = aside / "new"
            partial.mkdir()
            _write(store, version, chosen, (partial, target.name if as_file else chosen.file))
            for file in partial.iterdir():
                sync(file)
            with locked(target.parent):
                _refuse_others(target, as_file)  # again: another export may have been there meanwhile
                _put_file(partial, target) if as_file else _put_folder(partial, target, aside / "old")
                sync(target.parent)
    return target


def would_replace(folder_or_file: str | Path, shape: str) -> list[Path]:
    """The files of an earlier export that an export to this place replaces. Raises InputError where it is refused."""
    target = Path(folder_or_file).expanduser().resolve()
    as_file = _is_file(target, layout(shape))
    _refuse_others(target, as_file)
    if not target.exists():
        return []
    return [target.parent / NAME, target] if as_file else sorted(target.iterdir())


def _write(store: Store, version: Version, chosen: Layout, place: tuple[Path, str]) -> None:
    folder, name = place
    files = write_rows(chosen, _batches(store, version, chosen), folder, name)
    manifest = Manifest(
        pair_set=version.id,
        fingerprint=version.fingerprint,
        rows=version.size,
        message=hidden(version.message),  # of another's store, where nothing hid it
        models=[redact_mapping(row) for row in store.query(_MODELS, {"version": version.id})],
        toolkit_version=__version__,
        shape=chosen.shape,
        columns=(*chosen.columns, *EXTRA),
        files=checksums(folder, files),
    )
    manifest.write(folder)
    (folder / card.NAME).write_text(card.card(manifest), encoding="utf-8")  # people complete it: it has no checksum
    if chosen.shape == "sharegpt":
        (folder / INFO).write_text(dataset_info(version.name, name), encoding="utf-8")


def _batches(store: Store, version: Version, chosen: Layout) -> Iterator[list[dict[str, Any]]]:
    store.query(_ROWS, {"version": version.id})
    for start in range(0, version.size, BATCH):
        rows = store.query("FROM exported WHERE place > ? AND place <= ? ORDER BY place", [start, start + BATCH])
        yield [chosen.row(row) for row in rows]
    store.query("DROP TABLE exported")


def _is_file(target: Path, chosen: Layout) -> bool:
    if target.suffix not in FILES:
        return False
    if target.suffix != Path(chosen.file).suffix:
        wanted = f"name a folder, or a file that ends in {Path(chosen.file).suffix}" if chosen.file else "name a folder"
        raise InputError(f"shape {chosen.shape} is not written into a {target.suffix} file", remedy=wanted)
    return True


def _refuse_others(target: Path, as_file: bool) -> None:
    """Raise InputError where the target, or its manifest's place, holds what no export put there."""
    folder = target.parent if as_file else target
    if not as_file and target.exists() and not target.is_dir():
        raise _in_the_way(target)
    if not folder.is_dir():
        return
    manifest = read_manifest(folder)
    if as_file and target.is_symlink():
        raise _in_the_way(target)
    inside = {path.name for path in folder.iterdir()} - {RECORD}
    if as_file:
        inside &= {NAME, target.name}
        ours = {NAME, target.name} if manifest and list(manifest.files) == [target.name] else set()
    else:
        ours = _written(folder, manifest) if manifest else set()
    ours = {name for name in ours if _unchanged(folder / name, manifest)}
    if foreign := sorted(inside - ours):
        raise _in_the_way(folder / foreign[0])


def _unchanged(path: Path, manifest: Manifest | None) -> bool:
    """Whether the file is as an export left it; of the card, `_written` knows."""
    if manifest is None or path.is_symlink() or not path.is_file():
        return False
    if path.name == INFO and manifest.shape == "sharegpt":
        set_name = manifest.pair_set.rpartition("@")[0]
        return path.read_text(encoding="utf-8") == dataset_info(set_name, next(iter(manifest.files), ""))
    digest = manifest.files.get(path.name)
    return digest is None or checksums(path.parent, [path.name])[path.name] == digest or is_recorded(path)


def _written(folder: Path, manifest: Manifest) -> set[str]:
    """The names of what the export of this manifest wrote; the card's only while nobody has completed it."""
    return {
        NAME,
        *manifest.files,
        *([INFO] if manifest.shape == "sharegpt" else ()),
        *([card.NAME] if card.untouched(folder / card.NAME, manifest) else ()),
    }


def _in_the_way(path: Path) -> InputError:
    problem = f"{path} is not from an earlier export to this place, or was completed since"
    return InputError(problem, remedy="remove it, or name another place")


def _put_folder(partial: Path, target: Path, old: Path) -> None:
    """old: where the earlier export waits to be removed with the temporary folder that holds it."""
    if not target.exists():
        partial.rename(target)
        return
    target.rename(old)
    try:
        partial.rename(target)
    except OSError:
        old.rename(target)
        raise


def _put_file(partial: Path, target: Path) -> None:
    move_in(partial, target.parent, [NAME, target.name], proven=True)


@contextmanager
def _boundary(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"cannot write {target}: {error.strerror or error}", remedy="free some space or choose a writable place"
        ) from error
