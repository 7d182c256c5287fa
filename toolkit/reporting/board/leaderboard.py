"""The leaderboard: models of recipes and iterations against suites, each cell with its interval, n and settings.

A column is one test, metric and protocol (settings): figures of different protocols never share one. It bears the
test's own name, that of its table in the suite. A cell's interval comes from the items of its score (cells.py); a score
without items stands alone. Each model is compared with its run's M_0 on the same items, and the p-values of all
comparisons with M_0 in the table are corrected together (Holm). `comparisons` tests any two models, or the models of
different runs at equal iteration, as a family of its own. Diagnostic columns describe how answers were read: they stand
last and are not compared.

A row is one model of one run, so that every run has its M_0 and its curve; `merged` shows a model of several runs once.

Published rows of arXiv 2508.06026 (Llama3.1-8B) stand in columns of their own: the paper states neither its shots nor
its parsers, and its judge is GPT-4o, so no column measured here has its protocol. They have no intervals. Win rates are
percent, as alpaca_eval gives them; everything else is a share.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

from toolkit.evaluation.statistics import Paired, holm
from toolkit.reporting.board.cells import Cell, Column, measured, paired_cells
from toolkit.reporting.made_up import made_up
from toolkit.store.database import Store

PUBLISHED = Path(__file__).with_name("published.csv")
SOURCE = json.dumps({"source": "arXiv 2508.06026v1, Llama3.1-8B", "judge": "GPT-4o", "protocol": "not stated"})
Between = Literal["all", "iteration"]
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
_RUNS = """
SELECT DISTINCT l.run FROM launch l WHERE l.id IN (SELECT launch FROM score WHERE task <> 'judge')
OR l.id IN (SELECT m.launch FROM model m JOIN score s ON s.model = m.id)
"""


@dataclass(frozen=True)
class Row:
    """One model (its id) of one run, or, merged, of several. note: "published ..." for rows of the paper."""

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
    """Columns in order, rows by run and iteration. made_up: a sentence where engine or trainer was scripted, or ""."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    made_up: str = ""


@dataclass(frozen=True)
class Comparison:
    """The second model minus the first in one column; test.p is corrected for the family."""

    first: str
    second: str
    column: Column
    test: Paired


@dataclass(frozen=True)
class Family:
    """Paired tests corrected together (Holm). name: which they are, and how many."""

    name: str
    tests: tuple[Comparison, ...]


def leaderboard(stores: Iterable[Store], published: bool = False) -> Board:
    """Everything that was measured in these stores."""
    opened = list(stores)
    rows = _corrected([row for store in opened for row in _rows(store)])
    tests = {column.task for row in rows for column in row.cells}
    if published:
        rows += [row for row in (_of_tests(row, tests) for row in published_rows()) if row.cells]
    columns = sorted({column for row in rows for column in row.cells}, key=lambda one: (one.diagnostic, one))
    marks = [made_up(store, [row["run"] for row in store.query(_RUNS)]) for store in opened]
    return Board(tuple(columns), tuple(rows), " ".join(dict.fromkeys(filter(None, marks))))


def comparisons(stores: Iterable[Store], between: Between) -> Family:
    """Every two models of the same column, or only those of different runs at equal iteration, tested pairwise."""
    tests: dict[tuple[str, str, Column], Comparison] = {}
    for store in stores:
        board = Board((), tuple(_rows(store)))
        compare = cache(partial(paired_cells, store))
        rows = merged(board).rows if between == "all" else board.rows
        for first, second in combinations(rows, 2):
            apart = first.iteration is not None and first.iteration == second.iteration and first.run != second.run
            if between == "all" or apart:
                for column, test in _tests(first, second, compare):
                    low, high = sorted((first.model, second.model))
                    key = (low, high, column)
                    tests.setdefault(key, Comparison(_named(first), _named(second), column, test))
    p_values = holm([one.test.p for one in tests.values()])
    which = "every two models" if between == "all" else "models of different runs at equal iteration"
    name = f"{which}, every column with items: {len(tests)} paired tests, p corrected for all of them (Holm)"
    corrected = (replace(c, test=replace(c.test, p=p)) for c, p in zip(tests.values(), p_values, strict=True))
    return Family(name, tuple(corrected))


def _tests(first: Row, second: Row, compare: Any) -> Iterator[tuple[Column, Paired]]:
    for column in sorted(first.cells.keys() & second.cells.keys()):
        if test := compare(first.model, second.model, column):
            yield column, test


def _named(row: Row) -> str:
    return f"{row.run}/{row.name}"


def _of_tests(row: Row, tests: set[str]) -> Row:
    return replace(row, cells={column: cell for column, cell in row.cells.items() if column.task in tests})


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


def published_rows() -> list[Row]:
    """The paper's rows, in columns of their own."""
    found: dict[tuple[str, int], dict[Column, Cell]] = {}
    with PUBLISHED.open(encoding="utf-8") as file:
        for line in csv.DictReader(file):
            column = Column(line["task"], line["metric"], SOURCE, published=True)
            cells = found.setdefault((line["method"], int(line["iteration"])), {})
            cells[column] = Cell(float(line["value"]) / (1 if column.task == "alpaca_eval" else 100))
    return [
        Row(method, f"M_{number}", number, "", "", cells, "published, Llama3.1-8B")
        for (method, number), cells in found.items()
    ]


def _rows(store: Store) -> list[Row]:
    measure, compare = cache(partial(measured, store)), cache(partial(paired_cells, store))  # runs share models
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
    names = [f"{c.task} {c.metric}{', published' if c.published else ''}" for c in columns]
    made = []
    for name, column in zip(names, columns, strict=True):
        alike = [json.loads(other.settings) for other, head in zip(columns, names, strict=True) if head == name]
        own: dict[str, Any] = json.loads(column.settings)
        differing = [key for key in sorted(own) if any(other.get(key) != own[key] for other in alike)]
        told = ", ".join(f"{key} {json.dumps(own[key])}" for key in differing)
        made.append(f"{name} ({told})" if told else name)
    return made
