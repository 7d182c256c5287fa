"""made(): the model that a training asks for, found in the store, adopted from disk, or made by OpenRLHF.

What train() and supervise() have in common. The request (parent, reference, data, settings) is the training's id, so
a finished training is never repeated. A checkpoint counts only after it was verified and moved to its final name in
one step; what the trainer said lies beside it in `outcome.json`, so even a kill between that move and the store's
commit costs nothing. The hand-off and the trainer's log stay under `trainings/<id>/`.
"""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from toolkit import config
from toolkit.engines import checkpoint
from toolkit.errors import InputError, TrainerError, writing
from toolkit.identity import Json
from toolkit.lab import Lab, Step
from toolkit.precision import BFLOAT16, resolve_device, resolve_dtype
from toolkit.progress import Progress
from toolkit.records import Model, Training
from toolkit.redaction import redact, redact_mapping
from toolkit.training.gate import GateReport, Row, check_share, effective_batch, export_answer, gate
from toolkit.training.process import TrainerJob, run_trainer
from toolkit.training.settings import command, learning_rate, of_machine
from toolkit.trust.paths import refuse_links
from toolkit.trust.safe_files import write_synced


@dataclass(frozen=True)
class Task:
    """What is to be learned. name: of the new model; data: id of the pair or demonstration set; reference: None for
    SFT; rows: the rendered rows before the token gate, made only where they are needed."""

    name: str
    parent: Model
    reference: Model | None
    data: str
    fingerprint: str
    settings: config.Optimization
    rows: Callable[[], Sequence[Row]]
    planned: bool = False

    @property
    def method(self) -> str:
        return "SFT" if self.reference is None else "DPO"

    def request(self, recipe: config.Recipe) -> Training:
        """What decides the result: settings of the optimization and the gate, the dtype, and OpenRLHF's flags that are
        not the machine's. The machine's are provenance. bfloat16 is left out, as in stores that know no other dtype."""
        settings: dict[str, Json] = self.settings.model_dump(mode="json", exclude={"data", "held_out"})
        settings["learning_rate"] = learning_rate(self.settings, recipe.trainer)
        settings["gate"] = recipe.gate.model_dump(mode="json")
        if recipe.lora.rank:
            settings["lora"] = recipe.lora.model_dump(mode="json")
        if (dtype := resolve_dtype(recipe.trainer.dtype, recipe.trainer.device)) != BFLOAT16:
            settings["dtype"] = dtype
        if options := {flag: value for flag, value in recipe.trainer.options.items() if not of_machine(flag)}:
            settings["options"] = redact_mapping(options)
        return Training(self.parent.id, self.reference.id if self.reference else None, self.fingerprint, settings)


@dataclass(frozen=True)
class Outcome:
    """What a finished training left: rows trained on, batch, rows unseen per epoch, seconds, step log, and the digest
    of its weights."""

    rows: int
    batch: int
    unseen: int
    seconds: float
    steps: list[dict[str, float | None]]
    weights: str


def made(lab: Lab, task: Task) -> Model:
    """The model. Raises GateError before, TrainerError after the trainer ran."""
    started = time.monotonic()
    training = task.request(lab.recipe)
    known = _known(lab, training)
    if known is None and (lab.planning or task.planned):
        model = Model(task.name, "", "planned", task.parent.template, task.parent.id, training.id)
    else:
        model = known or _adopted(lab, training, task)
    label = f"{task.method} {task.parent.name} -> {task.name} on {task.data}"
    seconds, stats = time.monotonic() - started, {"name": task.name, "method": task.method}
    if lab.planning and known is None:
        stats["command"] = _launch(lab, task)
        lab.foresee([training.id])
    lab.note(Step(lab.iteration, "train", label, model.id, 1, int(known is not None), seconds, 0, stats))
    return model


def _known(lab: Lab, training: Training) -> Model | None:
    rows = lab.store.query("SELECT model FROM training WHERE id = ?", [training.id])
    return lab.store.find(Model, [rows[0]["model"]])[rows[0]["model"]] if rows else None


def _adopted(lab: Lab, training: Training, task: Task) -> Model:
    final, work = (lab.folder / place / training.id for place in ("models", "trainings"))
    with writing(work), _alone(work):
        if checkpoint.is_trained(final):
            outcome = _left(final)
        else:
            checkpoint.refuse_existing(final)  # before hours of training
            outcome = _make(lab, task, work, final)
    return _store(lab, training, task, outcome)


@contextmanager
def _alone(work: Path) -> Iterator[None]:
    """No other process trains there meanwhile: stores in one folder share it, and their runs may ask for the same."""
    work.mkdir(parents=True, exist_ok=True)
    refuse_links(work)  # of a stranger's folder: the hand-off and the logs would be written through them
    with os.fdopen(os.open(work / "lock", os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o666), "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TrainerError(
                "another process makes this training",
                where=work,
                remedy="run the same command again when that one has ended: the checkpoint is then taken in",
            ) from error
        yield


