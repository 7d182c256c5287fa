"""The leaderboard: models of recipes and iterations against suites, each cell with its interval, n and settings.

A column is one task, metric and protocol (settings): figures of different protocols never share one. A cell's interval
comes from the items of its score; a score without items (a fitted win rate) stands alone. Each model is compared with
its run's M_0 on the same items, and the p-values of the whole table are corrected together (Holm).

Published rows of arXiv 2508.06026 (Llama3.1-8B) may be shown beside: other judge, other model, no intervals. Win rates
are percent, as alpaca_eval gives them; everything else is a share.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from toolkit.evaluation.statistics import Paired, holm, interval, paired
from toolkit.store.database import Store

PUBLISHED = Path(__file__).with_name("published.csv")
NOISE = 0.05  # a corrected p-value above it is not told from noise
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


@dataclass(frozen=True, order=True)
class Column:
    """One task, metric and protocol. settings: canonical JSON."""

    task: str
    metric: str
    settings: str


@dataclass(frozen=True)
class Cell:
    """A score; low and high where its items are known. against: the comparison with M_0, p corrected for the table."""

    value: float
    n: int | None = None
    low: float | None = None
    high: float | None = None
    method: str = ""
    against: Paired | None = None

    @property
    def distinct(self) -> bool | None:
        """Whether it is told from M_0's; None where it was not compared."""
        return None if self.against is None else self.against.p <= NOISE


@dataclass(frozen=True)
class Row:
    """One model of one run. note: "published, other judge" for rows of the paper."""

    run: str
    name: str
    iteration: int | None
    weights: str
    commit: str
    cells: Mapping[Column, Cell] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Board:
    """Columns in order, rows by run and iteration."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


def leaderboard(stores: Iterable[Store], published: bool = False) -> Board:
    """Everything that was measured in these stores."""
    rows = [row for store in stores for row in _corrected(_rows(store))]
    columns = sorted({column for row in rows for column in row.cells})
    if published:
        rows += published_rows(columns)
    return Board(tuple(columns), tuple(rows))


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
    rows: dict[tuple[str, str], Row] = {}
    for found in store.query(_SCORES):
        key = (found["run"], found["model"])
        column = Column(found["task"], found["metric"], found["settings"])
        row = rows.get(key) or Row(
            found["run"], found["name"], _number(found["name"]), found["weights"], found["commit"] or "unknown"
        )
        cell = _cell(found["value"], found["n"], list(_items(store, found["model"], column).values()))
        rows[key] = replace(row, cells={**row.cells, column: cell})
    first = {run: model for (run, model), row in rows.items() if row.name == "M_0"}
    made = []
    for (run, model), row in rows.items():
        models = (first.get(run, model), model)
        made.append(replace(row, cells={c: _against(store, cell, c, models) for c, cell in row.cells.items()}))
    return sorted(made, key=lambda row: (row.run, -1 if row.iteration is None else row.iteration, row.name))


def _cell(value: float, n: int, items: Sequence[float]) -> Cell:
    if not items:
        return Cell(value, n)
    found = interval(items)
    return Cell(value, n, found.low, found.high, found.method)


def _against(store: Store, cell: Cell, column: Column, models: tuple[str, str]) -> Cell:
    past, model = models
    a, b = _items(store, past, column), _items(store, model, column)
    return replace(cell, against=paired(a, b)) if past != model and set(a) & set(b) else cell


def _items(store: Store, model: str, column: Column) -> dict[str, float]:
    """Value by question; an answer that could not be graded counts as 0."""
    sql = (
        "SELECT question, coalesce(value, 0) AS value FROM item "
        "WHERE model = ? AND task = ? AND metric = ? AND settings::VARCHAR = ?"
    )
    rows = store.query(sql, [model, column.task, column.metric, column.settings])
    return {row["question"]: row["value"] for row in rows}


def _corrected(rows: Sequence[Row]) -> list[Row]:
    places = [(i, c) for i, row in enumerate(rows) for c, cell in row.cells.items() if cell.against]
    p_values = holm([against.p for i, c in places if (against := rows[i].cells[c].against)])
    made = [dict(row.cells) for row in rows]
    for (i, column), p in zip(places, p_values, strict=True):
        cell = made[i][column]
        assert cell.against is not None
        made[i][column] = replace(cell, against=replace(cell.against, p=p))
    return [replace(row, cells=cells) for row, cells in zip(rows, made, strict=True)]


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
