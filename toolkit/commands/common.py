"""What the commands share: the store they ask, how they print, how they end.

What one command alone needs of evaluation, diagnostics, reporting and the recipes it imports inside its functions:
`toolkit --help` would load all of it to show none.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from toolkit.console import guarded
from toolkit.errors import StoreError
from toolkit.pairs.audit import UNREADABLE, contradictions
from toolkit.provenance import capture
from toolkit.reporting.json_lines import json_line
from toolkit.reporting.tables import table
from toolkit.safe_text import lines, one_line
from toolkit.store.database import START, Store
from toolkit.store.launches import begin
from toolkit.store.serving import DEFAULT as DEFAULT
from toolkit.store.serving import open_reader
from toolkit.trust.safe_files import is_recorded

StoreOption = Annotated[Path, typer.Option("--store", help="The DuckDB file.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
WideOption = Annotated[bool, typer.Option("--wide", help="Whole texts instead of their beginnings.")]
CELL = 60  # characters of a text in a table


@contextmanager
def writing(path: Path, command: str, *, new: bool = False) -> Iterator[tuple[Store, str]]:
    """The store open for writing, and the id of this launch, which every new row bears. new: it is made if need be."""
    if not new and not path.exists():
        raise StoreError(f"no store {path}", remedy=START)
    launch = capture(command, {})
    with Store(path) as store, _explained(store, path):
        begin(store, launch)
        yield store, launch.id


@contextmanager
def reading(path: Path) -> Iterator[Store]:
    """The store for reading, also while a run writes it."""
    with open_reader(path) as store, _explained(store, path):
        yield store


@contextmanager
def _explained(store: Store, path: Path) -> Iterator[None]:
    """A failure over rows that contradict each other becomes a StoreError that names them; any other stays as it is."""
    try:
        yield
    except UNREADABLE as error:
        if store.writer or not (problem := contradictions(store)):
            raise
        raise StoreError(
            f"{type(error).__name__} over a store that contradicts itself: {problem}",
            where=path,
            remedy=f"do not trust it; all such rows: toolkit doctor --store {path}",
        ) from error


def end(action: Callable[[], None]) -> None:
    """Do it; errors are printed and become the exit code."""
    raise typer.Exit(guarded(action))


def say(text: str | Sequence[str], row: Mapping[str, Any], *, as_json: bool) -> None:
    """What a command did: in lines of words, or as one JSON object. A name that a line holds cannot end the line."""
    parts = [text] if isinstance(text, str) else text
    print(json_line(row) if as_json else "\n".join(one_line(part) for part in parts))


def would_write(paths: Sequence[Path]) -> list[str]:
    """What writing these files would do to those that are there."""
    there = [path for path in paths if os.path.lexists(path)]
    ours = {path for path in there if is_recorded(path)}
    return [
        *(f"would write {path}" for path in paths if path not in there),
        *(f"would replace {path}" for path in there if path in ours),
        *(f"would keep {path}, not written by the toolkit, under another name" for path in there if path not in ours),
    ]


def show(title: str, rows: Sequence[Mapping[str, Any]], *, as_json: bool = False, wide: bool = False) -> None:
    """Rows as a table, or as one JSON object a line."""
    if as_json:
        for row in rows:
            print(json_line(row))
    else:
        print(table(title, rows, 0 if wide else CELL).text() if rows else lines(f"{title}: none"))
