"""A page as Markdown: the same sentences, tables and SQL as the HTML page, without its charts.

Texts of models and files stand in fences longer than any run of backticks in them; elsewhere markup is escaped.
"""

from __future__ import annotations

import re

from toolkit.reporting.page.as_html import sentence
from toolkit.reporting.page.parts import Asked, Document, Example, Figure, Page, Section, Side
from toolkit.safe_text import in_markdown, one_line


def as_markdown(page: Page | Document) -> str:
    """The whole file."""
    document = page.document if isinstance(page, Page) else page
    opening = document.opening
    rows = [f"- **{_text(name)}** ({_text(holds)}): {_text(sentence(words))}" for name, holds, words in opening.rows]
    facts = [f"- {_text(name)}: {_text(value)}" for name, value in document.facts]
    made_up = [f"**{_text(document.made_up)}**"] if document.made_up else []
    marks = ["\n".join(f"- **{_text(mark)}**" for mark in document.marks)] if document.marks else []
    head = [f"# {_text(document.title)}", *made_up, *marks, f"**{_text(opening.word)}.** {_text(opening.headline)}"]
    return "\n\n".join([*head, "\n".join(rows), "\n".join(facts), *map(_section, document.sections)]) + "\n"


def _section(part: Section) -> str:
    said = [_text(words) for words in part.said]
    figures = [_figure(figure) for figure in part.figures]
    pairs = [_example(pair) for pair in part.examples]
    tables = [_asked(one, 3) for one in part.asked]
    return "\n\n".join([f"## {_text(part.title)}", *said, *figures, *pairs, *tables])


def _figure(figure: Figure) -> str:
    return "\n\n".join([f"### {_text(figure.title)}", _text(figure.said), *(_asked(one, 4) for one in figure.asked)])


def _asked(asked: Asked, level: int) -> str:
    """The table and how it is asked for again."""
    sql = [_fenced(asked.sql, "sql")] if asked.sql else []
    source = [_text(asked.source)] if asked.source else []
    return "\n\n".join([asked.table.markdown(level).rstrip(), *sql, *source])


def _example(pair: Example) -> str:
    return "\n\n".join(
        [f"### {_text(pair.title)}", _text(pair.place), _fenced(pair.prompt), *(_side(side) for side in pair.sides)]
    )


def _side(side: Side) -> str:
    replies = [part for verdict, reply in side.replies for part in (_text(verdict), _fenced(reply))]
    head = f"**{side.side}**, score {_text(side.score)}, by the {_text(side.by)}"
    return "\n\n".join([head, _fenced(side.text), *replies])


def _text(words: str) -> str:
    """One line in which no markup is meant, emphasis neither."""
    return re.sub(r"([*_])", r"\\\1", in_markdown(words))


def _fenced(words: str, language: str = "") -> str:
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", words)), default=0))
    lines = "\n".join(one_line(line) for line in words.split("\n"))
    return f"{fence}{language}\n{lines}\n{fence}"
