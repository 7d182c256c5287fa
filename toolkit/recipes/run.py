"""Runs a recipe from the command line: options, plan, the run itself, and the table at its end.

    python -m toolkit.recipes.temporal --iters 2 --set answers.k=4
    python -m toolkit.recipes.temporal --config recipes/temporal.toml --plan
    python -m toolkit.recipes.temporal --plan --hardware 8xH100 --model llama-8b

Killed at any point, the same command goes on where it stopped.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from toolkit.config import Recipe, load
from toolkit.console import guarded, single
from toolkit.errors import RecipeError
from toolkit.lab import Lab
from toolkit.precision import summary, warnings
from toolkit.provenance import capture
from toolkit.records import Model
from toolkit.reporting.cost.cost import Cost, cost_text, costs
from toolkit.reporting.cost.rates import Hardware, hardware, measured
from toolkit.reporting.json_lines import json_line
from toolkit.reporting.plan import launch_text, plan_text
from toolkit.reporting.run_report import report_run, write_report
from toolkit.store.database import Store
from toolkit.store.serving import DEFAULT
from toolkit.training.settings import check
from toolkit.trust.consent import TrustOption
from toolkit.trust.paths import check_name, output_folder

RecipeFunction = Callable[[Lab, Recipe], Model]
SHIPPED = (Path(__file__).parents[2] / "recipes", Path(__file__).parents[1] / "_recipes")

# The dtypes that this run was trained in. Launches that did not record one used bfloat16.
_EARLIER = """
SELECT DISTINCT coalesce(l.hardware->'dtype'->>'trainer', 'bfloat16') AS dtype
FROM training t JOIN launch l ON l.id = t.launch WHERE l.run = ? ORDER BY dtype
"""


@dataclass(frozen=True)
class Options:
    """What the command line said. `changes` are --set lines, the named options before them."""

    config: Path | None
    run: str
    store: Path
    changes: tuple[str, ...]
    plan: bool
    as_json: bool = False
    hardware: str = ""
    trusted: bool = False


def main(recipe: RecipeFunction) -> None:
    """The command line of one recipe function."""

    def command(
        config: Annotated[Path | None, typer.Option(help="Recipe file, or the name of a shipped one.")] = None,
        model: Annotated[str, typer.Option(help="M_0: the embedded model's name, a directory or a hub id.")] = "",
        iters: Annotated[int | None, typer.Option(help="How many iterations.", min=1)] = None,
        run: Annotated[str, typer.Option(help="Name of the run, for reports.")] = "",
        store: Annotated[Path, typer.Option(help="The DuckDB file; checkpoints and reports lie beside it.")] = DEFAULT,
        set_: Annotated[list[str] | None, typer.Option("--set", help="Any recipe field: key.subkey=value.")] = None,
        plan: Annotated[bool, typer.Option("--plan", help="Print every step with its cost and stop.")] = False,
        hardware: Annotated[str, typer.Option(help="With --plan: hours and disk on this, as 8xH100 or 2xcpu.")] = "",
        trust: TrustOption = False,
        as_json: Annotated[bool, typer.Option("--json", help="One JSON object a step, instead of tables.")] = False,
    ) -> None:
        named = [f"model={model}"] if model else []
        named += [f"iterations={iters}"] if iters else []
        options = Options(config, run, store, (*named, *(set_ or ())), plan, as_json, hardware, trust)
        raise typer.Exit(guarded(lambda: execute(recipe, options)))

    told = sys.modules["__main__"].__doc__ or recipe.__name__
    command.__doc__ = told.split("\n\n")[0]
    single(command, told.rpartition("Run: ")[2].partition("\n")[0] if "Run: " in told else "")


def execute(recipe: RecipeFunction, options: Options) -> None:
    """One launch: plan or run, then the report."""
    if options.hardware and not options.plan:
        raise RecipeError("--hardware tells the cost of a plan", remedy="add --plan, or leave --hardware out")
    settings = load(find_config(options.config), options.changes, trusted=options.trusted)
    where = "--run" if options.run else f"{options.config or 'quick'}, key 'name'"
    run = check_name(options.run or settings.name, "a run", where, RecipeError)
    reports = output_folder(options.store.parent, "reports")
    launch = capture(run, settings.resolved())
    announce(settings, planning=options.plan)
    store = opened(options.store, options.plan)
    with Lab(settings, store, launch, planning=options.plan, trusted=options.trusted) as lab:
        lab.folder = options.store.parent  # a plan's store may have no file yet
        compare_dtype(lab)
        recipe(lab, settings)
        if options.as_json:
            _print_steps(lab, settings, options.hardware)
        elif options.plan:
            costs_told = [cost_text(*_costs(lab, settings, options.hardware))] if options.hardware else []
            print(plan_text(lab.steps), launch_text(lab.steps), *costs_told, sep="\n")
        else:
            report_run(lab.store, lab.launch, reports)
            _say_if_nothing_was_left(lab)


def announce(settings: Recipe, *, planning: bool = False) -> None:
    """Say first what engine and trainer compute in. Raises TrainerError for what cannot be trained here.

    A lab that runs warns by itself; for a plan the warnings are given here.
    """
    check(settings)
    print(summary(settings), *(warnings(settings) if planning else ()), sep="\n", file=sys.stderr, flush=True)


def compare_dtype(lab: Lab) -> None:
    """Warn where every training of this run so far is in another dtype: none of them will be used."""
    dtype = lab.recipe.trainer.dtype
    earlier = [row["dtype"] for row in lab.store.query(_EARLIER, [lab.launch.run])]
    if earlier and dtype not in earlier:
        print(
            f"warning: run {lab.launch.run} was trained in {' and '.join(earlier)} before; in {dtype} every training "
            f"is made again: --set trainer.dtype={earlier[0]} keeps the finished ones",
            file=sys.stderr,
            flush=True,
        )


def find_config(config: Path | None) -> Path:
    """A recipe file: the shipped one of this name, or the path as given; 'quick' where none is named.

    A plain word is a shipped recipe before it is a file: the current folder may be a stranger's.
    """
    wanted = config or Path("quick")
    shipped_places = [folder / f"{wanted.stem}.toml" for folder in SHIPPED]
    places = [*shipped_places, wanted] if str(wanted) == wanted.stem else [wanted, *shipped_places]
    if found := next((place for place in places if place.is_file()), None):
        return found
    shipped = sorted({path.stem for folder in SHIPPED for path in folder.glob("*.toml")})
    raise RecipeError(f"no recipe file {wanted}", remedy=f"name an existing file, or one of {', '.join(shipped)}")


def opened(store: Path, plan: bool) -> Store:
    """The store; for a plan read-only, or an empty one in memory where there is none yet."""
    if not plan:
        return Store(store)
    return Store(store, read_only=True) if store.exists() else Store(None)


def _print_steps(lab: Lab, settings: Recipe, machine: str) -> None:
    """Every step, and every cost on that machine, as a line of JSON; after a run its report is written too."""
    if not lab.planning:
        write_report(lab.store, lab.launch, output_folder(lab.folder, "reports"))
    for step in lab.steps:
        print(json_line({"run": lab.launch.run, **vars(step)}))
    for cost in _costs(lab, settings, machine)[0] if machine else ():
        print(json_line({"run": lab.launch.run, "hardware": machine, **vars(cost)}))


def _costs(lab: Lab, settings: Recipe, machine: str) -> tuple[list[Cost], Hardware]:
    device = hardware(machine)
    return costs(settings, lab.steps, device, measured(lab.store)), device


def _say_if_nothing_was_left(lab: Lab) -> None:
    if all(step.cached == step.total for step in lab.steps if step.stage != "pair"):
        print("everything was stored already: nothing was generated, judged or trained")
