"""The report of a comparison: recipes of one store side by side, from the store alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from toolkit.provenance import Launch
from toolkit.reporting.tables import table
from toolkit.store.database import Store

_NOTES = """What two recipes ask for alike (M_0's answers to a prompt, a judge's verdict on one of them, a training) was
made once, by the first that asked; "shared" counts it, and "seconds" holds it there. Every set is scored by the judge
of its recipe: where that is the present model, gaps of different models are no common scale.
`python -m toolkit rescore` scores sets by one fixed judge.
"""


def report_comparison(store: Store, name: str, launches: Sequence[Launch], folder: Path) -> Path:
    """Write the report, show it, and return its path."""
    ids = ",".join(launch.id for launch in launches)
    totals = table("Side by side", store.named("compare_totals", launches=ids))
    sets = table("Pairs by iteration", store.named("compare_iterations", launches=ids))
    runs = "".join(f"- [{launch.run}]({launch.run}.md): launch {launch.id}\n" for launch in launches)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.md"
    parts = [f"# Comparison {name}\n", totals.markdown(), sets.markdown(), _NOTES, runs]
    path.write_text("\n".join(parts), encoding="utf-8")
    print(f"\n{totals.text()}\n\n{sets.text()}\n\nreport:  {path}\nstore:   {store.path}")
    return path
