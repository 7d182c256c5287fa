"""What a running or killed run has done, and what a rerun would do: python -m toolkit status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from toolkit.commands.common import DEFAULT, JsonOption, StoreOption, end, reading, say
from toolkit.config import Recipe, parse
from toolkit.errors import ToolkitError
from toolkit.precision import resolve_dtype
from toolkit.redaction import hidden
from toolkit.reporting.plan import left, told
from toolkit.reporting.run_status import Status, is_trained, newest_launch, runs, status_of
from toolkit.reporting.tables import table
from toolkit.store.database import Store
from toolkit.trust.consent import in_arguments

PLAN = "the recipe's own command with --plan reads it"


@dataclass(frozen=True)
class Outlook:
    """What is left of a run: sums of its plan, or why there is no plan. trained: its last model is stored."""

    left: dict[str, int] | None
    reason: str = ""
    trained: bool = False
    untested: str = ""  # the suite, which is in no plan here


def status(
    run: Annotated[str, typer.Argument(help="The run, as its recipe or --run named it; the newest by default.")] = "",
    store: StoreOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """What a running or killed run has done so far, and what a rerun would do: status temporal."""
    end(lambda: _status(run, store, as_json))


def _status(run: str, path: Path, as_json: bool) -> None:
    with reading(path) as store:
        found = status_of(store, run)
        others = [name for name in runs(store) if name != found.run]
        writer = store.writer if newest_launch(store) == found.launch else None
        outlook = _outlook(store, found)
        row = _row(found, writer, outlook, _training(path.parent) if writer else None)
        text = _text(row, found, others)
    say(text, row, as_json=as_json)


def _outlook(store: Store, found: Status) -> Outlook:
    """The plan of the stored recipe, as far as the store's rows and shipped files give it."""
    from toolkit.recipes.rerun import bases_of, planned, recipe_of, unread

    recipe = recipe_of(found.arguments, found.run)
    if recipe is None:
        return Outlook(None, "only the recipe's own script can plan it: add --plan to the command below")
    try:
        settings = _as_trained(parse(found.recipe, where=f"run {found.run}"), found.dtype)
        trained, bases = is_trained(store, found, settings.iterations), bases_of(store, found.steps)
        if names := unread(settings, bases):
            reason = f"not planned, since a stored recipe is no reason to read {hidden('; '.join(names))}: {PLAN}"
            return Outlook(None, reason, trained, hidden(settings.suite))
        return Outlook(left(planned(store, recipe, settings, bases)), "", trained, hidden(settings.suite))
    except ToolkitError as error:
        return Outlook(None, error.problem)


def _as_trained(recipe: Recipe, dtype: str) -> Recipe:
    """The recipe in the dtype of its launch, which "auto" may not choose on this machine."""
    return recipe.model_copy(update={"trainer": recipe.trainer.model_copy(update={"dtype": dtype})})


def _other_dtype(found: Status) -> str:
    """What to know where the same command would train in another dtype here."""
    trainer: Mapping[str, Any] = found.recipe.get("trainer", {})
    now = resolve_dtype(trainer.get("dtype", "auto"), trainer.get("device", "auto"))
    if now == found.dtype:
        return ""
    return f"trained in {found.dtype}; on this machine the recipe trains in {now}: --set trainer.dtype={found.dtype}"


def _row(found: Status, writer: int | None, outlook: Outlook, training: dict[str, Any] | None) -> dict[str, Any]:
    from toolkit.recipes.rerun import command_of

    if writer:
        state = "running"
    elif outlook.left is None and not outlook.trained:
        state = "not running"
    else:
        done = outlook.trained if outlook.left is None else not any(outlook.left.values())
        state = "finished" if done else "stopped"
    return {
        "run": found.run, "state": state, "process": writer, "launch": found.launch, "launches": found.launches,
        "started": found.started, "done": found.done, "in_flight": found.in_flight, "training": training,
        "steps": found.steps, "left": outlook.left, "no_plan": outlook.reason, "untested": outlook.untested,
        "command": command_of(found.arguments), "consents": [hidden(word) for word in in_arguments(found.arguments)],
    }  # fmt: skip


def _training(folder: Path) -> dict[str, Any] | None:
    """The training that is going on: its id and its optimizer steps so far, from the log beside the store."""
    from toolkit.training.process import StepLog

    files = [log for log in folder.glob("trainings/*/steps.jsonl") if log.is_file() and not log.is_symlink()]
    logs = [log for log in files if not (folder / "models" / log.parent.name).exists()]
    if not logs:
        return None
    newest = max(logs, key=lambda log: log.stat().st_mtime)
    return {"id": newest.parent.name, "steps": len(StepLog(newest).advance())}


def _text(row: dict[str, Any], found: Status, others: list[str]) -> list[str]:
    goes_on = row["state"] in ("stopped", "not running")
    who = f" in process {row['process']}" if row["process"] else ""
    lines = [
        f"run {found.run}: {row['state']}{who}; launch {found.launch}, {found.launches} in all",
        f"done:      {_counts(found.done)}",
        f"in flight: {_counts(found.in_flight)}, stored already" if any(found.in_flight.values()) else "",
        f"training:  {row['training']['steps']} optimizer steps of {row['training']['id']}" if row["training"] else "",
        *_steps_table(found),
        f"left:      {told(row['left']) if row['left'] else row['no_plan']}",
        f"tests:     of suite {row['untested']!r}, which was not read: {PLAN}" if row["untested"] else "",
        f"dtype:     {_other_dtype(found)}" if _other_dtype(found) else "",
        f"go on:     {row['command']}" if goes_on else "",
        f"careful:   that command runs code: {', '.join(row['consents'])}" if goes_on and row["consents"] else "",
        f"others:    {', '.join(others)}" if others else "",
    ]
    return [line for line in lines if line]


def _steps_table(found: Status) -> list[str]:
    if not found.steps:
        return ["no step of this launch is finished"]
    return table("Steps of this launch", _steps(found)).text().split("\n")


def _steps(found: Status) -> list[dict[str, Any]]:
    return [{**step, "seconds": f"{step['seconds']:.1f}"} for step in found.steps]


def _counts(counts: Any) -> str:
    return ", ".join(f"{count:,} {kind.replace('_', ' ')}" for kind, count in counts.items())
