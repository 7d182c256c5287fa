"""How the notebooks are laid out: a figure with its words, its numbers and its SQL, through marimo's widgets.

Everything that a store says is escaped: names of runs, models and judges are text, never markup.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import marimo as mo

from toolkit.diagnostics.collapse import Verdict
from toolkit.reporting.board.files import LEGEND, table_of
from toolkit.reporting.board.leaderboard import Board, heads, merged
from toolkit.reporting.notebooks.charts import drawn
from toolkit.reporting.notebooks.frames import Reader, Rows, diagnosed
from toolkit.reporting.page.parts import Asked, Curves, Figure, Histogram, Section
from toolkit.reporting.tables import show
from toolkit.safe_text import one_line

NO_RUNS = "No run of this store trained on pairs. A recipe makes one: python -m toolkit.recipes.temporal"
UNDIAGNOSED = "Nothing was measured of these pairs yet."
NOT_EVALUATED = "No model of this store was evaluated yet."
DIAGNOSE = " This does it: python -m toolkit diagnose RUN --store {store}"
EVALUATE = " This does it: python -m toolkit evaluate M_1 --suite quick"
HOLDS = {True: "seen", False: "not seen", None: "cannot be told"}
LONG = 40  # characters from which a cell may wrap
_CELL = "padding:.2em .8em .2em 0;text-align:left;vertical-align:top"
_SIZES = {1: 2.0, 2: 1.6, 3: 1.25, 4: 1.0}  # of headings, in em


def head(title: str, said: str, store: Reader, *choices: Any) -> Any:
    """The notebook's first cell: what it is about, which store, which runs; what to do where nothing was measured."""
    told = [] if diagnosed(store) else [mo.callout(text(undiagnosed(store)), kind="warn")]
    return mo.vstack([heading(1, title), text(said), text(f"Store: {store.path.name}"), *choices, *told])


def undiagnosed(store: Reader) -> str:
    """That nothing was measured, and the command that measures it; none for a store of scripted runs."""
    return UNDIAGNOSED + ("" if store.scripted() else DIAGNOSE.format(store=store.path))


def without_runs() -> Any:
    """For a store that holds no run's pairs."""
    return mo.callout(text(NO_RUNS), kind="warn")


def section(part: Section, wanted: Callable[[Figure], bool] = lambda figure: True, tables: bool = True) -> Any:
    """Heading, sentences, figures and tables of a part of a report; of its figures, the wanted ones."""
    open_ = map(asked, part.asked if tables else ())
    figures = [figure(one) for one in part.figures if wanted(one)]
    return mo.vstack([heading(2, part.title), *map(text, part.said), *figures, *open_])


def figure(shown: Figure) -> Any:
    """Charts under their words; the numbers with the SQL that gives them are folded away."""
    folded = {f"{one.table.title} and SQL" if one.sql else one.table.title: mo.Html(_table(one)) for one in shown.asked}
    charts = [part for chart in shown.charts for part in _chart(chart)]
    return mo.vstack([heading(3, shown.title), text(shown.said), *charts, accordion(folded)])


def asked(shown: Asked) -> Any:
    """A table that stands open, its SQL folded."""
    title = f"<h4>{_escaped(shown.table.title)}</h4>"
    return mo.vstack(
        [mo.Html(title + grid(shown.table.columns, shown.table.rows)), accordion({"SQL": mo.Html(_how(shown))})]
    )


def found(title: str, said: str, rows: Rows, chart: Callable[[Any], Any] | None = None) -> Any:
    """Rows under a heading: drawn, with the numbers folded, or else as an open table."""
    parts = [heading(2, title), text(said if not rows.empty else "The store has nothing of this.")]
    if rows.empty or chart is None:
        return mo.vstack([*parts, *([] if rows.empty else [mo.Html(table(rows.frame))]), sql(rows)])
    return mo.vstack([*parts, chart(rows.frame), accordion({"Numbers": mo.Html(table(rows.frame))}), sql(rows)])


def verdict(told: Verdict) -> Any:
    """What the diagnosis concludes, and why."""
    rows = [(one.name, HOLDS[one.holds], one.said) for one in told.findings]
    why = [mo.Html(grid(("finding", "", "why"), rows))] if rows else []
    return mo.vstack([heading(2, f"{told.run}: {told.verdict}"), text(told.headline), *why])


def leaderboard(board: Board, store: Reader) -> Any:
    """The whole board, a row for each model, and the settings of every column."""
    if not board.columns:
        return mo.callout(text(NOT_EVALUATED + ("" if store.scripted() else EVALUATE)), kind="warn")
    made = table_of(merged(board))
    settings = [(name, column.settings) for name, column in zip(heads(board.columns), board.columns, strict=True)]
    folded = accordion({"Settings of every column": mo.Html(grid(("column", "settings"), settings))})
    return mo.vstack([text(LEGEND.replace("`", "")), mo.Html(grid(made.columns, made.rows)), folded])


def sql(rows: Rows) -> Any:
    """The statement alone, folded."""
    return accordion({"SQL": mo.Html(statement(rows.sql))})


def table(frame: Any) -> str:
    """A frame as an HTML table."""
    rows = [[show(known(value)) for value in row] for row in frame.itertuples(index=False, name=None)]
    return grid([str(name) for name in frame.columns], rows)


def grid(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """An HTML table that scrolls sideways where the page is narrow; every cell is escaped."""
    top = "".join(f'<th style="{_CELL};white-space:nowrap">{_escaped(name)}</th>' for name in names)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return (
        '<div style="overflow-x:auto"><table style="font-size:.85em;border-collapse:collapse">'
        f"<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def statement(words: str) -> str:
    """A statement to be copied into `python -m toolkit sql`."""
    return f'<pre data-part="sql" style="white-space:pre-wrap;font-size:.8em">{html.escape(words)}</pre>'


def heading(level: int, words: str) -> Any:
    style = f"font-size:{_SIZES[level]}em;font-weight:600;margin:.6em 0 0"
    return mo.Html(f'<h{level} style="{style}">{_escaped(words)}</h{level}>')


def text(words: str) -> Any:
    return mo.Html(f"<p>{_escaped(words)}</p>")


def accordion(folded: dict[str, Any]) -> Any:
    return mo.accordion(folded, multiple=True)


def known(value: Any) -> Any:
    """None for what pandas holds instead of it."""
    return None if value is None or value != value else value


def _chart(chart: Curves | Histogram) -> list[Any]:
    note = chart.note if isinstance(chart, Curves) else ""
    return [*([text(note)] if note else []), drawn(chart)]


def _table(shown: Asked) -> str:
    return grid(shown.table.columns, shown.table.rows) + _how(shown)


def _how(shown: Asked) -> str:
    """The SQL that gives a table again, or where it is from."""
    return (statement(shown.sql) if shown.sql else "") + (f"<p>{_escaped(shown.source)}</p>" if shown.source else "")


def _cell(words: str) -> str:
    wrap = "min-width:20em" if len(words) > LONG else "white-space:nowrap"
    return f'<td style="{_CELL};{wrap}">{_escaped(words)}</td>'


def _escaped(words: str) -> str:
    return html.escape(one_line(words))
