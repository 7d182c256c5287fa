"""A leaderboard as Markdown, CSV, JSON and one HTML page without a network: sortable, with curves over iterations.

A table has one row a model, its runs named together. CSV and JSON have a line for each run, so that every run's curve
begins with its M_0; the model's id tells what is the same.
Everything that came from a model, a file or a store is escaped. A star marks a difference from M_0 that noise does
not explain (corrected p at most 0.05), a tilde one that it may. Made-up numbers are marked at the top.
"""

from __future__ import annotations

import csv
import html
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from toolkit.evaluation.alpaca_eval.rates import BOARD_ROWS, FEW_ROWS, SURROGATE_BOUND
from toolkit.evaluation.statistics import NO_INTERVAL
from toolkit.reporting.board.cells import Cell, Column
from toolkit.reporting.board.leaderboard import Board, Comparison, Family, Row, heads, merged
from toolkit.reporting.tables import Table, show
from toolkit.safe_text import in_markdown
from toolkit.trust.safe_files import write_files

LEGEND = (
    "Values with 95 % intervals and n. `*` differs from the run's M_0 beyond noise, `~` may be noise: paired tests on "
    "the same items, the family being all comparisons with M_0 in this table (Holm). A length-controlled win rate "
    "(lc_win_rate) is fitted: its interval is 1.96 of alpaca_eval's own standard errors, and it has none where none is "
    "stored."
)
_STYLE = (
    "body{font:14px system-ui;margin:2em}table{border-collapse:collapse}th,td{padding:.3em .7em;text-align:right;"
    "border-bottom:1px solid #ccc}th:first-child,td:first-child,td:nth-child(2){text-align:left}th{cursor:pointer}"
    ".published{color:#777}svg{margin:1em 1em 0 0}"
)
_SORT = (
    "document.querySelectorAll('th').forEach((h,i)=>h.onclick=()=>{const b=h.closest('table').tBodies[0],"
    "d=h.dataset.d=h.dataset.d==='1'?'-1':'1',v=r=>r.cells[i].dataset.v??r.cells[i].innerText;[...b.rows]"
    ".sort((x,y)=>{const p=v(x),q=v(y);return d*((isNaN(p)||isNaN(q))?p.localeCompare(q):p-q)})"
    ".forEach(r=>b.append(r))})"
)


def write_board(board: Board, folder: Path, name: str = "leaderboard", family: Family | None = None) -> list[Path]:
    """The four files, and with a family its tests as NAME-tests.json; their paths."""
    makers: dict[str, Callable[[Board], str]] = {"md": markdown, "csv": comma, "json": as_json, "html": page}
    texts = {f"{name}.{suffix}": make(board) for suffix, make in makers.items()}
    if family:
        lines = [as_row(one, family.name) for one in family.tests]
        texts[f"{name}-tests.json"] = json.dumps(lines, indent=2, ensure_ascii=False) + "\n"
    return write_files(folder, texts)


def table_of(board: Board) -> Table:
    """The board as a table of ready-made cells, one row a model."""
    columns = ("run", "model", *heads(board.columns), "note")
    rows = tuple(
        (row.run, row.name, *(_text(row.cells.get(column)) for column in board.columns), row.note)
        for row in merged(board).rows
    )
    return Table("Leaderboard", columns, rows)


def notes(board: Board) -> list[str]:
    """What a reader of these very figures must know: the family's size, values without an interval, the LC fit."""
    family = {(row.model, column) for row in board.rows for column, cell in row.cells.items() if cell.against}
    lines = [f"Comparisons with M_0 in this table: {len(family)}."] if family else []
    for head, column in zip(heads(board.columns), board.columns, strict=True):
        cells = [row.cells[column] for row in board.rows if column in row.cells]
        reasons = dict.fromkeys(c.method for c in cells if c.method.startswith(NO_INTERVAL) and not column.diagnostic)
        lines += [f"{head}: {reason}." for reason in reasons]
        if column.metric == "lc_win_rate" and not column.published:
            surrogate = str(json.loads(column.settings).get("length_control", "")).startswith("surrogate")
            lines += [f"{head}: {SURROGATE_BOUND}."] if surrogate else []
            few = sorted({cell.n for cell in cells if cell.n and cell.n < BOARD_ROWS})
            lines += [f"{head}: n = {', '.join(map(str, few))}; {FEW_ROWS}."] if few else []
    return lines


def as_row(one: Comparison, family: str) -> dict[str, Any]:
    """A paired test as a row of JSON."""
    of = {"task": one.column.task, "metric": one.column.metric, "settings": json.loads(one.column.settings)}
    return {"first": one.first, "second": one.second, **of, **vars(one.test), "family": family}


def family_table(family: Family) -> Table:
    """Paired tests between models as a table of ready-made cells."""
    columns = sorted({one.column for one in family.tests})
    names = dict(zip(columns, heads(columns), strict=True))
    rows = tuple(
        (
            one.first, one.second, names[one.column],
            *(show(value) for value in (one.test.difference, one.test.low, one.test.high, one.test.p, one.test.n)),
            one.test.test,
        )
        for one in family.tests
    )  # fmt: skip
    titles = ("first", "second", "column", "second - first", "low", "high", "p (Holm)", "n", "test")
    return Table(f"Paired tests: {family.name}", titles, rows)


