"""The report of a study as one page (HTML, Markdown, JSON) and all of its numbers as a CSV file.

It leads with the answer: the difference with its interval and number of seeds, or that none can be told. What must be
read first, such as missing seeds or changed declarations, stands above. The JSON file holds the same tables as text,
and the endpoints as numbers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from toolkit.reporting.made_up import MADE_UP
from toolkit.reporting.page.as_html import as_html
from toolkit.reporting.page.as_markdown import as_markdown
from toolkit.reporting.page.parts import Asked, Document, Opening
from toolkit.reporting.tables import Table, show
from toolkit.study.claim import result_sentence
from toolkit.study.declaration import Declaration
from toolkit.study.differences import EndpointResult
from toolkit.study.marks import listed
from toolkit.study.results import StudyResults, results
from toolkit.study.sections import (
    Scope,
    cost_section,
    curve_section,
    endpoint_section,
    guard_section,
    source_section,
)
from toolkit.study.summary import Summary
from toolkit.study.values import as_csv, file_name, opened, value_rows
from toolkit.trust.paths import file_stem
from toolkit.trust.safe_files import write_files

SUFFIXES = (".html", ".md", ".json")


def write_study(summaries: Sequence[Summary], folder: Path, present: Declaration | None = None) -> list[Path]:
    """Write NAME.html, NAME.md, NAME.json and NAME-values.csv into the folder; their paths in this order.

    present: the declaration as the study's file has it now (results.py). Raises InputError where the
    summaries are of no one study (results.py), and OutputError where the folder cannot be written.
    """
    computed = results(summaries, present)
    document = study_document(computed)
    texts = (
        as_html(document),
        as_markdown(document),
        json.dumps(_as_json(computed, document), indent=1, allow_nan=False) + "\n",
        as_csv(value_rows(computed.summaries)),
    )
    names = [path.name for path in study_paths(computed.declaration.study, folder)]
    return write_files(folder, dict(zip(names, texts, strict=True)))


def report_lines(computed: StudyResults, paths: Sequence[Path]) -> list[str]:
    """The answer with its reasons, the marks, the endpoints and what was written, for a terminal."""
    claim = computed.claim
    return [
        f"{claim.word}: {claim.sentence}",
        *(f"because: {reason}" for reason in claim.reasons),
        *(f"note: {mark}" for mark in computed.marks),
        *(endpoint_table(computed).text().split("\n") if computed.endpoints else []),
        *(f"written: {path}" for path in paths),
    ]


def study_paths(study: str, folder: Path) -> list[Path]:
    """Where `write_study` writes."""
    return [*(folder / f"{file_stem(study)}{suffix}" for suffix in SUFFIXES), folder / file_name(study)]


def study_document(computed: StudyResults) -> Document:
    """The page of these results."""
    declaration = computed.declaration
    rows = value_rows(computed.summaries)
    with opened(declaration.study, rows) as store:
        scope = Scope(computed, rows, store)
        parts = (endpoint_section, curve_section, guard_section, cost_section, source_section)
        sections = tuple(part(scope) for part in parts)
    ruled = [condition for condition in (*declaration.claim, declaration.negative) if condition in computed.conditions]
    relevant = ruled if declaration.claim else declaration.conditions
    opening = Opening(
        computed.claim.word.replace(" ", "-"),
        computed.claim.word,
        computed.claim.sentence,
        tuple(
            (_short_name(result), f"{result.seeds} seeds", result_sentence(declaration, result))
            for result in computed.endpoints
            if result.condition in relevant
        ),
    )
    made_up = next((mark for mark in computed.marks if mark.startswith(MADE_UP)), "")
    marks = tuple(mark for mark in computed.marks if mark != made_up)
    return Document(f"Report of the study {declaration.study}", opening, _facts(computed), sections, made_up, marks)


def _short_name(result: EndpointResult) -> str:
    return f"{result.endpoint}, {result.condition}" if result.condition else result.endpoint


def endpoint_table(computed: StudyResults) -> Table:
    """The endpoints for a terminal, a row an endpoint and condition."""
    columns = ("endpoint", "condition", "seeds", "mean", "low", "high", "p Holm", "detectable")
    rows = tuple(
        (
            result.endpoint, result.condition, str(result.seeds),
            *map(show, (result.mean, result.low, result.high, result.p_holm, result.detectable)),
        )
        for result in computed.endpoints
    )  # fmt: skip
    declaration = computed.declaration
    return Table(f"Endpoints: {declaration.treatment} minus {declaration.control}", columns, rows)


def _facts(computed: StudyResults) -> tuple[tuple[str, str], ...]:
    declaration = computed.declaration
    conditions = [condition or "no other" for condition in computed.conditions]
    finished = len(computed.summaries)
    return (
        ("treatment", declaration.treatment or "none"),
        ("control", declaration.control or "none"),
        ("arms", ", ".join(declaration.arms)),
        ("conditions", ", ".join(conditions)),
        ("negative control", declaration.negative or "none"),
        ("seeds", listed(computed.seeds)),
        ("finished", f"{finished} of {len(computed.seeds) * len(conditions)} seeds and conditions"),
        ("equal between arms", ", ".join(declaration.equal) or "nothing"),
    )


def _as_json(computed: StudyResults, document: Document) -> dict[str, Any]:
    tables = [
        {"section": part.title, **_table(table)}
        for part in document.sections
        for table in (*part.asked, *(table for figure in part.figures for table in figure.asked))
    ]
    return {
        "study": computed.declaration.study,
        "answer": computed.claim.sentence,
        "claim": computed.claim.word,
        "reasons": list(computed.claim.reasons),
        "marks": list(computed.marks),
        "seeds": list(computed.seeds),
        "declaration": computed.declaration.as_json(),
        "digest": computed.declaration.digest,
        "endpoints": [
            {**asdict(result), "seeds": result.seeds, "complete": result.complete} for result in computed.endpoints
        ],
        "tables": tables,
    }


def _table(table: Asked) -> dict[str, Any]:
    rows = [list(row) for row in table.table.rows]
    return {
        "title": table.table.title, "columns": list(table.table.columns), "rows": rows, "sql": table.sql,
        "source": table.source,
    }  # fmt: skip
