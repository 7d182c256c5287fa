"""Figures of the notebooks: frames of frames.py as Altair charts, as wide as their page.

One colour means one series in every figure, hollow and dashed is the noise floor, grey is published. Every mark tells its
numbers when pointed at. Left out: HTML pages without a browser library, which `toolkit report` writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas

# Okabe and Ito's colours, told apart by colour-blind readers too
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C564B")
GREY = ("#6B6B6B", "#A8A8A8")
WHICH = ("pairs", "two draws of one model")
HEIGHT = 260


def curves(frame: Any, title: str, *, zero: bool = False) -> Any:
    """Means with intervals over iterations, a line for each series; the draws control hollow and dashed."""
    frame = frame.assign(
        which=[WHICH[control == "draws"] for control in frame["control"]]
    )
    base = alt.Chart(frame).encode(
        x=alt.X("iteration:O", title="iteration", axis=alt.Axis(labelAngle=0)),
        xOffset=alt.XOffset("series:N", sort=_names(frame)),
        color=_colour(_names(frame)),
        tooltip=["series", "which", "iteration", *_numbers("mean", "low", "high"), "n", "missing"],
    )
    value = alt.Y("mean:Q", title=title, scale=alt.Scale(zero=zero))
    dash = alt.StrokeDash("which:N", scale=alt.Scale(domain=list(WHICH), range=[[1, 0], [3, 3]]), legend=None)
    spans = base.mark_rule(strokeWidth=2).encode(
        y=alt.Y("low:Q", title=title, scale=alt.Scale(zero=zero)), y2="high:Q", strokeDash=dash
    )
    points = base.mark_point(size=70, strokeWidth=2).encode(y=value, fillOpacity=_filled(), fill=_fill(_names(frame)))
    return _wide(alt.layer(spans, points))


def beside_published(ours: Any, published: Any, title: str) -> Any:
    """Our means as bars with intervals, the paper's as grey bars beside them."""
    own = ours[ours["control"] == ""][["series", "iteration", "mean", "low", "high", "n"]]
    both = pandas.concat([own.rename(columns={"mean": "value"}), published], ignore_index=True)
    names = [*_names(own), *_names(published)]
    base = alt.Chart(both).encode(
        x=alt.X("iteration:O", title="iteration", axis=alt.Axis(labelAngle=0)),
        xOffset=alt.XOffset("series:N", sort=names),
        tooltip=["series", "iteration", *_numbers("value", "low", "high"), "n"],
    )
    bars = base.mark_bar().encode(y=alt.Y("value:Q", title=title), color=_colour(names, len(_names(own))))
    return _wide(alt.layer(bars, base.mark_rule().encode(y="low:Q", y2="high:Q")))


def displaced(frame: Any) -> Any:
    """What a training did to both likelihoods of each pair; lower left of the cross both fell."""
    base = alt.Chart(frame)
    points = base.mark_circle(size=45, opacity=0.65).encode(
        x=alt.X("chosen_change:Q", title="chosen: log-probability after minus before (nats)"),
        y=alt.Y("rejected_change:Q", title="rejected: after minus before (nats)"),
        color=_colour(_names(frame)),
        tooltip=["series", "iteration", "pair", *_numbers("chosen_change", "rejected_change", "margin")],
    )
    cross = pandas.DataFrame({"zero": [0]})
    lines = [alt.Chart(cross).mark_rule(color="#888").encode(x="zero:Q")]
    lines.append(alt.Chart(cross).mark_rule(color="#888").encode(y="zero:Q"))
    return _wide(alt.layer(*lines, points), 320)


def shares(frame: Any, title: str) -> Any:
    """Shares of a whole over iterations, a strip for each part, one row of strips a series."""
    base = alt.Chart(frame).encode(
        x=alt.X("iteration:O", title="iteration", axis=alt.Axis(labelAngle=0)),
        y=alt.Y("part:N", title=title, sort=list(dict.fromkeys(frame["part"]))),
        tooltip=["series", "iteration", "part", *_numbers("mean", "low", "high"), "n"],
    )
    legend = alt.Legend(orient="bottom", gradientLength=180)
    strips = base.mark_rect().encode(color=alt.Color("mean:Q", title="share", scale=alt.Scale(scheme="blues"), legend=legend))
    return strips.properties(width=90, height=alt.Step(16)).facet(
        alt.Facet("series:N", title=None, header=alt.Header(labelFontWeight="bold")), columns=2
    )


def learning(frame: Any, title: str) -> Any:
    """A score over iterations with its interval, a line for each run; the paper's lines in grey."""
    own, paper = _names(frame[~frame["published"]]), _names(frame[frame["published"]])
    base = alt.Chart(frame).encode(
        x=alt.X("iteration:Q", title="model M_i", axis=alt.Axis(tickMinStep=1, format="d")),
        color=_colour([*own, *paper], len(own)),
        tooltip=["series", "model", *_numbers("mean", "low", "high"), "n"],
    )
    scale = alt.Scale(zero=False)
    spans = base.mark_rule(opacity=0.5).encode(y=alt.Y("low:Q", title=title, scale=scale), y2="high:Q")
    return _wide(alt.layer(spans, base.mark_line(point=True).encode(y=alt.Y("mean:Q", title=title, scale=scale))))


def steps(frame: Any, title: str) -> Any:
    """What the trainer logged over the steps of a run, its trainings one after another, a colour for each run."""
    base = alt.Chart(frame).encode(
        x=alt.X("run_step:Q", title="step of the run", axis=alt.Axis(tickMinStep=1, format="d")),
        y=alt.Y("value:Q", title=title, scale=alt.Scale(zero=False)),
        color=_colour(_names(frame)),
        detail="model:N",
        tooltip=["series", "model", "step", *_numbers("value")],
    )
    return _wide(base.mark_line(point=alt.OverlayMarkDef(size=18)), 200)


def _wide(chart: Any, height: int = HEIGHT) -> Any:
    return chart.properties(width="container", height=height)


def _names(frame: Any) -> list[str]:
    return sorted(set(frame["series"]))


def _colour(names: Sequence[str], own: int | None = None) -> Any:
    """The colours of these series, those after the first `own` in grey; their legend below, one a row on a phone."""
    legend = alt.Legend(title=None, orient="bottom", columns=1, labelLimit=330)
    return alt.Color("series:N", scale=_scale(names, own), legend=legend)


def _fill(names: Sequence[str]) -> Any:
    return alt.Fill("series:N", scale=_scale(names), legend=None)


def _scale(names: Sequence[str], own: int | None = None) -> Any:
    own = len(names) if own is None else own
    colours = [COLOURS[i % len(COLOURS)] if i < own else GREY[(i - own) % len(GREY)] for i in range(len(names))]
    return alt.Scale(domain=list(names), range=colours)


def _filled() -> Any:
    return alt.FillOpacity("which:N", scale=alt.Scale(domain=list(WHICH), range=[1, 0]), legend=None)


def _numbers(*names: str) -> list[Any]:
    return [alt.Tooltip(f"{name}:Q", format=".4g") for name in names]
