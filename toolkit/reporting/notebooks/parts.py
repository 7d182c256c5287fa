"""Figures that the notebooks have and a run's report has not: any stored metric, and scores over the iterations.

They are made of the report's records (page/parts.py), so every number stands in a table beside its SQL.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from toolkit.reporting.board.cells import Column
from toolkit.reporting.board.leaderboard import Board, Row, heads, leaderboard
from toolkit.reporting.notebooks.frames import Reader
from toolkit.reporting.page.metrics import Shown, means
from toolkit.reporting.page.parts import Asked, Curves, Figure, Line, Point, Scope, Section, ask, quoted
from toolkit.reporting.tables import Table, show
from toolkit.store.serving import open_reader

_SCORES = """SELECT coalesce(n.run, '-') AS run, coalesce(n.name, s.model_name) AS model, s.value, s.n
FROM scores s LEFT JOIN model_names n ON n.model = s.model
WHERE s.task = {task} AND s.metric = {metric} AND s.settings::VARCHAR = {settings} ORDER BY ALL"""


def any_metric(name: str, metric: str, under: str) -> Callable[[Scope], Section]:
    """A part of a report that shows this one metric."""

    def part(scope: Scope) -> Section:
        found = means(scope, Shown(metric, (under,), name, metric, "", zero=False))
        rows = [row for row in found.rows if row["mean"] == row["mean"]] if found else []
        named = {f"{row['run']}, {row['set'].partition('@')[0]}": row for row in rows}
        lines = (_line(one, place, rows) for place, one in enumerate(named))
        said = "Means over the pairs of a set with 95 % intervals; the floor, two draws of one model, is under Numbers."
        chart = Curves("iteration", metric, tuple(lines))
        return Section(name, (), (Figure(name, said, (chart,), (found.asked,)),) if found else ())

    return part


def _line(name: str, place: int, rows: Sequence[Mapping[str, Any]]) -> Line:
    own = [row for row in rows if f"{row['run']}, {row['set'].partition('@')[0]}" == name]
    points = (Point(row["iteration"], row["mean"], row["low"], row["high"], _said(name, row)) for row in own)
    return Line(name, tuple(points), place)


def _said(name: str, row: Mapping[str, Any]) -> str:
    span = f"[{show(row['low'])}, {show(row['high'])}], n {row['n']}"
    return f"{name}, iteration {row['iteration']}: {show(row['mean'])} {span}"


def board(store: Reader, published: bool = False) -> Board:
    """The leaderboard of a store, the paper's rows beside where they are wanted."""
    with open_reader(store.path) as opened:
        return leaderboard([opened], published)


def learning_curves(store: Reader, board: Board) -> Section:
    """A figure for each column of the board that some run has at several iterations, its values beside their SQL."""
    names = zip(board.columns, heads(board.columns), strict=True)
    curves = [(column, name, lines) for column, name in names if _long(lines := _by_run(board, column))]
    with open_reader(store.path) as opened:
        figures = tuple(
            _learning(name, lines, ask(opened, "Scores", _SCORES.format(**_asked(column))).asked)
            for column, name, lines in curves
        )
    nothing = () if figures else ("No run was evaluated at two iterations, so there is no curve.",)
    return Section("Learning curves", nothing, figures)


def _long(lines: tuple[Line, ...]) -> bool:
    return any(len(line.points) > 1 for line in lines if line.style == "own")


def _asked(column: Column) -> dict[str, str]:
    return {"task": quoted(column.task), "metric": quoted(column.metric), "settings": quoted(column.settings)}


def _learning(name: str, lines: tuple[Line, ...], scores: Asked) -> Figure:
    cells = tuple(
        (line.name, f"{point.x:g}", show(point.y), show(point.low), show(point.high))
        for line in lines
        for point in line.points
    )
    source = "intervals over the questions of a test: python -m toolkit leaderboard"
    told = Asked(Table("The curve", ("run", "iteration", "value", "low", "high"), cells), source=source)
    said = "M_0 to the last model; the whisker is the 95 % interval."
    return Figure(name, said, (Curves("iteration", name, lines),), (told, scores))


def _by_run(board: Board, column: Column) -> tuple[Line, ...]:
    """The rows of each run that stand in this column, the paper's last."""
    own = [row for row in board.rows if column in row.cells and row.iteration is not None]
    runs = dict.fromkeys((row.run, bool(row.note)) for row in sorted(own, key=lambda row: bool(row.note)))
    return tuple(
        Line(
            f"{run}, published" if paper else run,
            tuple(_point(row, column) for row in own if (row.run, bool(row.note)) == (run, paper)),
            place,
            "published" if paper else "own",
        )
        for place, (run, paper) in enumerate(runs)
    )


def _point(row: Row, column: Column) -> Point:
    cell = row.cells[column]
    span = f" [{show(cell.low)}, {show(cell.high)}]" if cell.low is not None else ""
    count = "" if cell.n is None else f", n {cell.n}"
    said = f"{row.run} {row.name}: {show(cell.value)}{span}{count}"
    return Point(float(row.iteration or 0), cell.value, cell.low, cell.high, said)
