"""The gaps of a run's pair sets, the audit judge's first: it took no part in selection, so its gap can be a finding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from toolkit.evaluation.statistics import interval
from toolkit.reporting.tables import Table, table
from toolkit.store.database import Store

OWN = "gap (own judge)"
OWN_JUDGE = "The run's own judge selected these pairs, so this gap says nothing about quality."
_AUDITED = "SELECT count(*) AS n FROM step WHERE stage = 'audit' AND launch IN (SELECT unnest(?::VARCHAR[]))"
_HELD_OUT = "SELECT count(*) AS n FROM audit_gaps WHERE kind = 'held_out' AND launch IN (SELECT unnest(?::VARCHAR[]))"
_GAPS = """
SELECT l.run, a.pair_set, list(a.gap ORDER BY a.gap) AS gaps
FROM audit_pairs a JOIN launch l ON l.id = a.launch
WHERE a.kind = 'audit' AND a.launch IN (SELECT unnest(?::VARCHAR[])) GROUP BY ALL
"""


def gap_table(title: str, store: Store, launches: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Table:
    """Rows of run_iterations or compare_iterations, with the interval of each audit gap behind it.

    Columns of an audit, or of held-out draws, that none of these launches had are left out; "gap" is named as what it
    is where a judge selected the pairs.
    """
    audited = bool(store.query(_AUDITED, [list(launches)])[0]["n"])
    held_out = bool(store.query(_HELD_OUT, [list(launches)])[0]["n"])
    gaps = {(row["run"], row["pair_set"]): row["gaps"] for row in store.query(_GAPS, [list(launches)])}
    judged = any(row["gap"] is not None for row in rows)
    runs = {run for run, _ in gaps}
    return table(title, [dict(_cells(row, gaps, runs, (audited, held_out, judged))) for row in rows])


def own_judge_note(gaps: Table) -> str:
    """The sentence that belongs next to a table with the gap by the own judge; empty where there is no such gap."""
    return f"{OWN}: {OWN_JUDGE}" if OWN in gaps.columns else ""


def _cells(
    row: Mapping[str, Any],
    gaps: Mapping[tuple[str, str], Sequence[float]],
    runs: set[str],
    shown: tuple[bool, bool, bool],
) -> Iterator[tuple[str, Any]]:
    audited, held_out, judged = shown
    run = row.get("recipe") or next(iter(runs), "")  # run_iterations is of one launch
    for name, value in row.items():
        if name == "audit gap" and audited:
            found = interval(of) if (of := gaps.get((run, row["set"]))) else None
            yield from ((name, value), ("audit low", found and found.low), ("audit high", found and found.high))
        elif name == "audit pairs" and audited:
            yield name, value or 0
        elif (audited or not name.startswith("audit ")) and (held_out or name != "held-out gap"):
            yield OWN if name == "gap" and judged else name, value
