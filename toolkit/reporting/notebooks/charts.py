"""Charts of the notebooks: the report's charts (page/parts.py) through Altair, as wide as their page, and two more.

A run has one colour in all of them; dashed is a temporary future model or the paper, grey the floor. Every mark tells
its numbers when pointed at. Left out: pages without a library in the browser, which page/charts.py draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas

from toolkit.reporting.page.parts import Curves, Histogram, Line

# after Okabe and Ito, told apart by colour-blind readers too; the blue is lighter, to be seen on black
COLOURS = ("#1F8AC9", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
GREY = "#8A8A8A"
HEIGHT = 240
DODGE = 0.03  # between the points of two lines at one iteration, as a share of the axis


def drawn(chart: Curves | Histogram) -> Any:
    """The chart of a figure."""
    return _curves(chart) if isinstance(chart, Curves) else _histogram(chart)


def _curves(chart: Curves) -> Any:
    base = alt.Chart(_points(chart)).encode(
        x=alt.X("x:Q", title=chart.x_name, axis=alt.Axis(tickMinStep=1, format="d"), scale=_across(chart)),
        color=_colour(chart.lines),
        tooltip=alt.Tooltip("said:N", title=" "),
    )
    height = alt.Y("y:Q", title=chart.y_name, scale=alt.Scale(zero=chart.zero))
    lines = base.mark_line().encode(y=height, strokeDash=_dashes(chart.lines))
    spans = base.mark_rule(strokeWidth=1.5).encode(y=alt.Y("low:Q", title=chart.y_name), y2="high:Q")
    points = base.mark_circle(size=18 if chart.x_name == "step" else 55, opacity=1).encode(y=height)
    return _wide(alt.layer(*_floor(chart), *_lost(chart), lines, spans, points))


def _points(chart: Curves) -> pandas.DataFrame:
    many = len(chart.lines) if chart.x_name != "step" else 0
    rows = [
        (line.name, point.x + _shift(chart, place, many), point.y, point.low, point.high, point.said)
        for place, line in enumerate(chart.lines)
        for point in line.points
    ]
    return pandas.DataFrame(rows, columns=["series", "x", "y", "low", "high", "said"])


def _shift(chart: Curves, place: int, many: int) -> float:
    low, high = _ends(chart)
    return DODGE * (high - low) * (place - (many - 1) / 2) if many else 0.0


def _ends(chart: Curves) -> tuple[float, float]:
    """The ends of the axis: half an iteration beyond the points, nothing beyond the steps."""
    places = [point.x for line in chart.lines for point in line.points] + list(chart.lost)
    margin = 0.5 if chart.x_name == "iteration" else 0.0
    return min(places, default=0.0) - margin, max(places, default=1.0) + margin


def _across(chart: Curves) -> Any:
    return alt.Scale(domain=list(_ends(chart)), nice=False)


def _floor(chart: Curves) -> list[Any]:
    """The floor of two draws as a grey band with its mean."""
    if not chart.band:
        return []
    first, last = chart.band[0], chart.band[-1]
    places = [(first.x - 0.3, first), *((point.x, point) for point in chart.band), (last.x + 0.3, last)]
    rows = [(x, point.y, point.low, point.high, point.said) for x, point in places]
    base = alt.Chart(pandas.DataFrame(rows, columns=["x", "y", "low", "high", "said"])).encode(
        x="x:Q", tooltip=alt.Tooltip("said:N", title=" ")
    )
    band = base.mark_area(color=GREY, opacity=0.25).encode(y="low:Q", y2="high:Q")
    return [band, base.mark_line(color=GREY, strokeDash=[2, 3]).encode(y="y:Q")]


def _lost(chart: Curves) -> list[Any]:
    """Steps whose value is NaN, which has no height."""
    if not chart.lost:
        return []
    base = alt.Chart(pandas.DataFrame({"x": list(chart.lost), "said": ["NaN"] * len(chart.lost)})).encode(x="x:Q")
    text = base.mark_text(color=COLOURS[1], baseline="top").encode(y=alt.value(0), text="said:N")
    return [base.mark_rule(color=COLOURS[1], strokeDash=[2, 2]).encode(tooltip="said:N"), text]


def _histogram(chart: Histogram) -> Any:
    rows = [(one.low, one.high, one.count, one.floor) for one in chart.bins]
    axis = alt.X(
        "low:Q",
        title=chart.x_name,
        scale=alt.Scale(domain=[rows[0][0], rows[-1][1]], nice=False),
        axis=alt.Axis(tickCount=6),
    )
    base = alt.Chart(pandas.DataFrame(rows, columns=["low", "high", "pairs", "two draws"])).encode(
        x=axis, x2="high:Q", tooltip=["low:Q", "high:Q", "pairs:Q", "two draws:Q"]
    )
    count = alt.Scale(domain=[0, chart.most])
    bars = base.mark_bar(color=COLOURS[0], opacity=0.75).encode(
        y=alt.Y("pairs:Q", scale=count, title="pairs", axis=alt.Axis(tickCount=3)), y2=alt.datum(0)
    )
    floor = base.mark_rule(color=GREY, strokeWidth=2.5).encode(y=alt.Y("two draws:Q", scale=count))
    return _wide(alt.layer(bars, floor, *_mean(chart)), 120).properties(title=chart.name)


def _mean(chart: Histogram) -> list[Any]:
    if chart.mean is None:
        return []
    point = chart.mean
    frame = pandas.DataFrame([(point.y, point.low, point.high, point.said)], columns=["y", "from", "to", "said"])
    base = alt.Chart(frame).encode(y=alt.value(6), tooltip=alt.Tooltip("said:N", title=" "))
    span = base.mark_rule(color=COLOURS[1], strokeWidth=2).encode(x=alt.X("from:Q"), x2="to:Q")
    return [span, base.mark_circle(color=COLOURS[1], size=50, opacity=1).encode(x="y:Q")]


def displaced(frame: Any) -> Any:
    """What training did to both likelihoods of each pair; lower left of the cross both fell."""
    sets = list(dict.fromkeys(frame["set"]))
    colours = alt.Scale(domain=sets, range=[COLOURS[place % len(COLOURS)] for place in range(len(sets))])
    points = alt.Chart(frame).mark_circle(size=45, opacity=0.65).encode(
        x=alt.X("chosen_change:Q", title="chosen: log-probability after minus before (nats)"),
        y=alt.Y("rejected_change:Q", title="rejected: after minus before (nats)"),
        color=alt.Color("set:N", scale=colours, legend=alt.Legend(title=None, orient="bottom", columns=2)),
        tooltip=["set", "pair", *_numbers("chosen_change", "rejected_change", "margin")],
    )  # fmt: skip
    zero = alt.Chart(pandas.DataFrame({"zero": [0]}))
    cross = (zero.mark_rule(color=GREY).encode(x="zero:Q"), zero.mark_rule(color=GREY).encode(y="zero:Q"))
    return _wide(alt.layer(*cross, points), 320)


def shares(frame: Any) -> Any:
    """Shares of a whole, a strip for each part, a column for each set."""
    legend = alt.Legend(orient="bottom", gradientLength=180)
    strips = alt.Chart(frame).mark_rect().encode(
        x=alt.X("set:N", title=None, sort=list(dict.fromkeys(frame["set"])), axis=alt.Axis(labelAngle=-30)),
        y=alt.Y("part:N", title=None, sort=list(dict.fromkeys(frame["part"]))),
        color=alt.Color("mean:Q", title="share", scale=alt.Scale(scheme="blues"), legend=legend),
        tooltip=["set", "part", *_numbers("mean", "low", "high"), "n"],
    )  # fmt: skip
    return _wide(strips, alt.Step(16))


def _numbers(*names: str) -> list[Any]:
    return [alt.Tooltip(f"{name}:Q", format=".4g") for name in names]


def _wide(chart: Any, height: Any = HEIGHT) -> Any:
    return chart.properties(width="container", height=height)


def _colour(lines: Sequence[Line]) -> Any:
    """A colour for each line, its legend below, one a row on a phone."""
    names = [line.name for line in lines]
    colours = [COLOURS[line.color % len(COLOURS)] for line in lines]
    return alt.Color("series:N", scale=alt.Scale(domain=names, range=colours), legend=_legend())


def _dashes(lines: Sequence[Line]) -> Any:
    """Dashes by line, named as the colours are, so that both are one legend."""
    dashes = [[5, 4] if line.style in ("aside", "published") else [1, 0] for line in lines]
    names = [line.name for line in lines]
    return alt.StrokeDash("series:N", scale=alt.Scale(domain=names, range=dashes), legend=_legend())


def _legend() -> Any:
    return alt.Legend(title=None, orient="bottom", columns=1, labelLimit=330, symbolType="stroke", symbolSize=400)
