"""Several recipes in one store from one TOML, and a report side by side.

    name = "compare"
    equal = "trainings"        # what must be equal, checked on the plans before anything runs
    [common]                   # fields of every recipe
    [temporal]                 # a table for each recipe, in their order, with what differs
    iterations = 2
    [short]                    # another name for a recipe with other settings
    recipe = "temporal"

Same prompts, same seeds: a part of the prompts belongs to an iteration, whatever the recipe. What two recipes ask for
alike is made once, and `--plan --hardware 2xcpu` counts it once in the whole.

Run: python -m toolkit.recipes.compare --config compare
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from toolkit.config import Recipe, override, parse, read_toml
from toolkit.console import guarded, single
from toolkit.errors import RecipeError
from toolkit.lab import Lab, Step
from toolkit.provenance import Launch, capture
from toolkit.recipes.anchored_only import anchored_only
from toolkit.recipes.future_only import future_only
from toolkit.recipes.rejection_sampling_sft import rejection_sampling_sft
from toolkit.recipes.run import RecipeFunction, announce, compare_dtype, find_config, opened
from toolkit.recipes.self_rewarding import self_rewarding
from toolkit.recipes.spin import spin
from toolkit.recipes.spin_fair import spin_fair
from toolkit.recipes.temporal import temporal
from toolkit.reporting.comparison import report_comparison, totals, write_comparison
from toolkit.reporting.cost.cost import Cost, cost_text, costs, together
from toolkit.reporting.cost.rates import Hardware, measured
from toolkit.reporting.cost.rates import hardware as device
from toolkit.reporting.json_lines import json_line
from toolkit.reporting.plan import left, once, plan_text, told
from toolkit.reporting.run_report import write_report
from toolkit.store.database import Store
from toolkit.store.serving import DEFAULT
from toolkit.trust.consent import TrustOption, check_recipe
from toolkit.trust.paths import check_name, output_folder

RECIPES: dict[str, RecipeFunction] = {
    function.__name__: function
    for function in (temporal, self_rewarding, anchored_only, future_only, rejection_sampling_sft, spin, spin_fair)
}
EQUAL = ("trainings", "answers", "prompts")
WHOLE = ""  # no recipe has this name
Plans = Mapping[str, Sequence[Step]]
Prices = Mapping[str, Sequence[Cost]]


@dataclass(frozen=True)
class Entry:
    """One recipe of a comparison, under its name in the file."""

    name: str
    function: RecipeFunction
    recipe: Recipe
    trusted: bool = False


@dataclass(frozen=True)
class Comparison:
    """A comparison: its entries in order, and the budget in which they must be equal ("" for none)."""

    name: str
    equal: str
    entries: tuple[Entry, ...]


def load_comparison(path: Path, changes: Sequence[str] = (), *, trusted: bool = False) -> Comparison:
    """The comparison in this TOML file, with `table.key=value` changes. Raises RecipeError."""
    data = read_toml(path)
    check_recipe(data, changes, path, trusted=trusted)
    for change in changes:
        override(data, change)
    name, equal, common = data.pop("name", path.stem), data.pop("equal", ""), data.pop("common", {})
    if equal not in ("", *EQUAL):
        raise RecipeError(f"equal = {equal!r}", where=path, remedy=f"one of {', '.join(EQUAL)}, or leave it out")
    if not isinstance(common, Mapping):
        raise RecipeError(f"common = {common!r}", where=path, remedy="make it a table: [common]")
    if not data:
        raise RecipeError("no recipe to compare", where=path, remedy=f"add a table, one of {', '.join(RECIPES)}")
    check_name(str(name), "a comparison", f"{path}, key 'name'", RecipeError)
    if name in data:
        remedy = "change name: both write their report into reports/ under it"
        raise RecipeError(f"the comparison and one of its recipes have the name {name!r}", where=path, remedy=remedy)
    entries = (_entry(path, table, own, common) for table, own in data.items())
    return Comparison(str(name), equal, tuple(replace(entry, trusted=trusted) for entry in entries))


def _entry(path: Path, table: str, own: Any, common: Mapping[str, Any]) -> Entry:
    known = str(own.get("recipe", table)) if isinstance(own, Mapping) else table
    if not isinstance(own, Mapping) or known not in RECIPES:
        raise RecipeError(f"{table!r} is no recipe", where=path, remedy=f"name one of {', '.join(RECIPES)}")
    check_name(table, "a recipe of a comparison", path, RecipeError)
    fields = _merged(common, {key: value for key, value in own.items() if key != "recipe"})
    return Entry(table, RECIPES[known], parse({**fields, "name": table}, where=f"{path}, table {table!r}"))


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    made = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(made.get(key), Mapping)
        made[key] = _merged(made[key], value) if both else value
    return made


def planned(entry: Entry, store: Path, foreseen: set[str] | None = None) -> list[Step]:
    """The steps that a recipe would take; nothing is loaded or written. foreseen: what the recipes before it would
    make, to which it adds its own."""
    launch = capture(entry.name, {})
    with Lab(entry.recipe, opened(store, plan=True), launch, planning=True, trusted=entry.trusted) as lab:
        lab.foreseen = set() if foreseen is None else foreseen
        entry.function(lab, entry.recipe)
        return lab.steps


def budget(entry: Entry, steps: Sequence[Step]) -> dict[str, int]:
    """What a recipe costs: trainings, answers, prompts."""
    return {
        "trainings": sum(step.stage == "train" for step in steps),
        "answers": sum(step.total for step in steps if step.stage == "generate"),
        "prompts": entry.recipe.iterations * entry.recipe.prompts.part_size,
    }


def shared(steps: Sequence[Step]) -> dict[str, int]:
    """What of a recipe's plan the recipes before it would have made."""
    stages = {"trainings": ("train",), "answers": ("generate",), "verdicts": ("judge", "audit")}
    return {
        what: sum(step.stats.get("shared", 0) for step in steps if step.stage in among)
        for what, among in stages.items()
    }


