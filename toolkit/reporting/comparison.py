"""The report of a comparison: recipes of one store side by side, from the store alone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from toolkit.evaluation.statistics import holm, interval_of_differences, paired
from toolkit.provenance import Launch
from toolkit.reporting.audit_gaps import gap_table, own_judge_note
from toolkit.reporting.made_up import made_up
from toolkit.reporting.tables import Table, table
from toolkit.safe_text import in_markdown
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
    shown = "\n\n".join([*_marks(store, launches), *(part.text() for part in tables)])
    print(f"\n{shown}\n{own_judge_note(tables[1])}\n\nreport:  {path}\nstore:   {store.path}")
    return path


def write_comparison(store: Store, name: str, launches: Sequence[Launch], folder: Path) -> Path:
    """The report as Markdown, named as the comparison."""
    tables = _tables(store, launches)
    note = f"{own_judge_note(tables[1])}\n"
    runs = "".join(f"- [{launch.run}]({launch.run}.md): launch {launch.id}\n" for launch in launches)
    marks = [f"**{in_markdown(mark)}**\n" for mark in _marks(store, launches)]
    text = "\n".join([f"# Comparison {name}\n", *marks, *(part.markdown() for part in tables), note, _NOTES, runs])
    return write_files(folder, {f"{check_name(name, 'a comparison')}.md": text})[0]


def totals(store: Store, launches: Sequence[Launch]) -> list[dict[str, Any]]:
    """A row a recipe: what it asked for, what of it others had made, and the time it took."""
    return store.named("compare_totals", launches=_ids(launches))


def _tables(store: Store, launches: Sequence[Launch]) -> list[Table]:
    sets = store.named("compare_iterations", launches=_ids(launches))
    by_judge, tests = gaps(store, launches)
    return [
        table("Side by side", totals(store, launches)),
        gap_table("Pairs by iteration", store, [launch.id for launch in launches], sets),
        table("Gaps by judge, prompts without a pair for a tie as 0, with 95 % intervals", by_judge),
        table(f"Recipes against each other: {family(len(tests))}", tests),
    ]


def family(count: int) -> str:
    """The name of the family that the p-values of `gaps` are corrected for."""
    return f"gaps of the same prompts by one judge at equal iteration, {count} paired tests, p corrected (Holm)"


def gaps(store: Store, launches: Sequence[Launch]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Gaps of each iteration's last set by every judge, and the paired tests between recipes that share one.

    unequal: pairs whose sides are means of unequal numbers of readable verdicts.
    """
    ways: dict[tuple[Any, ...], dict[str, dict[str, float]]] = {}
    unequal: dict[tuple[Any, ...], int] = {}
    for row in store.named("compare_gaps", launches=_ids(launches)):
        key = tuple(row[name] for name in ("iteration", "judge", "judge_id", "method", "rubric", "sampling"))
        ways.setdefault(key, {}).setdefault(row["recipe"], {})[row["prompt"]] = row["gap"]
        unequal[*key, row["recipe"]] = unequal.get((*key, row["recipe"]), 0) + row["unequal"]
    by_judge, tests, p_values = [], [], []
    for key, recipes in ways.items():
        head = {"iteration": key[0], "judge": f"{key[1]}/{key[3]}", "judge id": key[2][:6]}
        for recipe, by_prompt in recipes.items():
            span = interval_of_differences(list(by_prompt.values()))
            ends = {"low": span.low, "high": span.high, "prompts": span.n, "unequal": unequal[*key, recipe]}
            by_judge.append({**head, "recipe": recipe, "gap": span.value, **ends})
        for first, second in combinations(recipes, 2):
            if not recipes[first].keys() & recipes[second].keys():
                continue
            test = paired(recipes[first], recipes[second])
            p_values.append(test.p)
            names = {"first": first, "second": second, "test": test.test}
            ends = {"second - first": test.difference, "low": test.low, "high": test.high, "prompts": test.n}
            tests.append({**head, **names, **ends})
    corrected = zip(tests, holm(p_values), strict=True)
    return sorted(by_judge, key=lambda row: row["iteration"]), [row | {"p (Holm)": p} for row, p in corrected]


def _marks(store: Store, launches: Sequence[Launch]) -> list[str]:
    """That numbers are made up, where they are."""
    mark = made_up(store, [launch.run for launch in launches])
    return [mark] if mark else []


def _ids(launches: Sequence[Launch]) -> str:
    return ",".join(launch.id for launch in launches)
