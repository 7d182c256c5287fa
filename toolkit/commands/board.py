"""The leaderboard of one or many stores: python -m toolkit leaderboard."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from toolkit.commands.common import DEFAULT, JsonOption, end, reading, show
from toolkit.errors import InputError


def leaderboard(
    store: Annotated[
        list[Path] | None, typer.Option(help=f"The DuckDB file; may be repeated.  [default: {DEFAULT}]")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for leaderboard.md, .csv, .json and .html.")] = None,
    published: Annotated[bool, typer.Option("--published", help="Show the paper's rows beside.")] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Print the diagnostic columns too; the files always have them.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Models against suites with intervals and paired tests: leaderboard --out reports."""
    end(lambda: _leaderboard(store or [DEFAULT], out, published, (everything, as_json)))


def _leaderboard(paths: Sequence[Path], out: Path | None, published: bool, shown: tuple[bool, bool]) -> None:
    from toolkit.reporting.board import files
    from toolkit.reporting.board.leaderboard import leaderboard as made_of
    from toolkit.reporting.board.leaderboard import without_diagnostics

    everything, as_json = shown
    with ExitStack() as stack:
        board = made_of([stack.enter_context(reading(path)) for path in paths], published)
    if not board.columns:
        raise InputError(
            "nothing was evaluated in " + ", ".join(map(str, paths)),
            remedy="python -m toolkit evaluate MODEL --suite FILE",
        )
    if as_json:
        show("", json.loads(files.as_json(board)), as_json=True)
    else:
        printed = board if everything else without_diagnostics(board)
        print(f"{files.table_of(printed).text()}\n\n{files.LEGEND}")
        if left := len(board.columns) - len(printed.columns):
            print(f"{left} diagnostic columns (how answers were read) are not shown; --all shows them")
    for path in files.write_board(board, out) if out else ():
        print(f"written: {path}", file=sys.stderr)
