"""Charts as SVG, written by hand: lines with intervals over a floor, and histograms.

Colours are classes and variables of the page's style (page.css), so one chart serves light and dark. Each mark bears
its value (data-v, whole) and its words as a <title>. Left out: logarithmic axes, and labels that avoid each other.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.reporting.page.parts import Bin, Curves, Histogram, Line, Point

WIDTH, LEFT, RIGHT, TOP = 420, 50, 12, 12
COLORS = 6
DODGE = 5.0  # between the points of two lines at one x


@dataclass(frozen=True)
class Frame:
    """The plot's area and the ranges that fill it."""

    x: tuple[float, float]
    y: tuple[float, float]
    bottom: float

    def across(self, value: float) -> float:
        low, high = self.x
        return LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def up(self, value: float) -> float:
        low, high = self.y
        return self.bottom - (value - low) / (high - low) * (self.bottom - TOP)


def svg(chart: Curves | Histogram) -> str:
    """The chart as one <svg> element."""
    return _curves(chart) if isinstance(chart, Curves) else _histogram(chart)


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers that span low to high, at most about `most` steps apart."""
    span = (high - low) or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= span / most * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(step * place, 12) for place in range(first, max(last, first + 1) + 1)]


def _curves(chart: Curves) -> str:
    frame = _frame(chart)
    parts = [_floor(chart.band, frame), _axes(chart, frame), *(_lost(x, frame) for x in chart.lost)]
    parts += [_line(line, frame, shift) for line, shift in zip(chart.lines, _shifts(chart), strict=True)]
    return _whole(f"{chart.y_name} over {chart.x_name}", 250, "".join(parts))


def _shifts(chart: Curves) -> list[float]:
    """How far each line is moved to the right to keep whiskers apart; thin lines go with their mean."""
    if chart.x_name == "step":
        return [0.0] * len(chart.lines)
    thick = [index for index, line in enumerate(chart.lines) if line.style != "thin"]
    shifts = {index: DODGE * (rank - (len(thick) - 1) / 2) for rank, index in enumerate(thick)}
    by_color = {chart.lines[index].color: shifts[index] for index in reversed(thick)}
    return [shifts.get(index, by_color.get(line.color, 0.0)) for index, line in enumerate(chart.lines)]


def _frame(chart: Curves) -> Frame:
    points = [*chart.band, *(point for line in chart.lines for point in line.points)]
    heights = [value for point in points for value in (point.y, point.low, point.high) if value is not None]
    heights += [*chart.reach, *([0.0] if chart.zero else [])]
    found = ticks(min(heights, default=0.0), max(heights, default=1.0))
    places = [*(point.x for point in points), *chart.lost]
    margin = 0.4 if chart.x_name in ("iteration", "trainings") else 0.0
    first, last = min(places, default=0.0) - margin, max(places, default=1.0) + margin
    return Frame((first, last if last > first else first + 1.0), (found[0], found[-1]), 210)


def _axes(chart: Curves, frame: Frame) -> str:
    rows = "".join(
        _across("zero" if value == 0 else "grid", frame.up(value))
        + _text(_number(value), LEFT - 6, frame.up(value) + 4, "end")
        for value in ticks(*frame.y)
        if frame.y[0] <= value <= frame.y[1]
    )
    whole = [value for value in ticks(*frame.x, most=8) if value == int(value) and frame.x[0] <= value <= frame.x[1]]
    columns = "".join(_text(f"{value:g}", frame.across(value), frame.bottom + 16) for value in whole)
    return rows + columns + _name(chart.x_name, frame.bottom + 34)


def _across(kind: str, y: float) -> str:
    return f'<line class="{kind}" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'


def _text(words: str, x: float, y: float, anchor: str = "middle", kind: str = "tick") -> str:
    return f'<text class="{kind}" text-anchor="{anchor}" x="{x:.1f}" y="{y:.1f}">{html.escape(words)}</text>'


def _name(words: str, y: float) -> str:
    return _text(words, (LEFT + WIDTH - RIGHT) / 2, y, kind="name")


def _floor(band: Sequence[Point], frame: Frame) -> str:
    """The floor as a grey band; beyond its first and last iteration it goes on a little."""
    if not band:
        return ""
    ends = [(band[0].x - 0.3, band[0]), *((point.x, point) for point in band), (band[-1].x + 0.3, band[-1])]
    above = [f"{frame.across(x):.1f},{frame.up(_or(point.high, point.y)):.1f}" for x, point in ends]
    below = [f"{frame.across(x):.1f},{frame.up(_or(point.low, point.y)):.1f}" for x, point in reversed(ends)]
    middle = " ".join(f"{frame.across(x):.1f},{frame.up(point.y):.1f}" for x, point in ends)
    marks = "".join(
        f'<circle class="hidden" data-v="{point.y!r}" r="7" cx="{frame.across(point.x):.1f}" '
        f'cy="{frame.up(point.y):.1f}"><title>{html.escape(point.said)}</title></circle>'
        for point in band
    )
    area = f'<polygon class="floor" points="{" ".join([*above, *below])}"/>'
    return f'{area}<polyline class="floor-mean" points="{middle}"/>{marks}'


def _line(line: Line, frame: Frame, shift: float) -> str:
    at = [(frame.across(point.x) + shift, frame.up(point.y), point) for point in line.points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in at)
    small = len(at) > 40 or line.style == "thin"
    marks = "".join(_whisker(x, point, frame) + _mark(x, y, point, 1.5 if small else 3.6) for x, y, point in at)
    return f'<g class="line {line.style} c{line.color % COLORS}"><polyline points="{path}"/>{marks}</g>'


def _mark(x: float, y: float, point: Point, radius: float) -> str:
    title = f"<title>{html.escape(point.said)}</title>"
    return f'<circle data-v="{point.y!r}" r="{radius}" cx="{x:.1f}" cy="{y:.1f}">{title}</circle>'


def _whisker(x: float, point: Point, frame: Frame) -> str:
    if point.low is None or point.high is None:
        return ""
    low, high = frame.up(point.low), frame.up(point.high)
    caps = "".join(f"M{x - 3:.1f} {y:.1f}H{x + 3:.1f}" for y in (low, high))
    return f'<path class="whisker" d="M{x:.1f} {low:.1f}V{high:.1f}{caps}"/>'


def _lost(x: float, frame: Frame) -> str:
    """A step whose value is NaN: a mark at the top, since it has no height."""
    at = frame.across(x)
    line = f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{TOP + 12}" y2="{frame.bottom}"/>'
    return f'<g class="lost">{line}{_text("NaN", at, TOP + 8)}</g>'


def _histogram(chart: Histogram) -> str:
    above = 1.25 if chart.mean else 1.0
    frame = Frame((chart.bins[0].low, chart.bins[-1].high), (0.0, chart.most * above), 130)
    bars = "".join(_bar(one, frame) for one in chart.bins if one.count)
    name = _name(chart.x_name, frame.bottom + 34)
    inside = _counts(chart, frame) + bars + _outline(chart, frame) + _above(chart, frame) + name
    return _whole(f"{chart.name}: pairs by {chart.x_name}", 170, inside)


def _bar(one: Bin, frame: Frame) -> str:
    left, right, top = frame.across(one.low), frame.across(one.high), frame.up(one.count)
    said = f"{_number(one.low)} to {_number(one.high)}: {one.count} pairs, {one.floor} of two draws"
    place = f'x="{left + 0.5:.1f}" y="{top:.1f}" width="{right - left - 1:.1f}" height="{frame.bottom - top:.1f}"'
    return f'<rect class="bar" data-v="{one.count}" {place}><title>{said}</title></rect>'


def _counts(chart: Histogram, frame: Frame) -> str:
    """Axes: the highest count, and round numbers along the bottom."""
    heights = "".join(_text(str(value), LEFT - 6, frame.up(value) + 4, "end") for value in (0, chart.most))
    places = [value for value in ticks(*frame.x) if frame.x[0] - 1e-9 <= value <= frame.x[1] + 1e-9]
    marks = "".join(_text(_number(value), frame.across(value), frame.bottom + 16) for value in places)
    return _across("zero", frame.bottom) + heights + marks


def _outline(chart: Histogram, frame: Frame) -> str:
    if not any(one.floor for one in chart.bins):
        return ""
    steps = "".join(f"V{frame.up(one.floor):.1f}H{frame.across(one.high):.1f}" for one in chart.bins)
    return f'<path class="outline" d="M{LEFT} {frame.bottom}{steps}V{frame.bottom}"/>'


def _above(chart: Histogram, frame: Frame) -> str:
    """The mean and its interval, over the bars."""
    if chart.mean is None:
        return ""
    point, y = chart.mean, TOP + 8
    ends = (_or(point.low, point.y), _or(point.high, point.y))
    low, high = (frame.across(min(max(end, frame.x[0]), frame.x[1])) for end in ends)
    span = f'<path class="whisker" d="M{low:.1f} {y}H{high:.1f}M{low:.1f} {y - 3}V{y + 3}M{high:.1f} {y - 3}V{y + 3}"/>'
    return f'<g class="line own c0">{span}{_mark(frame.across(point.x), y, point, 3.6)}</g>'


def _whole(label: str, height: int, inside: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{html.escape(label)}">{inside}</svg>'


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _or(value: float | None, other: float) -> float:
    return other if value is None else value
