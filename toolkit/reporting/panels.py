"""How the notebooks are laid out: a figure with its answer, its numbers and its SQL. The one place that knows marimo's widgets.

Everything that a store says is escaped: names of runs, models and judges are text, never markup.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import marimo as mo

from toolkit.reporting.board_files import LEGEND, table_of
from toolkit.reporting.frames import Reader, Shown
from toolkit.reporting.leaderboard import Board
from toolkit.reporting.tables import show

CHANGE = (
    "<p>Mean after divided by mean before, with its 95 % interval; the same of two draws of one model; p of no change, "
    "corrected for their number. Then the smallest fall that so many pairs would show, and the pairs a set that a fall "
    "by a fifth would need.</p>"
)
NO_CHANGE = "<p>The store compares no two iterations here: that takes two sets of one run and their diagnosis.</p>"
NOT_EVALUATED = (
    "<p>No model of this store was evaluated yet. This does it:</p><pre>python -m toolkit evaluate M_1 --suite quick</pre>"
)
NO_FIXED_JUDGE = (
    "<p>No fixed judge scored both sides of these pairs. One does after <code>python -m toolkit rescore</code> or "
    "<code>import-scores</code>, and a diagnosis after that.</p>"
)


def panel(title: str, said: str, figure: Any, shown: Shown) -> Any:
    """A heading, the answer (HTML), the figure, and folded away the numbers and the statement that gives them."""
    return mo.vstack([mo.md(f"## {title}"), mo.Html(said), figure, beneath(shown)])


def measured(title: str, shown: Shown, figure: Any, note: str = "") -> Any:
    """A panel of means with intervals; where the store has none, what makes them."""
    if shown.empty:
        return mo.vstack([mo.md(f"## {title}"), mo.Html("<p>The store has no summary of this.</p>"), beneath(shown)])
    return panel(title, (f"<p>{note}</p>" if note else "") + answer(shown.frame), figure(shown.frame), shown)


def shared(title: str, shown: Shown, figure: Any) -> Any:
    """Shares of a whole, without a table of every part: the numbers are folded away."""
    if shown.empty:
        return mo.vstack([mo.md(f"## {title}"), mo.Html("<p>The store has no summary of this.</p>"), beneath(shown)])
    said = f"<p>Mean share of the squared norm over n = {_range(shown.frame['n'])} pairs; intervals under Numbers.</p>"
    return panel(title, said, figure(shown.frame), shown)


def leaderboard(board: Board) -> Any:
    """The whole board, a row for each model."""
    if not board.columns:
        return mo.callout(mo.Html(NOT_EVALUATED), kind="warn")
    made = table_of(board)
    settings = [[head, column.settings] for head, column in zip(made.columns[2:], board.columns, strict=False)]
    folded = mo.accordion({"Settings of every column": mo.Html(grid(["column", "settings"], settings))})
    return mo.vstack([mo.md(LEGEND), mo.Html(grid(made.columns, made.rows)), folded])


def trained(title: str, shown: Shown, figure: Any) -> Any:
    """A curve of the trainer's log: one value a step, without an interval."""
    if shown.empty:
        return mo.vstack([mo.md(f"## {title}"), mo.Html("<p>No training logged this.</p>"), sql(shown)])
    batch, values = shown.frame["batch"], len(shown.frame)
    said = f"<p>{values} values, each of one step over a batch of {_range(batch)} pairs: no intervals.</p>"
    return mo.vstack([mo.md(f"## {title}"), mo.Html(said), figure(shown.frame), sql(shown)])


def moved(title: str, pairs: Shown, totals: Shown, figure: Any) -> Any:
    """A point for each pair, and the counts of every training."""
    if pairs.empty:
        return mo.vstack([mo.md(f"## {title}"), mo.Html("<p>The store knows no likelihoods here.</p>"), beneath(pairs)])
    said = (
        "<p>Displaced: both likelihoods fell. Ranked: the chosen side is the likelier one. Counts of n pairs; margin and "
        f"weight are means after the training.</p>{table(totals.frame)}"
    )
    return mo.vstack([mo.md(f"## {title}"), mo.Html(said), sql(totals), figure(pairs.frame), sql(pairs)])


