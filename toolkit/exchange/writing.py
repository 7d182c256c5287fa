"""Rows into files: JSON lines, Parquet, or a folder of `save_to_disk`. Batch by batch, so memory holds one of them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.exchange.layouts import EXTRA, Layout

Batches = Iterable[Sequence[Mapping[str, Any]]]


def write_rows(layout: Layout, batches: Batches, folder: Path, name: str) -> list[str]:
    """Write the rows into `folder`, as file `name` where the shape is one file; the names of the files written."""
    if layout.file.endswith(".jsonl"):
        _jsonl(batches, folder / name)
    elif layout.file.endswith(".parquet"):
        _parquet(layout, batches, folder / name)
    else:
        _dataset(layout, batches, folder)
    return [path.name for path in folder.iterdir()]


def _jsonl(batches: Batches, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for rows in batches:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _parquet(layout: Layout, batches: Batches, path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    schema = _schema(layout)
    with pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for rows in batches:
            writer.write_table(pyarrow.Table.from_pylist(list(rows), schema))


def _dataset(layout: Layout, batches: Batches, folder: Path) -> None:
    """By way of an Arrow file, which `datasets` maps into memory instead of reading it."""
    import datasets
    import pyarrow

    datasets.disable_progress_bars()
    schema = _schema(layout)
    with tempfile.TemporaryDirectory(dir=folder) as other:  # a data set cannot be saved where it lies
        stream = f"{other}/rows.arrow"
        with pyarrow.OSFile(stream, "wb") as file, pyarrow.ipc.new_stream(file, schema) as writer:
            for rows in batches:
                writer.write_table(pyarrow.Table.from_pylist(list(rows), schema))
        datasets.Dataset.from_file(stream).save_to_disk(str(folder))


def _schema(layout: Layout) -> Any:
    import pyarrow

    turns = pyarrow.list_(pyarrow.struct([("role", pyarrow.string()), ("content", pyarrow.string())]))
    as_text = {"prompt", "chosen", "rejected"} if "history" in layout.columns else set()
    own = [(name, pyarrow.string() if name in as_text else turns) for name in layout.columns]
    scores = {"chosen_score", "rejected_score"}
    return pyarrow.schema(own + [(name, pyarrow.float64() if name in scores else pyarrow.string()) for name in EXTRA])
