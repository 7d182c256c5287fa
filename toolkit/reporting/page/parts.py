"""What a page is made of: a small tree of records that the renderers walk (as_html.py, as_markdown.py).

A run's page is a `Page`; the renderers take any `Document`, of which a page is one kind.

A number stands on the page as a cell of an `Asked`, beside the SQL that gives it again; a chart draws some of them.
Texts are plain: escaping is the renderers' work.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from toolkit.diagnostics.collapse import Verdict
from toolkit.reporting.tables import Table, table
from toolkit.store.database import Store

Style = Literal["own", "aside", "other", "published", "thin"]
HOLDS = {True: "seen", False: "not seen", None: "cannot be told"}


@dataclass(frozen=True)
class Point:
    """A value, with its interval where it has one. said: the words shown when it is pointed at."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    said: str = ""


@dataclass(frozen=True)
class Line:
    """Points in the order of x. color: its place in the palette, the same in every chart of a page.

    style: "own" (the run's), "aside" (the run's, of a temporary model), "other" (a baseline's), "published", "thin"
    (one of several that another line of its color is the mean of; not in the legend).
    """

    name: str
    points: tuple[Point, ...]
    color: int = 0
    style: Style = "own"


@dataclass(frozen=True)
class Curves:
    """Lines over a whole-numbered x. band: the floor as a point with low and high for each x; lost: x of NaN values.

    name: a heading above the chart, or "". reach: values that the y axis includes, for charts of one scale.
    """

    x_name: str
    y_name: str
    lines: tuple[Line, ...]
    band: tuple[Point, ...] = ()
    zero: bool = False
    lost: tuple[float, ...] = ()
    note: str = ""
    name: str = ""
    reach: tuple[float, ...] = ()


@dataclass(frozen=True)
class Bin:
    """How many pairs, and how many pairs of two draws, lie from low to high."""

    low: float
    high: float
    count: int
    floor: int = 0


@dataclass(frozen=True)
class Histogram:
    """Bins of equal width over the whole range; most: the highest count that its axis shows. mean: above the bars."""

    name: str
    x_name: str
    bins: tuple[Bin, ...]
    most: int
    mean: Point | None = None


@dataclass(frozen=True)
class Asked:
    """A table and how it is asked for again: SQL, or, where no SQL gives it, a source in words."""

    table: Table
    sql: str = ""
    source: str = ""
    open: bool = False


@dataclass(frozen=True)
class Figure:
    """Charts with what they show and their numbers."""

    title: str
    said: str
    charts: tuple[Curves | Histogram, ...]
    asked: tuple[Asked, ...]


@dataclass(frozen=True)
class Side:
    """One answer of a pair: "chosen" or "rejected", whose it is, its score and what its judge replied."""

    side: str
    by: str
    score: str
    text: str
    replies: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Example:
    """A pair in full. place: its set and id."""

    title: str
    place: str
    prompt: str
    sides: tuple[Side, Side]


@dataclass(frozen=True)
class Section:
    """A part of the page: sentences, figures, tables, pairs in full."""

    title: str
    said: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    asked: tuple[Asked, ...] = ()
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True)
class Opening:
    """The answer at the top of a page: a word, a sentence, and below it what was looked at.

    kind: the word as a CSS class. rows: of each, its name, whether it holds, and a sentence.
    """

    kind: str
    word: str
    headline: str
    rows: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True)
class Document:
    """A whole page. facts: name and value, shown at its head. made_up: a sentence above all, or "". marks: further
    sentences that must be read first."""

    title: str
    opening: Opening
    facts: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]
    made_up: str = ""
    marks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Page:
    """A run's report. facts: name and value, shown at its head. made_up: a sentence above all, or ""."""

    run: str
    verdict: Verdict
    facts: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]
    made_up: str = ""

    @property
    def document(self) -> Document:
        """The page as the renderers take it."""
        findings = tuple((each.name, HOLDS[each.holds], each.said) for each in self.verdict.findings)
        kind = self.verdict.verdict.replace(" ", "-")
        opening = Opening(kind, self.verdict.verdict, self.verdict.headline, findings)
        return Document(f"Report of the run {self.run}", opening, self.facts, self.sections, self.made_up)


@dataclass(frozen=True)
class Scope:
    """What a page is about: the run, the runs beside it, the run's sets in the order they were made."""

    store: Store
    run: str
    others: tuple[str, ...]
    sets: tuple[Mapping[str, Any], ...]

    @property
    def runs(self) -> tuple[str, ...]:
        return (self.run, *self.others)

    @property
    def kept(self) -> list[str]:
        """The sets that trained a model which the run kept: the last of each iteration."""
        return list({row["iteration"]: row["pair_set"] for row in self.sets}.values())


@dataclass(frozen=True)
class Answer:
    """A table with the rows it was made of."""

    asked: Asked
    rows: Sequence[Mapping[str, Any]]


def ask(store: Store, title: str, sql: str) -> Answer:
    """Ask the store; what is printed beside the table is the very SQL that was asked."""
    rows = store.query(sql)
    made = table(title, rows)
    cells = tuple(tuple("NaN" if cell == "nan" else cell for cell in row) for row in made.rows)
    return Answer(Asked(replace(made, rows=cells), sql.strip()), rows)


def flat(data: Mapping[str, Any], above: str = "") -> dict[str, str]:
    """Dotted names and values as JSON, as --set takes them."""
    values: dict[str, str] = {}
    for key, value in data.items():
        if isinstance(value, Mapping) and value:
            values |= flat(value, f"{above}{key}.")
        else:
            values[above + key] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return values


def quoted(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def listed(texts: Sequence[str]) -> str:
    """Texts as the list of an IN; one that nothing is called where there are none."""
    return ", ".join(map(quoted, texts)) or "''"
