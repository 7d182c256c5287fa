"""Several recipes in one store from one TOML, and a report side by side; with seeds, a study.

comparison.py has the file's form. What two runs ask for alike is made once, and `--plan --hardware 2xcpu` counts it
once in the whole. A study goes seed by seed: when all arms of a seed have finished and were measured, its summary is
written to studies/NAME/ next to the store, and the seed is not begun again. `toolkit study FOLDER` makes the report of
all summaries, of one machine or of several.

Run: python -m toolkit.recipes.compare --config compare
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from toolkit.console import guarded, single
from toolkit.errors import RecipeError, StoreError, ToolkitError
from toolkit.lab import Lab, Step
from toolkit.provenance import Launch, capture
from toolkit.recipes.comparison import Comparison, Entry, load_comparison, parse_seeds
from toolkit.recipes.comparison_checks import check_study
from toolkit.recipes.comparison_plan import budget, check_equal, plan_all, print_plan
from toolkit.recipes.run import announce, compare_dtype, find_config
from toolkit.reporting.comparison import report_comparison, totals, write_comparison
from toolkit.reporting.cost.rates import hardware as device
from toolkit.reporting.json_lines import json_line
from toolkit.reporting.run_report import write_report
from toolkit.store.database import Store
from toolkit.store.serving import DEFAULT
from toolkit.study.measure import measure_arm
from toolkit.study.page import report_lines, write_study
from toolkit.study.results import results
from toolkit.study.runs import changed_declarations, declare, finished, summarize
from toolkit.study.summary import Value, read_summaries, write_summary
from toolkit.trust.consent import TrustOption
from toolkit.trust.paths import output_folder


def run_comparison(comparison: Comparison, store: Path, as_json: bool = False) -> Path:
    """Run every recipe that is not finished, and write the report; shown as tables, or as lines of JSON."""
    reports = output_folder(store.parent, "reports")
    with Store(store) as held:  # from first to last: a reader that came between two recipes would lock out the next
        if comparison.declaration:
            return _study(comparison, held, store, reports, as_json)
        launches = [_run(entry, store, as_json)[0] for entry in comparison.entries]
        write = write_comparison if as_json else report_comparison
        report = write(held, comparison.name, launches, reports)
        for row in totals(held, launches) if as_json else ():
            print(json_line({"comparison": comparison.name, **row}))
        return report


def _study(comparison: Comparison, held: Store, store: Path, reports: Path, as_json: bool) -> Path:
    """Every seed that has no summary yet, then the report of all that have one; its path."""
    declaration = comparison.declaration
    assert declaration is not None
    failures: list[ToolkitError] = []
    folder = output_folder(store.parent, f"studies/{comparison.name}")
    for line in changed_declarations(held, declaration):
        print(line, file=sys.stderr, flush=True)
    for seed, condition, entries in comparison.units():
        assert seed is not None
        name = f"seed {seed}{f' under {condition}' if condition else ''}"
        recipes = {entry.arm: entry.resolved() for entry in entries}
        if finished(folder, condition, seed, recipes):
            continue
        try:
            values = [value for entry in entries for value in _run(entry, store, as_json, comparison)[1]]
        except StoreError:
            raise  # no other seed could be stored either
        except ToolkitError as error:
            print(f"{name} failed: {error}", file=sys.stderr, flush=True)
            failures.append(error)
            continue
        path = write_summary(summarize(held, declaration, condition, seed, recipes, values), folder)
        print(f"{name}: {path}", file=sys.stderr, flush=True)
    if failures and not any(folder.glob("*seed-*.json")):
        raise failures[0]
    summaries = read_summaries([folder])
    paths = write_study(summaries, reports, declaration)
    if not as_json:
        print("", *report_lines(results(summaries, declaration), paths), sep="\n")
    if failures:
        raise failures[0]
    return paths[0]


def _run(entry: Entry, store: Path, as_json: bool, comparison: Comparison | None = None) -> tuple[Launch, list[Value]]:
    """One arm; of a study with the values of every model that it kept."""
    if not as_json:
        print(f"== {entry.name}", flush=True)
    launch = capture(entry.name, entry.recipe.resolved())
    announce(entry.recipe)
    with Lab(entry.recipe, Store(store), launch, trusted=entry.trusted) as lab:
        if comparison and comparison.declaration and entry.seed is not None:
            declare(lab, comparison.declaration, entry.condition, entry.seed, entry.arm)
        compare_dtype(lab)
        entry.function(lab, entry.recipe)
        write_report(lab.store, lab.launch, output_folder(lab.folder, "reports"))
        values = measure_arm(lab, entry.arm) if comparison else []
    if as_json:
        print_steps(entry.name, lab.steps)
    return lab.launch, values


def print_steps(name: str, steps: Sequence[Step]) -> None:
    """Every step as a line of JSON."""
    for step in steps:
        print(json_line({"run": name, **vars(step)}), flush=True)


def compare(
    config: Annotated[Path, typer.Option(help="Comparison file, or the name of a shipped one.")] = Path("compare"),
    store: Annotated[Path, typer.Option(help="The DuckDB file; checkpoints and reports lie beside it.")] = DEFAULT,
    seeds: Annotated[str, typer.Option(help="Which seeds of a study run here: 3, 1,2,5 or 1-4. All by default.")] = "",
    condition: Annotated[
        list[str] | None, typer.Option(help="Which condition of a study runs here; may be repeated. All by default.")
    ] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Any field: common.answers.k=4.")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Print every step with its cost and stop.")] = False,
    hardware: Annotated[str, typer.Option(help="With --plan: hours and disk on this, as 8xH100 or 2xcpu.")] = "",
    trust: TrustOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a step, instead of tables.")] = False,
) -> None:
    """Several recipes in one store, and a report side by side; with seeds, a study: compare --config study --plan"""

    def action() -> None:
        if hardware and not plan:
            raise RecipeError("--hardware gives the cost of a plan", remedy="add --plan, or leave --hardware out")
        machine, chosen = device(hardware) if hardware else None, parse_seeds(seeds)
        path = find_config(config)
        comparison = load_comparison(path, set_ or (), seeds=chosen, conditions=condition or (), trusted=trust)
        check_study(comparison, path)
        plans = plan_all(comparison, store)
        check_equal(comparison, {entry.name: budget(entry, plans[entry.name]) for entry in comparison.entries})
        if plan:
            print_plan(comparison, plans, machine, store, hardware if as_json else None)
        else:
            run_comparison(comparison, store, as_json)

    raise typer.Exit(guarded(action))


if __name__ == "__main__":
    single(compare, "python -m toolkit.recipes.compare --config compare --plan")
