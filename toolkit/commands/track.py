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
    store: StoreOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Training steps, set statistics and scores of a run, also while it goes on: log temporal --to tensorboard."""
    end(lambda: _log(run, (to, project), store, as_json))


def _log(run: str, where: tuple[Tracker, str], path: Path, as_json: bool) -> None:
    from toolkit.reporting.run_numbers import run_numbers
    from toolkit.reporting.trackers import send

    tracker, project = where
    with reading(path) as store:
        found = run_numbers(store, run)
    place = send(found, tracker.value, project, path.parent)
    row = {"run": found.run, "to": tracker.value, "numbers": len(found.numbers), "look": place}
    say([f"{found.run}: {len(found.numbers)} numbers given to {tracker}", f"look: {place}"], row, as_json=as_json)
