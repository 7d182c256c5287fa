"""A run's numbers in an experiment tracker: python -m toolkit log."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from toolkit.commands.common import DEFAULT, JsonOption, StoreOption, end, reading, say


class Tracker(StrEnum):
    """Where a run can be logged."""

    tensorboard = "tensorboard"
    wandb = "wandb"
    mlflow = "mlflow"
    trackio = "trackio"


def log(
    run: Annotated[str, typer.Argument(help="The run, as its recipe or --run named it; the newest by default.")] = "",
    to: Annotated[Tracker, typer.Option(help="Who takes it; all others need a package.")] = Tracker.tensorboard,
    project: Annotated[str, typer.Option(help="Project or experiment there.")] = "temporal-toolkit",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the event files it would replace.")] = False,
    store: StoreOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Training steps, set statistics and scores of a run, also while it goes on: log temporal --to tensorboard."""
    end(lambda: _log(run, (to, project), store, (dry_run, as_json)))


def _log(run: str, where: tuple[Tracker, str], path: Path, how: tuple[bool, bool]) -> None:
    from toolkit.reporting.run_numbers import run_numbers
    from toolkit.reporting.trackers import replaced_events, send

    (tracker, project), (dry_run, as_json) = where, how
    with reading(path) as store:
        found = run_numbers(store, run)
    if dry_run:
        old = [str(file) for file in replaced_events(found, path.parent)] if tracker == Tracker.tensorboard else []
        words = [f"would give {len(found.numbers)} numbers to {tracker}", *(f"would replace {file}" for file in old)]
        say(words, {"run": found.run, "to": tracker.value, "would_replace": old}, as_json=as_json)
        return
    place = send(found, tracker.value, project, path.parent)
    row = {"run": found.run, "to": tracker.value, "numbers": len(found.numbers), "look": place}
    say([f"{found.run}: {len(found.numbers)} numbers given to {tracker}", f"look: {place}"], row, as_json=as_json)
