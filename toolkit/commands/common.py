"""What the commands share: the store they ask, how they print, how they end."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from toolkit.provenance import capture
from toolkit.recipes.run import guarded
from toolkit.reporting.tables import table
from toolkit.store.database import Store
from toolkit.store.serving import DEFAULT as DEFAULT
from toolkit.store.serving import open_reader

StoreOption = Annotated[Path, typer.Option("--store", help="The DuckDB file.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
WideOption = Annotated[bool, typer.Option("--wide", help="Whole texts instead of their beginnings.")]
CELL = 60  # characters of a text in a table


@contextmanager
def writing(path: Path, command: str) -> Iterator[tuple[Store, str]]:
    """The store open for writing, and the id of this launch, which every new row bears."""
    launch = capture(command, {})
    with Store(path) as store:
        store.insert("launch", [{**vars(launch), "arguments": list(launch.arguments)}])
        yield store, launch.id


def reading(path: Path) -> Store:
    """The store for reading, also while a run writes it."""
    return open_reader(path)


def end(action: Callable[[], None]) -> None:
    """Do it; errors are printed and become the exit code."""
    raise typer.Exit(guarded(action))


def show(title: str, rows: Sequence[Mapping[str, Any]], *, as_json: bool = False, wide: bool = False) -> None:
    """Rows as a table, or as one JSON object a line."""
    if as_json:
        for row in rows:
            print(json.dumps(row, default=str, ensure_ascii=False))
    else:
        print(table(title, rows, 0 if wide else CELL).text() if rows else f"{title}: none")
