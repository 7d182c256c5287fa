"""Curves over iterations: a run against its baselines, each mean with its interval, n and floor; the paper's beside."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from toolkit.diagnostics.collapse import ONE_SEED
from toolkit.diagnostics.ratio import HALVED, MARGIN
from toolkit.diagnostics.summary import FAMILY_NAMES
from toolkit.reporting.advice import diagnose_advice
from toolkit.reporting.page.metrics import Shown, all_shown, means
from toolkit.reporting.page.parts import Asked, Curves, Figure, Line, Point, Scope, Section, Style, ask, listed, quoted
from toolkit.reporting.tables import Table, show

PUBLISHED = Path(__file__).with_name("published_bars.csv")
NOTE = "published, Llama3.1-8B, other judge"
_CHANGES = """SELECT
    run, metric, under, before, after, ratio, low, high, control, control_ratio AS "control ratio", relative,
    relative_low AS "relative low", relative_high AS "relative high", p, p_holm AS "p Holm", detectable, needed
FROM changes WHERE run IN ({runs}) ORDER BY run <> {run}, p_holm IS NULL, run, metric, under, before, after"""
_READ = (
    "Each point is the mean over the pairs of one set, the whisker its 95 % interval. The grey band is the floor: the "
    "same number for two draws of one model, with no selection between them. A solid line joins the sets that trained "
    "the models a run kept; a dashed one, those that trained its temporary future models."
)
_CHANGED = (
    "In the table of changes, ratio is the mean after divided by the mean before, control ratio the same of unselected "
    "pairs, relative the first over the second (the ratio alone where no control was measured). Three signals are "
    f"tested, first set against last: {', '.join(FAMILY_NAMES)}. The hypothesis is that relative "
    f"is {MARGIN} or more; p Holm is corrected for the three. Rows without it are descriptive: their p and all "
    f"intervals are not corrected. Detectable is the true ratio for which this test has power 0.8 with so many "
    f"pairs; needed is how many pairs a set it takes for a true ratio of {HALVED}. A true ratio of {MARGIN} is the "
    "margin itself, and no number of pairs shows it."
)


def curves(scope: Scope) -> Section:
    """The section; a metric without a number is left out."""
    figures = [figure for one in all_shown(scope) if (figure := _figure(scope, one))]
    sql = _CHANGES.format(runs=listed(scope.runs), run=quoted(scope.run))
    changes = ask(scope.store, "Changes from one iteration to the next", sql)
    said = (_READ, _CHANGED, ONE_SEED) if changes.rows else (_READ,)
    return Section(
        "Over iterations", said, tuple(figures), (replace(changes.asked, open=True),) if changes.rows else ()
    )


def _figure(scope: Scope, shown: Shown) -> Figure | None:
    found = means(scope, shown)
    if found is None:
        return None
    rows = [row for row in found.rows if _finite(row["mean"])]
    chart = Curves("iteration", shown.unit, tuple(_lines(scope, rows)), _band(scope, rows), shown.zero)
    paper, source = _published(shown)
    words = " ".join([shown.said, *_missing(scope, found.rows)])
    return Figure(shown.title, words, (chart, *paper), (found.asked, *source))


def _missing(scope: Scope, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the reader must know that the chart cannot show."""
    if "floor" not in rows[0]:
        return [
            "No diagnostics are stored, so intervals are normal ones (1.96 standard errors), and there is no floor."
        ]
    absent = [run for run in scope.runs if run not in {row["run"] for row in rows}]
    lost = sum(row["missing"] for row in rows)
    said = [f"Not measured for {', '.join(absent)}: {diagnose_advice(scope.store, absent)}."] if absent else []
    return [*said, f"Pairs without a finite value, and in no mean: {lost}."] if lost else said


def _lines(scope: Scope, rows: Sequence[Mapping[str, Any]]) -> list[Line]:
    """A line for each run, the run's own temporary sets apart."""
    made: list[Line] = []
    for color, run in enumerate(scope.runs):
        own = [row for row in rows if row["run"] == run]
        aside = [row for row in own if run == scope.run and row["set"] not in scope.kept]
        style: Style = "own" if run == scope.run else "other"
        kept = [row for row in own if row not in aside]
        made += [Line(run, _points(kept), color, style)] if kept else []
        made += [Line(f"{run}, future", _points(aside), color, "aside")] if aside else []
    return made


def _points(rows: Sequence[Mapping[str, Any]]) -> tuple[Point, ...]:
    return tuple(Point(row["iteration"], row["mean"], row["low"], row["high"], _said(row)) for row in rows)


def _said(row: Mapping[str, Any]) -> str:
    span = f" [{show(row['low'])}, {show(row['high'])}]" if _finite(row["low"]) else ""
    return f"{row['run']}, {row['set']}, iteration {row['iteration']}: {show(row['mean'])}{span}, n {row['n']}"


def _band(scope: Scope, rows: Sequence[Mapping[str, Any]]) -> tuple[Point, ...]:
    """The run's own floor, one for each iteration: that of the set it kept."""
    kept = [
        row for row in rows if row["run"] == scope.run and row["set"] in scope.kept and _finite(row.get("floor low"))
    ]
    return tuple(
        Point(
            row["iteration"], row["floor"], row["floor low"], row["floor high"],
            f"floor of {row['set']}: {show(row['floor'])} [{show(row['floor low'])}, {show(row['floor high'])}], "
            f"n {row['floor n']}",
        )
        for row in kept
    )  # fmt: skip


def _published(shown: Shown) -> tuple[list[Curves], list[Asked]]:
    """The paper's bars of this metric as a chart of their own: other model and judge, so no common axis."""
    with PUBLISHED.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == shown.published]
    if not rows:
        return [], []
    lines = []
    for color, method in zip((1, 0), dict.fromkeys(row["method"] for row in rows), strict=True):
        bars = [(float(row["iteration"]), float(row["value"])) for row in rows if row["method"] == method]
        points = tuple(Point(x, y, said=f"{method}, iteration {x:g}: {y:g}, {NOTE}") for x, y in bars)
        lines.append(Line(method, points, color, "published"))
    cells = tuple((row["method"], row["iteration"], row["value"]) for row in rows)
    told = Table("The paper's", ("method", "iteration", "mean"), cells)
    chart = Curves("iteration", shown.unit, tuple(lines), zero=shown.zero, note=NOTE)
    return [chart], [
        Asked(told, source=f"{NOTE}; read off a figure of arXiv 2508.06026, about ±0.005; no n, no interval")
    ]


def _finite(value: float | None) -> bool:
    return value is not None and value == value
