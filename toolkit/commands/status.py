"""What a running or killed run has done, and what a rerun would do: python -m toolkit status."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from toolkit.commands.common import DEFAULT, JsonOption, StoreOption, end, reading, say
from toolkit.config import parse
from toolkit.errors import ToolkitError
from toolkit.reporting.plan import left, told
from toolkit.reporting.run_status import Status, newest_launch, runs, status_of
from toolkit.reporting.tables import table
from toolkit.store.database import Store


@dataclass(frozen=True)
class Outlook:
    """What is left of a run: sums of its plan, or why there is no plan."""

    left: dict[str, int] | None
    reason: str = ""


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
    say(_text(row, found, others), row, as_json=as_json)


def _outlook(store: Store, found: Status) -> Outlook:
    from toolkit.recipes.rerun import planned, recipe_of

    recipe = recipe_of(found.arguments, found.run)
    if recipe is None:
        return Outlook(None, "only the recipe's own script can plan it: add --plan to the command below")
    try:
        return Outlook(left(planned(store, recipe, parse(found.recipe, where=f"run {found.run}"))))
    except ToolkitError as error:
        return Outlook(None, error.problem)


def _row(found: Status, writer: int | None, outlook: Outlook, training: dict[str, Any] | None) -> dict[str, Any]:
    from toolkit.recipes.rerun import command_of

    if writer:
        state = "running"
    elif outlook.left is None:
        state = "not running"
    else:
        state = "stopped" if any(outlook.left.values()) else "finished"
    return {
        "run": found.run, "state": state, "process": writer, "launch": found.launch, "launches": found.launches,
        "started": found.started, "done": found.done, "in_flight": found.in_flight, "training": training,
        "steps": found.steps, "left": outlook.left, "no_plan": outlook.reason, "command": command_of(found.arguments),
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
    who = f" in process {row['process']}" if row["process"] else ""
    lines = [
        f"run {found.run}: {row['state']}{who}; launch {found.launch}, {found.launches} in all",
        f"done:      {_counts(found.done)}",
        f"in flight: {_counts(found.in_flight)}, stored already" if any(found.in_flight.values()) else "",
        f"training:  {row['training']['steps']} optimizer steps of {row['training']['id']}" if row["training"] else "",
        *_steps_table(found),
        f"left:      {told(row['left']) if row['left'] else row['no_plan']}",
        f"go on:     {row['command']}" if row["state"] in ("stopped", "not running") else "",
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