def _left(final: Path) -> Outcome:
    """What a launch that was killed since had finished there. Raises InputError where it is not as it was."""
    remedy = "remove this directory and run the same command again: it trains again"
    checkpoint.verify(final)
    try:
        outcome = Outcome(**json.loads((final / checkpoint.OUTCOME).read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise InputError(
            f"no outcome of a training: {error}", where=final / checkpoint.OUTCOME, remedy=remedy
        ) from error
    if outcome.weights != checkpoint.weights_digest(final):
        raise InputError("the weights changed since the training left them", where=final, remedy=remedy)
    return outcome


def _make(lab: Lab, task: Task, work: Path, final: Path) -> Outcome:
    report = _gated(lab, task)
    batch, unseen = effective_batch(len(report.kept), task.settings)
    job = _job(lab, task, batch, work)
    _export(job.data, report, lab.chat(task.parent).eos_token)
    steps_to_do = task.settings.epochs * (len(report.kept) // batch)
    progress = Progress(f"{lab.iteration} steps of {task.name} on {task.data}", steps_to_do)
    lab.engines.release()
    with lab.timing("trainer_seconds"):
        result = run_trainer(job, lambda step: progress.advance(note=_told(step)))
    progress.finish(_told(result.steps[-1]) if result.steps else "")
    if result.rows != len(report.kept):
        raise TrainerError(
            f"the trainer saw {result.rows} of {len(report.kept)} rows",
            where=work,
            remedy="run the same command again; where it says this once more, report it: the gate missed a case",
        )
    with lab.timing("check_seconds"):
        checkpoint.adopt_tokenizer(job.policy, job.output)
        checkpoint.verify(job.output)
        weights = checkpoint.weights_digest(job.output)
    outcome = Outcome(len(report.kept), batch, unseen, result.seconds, [dict(step) for step in result.steps], weights)
    (job.output / checkpoint.OUTCOME).unlink(missing_ok=True)
    write_synced(job.output / checkpoint.OUTCOME, json.dumps(asdict(outcome)))
    final.parent.mkdir(parents=True, exist_ok=True)
    with lab.timing("check_seconds"):
        checkpoint.promote(job.output, final)
    return outcome


def _job(lab: Lab, task: Task, batch: int, work: Path) -> TrainerJob:
    return TrainerJob(
        policy=lab.path(task.parent),
        reference=lab.path(task.reference) if task.reference else None,
        data=work / ("pairs.jsonl" if task.reference else "demonstrations.jsonl"),
        output=work / "checkpoint",
        log_dir=work,
        settings=task.settings,
        trainer=lab.recipe.trainer,
        device=resolve_device(lab.recipe.trainer.device),
        batch_size=batch,
        lora=lab.recipe.lora,
    )


def _launch(lab: Lab, task: Task) -> str:
    """The trainer's command line, for a plan; the training's own id is known once its pairs are."""
    return shlex.join(redact(command(_job(lab, task, task.settings.batch_size, lab.folder / "trainings" / "ID"))))


def _gated(lab: Lab, task: Task) -> GateReport:
    """The rows that survive the trainer's tokenisation; every drop is stored before the share is judged, as one of this
    training: other settings drop others of the same set."""
    started, training = time.monotonic(), task.request(lab.recipe).id
    rows = task.rows()
    report = gate(rows, lab.chat(task.parent).tokenizer, task.settings, lab.recipe.gate)
    lab.store.insert("dropped", [{**vars(drop), "pair_set": task.data, "training": training} for drop in report.drops])
    stats = {
        "training": training,
        "kept": len(report.kept),
        "tokens": report.tokens,
        **Counter(drop.reason for drop in report.drops),
        **report.warnings,
    }
    seconds = time.monotonic() - started
    lab.note(Step(lab.iteration, "gate", f"token gate {task.data}", task.data, len(rows), 0, seconds, 0, stats))
    check_share(report, lab.recipe.gate)
    return report


def _export(path: Path, report: GateReport, eos: str) -> None:
    """The hand-off: one JSON object a line, the prompt rendered, every answer ending in EOS."""
    with path.open("w", encoding="utf-8") as file:
        for row in report.kept:
            chosen = export_answer(row.chosen, eos)
            if row.rejected is None:
                line = {"prompt": row.prompt, "response": chosen}
            else:
                line = {"prompt": row.prompt, "chosen": chosen, "rejected": export_answer(row.rejected, eos)}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def _store(lab: Lab, training: Training, task: Task, outcome: Outcome) -> Model:
    path = Path("models") / training.id
    model = Model(task.name, str(path), outcome.weights, task.parent.template, task.parent.id, training.id)
    found = {
        "pair_set": task.data if task.reference else None,
        "demonstration_set": None if task.reference else task.data,
        "model": model.id,
        "row_count": outcome.rows,
        "batch": outcome.batch,
        "unseen": outcome.unseen,
        "seconds": outcome.seconds,
    }
    steps: list[dict[str, Any]] = [
        {"training": training.id, "step": number, "metric": metric, "value": value}
        for number, step in enumerate(outcome.steps, start=1)
        for metric, value in step.items()
        if metric != "step"
    ]
    with lab.store.transaction():
        lab.store.add([model], launch=lab.launch.id)
        lab.store.add([training], launch=lab.launch.id, **found)
        lab.store.insert("training_step", steps)
    return model


def _told(step: Mapping[str, float | None]) -> str:
    shown = (("loss", "loss"), ("acc", "accuracy"), ("grad_norm", "gradient"))
    return ", ".join(f"{word} {step[key]:.3f}" for key, word in shown if step.get(key) is not None)
