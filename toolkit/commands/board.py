"""The leaderboard of one or many stores: python -m toolkit leaderboard."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from toolkit.commands.common import DEFAULT, end, reading
from toolkit.errors import InputError
from toolkit.reporting.board_files import LEGEND, table_of, write_board
from toolkit.reporting.leaderboard import leaderboard as made_of
from toolkit.reporting.leaderboard import without_diagnostics


def leaderboard(
    stores: Annotated[
        list[Path] | None, typer.Argument(help="Store files; the default one where none is named.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for leaderboard.md, .csv, .json and .html.")] = None,
    published: Annotated[bool, typer.Option("--published", help="Show the paper's rows beside.")] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Print the diagnostic columns too; the files always have them.")
    ] = False,
) -> None:
    """Models against suites with intervals and paired tests: leaderboard runs/store.duckdb --out reports."""
    end(lambda: _leaderboard(stores or [DEFAULT], out, (published, everything)))


def _leaderboard(paths: Sequence[Path], out: Path | None, shown: tuple[bool, bool]) -> None:
    published, everything = shown
    with ExitStack() as stack:
        board = made_of([stack.enter_context(reading(path)) for path in paths], published)
    if not board.columns:
        raise InputError(
            "nothing was evaluated in " + ", ".join(map(str, paths)),
            remedy="python -m toolkit evaluate MODEL --suite FILE",
        )
    printed = board if everything else without_diagnostics(board)
    print(f"{table_of(printed).text()}\n\n{LEGEND}")
    if left := len(board.columns) - len(printed.columns):
        print(f"{left} diagnostic columns (how answers were read) are not shown; --all shows them")
    for path in write_board(board, out) if out else ():
        print(f"written: {path}")
