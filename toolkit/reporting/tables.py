"""A table of a report: made from a query, shown on a terminal or written as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from toolkit.safe_text import in_markdown, one_line


@dataclass(frozen=True)
class Table:
    """Title, column names and rows of ready-made cells."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self, level: int = 2) -> str:
        """A heading of this level and the rows below it."""
        head = f"{'#' * level} {in_markdown(self.title)}"
        if not self.rows:
            return f"{head}\n\nNothing.\n"
        lines = [head, "", _line(map(in_markdown, self.columns)), _line("---" for _ in self.columns)]
        return "\n".join([*lines, *(_line(map(in_markdown, row)) for row in self.rows)]) + "\n"

    def text(self) -> str:
        """Columns padded to their widest cell, for a terminal or a log."""
        rows = [tuple(map(one_line, row)) for row in (self.columns, *self.rows)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(self.columns))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([one_line(self.title), "-" * max(len(line) for line in lines), *lines])


def table(title: str, rows: Sequence[Mapping[str, Any]], limit: int = 0) -> Table:
    """A table of query rows, one column a key; texts are cut at `limit` characters if set."""
    columns = tuple(rows[0]) if rows else ()
    return Table(title, columns, tuple(tuple(show(row[column], limit) for column in columns) for row in rows))


def show(value: Any, limit: int = 0) -> str:
    """A cell: floats to four significant digits, nothing as a dash, times to the second, text in one line."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    return one_line(str(value), limit)


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"
