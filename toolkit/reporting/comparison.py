"""The report of a comparison: recipes of one store side by side, from the store alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from toolkit.provenance import Launch
from toolkit.reporting.audit_gaps import gap_table, own_judge_note
from toolkit.reporting.tables import Table, table
from toolkit.store.database import Store
from toolkit.trust.paths import check_name
from toolkit.trust.safe_files import write_files

_NOTES = """What two recipes ask for alike (M_0's answers to a prompt, a judge's verdict on one of them, a training) was
made once, by the first that asked; "shared" counts it, and "seconds" holds it there. The audit gap is by a judge that
took no part in selection (judge.audit): recipes with one audit judge share its scale. The gap by the own judge is by
the judge of each recipe: where that is the present model, gaps of different models are no common scale.
`python -m toolkit rescore` scores sets by one fixed judge.
"""


def report_comparison(store: Store, name: str, launches: Sequence[Launch], folder: Path) -> Path:
    """Write the report, show its tables, and return its path."""
    path = write_comparison(store, name, launches, folder)
    tables = _tables(store, launches)
    shown = "\n\n".join(part.text() for part in tables)
    print(f"\n{shown}\n{own_judge_note(tables[-1])}\n\nreport:  {path}\nstore:   {store.path}")
    return path


def write_comparison(store: Store, name: str, launches: Sequence[Launch], folder: Path) -> Path:
    """The report as Markdown, named as the comparison."""
    tables = _tables(store, launches)
    note = f"{own_judge_note(tables[-1])}\n"
    runs = "".join(f"- [{launch.run}]({launch.run}.md): launch {launch.id}\n" for launch in launches)
    text = "\n".join([f"# Comparison {name}\n", *(part.markdown() for part in tables), note, _NOTES, runs])
    return write_files(folder, {f"{check_name(name, 'a comparison')}.md": text})[0]


def totals(store: Store, launches: Sequence[Launch]) -> list[dict[str, Any]]:
    """A row a recipe: what it asked for, what of it others had made, and the time it took."""
    return store.named("compare_totals", launches=_ids(launches))


def _tables(store: Store, launches: Sequence[Launch]) -> list[Table]:
    sets = store.named("compare_iterations", launches=_ids(launches))
    gaps = gap_table("Pairs by iteration", store, [launch.id for launch in launches], sets)
    return [table("Side by side", totals(store, launches)), gaps]


def _ids(launches: Sequence[Launch]) -> str:
    return ",".join(launch.id for launch in launches)
