"""The leaderboard of one or many stores: python -m toolkit leaderboard."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from toolkit.commands.common import DEFAULT, JsonOption, end, reading, show
from toolkit.errors import InputError
from toolkit.safe_text import one_line


class Between(StrEnum):
    """Which models --between compares."""

    all = "all"
    iteration = "iteration"


def leaderboard(
    store: Annotated[
        list[Path] | None, typer.Option(help=f"The DuckDB file; may be repeated.  [default: {DEFAULT}]")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for leaderboard.md, .csv, .json and .html.")] = None,
    published: Annotated[bool, typer.Option("--published", help="Add the paper's rows, in their own columns.")] = False,
    between: Annotated[
        Between | None,
        typer.Option(help="Paired tests between models: all (every two), iteration (of runs at equal iteration)."),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Print the diagnostic columns too; the files always have them.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Models against suites with intervals and paired tests: leaderboard --out reports."""
    end(lambda: _leaderboard(store or [DEFAULT], out, published, between, (everything, as_json)))


def _leaderboard(
    paths: Sequence[Path], out: Path | None, published: bool, between: Between | None, shown: tuple[bool, bool]
) -> None:
    from toolkit.reporting.board import files
    from toolkit.reporting.board.leaderboard import comparisons, without_diagnostics
    from toolkit.reporting.board.leaderboard import leaderboard as board_of

    everything, as_json = shown
    with ExitStack() as stack:
        stores = [stack.enter_context(reading(path)) for path in paths]
        board = board_of(stores, published)
        family = comparisons(stores, between.value) if between else None
    if not board.columns:
        raise InputError(
            "nothing was evaluated in " + ", ".join(map(str, paths)),
            remedy="python -m toolkit evaluate MODEL --suite FILE",
        )
    if as_json:
        show("", json.loads(files.as_json(board)), as_json=True)
    else:
        printed = board if everything else without_diagnostics(board)
        print(f"{one_line(board.made_up)}\n\n" if board.made_up else "", end="")
        print("\n".join([files.table_of(printed).text(), "", files.LEGEND, *map(one_line, files.notes(printed))]))
        if left := len(board.columns) - len(printed.columns):
            print(f"{left} diagnostic columns (how answers were read) are not shown; --all shows them")
    if family and as_json:
        show("", [files.as_row(one, family.name) for one in family.tests], as_json=True)
    elif family:
        print(f"\n{files.family_table(family).text()}")
    for path in files.write_board(board, out, family=family) if out else ():
        print(f"written: {path}", file=sys.stderr)
