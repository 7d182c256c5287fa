"""The plan of a comparison: what each run would make, what it shares with those before it, costs, and a study's power.

Nothing is loaded or written. A study's plan is one table, a row for each arm and condition over its seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from toolkit.errors import RecipeError
from toolkit.lab import Lab, Step
from toolkit.provenance import capture
from toolkit.recipes.comparison import Comparison, Entry
from toolkit.recipes.run import opened
from toolkit.reporting.cost.cost import Cost, cost_text, costs, together
from toolkit.reporting.cost.rates import Hardware, measured
from toolkit.reporting.json_lines import json_line
from toolkit.reporting.plan import left, once, plan_text, told
from toolkit.reporting.tables import table
from toolkit.study.declaration import Declaration
from toolkit.study.power import power_text
from toolkit.study.runs import finished

WHOLE = ""  # no recipe has this name
Plans = Mapping[str, Sequence[Step]]
Prices = Mapping[str, Sequence[Cost]]
Budget = Mapping[str, int | str]


def planned(entry: Entry, store: Path, ids: set[str] | None = None) -> list[Step]:
    """The steps that a recipe would take. ids: of what the recipes before it would make; it adds its own."""
    launch = capture(entry.name, {})
    with Lab(entry.recipe, opened(store, plan=True), launch, planning=True, trusted=entry.trusted) as lab:
        lab.foreseen = set() if ids is None else ids
        entry.function(lab, entry.recipe)
        return lab.steps


def plan_all(comparison: Comparison, store: Path) -> dict[str, list[Step]]:
    """The steps of every entry, by its name.

    Of a study's seeds that nothing was stored for, the first is planned and the others are as long: a plan computes the
    id of every request. A finished seed has nothing left to do.
    """
    begun, finished_seeds = _begun(comparison, store), _finished(comparison, store)
    ids = set[str]()
    fresh: dict[tuple[str, str], list[Step]] = {}
    plans: dict[str, list[Step]] = {}
    for entry in comparison.entries:
        key = (entry.condition, entry.arm)
        done, unbegun = (entry.condition, entry.seed) in finished_seeds, entry.seed not in begun
        steps = fresh[key] if key in fresh and (done or unbegun) else planned(entry, store, ids)
        if unbegun and not done and entry.seed is not None:
            fresh[key] = steps
        plans[entry.name] = [_done(step) for step in steps] if done else steps
    return plans


def _done(step: Step) -> Step:
    """The step as a finished seed has it: nothing left to do."""
    stats = {name: value for name, value in step.stats.items() if name != "shared"}
    return replace(step, cached=step.total, new_tokens=0, stats=stats)


def _begun(comparison: Comparison, store: Path) -> set[int | None]:
    """The seeds for which the store has a launch."""
    if not store.exists():
        return set()
    with opened(store, plan=True) as opened_store:
        runs = {row["run"] for row in opened_store.query("SELECT DISTINCT run FROM launch")}
    return {entry.seed for entry in comparison.entries if entry.name in runs}


def _finished(comparison: Comparison, store: Path) -> set[tuple[str, int | None]]:
    """Condition and seed of every unit whose summary is there."""
    folder = store.parent / "studies" / comparison.name
    return {
        (condition, seed)
        for seed, condition, entries in comparison.units()
        if seed is not None and finished(folder, condition, seed, {entry.arm: entry.resolved() for entry in entries})
    }


def budget(entry: Entry, steps: Sequence[Step]) -> dict[str, int | str]:
    """What a recipe costs: trainings, answers, prompts and candidates.

    candidates: the most answers to a prompt that each side of a pair is picked from, as "chosen/rejected"; for SFT
    "K/-".
    """
    picked = [(step.stats["chosen_from"], step.stats["rejected_from"]) for step in steps if step.stage == "pair"]
    sides = [max(counts) for counts in zip(*picked, strict=True)]
    return {
        "trainings": sum(step.stage == "train" for step in steps),
        "answers": sum(step.total for step in steps if step.stage == "generate"),
        "prompts": entry.recipe.iterations * entry.recipe.prompts.part_size,
        "candidates": "/".join(map(str, sides)) or f"{entry.recipe.answers.k}/-",
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
    with opened(store, plan=True) as opened_store:
        rows = measured(opened_store)
    alone = {entry.name: costs(entry.recipe, plans[entry.name], machine, rows) for entry in comparison.entries}
    rest = (costs(entry.recipe, once(plans[entry.name]), machine, rows) for entry in comparison.entries)
    return {**alone, WHOLE: together([cost for lines in rest for cost in lines])}


def check_equal(comparison: Comparison, budgets: Mapping[str, Budget]) -> None:
    """Raise RecipeError where arms are not equal in what the comparison, or the declared test, names."""
    every = {entry.name: entry.arm or entry.name for entry in comparison.entries}
    _check_equal(comparison.equal, every, budgets, "the recipes")
    if declaration := comparison.declaration:
        arms = (declaration.treatment, declaration.control)
        tested = {name: arm for name, arm in every.items() if arm in arms}
        _check_equal(declaration.equal, tested, budgets, "treatment and control")


def _check_equal(equal: Sequence[str], arms: Mapping[str, str], budgets: Mapping[str, Budget], who: str) -> None:
    for what in equal:
        counts = {arms[name]: budgets[name][what] for name in arms}
        if len({budgets[name][what] for name in arms}) > 1:
            listing = ", ".join(f"{arm} {count}" for arm, count in counts.items())
            raise RecipeError(
                f"{who} are not equal in {what}: {listing}",
                remedy="change iterations, prompts.part_size or answers.k in their tables, or leave out `equal`",
            )


def print_plan(
    comparison: Comparison, plans: Plans, machine: Hardware | None, store: Path, json_machine: str | None
) -> None:
    """The plan as tables; as lines of JSON where json_machine is a text (the --hardware of the command, or "")."""
    prices = priced(comparison, plans, machine, store) if machine else {}
    if json_machine is not None:
        _print_lines(comparison, plans, prices, json_machine)
    elif comparison.declaration:
        _print_study(comparison, comparison.declaration, plans, prices, machine)
    else:
        _print_tables(comparison, plans, prices, machine)


def _print_lines(comparison: Comparison, plans: Plans, prices: Prices, machine: str) -> None:
    for name, steps in plans.items():
        for step in steps:
            print(json_line({"run": name, **vars(step)}), flush=True)
        for cost in prices.get(name, ()):
            print(json_line({"run": name, "hardware": machine, **vars(cost)}))
    for cost in prices.get(WHOLE, ()):
        print(json_line({"comparison": comparison.name, "hardware": machine, **vars(cost)}))


def _print_tables(comparison: Comparison, plans: Plans, prices: Prices, machine: Hardware | None) -> None:
    for entry in comparison.entries:
        steps = plans[entry.name]
        print(f"== {entry.name}: {_counts(budget(entry, steps))}\n{plan_text(steps)}")
        if any(shared(steps).values()):
            print(f"of it the recipes above make: {_counts(shared(steps))}")
        print(f"{cost_text(prices[entry.name], machine)}\n" if machine else "")
    _print_whole(comparison, plans, prices, machine)


def _print_study(
    comparison: Comparison, declaration: Declaration, plans: Plans, prices: Prices, machine: Hardware | None
) -> None:
    seeds = len({entry.seed for entry in comparison.entries})
    print(table(f"{comparison.name}: arms over {seeds} seeds", _study_rows(comparison, plans, prices)).text())
    _print_whole(comparison, plans, prices, machine)
    print(f"\n{power_text(declaration)}")


def _study_rows(comparison: Comparison, plans: Plans, prices: Prices) -> list[dict[str, Any]]:
    """A row for each condition and arm: one seed's budget, and what all its seeds have left to do."""
    rows = []
    for condition, arm in dict.fromkeys((entry.condition, entry.arm) for entry in comparison.entries):
        entries = [entry for entry in comparison.entries if (entry.condition, entry.arm) == (condition, arm)]
        first = budget(entries[0], plans[entries[0].name])
        todo = [step for entry in entries for step in once(plans[entry.name])]
        row: dict[str, Any] = {"condition": condition} if condition else {}
        row |= {"arm": arm, "seeds": len(entries), **{f"{what} a seed": count for what, count in first.items()}}
        row |= {
            f"shared {what}": sum(shared(plans[e.name])[what] for e in entries) for what in ("answers", "trainings")
        }
        row |= {f"to do: {what.replace('_', ' ')}": count for what, count in left(todo).items()}
        if prices:
            seconds = sum(cost.seconds for entry in entries for cost in prices[entry.name])
            row |= {"hours alone": round(seconds / 3600, 2)}
        rows.append(row)
    return rows


def _print_whole(comparison: Comparison, plans: Plans, prices: Prices, machine: Hardware | None) -> None:
    todo = left([step for steps in plans.values() for step in once(steps)])
    print(f"== {comparison.name}: what recipes share counts once\nto do: {told(todo)}")
    if machine:
        print(cost_text(prices[WHOLE], machine))


def _counts(counts: Mapping[str, int | str]) -> str:
    return ", ".join(
        f"{count:,} {what}" if isinstance(count, int) else f"{what} {count}" for what, count in counts.items()
    )
