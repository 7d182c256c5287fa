"""Gives a run's numbers to an experiment tracker. Each call writes the whole run as a new one.

TensorBoard comes with the toolkit, the other three do not; each is imported where it is asked for. Keys are the
tracker's own business (WANDB_API_KEY, MLFLOW_TRACKING_URI and its like, HF_TOKEN): nothing of them is read here. What
trackers print goes to standard error.
"""

from __future__ import annotations

import contextlib
import re
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from toolkit.child_process import empty_folder
from toolkit.errors import InputError, ToolkitError
from toolkit.extras import INSTALL, need
from toolkit.redaction import hidden
from toolkit.reporting.run_numbers import RunNumbers
from toolkit.safe_text import one_line
from toolkit.trust.paths import check_name, output_folder
from toolkit.trust.safe_files import is_recorded, locked, move_in, scratch, sync

REMEDIES = {
    "tensorboard": "choose a place that can be written: it is beside the store",
    "wandb": "log in with `wandb login`, or set WANDB_MODE=offline and sync later",
    "mlflow": "set MLFLOW_TRACKING_URI to a server or a file, for example sqlite:///mlflow.db",
    "trackio": "set TRACKIO_DIR to a folder that can be written",
}
NAMED = "the store; run its recipe again with --run NAME: what is stored is not made again"
LONGEST = 500  # characters of a parameter; MLflow's older servers take no more


def send(run: RunNumbers, tracker: str, project: str, folder: Path) -> str:
    """Write the run; where it can be looked at. folder: where TensorBoard's and W&B's files go. Raises InputError."""
    if tracker in INSTALL:
        need(tracker, f"log --to {tracker}", tracker)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return hidden(TRACKERS[tracker](run, project, folder))  # a tracking server's address may hold a password
    except ToolkitError:
        raise
    except Exception as error:  # each tracker has its own tree of errors
        problem = f"{tracker} did not take the run: {type(error).__name__}: {error}"
        raise InputError(problem, remedy=REMEDIES[tracker]) from None


def _tensorboard(run: RunNumbers, _: str, folder: Path) -> str:
    """One folder a run; the event files that the toolkit wrote there are replaced. No torch is needed for it."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    place = output_folder(folder, "tensorboard", check_name(run.run, "a run", NAMED))
    place.mkdir(parents=True, exist_ok=True)
    with locked(place), scratch(folder, "events") as aside:
        writer = EventFileWriter(str(aside))
        for step, values in run.by_step().items():
            scalars = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
            writer.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=scalars)))
        writer.close()
        replace_events(aside, place)
    return f"tensorboard --logdir {place.parent}"


def replaced_events(run: RunNumbers, folder: Path) -> list[Path]:
    """The event files that logging this run to TensorBoard would replace: the toolkit wrote them."""
    place = output_folder(folder, "tensorboard", check_name(run.run, "a run", NAMED))
    return [path for path in sorted(place.glob("events.out.tfevents.*")) if is_recorded(path)]


def replace_events(aside: Path, place: Path) -> None:
    """Move the new event files in, then remove the earlier ones that the toolkit wrote and nobody changed since."""
    new = sorted(path.name for path in aside.iterdir())
    for name in new:
        sync(aside / name)
    earlier = [path for path in sorted(place.glob("events.out.tfevents.*")) if path.name not in new]
    old = [path for path in earlier if is_recorded(path)]
    move_in(aside, place, new)
    for path in old:
        path.unlink()
    for path in earlier:
        if path not in old:
            print(f"left alone, not written by the toolkit: {one_line(str(path))}", file=sys.stderr)


def _wandb(run: RunNumbers, project: str, folder: Path) -> str:
    """No output, code, git remote or environment of this process goes along."""
    import wandb

    _read_own_settings(wandb)
    quiet = wandb.Settings(console="off", disable_git=True, disable_code=True, save_code=False, silent=True)
    about = {"launch": run.launch, **run.settings}
    output_folder(folder, "wandb")
    folder.mkdir(parents=True, exist_ok=True)
    with wandb.init(project=project, name=run.run, config=about, dir=str(folder), settings=quiet) as opened:
        for step, values in run.by_step().items():
            opened.log(values, step=step)
        return f"wandb sync {Path(opened.dir).parent}" if opened.offline else str(opened.url)


def _read_own_settings(wandb: Any) -> None:
    """The user's settings and environment count, ./wandb/settings does not: it names the server that gets the key."""
    with contextlib.chdir(empty_folder()):
        wandb.setup()  # reads the settings files, once in a process


def _mlflow(run: RunNumbers, project: str, _: Path) -> str:
    import mlflow

    experiment = mlflow.set_experiment(project)
    with mlflow.start_run(run_name=run.run) as opened:
        mlflow.log_params({"launch": run.launch, **_flat(run.settings)})
        for step, values in run.by_step().items():
            mlflow.log_metrics({re.sub(r"[^\w./ -]", "-", name): value for name, value in values.items()}, step=step)
    return f"run {opened.info.run_id} of experiment {experiment.name} in {mlflow.get_tracking_uri()}"


def _trackio(run: RunNumbers, project: str, _: Path) -> str:
    import trackio

    about = {"launch": run.launch, **run.settings}
    trackio.init(project=project, name=run.run, config=about, embed=False, auto_log_cpu=False, auto_log_gpu=False)
    for step, values in run.by_step().items():
        trackio.log(values, step=step)
    trackio.finish()
    return f"trackio show --project {project}"


def _flat(settings: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """Nested settings as one level: judge.method."""
    found: dict[str, str] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{before}{key}.")
        else:
            found[f"{before}{key}"] = str(value)[:LONGEST]
    return found


TRACKERS: Mapping[str, Callable[[RunNumbers, str, Path], str]] = {
    "tensorboard": _tensorboard,
    "wandb": _wandb,
    "mlflow": _mlflow,
    "trackio": _trackio,
}