def priced(comparison: Comparison, plans: Plans, machine: Hardware, store: Path) -> Prices:
    """What each recipe costs alone, and the WHOLE, where what an earlier one makes is no cost of a later one."""
    with opened(store, plan=True) as known:
        rows = measured(known)
    alone = {entry.name: costs(entry.recipe, plans[entry.name], machine, rows) for entry in comparison.entries}
    rest = (costs(entry.recipe, once(plans[entry.name]), machine, rows) for entry in comparison.entries)
    return {**alone, WHOLE: together([cost for found in rest for cost in found])}


def check_equal(comparison: Comparison, budgets: Mapping[str, Mapping[str, int]]) -> None:
    """Raise RecipeError where the recipes are not equal in what the comparison names."""
    counts = {name: found[comparison.equal] for name, found in budgets.items()} if comparison.equal else {}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise RecipeError(
            f"the recipes are not equal in {comparison.equal}: {told}",
            remedy="change iterations, prompts.part_size or answers.k in their tables, or leave out `equal`",
        )


def compare(comparison: Comparison, store: Path, as_json: bool = False) -> Path:
    """Run every recipe that is not finished, and write the report; shown as tables, or as lines of JSON."""
    reports = output_folder(store.parent, "reports")
    with Store(store) as kept:  # from first to last: a reader that came between two recipes would lock out the next
        launches = [_run(entry, store, as_json) for entry in comparison.entries]
        write = write_comparison if as_json else report_comparison
        report = write(kept, comparison.name, launches, reports)
        for row in totals(kept, launches) if as_json else ():
            print(json_line({"comparison": comparison.name, **row}))
        return report


def _run(entry: Entry, store: Path, as_json: bool) -> Launch:
    if not as_json:
        print(f"== {entry.name}", flush=True)
    launch = capture(entry.name, entry.recipe.resolved())
    announce(entry.recipe)
    with Lab(entry.recipe, Store(store), launch, trusted=entry.trusted) as lab:
        compare_dtype(lab)
        entry.function(lab, entry.recipe)
        write_report(lab.store, lab.launch, output_folder(lab.folder, "reports"))
    if as_json:
        _print_steps(entry.name, lab.steps)
    return launch


def main(
    config: Annotated[Path, typer.Option(help="Comparison file, or the name of a shipped one.")] = Path("compare"),
    store: Annotated[Path, typer.Option(help="The DuckDB file; checkpoints and reports lie beside it.")] = DEFAULT,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Any field: common.answers.k=4.")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Print every step with its cost and stop.")] = False,
    hardware: Annotated[str, typer.Option(help="With --plan: hours and disk on this, as 8xH100 or 2xcpu.")] = "",
    trust: TrustOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a step, instead of tables.")] = False,
) -> None:
    """Several recipes in one store, and a report side by side."""
    how = (plan, hardware, as_json, trust)
    raise typer.Exit(guarded(lambda: _compare(find_config(config), store, set_ or (), how)))


def _compare(config: Path, store: Path, changes: Sequence[str], how: tuple[bool, str, bool, bool]) -> None:
    plan, wanted, as_json, trusted = how
    if wanted and not plan:
        raise RecipeError("--hardware tells the cost of a plan", remedy="add --plan, or leave --hardware out")
    machine = device(wanted) if wanted else None
    comparison, foreseen = load_comparison(config, changes, trusted=trusted), set[str]()
    plans = {entry.name: planned(entry, store, foreseen) for entry in comparison.entries}
    check_equal(comparison, {entry.name: budget(entry, plans[entry.name]) for entry in comparison.entries})
    if not plan:
        compare(comparison, store, as_json)
        return
    prices = priced(comparison, plans, machine, store) if machine else {}
    if as_json:
        _print_lines(comparison, plans, prices, wanted)
    else:
        _print_tables(comparison, plans, prices, machine)


def _print_lines(comparison: Comparison, plans: Plans, prices: Prices, machine: str) -> None:
    for name, steps in plans.items():
        _print_steps(name, steps)
        for cost in prices.get(name, ()):
            print(json_line({"run": name, "hardware": machine, **vars(cost)}))
    for cost in prices.get(WHOLE, ()):
        print(json_line({"comparison": comparison.name, "hardware": machine, **vars(cost)}))


def _print_steps(name: str, steps: Sequence[Step]) -> None:
    for step in steps:
        print(json_line({"run": name, **vars(step)}), flush=True)


def _print_tables(comparison: Comparison, plans: Plans, prices: Prices, machine: Hardware | None) -> None:
    for entry in comparison.entries:
        steps = plans[entry.name]
        print(f"== {entry.name}: {_counts(budget(entry, steps))}\n{plan_text(steps)}")
        if any(shared(steps).values()):
            print(f"of it the recipes above make: {_counts(shared(steps))}")
        print(f"{cost_text(prices[entry.name], machine)}\n" if machine else "")
    todo = left([step for steps in plans.values() for step in once(steps)])
    print(f"== {comparison.name}: what recipes share counts once\nto do: {told(todo)}")
    if machine:
        print(cost_text(prices[WHOLE], machine))


def _counts(found: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in found.items())


if __name__ == "__main__":
    single(main, "python -m toolkit.recipes.compare --config compare --plan")
