"""The figures of a leaderboard's cell: its interval, and the paired tests of two cells (evaluation/intervals.py).

Diagnostics describe how answers were read, not how good they are: no claim is made of them, so they are not compared.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from toolkit.evaluation.intervals import Sample, compared, estimated, fitted, items_metric, matches, sample, scale_of
from toolkit.evaluation.lm_eval.harness import INVALID
from toolkit.evaluation.statistics import Paired
from toolkit.records import Item
from toolkit.store.database import Store

NOISE = 0.05  # a corrected p-value above it cannot be told from noise
DIAGNOSTICS = {
    "preference",  # the win rate again, as a share and with unread replies as lost
    "lc_standard_error",
    "lc_penalty_C",
    "mean_length",
    "extraction_failures",
    "timed_out",
}


@dataclass(frozen=True, order=True)
class Column:
    """One test, metric and protocol. task: the test's own name. settings: canonical JSON. published: the paper's."""

    task: str
    metric: str
    settings: str
    published: bool = False

    @property
    def diagnostic(self) -> bool:
        return self.metric in DIAGNOSTICS or self.metric.endswith(INVALID)


@dataclass(frozen=True)
class Cell:
    """A score; low and high where an interval is known, method how, or why there is none.

    against: the comparison with M_0, its p corrected for all comparisons with M_0 of the table.
    """

    value: float
    n: int | None = None
    low: float | None = None
    high: float | None = None
    method: str = ""
    against: Paired | None = None

    @property
    def distinct(self) -> bool | None:
        """Whether it differs from M_0's beyond noise; None where it was not compared."""
        return None if self.against is None else self.against.p <= NOISE


def measured(store: Store, model: str, column: Column, value: float, n: int) -> Cell:
    """The score's cell with its interval."""
    if column.metric == "lc_win_rate":
        span = fitted(value, n, _score(store, model, column, "lc_standard_error"))
    else:
        span = estimated(value, n, sample_of(store, model, column))
    return Cell(value, n, span.low, span.high, span.method)


def paired_cells(store: Store, first: str, second: str, column: Column) -> Paired | None:
    """The second model minus the first on the same items; None where there are none, and for diagnostics."""
    if first == second or column.diagnostic:
        return None
    samples = []
    for model in (first, second):
        of, value = sample_of(store, model, column), _score(store, model, column, column.metric)
        if value is not None and not matches(of, value):
            return None
        samples.append(of)
    return compared(*samples)


def sample_of(store: Store, model: str, column: Column) -> Sample:
    """The items of a model in this column."""
    sql = (
        "SELECT question, value, detail FROM item "
        "WHERE model = ? AND task = ? AND metric = ? AND settings::VARCHAR = ? ORDER BY question"
    )
    rows = store.query(sql, [model, column.task, items_metric(column.metric), column.settings])
    items = [Item(model, column.task, column.metric, r["question"], {}, None, r["value"], r["detail"]) for r in rows]
    return sample(column.metric, items, scale_of(store, column.metric, json.loads(column.settings)))


def _score(store: Store, model: str, column: Column, metric: str) -> float | None:
    sql = "SELECT value FROM score WHERE model = ? AND task = ? AND metric = ? AND settings::VARCHAR = ?"
    rows = store.query(sql, [model, column.task, metric, column.settings])
    return rows[0]["value"] if rows else None
