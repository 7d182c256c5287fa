"""A page as one HTML file: it loads nothing, reads on a phone, and follows the reader's light or dark.

Every text is escaped, and its control characters are made visible: nothing that a model or a file said is markup here.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from pathlib import Path

from toolkit.reporting.page.charts import COLORS, svg
from toolkit.reporting.page.parts import (
    Asked,
    Curves,
    Document,
    Example,
    Figure,
    Histogram,
    Opening,
    Page,
    Section,
    Side,
)
from toolkit.reporting.tables import Table
from toolkit.safe_text import one_line

STYLE = Path(__file__).with_name("page.css")
_NUMBER = re.compile(r"-|NaN|inf|-?[\d,]+(\.\d+)?(e[+-]?\d+)?%?")
LONG = 40  # characters from which a cell may wrap


def as_html(page: Page | Document) -> str:
    """The whole file."""
    document = page.document if isinstance(page, Page) else page
    title = _text(document.title)
    links = "".join(f'<a href="#{_anchor(part.title)}">{_text(part.title)}</a>' for part in document.sections)
    body = "".join(_section(part) for part in document.sections)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}</title><style>{STYLE.read_text(encoding='utf-8')}</style></head><body><main>"
        f"<h1>{title}</h1>{_marks(document)}{_opening(document.opening)}{_facts(document)}<nav>{links}</nav>{body}"
        "</main></body></html>\n"
    )


def _marks(document: Document) -> str:
    """What must be read before anything else."""
    made_up = f'<p class="made-up"><strong>{_text(document.made_up)}</strong></p>' if document.made_up else ""
    marks = "".join(f"<li>{_text(mark)}</li>" for mark in document.marks)
    return made_up + (f'<ul class="marks">{marks}</ul>' if marks else "")


def _opening(opening: Opening) -> str:
    rows = "".join(
        f'<li><span class="what">{_text(name)}</span><span class="holds">{_text(holds)}</span>'
        f'<span class="said">{_text(sentence(words))}</span></li>'
        for name, holds, words in opening.rows
    )
    return (
        f'<div class="verdict {_text(opening.kind)}"><div class="word">{_text(opening.word)}</div>'
        f'<p class="headline">{_text(opening.headline)}</p><ul class="findings">{rows}</ul></div>'
    )


def _facts(page: Document) -> str:
    cells = "".join(f"<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>" for name, value in page.facts)
    return f'<dl class="facts">{cells}</dl>'


def _section(part: Section) -> str:
    said = "".join(f"<p>{_text(words)}</p>" for words in part.said)
    figures = "".join(_figure(figure) for figure in part.figures)
    figures = f'<div class="figures">{figures}</div>' if figures else ""
    tables = "".join(_shown(one) if one.open else _folded(one.table.title, [one]) for one in part.asked)
    pairs = "".join(_example(one) for one in part.examples)
    return f'<section id="{_anchor(part.title)}"><h2>{_text(part.title)}</h2>{said}{figures}{pairs}{tables}</section>'


def _figure(figure: Figure) -> str:
    charts = "".join(_chart(chart) for chart in figure.charts)
    kind = "charts small" if isinstance(figure.charts[0], Histogram) else "charts"
    return (
        f"<figure><h3>{_text(figure.title)}</h3><p>{_text(figure.said)}</p>"
        f'<div class="{kind}">{charts}</div>{_folded("Numbers and SQL", figure.asked)}</figure>'
    )


def _chart(chart: Curves | Histogram) -> str:
    if isinstance(chart, Histogram):
        return f'<div class="chart"><h4>{_text(chart.name)}</h4>{svg(chart)}</div>'
    note = f'<p class="note">{_text(chart.note)}</p>' if chart.note else ""
    kind = "chart paper" if chart.note else "chart"
    note += f"<h4>{_text(chart.name)}</h4>" if chart.name else ""
    return f'<div class="{kind}">{note}{_key(chart)}<p class="unit">{_text(chart.y_name)}</p>{svg(chart)}</div>'


def _key(chart: Curves) -> str:
    """Which line is which; thin lines have the color of their mean."""
    names = "".join(
        f'<span><svg viewBox="0 0 22 10" class="line {line.style} c{line.color % COLORS}"><polyline points="0,5 22,5"/>'
        f'<circle cx="11" cy="5" r="3"/></svg>{_text(line.name)}</span>'
        for line in chart.lines
        if line.style != "thin"
    )
    floor = '<span><svg viewBox="0 0 22 10"><rect class="floor" width="22" height="10"/></svg>floor</span>'
    return f'<div class="key">{names}{floor if chart.band else ""}</div>'


def _folded(title: str, asked: Sequence[Asked]) -> str:
    return (
        f"<details><summary>{_text(title)}</summary>{''.join(_table(one.table) + _how(one) for one in asked)}</details>"
    )


def _shown(asked: Asked) -> str:
    return f"{_table(asked.table, 'whole')}<details><summary>SQL</summary>{_how(asked)}</details>"


def _how(asked: Asked) -> str:
    """The SQL that gives the table again, or where it is from."""
    sql = f'<pre class="sql">{html.escape(asked.sql)}</pre>' if asked.sql else ""
    return sql + (f'<p class="source">{_text(asked.source)}</p>' if asked.source else "")


def _table(shown: Table, kind: str = "scroll") -> str:
    numbers = [all(_NUMBER.fullmatch(row[i]) for row in shown.rows) for i in range(len(shown.columns))]
    head = "".join(f"<th{_class(n)}>{_text(name)}</th>" for name, n in zip(shown.columns, numbers, strict=True))
    body = "".join(
        f"<tr>{''.join(f'<td{_class(n, cell)}>{_text(cell)}</td>' for cell, n in zip(row, numbers, strict=True))}</tr>"
        for row in shown.rows
    )
    caption = f"<caption>{_text(shown.title)}</caption>"
    return f'<div class="{kind}"><table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _class(number: bool, cell: str = "") -> str:
    if number:
        return ' class="n"'
    return ' class="long"' if len(cell) > LONG else ""


def _example(pair: Example) -> str:
    sides = "".join(_side(side) for side in pair.sides)
    return (
        f'<article class="pair"><h3>{_text(pair.title)}</h3><p class="source">{_text(pair.place)}</p>'
        f'<div class="text prompt">{_lines(pair.prompt)}</div>'
        f'<div class="sides">{sides}</div></article>'
    )


def _side(side: Side) -> str:
    replies = "".join(
        f'<p class="reply">{_text(verdict)}</p><div class="text reply">{_lines(reply)}</div>'
        for verdict, reply in side.replies
    )
    judge = f"<details><summary>What the judge said</summary>{replies}</details>" if replies else ""
    head = f"{side.side}, score {side.score}, by the {side.by}"
    return f'<div class="{side.side}"><h4>{_text(head)}</h4><div class="text">{_lines(side.text)}</div>{judge}</div>'


def sentence(words: str) -> str:
    """With a capital at its start."""
    return words[:1].upper() + words[1:]


def _text(words: str) -> str:
    return html.escape(one_line(words))


def _lines(words: str) -> str:
    """A text of several lines; each is made safe on its own."""
    return "\n".join(_text(line) for line in words.split("\n"))


def _anchor(title: str) -> str:
    return re.sub(r"\W+", "-", title.lower())
