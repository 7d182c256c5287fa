"""The leaderboard: models of recipes and iterations against suites, each cell with its interval, n and settings.

A column is one task, metric and protocol (settings): figures of different protocols never share one. A cell's interval
comes from the items of its score (cells.py); a score without items stands alone. Each model is compared with its
run's M_0 on the same items, and the p-values of the whole table are corrected together (Holm). Diagnostic columns
tell how answers were read: they stand last and are not compared.

A row is one model of one run, so that every run has its M_0 and its curve; `merged` shows a model of several runs once.

Published rows of arXiv 2508.06026 (Llama3.1-8B) may be shown beside: other judge, other model, no intervals. Win rates
are percent, as alpaca_eval gives them; everything else is a share.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from toolkit.evaluation.statistics import holm
from toolkit.reporting.board.cells import Cell, Column, compared, measured
from toolkit.store.database import Store

PUBLISHED = Path(__file__).with_name("published.csv")
_SCORES = """
SELECT
    coalesce(n.run, '-') AS run, coalesce(n.name, m.name) AS name, m.id AS model, m.weights, s.task, s.metric,
    s.settings::VARCHAR AS settings, s.value, s.n, l.commit_hash AS commit
FROM score s
JOIN model m ON m.id = s.model
JOIN launch l ON l.id = s.launch
LEFT JOIN model_names n ON n.model = s.model AND n.run IN (SELECT run FROM step JOIN launch ON launch.id = step.launch
    WHERE stage = 'train')
WHERE s.task <> 'judge'
ORDER BY ALL
"""


@dataclass(frozen=True)
class Row:
    """One model (its id) of one run, or, merged, of several. note: "published, other judge" for rows of the paper."""

    run: str
    name: str
    iteration: int | None
    weights: str
    commit: str
    cells: Mapping[Column, Cell] = field(default_factory=dict)
    note: str = ""
    model: str = ""


@dataclass(frozen=True)
class Board:
    """Columns in order, rows by run and iteration."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


def leaderboard(stores: Iterable[Store], published: bool = False) -> Board:
    """Everything that was measured in these stores."""
    rows = _corrected([row for store in stores for row in _rows(store)])
    columns = sorted({column for row in rows for column in row.cells}, key=lambda one: (one.diagnostic, one))
    if published:
        rows += published_rows(columns)
    return Board(tuple(columns), tuple(rows))


def without_diagnostics(board: Board) -> Board:
    """The same with the columns that say how good a model is; with all where there are no such."""
    return replace(board, columns=tuple(one for one in board.columns if not one.diagnostic) or board.columns)


def merged(board: Board) -> Board:
    """A row for each model, its runs named together; several where its runs compare it with different M_0."""
    rows: list[Row] = []
    for row in board.rows:
        place = next((i for i, other in enumerate(rows) if _agree(other, row)), None)
        if place is None:
            rows.append(row)
        else:
            rows[place] = _joined(rows[place], row)
    return replace(board, rows=tuple(rows))


def _agree(a: Row, b: Row) -> bool:
    """Whether both are one model, with the same figures and no two different comparisons."""
    if not a.model or a.model != b.model:
        return False
    both = [(a.cells[column], b.cells[column]) for column in a.cells.keys() & b.cells.keys()]
    return all(x == y or _bare(x) == y or x == _bare(y) for x, y in both)


def _bare(cell: Cell) -> Cell:
    return replace(cell, against=None)


def _joined(a: Row, b: Row) -> Row:
    runs, names = (dict.fromkeys([*x.split(", "), y]) for x, y in ((a.run, b.run), (a.name, b.name)))
    compared = {column: cell for column, cell in b.cells.items() if cell.against or column not in a.cells}
    return replace(a, run=", ".join(runs), name=", ".join(names), cells={**a.cells, **compared})


def published_rows(columns: Sequence[Column]) -> list[Row]:
    """The paper's rows, in the columns of the same task: of several, the first that has this metric."""
    found: dict[tuple[str, int], dict[Column, Cell]] = {}
    with PUBLISHED.open(encoding="utf-8") as file:
        for line in csv.DictReader(file):
            place = next((c for c in columns if _same(c, line["task"], line["metric"])), None)
            if place is not None:
                cells = found.setdefault((line["method"], int(line["iteration"])), {})
                cells[place] = Cell(float(line["value"]) / (1 if place.task == "alpaca_eval" else 100))
    return [
        Row(method, f"M_{number}", number, "", "", cells, "published, other judge")
        for (method, number), cells in found.items()
    ]


def _same(column: Column, task: str, metric: str) -> bool:
    return column.task.startswith(task) and metric in (column.metric, "published")


def _rows(store: Store) -> list[Row]:
    measure, compare = cache(partial(measured, store)), cache(partial(compared, store))  # runs share models
    rows: dict[tuple[str, str], Row] = {}
    for found in store.query(_SCORES):
        key = (found["run"], found["model"])
        column = Column(found["task"], found["metric"], found["settings"])
        cell = measure(found["model"], column, found["value"], found["n"])
        row = rows.get(key) or _row(found)
        rows[key] = replace(row, cells={**row.cells, column: cell})
    first = {run: model for (run, model), row in rows.items() if row.name == "M_0"}
    made = []
    for (run, model), row in rows.items():
        past = first.get(run, model)
        cells = {c: replace(cell, against=compare(past, model, c)) for c, cell in row.cells.items()}
        made.append(replace(row, cells=cells))
    return sorted(made, key=lambda row: (row.run, -1 if row.iteration is None else row.iteration, row.name))


def _row(found: Mapping[str, Any]) -> Row:
    name, commit = found["name"], found["commit"] or "unknown"
    return Row(found["run"], name, _number(name), found["weights"], commit, model=found["model"])


def _corrected(rows: Sequence[Row]) -> list[Row]:
    """The p-values corrected for all comparisons; one that several runs share counts once."""
    made = {
        (row.model, column, cell.against): cell.against.p
        for row in rows
        for column, cell in row.cells.items()
        if cell.against
    }
    p_values = dict(zip(made, holm(list(made.values())), strict=True))

    def cell_of(row: Row, column: Column) -> Cell:
        cell = row.cells[column]
        if cell.against is None:
            return cell
        return replace(cell, against=replace(cell.against, p=p_values[row.model, column, cell.against]))

    return [replace(row, cells={column: cell_of(row, column) for column in row.cells}) for row in rows]


def _number(name: str) -> int | None:
    found = re.fullmatch(r"M_(\d+)", name)
    return int(found[1]) if found else None


def heads(columns: Sequence[Column]) -> list[str]:
    """A short name for every column: task and metric, and what differs in the settings where that is not enough."""
    names = [f"{column.task} {column.metric}" for column in columns]
    made = []
    for name, column in zip(names, columns, strict=True):
        alike = [json.loads(other.settings) for other, head in zip(columns, names, strict=True) if head == name]
        own: dict[str, Any] = json.loads(column.settings)
        differing = [key for key in sorted(own) if any(other.get(key) != own[key] for other in alike)]
        told = ", ".join(f"{key} {json.dumps(own[key])}" for key in differing)
        made.append(f"{name} ({told})" if told else name)
    return made