def markdown(board: Board) -> str:
    settings = "\n".join(
        f"- {in_markdown(head)}: {in_markdown(column.settings)}"
        for head, column in zip(heads(board.columns), board.columns, strict=True)
    )
    table = table_of(board)
    head = table.markdown() if not board.made_up else _marked(table.markdown(), board.made_up)
    remarks = "".join(f"\n- {in_markdown(line)}" for line in notes(board))
    return f"{head}\n{LEGEND}\n{remarks}\n\nSettings of every column:\n\n{settings}\n"


def _marked(text: str, made_up: str) -> str:
    """The mark between the heading and what follows it."""
    first, _, rest = text.partition("\n")
    return f"{first}\n\n**{in_markdown(made_up)}**\n{rest}"


def comma(board: Board) -> str:
    """One line a cell."""
    out = io.StringIO()
    names = ("run", "model", "model_id", "iteration", "weights", "commit", "task", "metric")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow((*names, "value", "low", "high", "n", "p_against_M_0", "settings", "note", "made_up"))
    for row, column, cell in _cells(board):
        p = cell.against.p if cell.against else None
        said = (row.run, row.name, row.model, row.iteration, row.weights, row.commit, column.task, column.metric)
        writer.writerow((*said, cell.value, cell.low, cell.high, cell.n, p, column.settings, row.note, board.made_up))
    return out.getvalue()


def as_json(board: Board) -> str:
    lines = [
        {
            "run": row.run, "model": row.name, "model_id": row.model, "iteration": row.iteration,
            "weights": row.weights, "commit": row.commit, "task": column.task, "metric": column.metric,
            "settings": json.loads(column.settings), "value": cell.value,
            "low": cell.low, "high": cell.high, "n": cell.n, "interval": cell.method,
            "against_M_0": vars(cell.against) if cell.against else None, "note": row.note,
            "made_up": board.made_up,
        }
        for row, column, cell in _cells(board)
    ]  # fmt: skip
    return json.dumps(lines, indent=2, ensure_ascii=False) + "\n"


def page(board: Board) -> str:
    """One HTML page; it loads nothing."""
    names = heads(board.columns)
    head = "".join(f"<th>{html.escape(name)}</th>" for name in ("run", "model", *names, "note"))
    body = "".join(_line(row, board.columns) for row in merged(board).rows)
    settings = "".join(
        f"<li>{html.escape(name)}: <code>{html.escape(column.settings)}</code></li>"
        for name, column in zip(names, board.columns, strict=True)
    )
    mark = f'<p class="made-up"><strong>{html.escape(board.made_up)}</strong></p>' if board.made_up else ""
    remarks = "".join(f"<p>{html.escape(line)}</p>" for line in notes(board))
    curves = "".join(_curve(board, column, name) for name, column in zip(names, board.columns, strict=True))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Leaderboard</title><style>{_STYLE}</style>'
        f"<h1>Leaderboard</h1>{mark}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        f"<p>{html.escape(LEGEND)}</p>{remarks}<h2>Over iterations</h2>{curves}<h2>Settings</h2><ul>{settings}</ul>"
        f"<script>{_SORT}</script></html>\n"
    )


def _line(row: Row, columns: Sequence[Column]) -> str:
    kind = ' class="published"' if row.note else ""
    cells = "".join(_html_cell(row.cells.get(column)) for column in columns)
    commit = f' title="commit {html.escape(row.commit)}, weights {html.escape(row.weights)}"' if row.weights else ""
    names = f"<td>{html.escape(row.run)}</td><td{commit}>{html.escape(row.name)}</td>"
    return f"<tr{kind}>{names}{cells}<td>{html.escape(row.note)}</td></tr>"


def _html_cell(cell: Cell | None) -> str:
    if cell is None:
        return '<td data-v="-1">-</td>'
    return f'<td data-v="{cell.value!r}">{html.escape(_text(cell))}</td>'


def _text(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    mark = {True: " *", False: " ~", None: ""}[cell.distinct]
    span = "" if cell.low is None or cell.high is None else f" [{cell.low:.3g}, {cell.high:.3g}]"
    count = f" n={cell.n}" if cell.n else ""
    return f"{cell.value:.4g}{span}{count}{mark}"


def _cells(board: Board) -> list[tuple[Row, Column, Cell]]:
    return [(row, column, cell) for row in board.rows for column, cell in row.cells.items()]


def _curve(board: Board, column: Column, name: str) -> str:
    """A small chart: the column over iterations, a line for each run with two points or more."""
    runs: dict[str, list[tuple[int, float]]] = {}
    for row in board.rows:
        if row.iteration is not None and column in row.cells:
            runs.setdefault(row.run, []).append((row.iteration, row.cells[column].value))
    runs = {run: line for run, line in runs.items() if len(line) > 1}
    points = [point for line in runs.values() for point in line]
    if not points:
        return ""
    last, low, high = max(x for x, _ in points) or 1, min(y for _, y in points), max(y for _, y in points)
    lines = ""
    for place, (run, line) in enumerate(sorted(runs.items())):
        ends = [(20 + 200 * x / last, 110 - 80 * (y - low) / (high - low or 1)) for x, y in sorted(line)]
        at = " ".join(f"{x:.1f},{y:.1f}" for x, y in ends)
        title = f"<title>{html.escape(run)}</title>"
        lines += f'<polyline fill="none" stroke="hsl({place * 67 % 360},60%,45%)" points="{at}">{title}</polyline>'
    return (
        f'<svg width="240" height="140"><text x="20" y="15" font-size="11">{html.escape(name[:44])}</text>{lines}'
        f'<text x="20" y="130" font-size="10">M_0 ... M_{last}; {low:.3g} to {high:.3g}</text></svg>'
    )
