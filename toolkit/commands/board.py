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
from toolkit.reporting.board_files import LEGEND, as_json, table_of, write_board
from toolkit.reporting.leaderboard import leaderboard as made_of


def leaderboard(
    stores: Annotated[
        list[Path] | None, typer.Argument(help="Store files; the default one where none is named.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for leaderboard.md, .csv, .json and .html.")] = None,
    published: Annotated[bool, typer.Option("--published", help="Show the paper's rows beside.")] = False,
    as_lines: JsonOption = False,
) -> None:
    """Models against suites with intervals and paired tests: leaderboard runs/store.duckdb --out reports."""
    end(lambda: _leaderboard(stores or [DEFAULT], out, published, as_lines))


def _leaderboard(paths: Sequence[Path], out: Path | None, published: bool, as_lines: bool) -> None:
    with ExitStack() as stack:
        board = made_of([stack.enter_context(reading(path)) for path in paths], published)
    if not board.columns:
        raise InputError(
            "nothing was evaluated in " + ", ".join(map(str, paths)),
            remedy="python -m toolkit evaluate MODEL --suite FILE",
        )
    if as_lines:
        show("", json.loads(as_json(board)), as_json=True)
    else:
        print(f"{table_of(board).text()}\n\n{LEGEND}")
    for path in write_board(board, out) if out else ():
        print(f"written: {path}", file=sys.stderr if as_lines else sys.stdout)
