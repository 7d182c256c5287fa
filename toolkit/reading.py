"""Rows of a file, a data set folder or a hub id, one by one, each with its place. What a row means is formats.py.

Read: .jsonl, .json (an array, or lines), .csv, each also as .gz; .parquet; a folder of `save_to_disk`; a hub id. The
last two take a split: `folder:test`, `owner/name:train_prefs`; without one it is "train".

A line that is no JSON object is given on with what is wrong with it. Bytes that are no UTF-8 become lone surrogates,
which the checks find. Left out: folders of several files.
"""

from __future__ import annotations

import csv
import difflib
import gzip
import io
import json
import sys
import zlib
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from toolkit.errors import InputError
from toolkit.trust.paths import check_member, check_ordinary, member

SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")
# The last two are pyarrow's, for a date that Python has none for and for a type that it does not know.
_UNREADABLE = (OSError, EOFError, zlib.error, csv.Error, ValueError, RecursionError, OverflowError, NotImplementedError)
BATCH = 1024  # rows that parquet and arrow hand over at a time


@dataclass(frozen=True)
class Line:
    """A row where it stood: `name:number`, from 1. row is None where the text is no JSON object; problem says why."""

    place: str
    row: Mapping[str, Any] | None
    text: str = ""
    problem: str = ""

    def as_text(self) -> str:
        """The row as it was written, or as JSON; what no database takes is shown escaped."""
        text = self.text or json.dumps(self.row, ensure_ascii=False, default=str)
        return text.encode("utf-8", "backslashreplace").decode("utf-8")


def read_lines(source: str) -> Generator[Line, None, None]:
    """Every row of the source in its order. Raises InputError where it cannot be opened or breaks off."""
    path, split = _parts(source)
    with _boundary(source):
        check_ordinary(path)
        if path.is_dir():
            yield from _folder(path, split)
        elif path.is_file():
            yield from _file(path)
        elif _kind(path) in SUFFIXES or path.suffix == ".gz" or path.is_absolute():
            raise InputError(f"no file {path}", remedy=_near(path))
        else:
            yield from _hub(str(path), split)


def _parts(source: str) -> tuple[Path, str]:
    head, colon, split = source.rpartition(":")
    if colon and not Path(source).expanduser().exists():
        return Path(head).expanduser(), split
    return Path(source).expanduser(), "train"


def _kind(path: Path) -> str:
    return Path(path.name.removesuffix(".gz")).suffix


def _file(path: Path) -> Iterator[Line]:
    kind = _kind(path)
    if kind == ".parquet" and path.suffix != ".gz":
        yield from _numbered(path.name, _parquet(path))
        return
    if kind not in SUFFIXES or kind == ".parquet":
        raise InputError(f"no reader for {path.name!r}", remedy=f"name a file that ends in {', '.join(SUFFIXES)}")
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        readers = {".jsonl": _json_lines, ".json": _json, ".csv": _csv}
        yield from readers[kind](file, path.name)  # type: ignore[arg-type]


def _json_lines(file: IO[bytes], name: str) -> Iterator[Line]:
    for number, data in enumerate(file, start=1):
        text = _decode(data).removesuffix("\n").removesuffix("\r")
        if text.strip():
            yield _parse(f"{name}:{number}", text)


def _parse(place: str, text: str) -> Line:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        return Line(place, None, text, str(error))
    return _object(place, row, text)


def _object(place: str, row: Any, text: str = "") -> Line:
    if isinstance(row, Mapping):
        return Line(place, row, text)
    return Line(place, None, text or json.dumps(row), f"{type(row).__name__} instead of an object")


def _json(file: IO[bytes], name: str) -> Iterator[Line]:
    data = file.read()
    if not data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
        yield from _json_lines(io.BytesIO(data), name)
        return
    for number, row in enumerate(json.loads(_decode(data)), start=1):
        yield _object(f"{name}:{number}", row)


def _csv(file: IO[bytes], name: str) -> Iterator[Line]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # the default refuses answers above 131072 characters
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    for number, row in enumerate(csv.DictReader(text), start=1):
        if None in row:
            cells = json.dumps(list(row.values()), ensure_ascii=False)
            yield Line(f"{name}:{number}", None, cells, "more cells than columns")
        else:
            yield Line(f"{name}:{number}", row)


def _decode(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape").removeprefix("\ufeff")


def _parquet(path: Path) -> Iterator[Mapping[str, Any]]:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=BATCH):
            yield from batch.to_pylist()


def _folder(path: Path, split: str) -> Iterator[Line]:
    import datasets

    _check_saved(path)
    data = datasets.load_from_disk(str(path))
    if isinstance(data, datasets.DatasetDict):
        if split not in data:
            raise InputError(f"no split {split!r} in {path}", remedy=f"name one: {path}:{next(iter(data))}")
        data = data[split]
    batches = data.with_format("arrow").iter(batch_size=BATCH)
    yield from _numbered(path.name, (row for batch in batches for row in batch.to_pylist()))


def _check_saved(path: Path) -> None:
    """Raise InputError where the index of a saved data set names a file outside of its folder."""
    index = path / "dataset_dict.json"
    splits = json.loads(index.read_text(encoding="utf-8")).get("splits", []) if index.is_file() else []
    for folder in (path, *(path / check_member(str(split), index) for split in splits)):
        state = folder / "state.json"
        files = json.loads(state.read_text(encoding="utf-8")).get("_data_files", []) if state.is_file() else []
        for file in files:
            member(folder, str(file["filename"]), state)


def _hub(name: str, split: str) -> Iterator[Line]:
    import datasets

    try:
        yield from _numbered(name, datasets.load_dataset(name, split=split, streaming=True))
    except datasets.exceptions.DatasetsError as error:
        raise ValueError(str(error)) from error


def _numbered(name: str, rows: Iterable[Mapping[str, Any]]) -> Iterator[Line]:
    for number, row in enumerate(rows, start=1):
        yield Line(f"{name}:{number}", row)


def _near(path: Path) -> str:
    names = [other.name for other in path.parent.glob("*")]
    near = difflib.get_close_matches(path.name, names, n=1)
    return f"did you mean {near[0]!r}?" if near else "name an existing file or folder, or a data set of the hub"


@contextmanager
def _boundary(source: str) -> Iterator[None]:
    """What files, gzip, csv, pyarrow and datasets raise, as one error of ours."""
    try:
        yield
    except _UNREADABLE as error:
        raise InputError(
            f"cannot read {source!r}: {type(error).__name__}: {str(error)[:200]}",
            remedy="mend the file, or name a file, a folder of save_to_disk, or a data set that can be reached, "
            "a split after a colon",
        ) from error
