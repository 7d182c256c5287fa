"""The parts of the pair browser (analysis/04_pair_browser.py): filters, the table, both sides, verdicts, numbers.

Prompts, answers and judge replies come from models: each is escaped, and in the table cut to one line of plain text.
"""

from __future__ import annotations

import html
import math
from typing import Any

import marimo as mo
import pandas

from toolkit.reporting.notebooks.frames import Reader, Rows
from toolkit.reporting.notebooks.pair_browser import COLUMNS, Range
from toolkit.reporting.notebooks.panels import heading, known, sql, table, text, undiagnosed
from toolkit.reporting.notebooks.word_diff import word_diff
from toolkit.reporting.tables import show
from toolkit.safe_text import one_line

CUT = 90  # characters of a prompt in the table
_TEXT = "white-space:pre-wrap;overflow-wrap:anywhere"
_BOX = f"flex:1 1 280px;min-width:0;padding:.6em .9em;border:1px solid rgba(128,128,128,.4);border-radius:6px;{_TEXT}"


def span(label: str, limits: Range | None) -> Any:
    """A slider over a range; one that does nothing where there is no range."""
    low, high = limits or (0.0, 0.0)
    least, most = math.floor(low * 100) / 100, math.ceil(high * 100) / 100
    fixed = least >= most
    stop = least + 1 if fixed else most
    return mo.ui.range_slider(least, stop, 0.01, value=[least, stop], label=label, disabled=fixed, show_value=True)


def narrowed(slider: Any, limits: Range | None) -> Range | None:
    """What the slider leaves, None where it leaves everything."""
    low, high = slider.value
    return None if limits is None or (low <= limits[0] and high >= limits[1]) else (float(low), float(high))


def count(found: Rows, limit: int) -> Any:
    """How many pairs fit, and how many of them are listed."""
    total = 0 if found.empty else int(found.frame["found"].iloc[0])
    listed = f", the first {limit} listed" if total > limit else ""
    return mo.Html(f"<p><b>{total}</b> pairs{listed}. Choose one to read it below.</p>")


def choice(found: Rows, metric: str) -> Any:
    """The pairs as a table of which one row can be chosen, the first at the start."""
    frame = found.frame
    shown = pandas.DataFrame({"prompt": [_plain(text) for text in frame["prompt_text"]], "roles": frame["roles"]})
    if metric not in COLUMNS:
        shown[metric] = frame["measured"]
    for name in ("gap", "chosen_score", "rejected_score", "length_gap", "displaced", "dropped"):
        shown[name] = [show(known(value)) for value in frame[name]]
    shown["pair"] = frame["pair"]
    return mo.ui.table(
        shown, selection="single", initial_selection=[0] if len(shown) else None, page_size=10, show_download=False,
        show_column_summaries=False, show_data_types=False, show_search=False,
    )  # fmt: skip


def chosen_pair(rows: Any) -> str | None:
    """The id of the chosen row's pair."""
    return str(rows.value["pair"].iloc[0]) if len(rows.value) else None


def both_sides(one: Rows) -> Any:
    """Prompt, both texts side by side (one above the other on a phone), and their difference."""
    row = one.frame.iloc[0]
    sides = "".join(_side(row, side) for side in ("chosen", "rejected"))
    prompt = f"<div data-part='prompt' style='{_TEXT}'>{html.escape(str(row['prompt_text']))}</div>"
    both = f"<div style='display:flex;flex-wrap:wrap;gap:1em;margin-top:1em'>{sides}</div>"
    changed = word_diff(str(row["rejected_text"]), str(row["chosen_text"]))
    return mo.vstack(
        [
            heading(2, "Prompt"), mo.Html(prompt + both), heading(2, "From rejected to chosen"),
            text("Struck through: in the rejected alone. Green: in the chosen alone."),
            mo.Html(f"<div data-part='diff' style='{_TEXT}'>{changed}</div>"), sql(one),
        ]
    )  # fmt: skip


def verdicts(replies: Rows) -> Any:
    """The judges' own words, raw."""
    said = "".join(
        f"<details><summary>{_summary(row)}</summary><div style='{_TEXT};padding:.4em 1em'>"
        f"{html.escape(str(row['reply']))}</div></details>"
        for row in replies.frame.to_dict("records")
    )
    nothing = "<p>No judge scored these answers here.</p>"
    return mo.vstack([heading(2, "What the judges said"), mo.Html(said or nothing), sql(replies)])


def pair_numbers(numbers: Rows, trainings: Rows, store: Reader) -> Any:
    """Everything measured of the pair, and what each training did to it."""
    nothing = f"<p>{html.escape(undiagnosed(store))}</p>"
    measured = table(numbers.frame) if len(numbers.frame) else nothing
    moved = table(trainings.frame) if len(trainings.frame) else "<p>No training used this set.</p>"
    parts = [heading(2, "In training"), mo.Html(moved), sql(trainings), heading(2, "Measured"), mo.Html(measured)]
    return mo.vstack([*parts, sql(numbers)])


def _side(row: Any, side: str) -> str:
    told = {name: html.escape(show(known(row[f"{side}_{name}"]))) for name in ("score", "role", "model_name", "finish")}
    size = f"{row[f'{side}_characters']} characters, {show(known(row[f'{side}_tokens']))} tokens, end: {told['finish']}"
    return (
        f"<div data-part='{side}' style='{_BOX}'><b>{side}: {told['score']}</b> · {told['role']} answer of "
        f"{told['model_name']}<br><small>{size}</small><hr style='margin:.5em 0'>"
        f"<span data-part='{side}-text'>{html.escape(str(row[f'{side}_text']))}</span></div>"
    )


def _summary(row: dict[str, Any]) -> str:
    by = "" if row["ordered_the_pair"] else ", another judge"
    score = show(known(row["score"]))
    said = f"{row['side']}: {score} by {row['judge']} ({row['method']}, draw {row['draw']}, {row['status']}{by})"
    return html.escape(f"{said} {row['reason']}".strip())


def _plain(text: str) -> str:
    """One line for the table, in which no address is one: a table would show the picture that a prompt names."""
    return one_line(text, CUT).replace("://", ":⁄⁄")