def change(title: str, shown: Shown) -> Any:
    """Ratios between iterations with the floor's, and what so many pairs can show at all."""
    head = ["metric", "pairs of", "iterations", "ratio", "two draws", "p", "shows a fall to", "a fifth needs"]
    rows = [_change({name: _cell(value) for name, value in row.items()}) for _, row in shown.frame.iterrows()]
    return mo.vstack([mo.md(f"## {title}"), mo.Html(CHANGE + grid(head, rows) if rows else NO_CHANGE), beneath(shown)])


def sql(shown: Shown) -> Any:
    """The statement alone, folded."""
    return mo.accordion({"SQL": mo.Html(statement(shown.sql))})


def beneath(shown: Shown) -> Any:
    """Numbers and SQL, folded."""
    return mo.accordion({"Numbers": mo.Html(table(shown.frame)), "SQL": mo.Html(statement(shown.sql))}, multiple=True)


def table(frame: Any) -> str:
    """A frame as an HTML table."""
    rows = [[_cell(value) for value in row] for row in frame.itertuples(index=False, name=None)]
    return grid([str(name) for name in frame.columns], rows)


def answer(frame: Any, turn_name: str = "iteration ") -> str:
    """Means with interval and n as an HTML table: a row for each series and its floor, a column for each iteration."""
    turns = sorted(set(frame["iteration"]))
    rows = []
    for (series, control), found in frame.groupby(["series", "control"], sort=True):
        cells = {row["iteration"]: _mean(row) for _, row in found.iterrows()}
        rows.append([f"{series}, two draws" if control else series, *(cells.get(turn, "-") for turn in turns)])
    return grid(["mean [95 % interval] n", *(f"{turn_name}{turn}" for turn in turns)], rows)


def grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """An HTML table that scrolls sideways where the page is narrow; every cell is escaped."""
    cell = 'style="padding:.2em .8em .2em 0;text-align:left;white-space:nowrap"'
    top = "".join(f"<th {cell}>{html.escape(name)}</th>" for name in head)
    body = "".join(f"<tr>{''.join(f'<td {cell}>{html.escape(text)}</td>' for text in row)}</tr>" for row in rows)
    return (
        '<div style="overflow-x:auto"><table style="font-size:.85em;border-collapse:collapse">'
        f"<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def statement(sql: str) -> str:
    """A statement to be copied into `python -m toolkit sql`."""
    return f'<pre style="white-space:pre-wrap;font-size:.8em">{html.escape(sql)}</pre>'


def undiagnosed(store: Reader, runs: list[str]) -> Any:
    """What to do where nothing was measured yet."""
    commands = "".join(
        f"<pre>python -m toolkit diagnose {html.escape(run)} --store {html.escape(str(store.path))}</pre>"
        for run in runs or ["RUN"]
    )
    return mo.callout(mo.Html(f"<p>Nothing was measured of these pairs yet. This does it:</p>{commands}"), kind="warn")


def _change(said: Mapping[str, str]) -> list[str]:
    return [
        said["metric"],
        f"{said['run']} · {said['phase']}",
        f"{said['iteration_before']} to {said['iteration_after']}",
        f"× {said['ratio']} [{said['low']}, {said['high']}]",
        f"× {said['floor_ratio']} [{said['floor_low']}, {said['floor_high']}]",
        said["p"],
        f"× {said['detectable']}",
        f"{said['needed']} pairs",
    ]


def _range(numbers: Any) -> str:
    least, most = numbers.min(), numbers.max()
    return str(least) if least == most else f"{least} to {most}"


def _mean(row: Any) -> str:
    mean, low, high = (_cell(row[name]) for name in ("mean", "low", "high"))
    span = "" if low == "-" else f" [{low}, {high}]"
    count = "" if row["n"] != row["n"] or row["n"] is None else f" n={int(row['n'])}"
    return f"{mean}{span}{count}" + (f", missing {row['missing']}" if row["missing"] else "")


def _cell(value: Any) -> str:
    return show(None if value is None or value != value else value)
