"""The figures of a leaderboard's cell: where its interval comes from, and its comparison with M_0.

    any score       its items: the mean's interval, and paired tests question by question
    score, win      of a judged task: its items without those that the judge left unread, as in the score
    win_rate        the items "preference" of its task and settings, in percent; as in alpaca_eval without unread ones
    lc_win_rate     fitted, so no mean of items: 1.96 of alpaca_eval's own standard errors, where one is stored

Diagnostics tell how answers were read, not how good they are: no claim is made of them, so they are not compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import NormalDist, fmean

from toolkit.evaluation.lm_eval.harness import INVALID
from toolkit.evaluation.statistics import LEVEL, Paired, interval, paired
from toolkit.store.database import Store

NOISE = 0.05  # a corrected p-value above it is not told from noise
PERCENT = {"win_rate": "preference"}  # a metric in percent: the items it is the mean of, which are shares
READ = {*PERCENT, "score", "win"}  # metrics of a judge, means of what could be read of it
DIAGNOSTICS = {
    "preference",  # the win rate again, as a share and with unread replies as lost
    "lc_standard_error",
    "mean_length",
    "extraction_failures",
    "timed_out",
}


@dataclass(frozen=True, order=True)
class Column:
    """One task, metric and protocol. settings: canonical JSON."""

    task: str
    metric: str
    settings: str

    @property
    def diagnostic(self) -> bool:
        return self.metric in DIAGNOSTICS or self.metric.endswith(INVALID)

    @property
    def scale(self) -> float:
        """What a share is multiplied by to be a figure of this column."""
        return 100.0 if self.metric in PERCENT else 1.0


@dataclass(frozen=True)
class Cell:
    """A score; low and high where an interval is known. against: the comparison with M_0, p corrected for the table."""

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


def measured(store: Store, model: str, column: Column, value: float, n: int) -> Cell:
    """The score's cell with its interval."""
    if column.metric == "lc_win_rate":
        return _fitted(Cell(value, n), _standard_error(store, model, column))
    items = _items(store, model, column)
    if not items:
        return Cell(value, n)
    found = interval(list(items.values()))
    return Cell(value, n, found.low * column.scale, found.high * column.scale, found.method)


def compared(store: Store, past: str, model: str, column: Column) -> Paired | None:
    """The model against M_0 on the same items; None where there are none, and of M_0 itself."""
    if past == model or column.diagnostic:
        return None
    a, b = _items(store, past, column), _items(store, model, column)
    if not set(a) & set(b):
        return None
    found, by = paired(a, b), column.scale
    return replace(found, difference=found.difference * by, low=found.low * by, high=found.high * by)


def _items(store: Store, model: str, column: Column) -> Mapping[str, float]:
    """Value by question, as shares. One that could not be graded counts as 0, but where a judge was to be read.

    Several answers to one question (HumanEval/0, HumanEval/0#1 ...) are no independent items: their mean is one.
    """
    readable = "AND value IS NOT NULL" if column.metric in READ else ""
    sql = (
        "SELECT question, coalesce(value, 0) AS value FROM item "
        f"WHERE model = ? AND task = ? AND metric = ? AND settings::VARCHAR = ? {readable} ORDER BY question"
    )
    metric = PERCENT.get(column.metric, column.metric)
    rows = store.query(sql, [model, column.task, metric, column.settings])
    found: dict[str, list[float]] = {}
    for row in rows:
        first = row["question"].rpartition("#")[0]
        found.setdefault(first if first in found else row["question"], []).append(row["value"])
    return {question: fmean(values) for question, values in found.items()}


def _standard_error(store: Store, model: str, column: Column) -> float | None:
    sql = (
        "SELECT value FROM score "
        "WHERE model = ? AND task = ? AND metric = 'lc_standard_error' AND settings::VARCHAR = ?"
    )
    rows = store.query(sql, [model, column.task, column.settings])
    return rows[0]["value"] if rows else None


def _fitted(cell: Cell, error: float | None) -> Cell:
    if error is None:
        return cell
    reach = NormalDist().inv_cdf((1 + LEVEL) / 2) * error
    low, high = max(0.0, cell.value - reach), min(100.0, cell.value + reach)
    return replace(cell, low=low, high=high, method="alpaca_eval's standard error")
