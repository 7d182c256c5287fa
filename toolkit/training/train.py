"""train(): a pair set becomes a checkpoint, by DPO from `parent`, through the token gate and OpenRLHF.

The request (policy, reference, pairs, settings) is the training's id, so a finished training is never
repeated. A checkpoint counts only after it was verified and moved to its final name in one step; what the
trainer said lies beside it in `outcome.json`, so even a kill between that move and the store's commit
costs nothing. The hand-off and the trainer's log stay under `trainings/<id>/`.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from toolkit.engines import checkpoint
from toolkit.errors import TrainerError
from toolkit.identity import Json
from toolkit.lab import Lab, Step
from toolkit.progress import Progress
from toolkit.provenance import has_gpu
from toolkit.records import Model, PairSet, Prompt, Response, Training
from toolkit.training.gate import GateReport, Row, check_share, effective_batch, export_answer, gate
from toolkit.training.process import TrainerJob, run_trainer


@dataclass(frozen=True)
class Outcome:
    """What a finished training left: rows trained on, batch, rows unseen per epoch, seconds, step log."""

    rows: int
    batch: int
    unseen: int
    seconds: float
    steps: list[dict[str, float | None]]


def train(lab: Lab, name: str, parent: Model, pairs: PairSet) -> Model:
    """The model DPO(parent, pairs), called `name`. Raises GateError before, TrainerError after the trainer ran."""
    started = time.monotonic()
    reference = _reference(lab, parent)
    training = Training(parent.id, reference.id, pairs.fingerprint, _settings(lab))
    known = _known(lab, training)
    if known is None and (lab.planning or pairs.version == 0):
        model = Model(name, "", "planned", parent.template, parent.id, training.id)
    else:
        model = known or _train(lab, training, _Case(name, parent, reference, pairs))
    label = f"DPO {parent.name} -> {name} on {pairs.id if pairs.version else pairs.name}"
    seconds = time.monotonic() - started
    lab.note(Step(lab.iteration, "train", label, model.id, 1, int(known is not None), seconds))
    return model


@dataclass(frozen=True)
class _Case:
    name: str
    parent: Model
    reference: Model
    pairs: PairSet


def _reference(lab: Lab, parent: Model) -> Model:
    chosen = lab.recipe.training.reference
    if chosen == "present":
        return parent
    if chosen == "past":
        assert lab.past is not None  # the parent came from the lab
        return lab.past
    return lab.model(chosen)


def _settings(lab: Lab) -> Mapping[str, Json]:
    """What decides the result: DPO settings and the gate's. The machine's settings are provenance."""
    return {**lab.recipe.training.model_dump(mode="json"), "gate": lab.recipe.gate.model_dump(mode="json")}


def _known(lab: Lab, training: Training) -> Model | None:
    rows = lab.store.query("SELECT model FROM training WHERE id = ?", [training.id])
    return lab.store.find(Model, [rows[0]["model"]])[rows[0]["model"]] if rows else None


def _train(lab: Lab, training: Training, case: _Case) -> Model:
    final = lab.folder / "models" / training.id
    if not checkpoint.is_trained(final):
        _make(lab, training, case, final)
    outcome = Outcome(**json.loads((final / checkpoint.OUTCOME).read_text(encoding="utf-8")))
    return _store(lab, training, case, outcome)


def _make(lab: Lab, training: Training, case: _Case, final: Path) -> None:
    work = lab.folder / "trainings" / training.id
    work.mkdir(parents=True, exist_ok=True)
    report = _gated(lab, case)
    batch, unseen = effective_batch(len(report.kept), lab.recipe.training)
    data, output = work / "pairs.jsonl", work / "checkpoint"
    _export(data, report, lab.chat(case.parent).eos_token)
    job = TrainerJob(
        policy=lab.path(case.parent),
        reference=lab.path(case.reference),
        data=data,
        output=output,
        log_dir=work,
        settings=lab.recipe.training,
        trainer=lab.recipe.trainer,
        device=_device(lab),
        batch_size=batch,
    )
    steps_to_do = lab.recipe.training.epochs * (len(report.kept) // batch)
    progress = Progress(f"{lab.iteration} steps of {case.name} on {case.pairs.id}", steps_to_do)
    lab.engines.release()
    result = run_trainer(job, lambda step: progress.advance(note=_told(step)))
    progress.finish(_told(result.steps[-1]) if result.steps else "")
    if result.rows != len(report.kept):
        raise TrainerError(
            f"the trainer saw {result.rows} of {len(report.kept)} pairs",
            where=work,
            remedy="report this: the gate missed a case",
        )
    checkpoint.adopt_tokenizer(lab.path(case.parent), output)
    outcome = Outcome(len(report.kept), batch, unseen, result.seconds, [dict(step) for step in result.steps])
    (output / checkpoint.OUTCOME).write_text(json.dumps(asdict(outcome)), encoding="utf-8")
    checkpoint.verify(output)
    final.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.promote(output, final)


def _gated(lab: Lab, case: _Case) -> GateReport:
    """The rows that survive the trainer's tokenisation; every drop is stored before the share is judged."""
    chat = lab.chat(case.parent)
    started = time.monotonic()
    report = gate(_rows(lab, case), chat.tokenizer, lab.recipe.training, lab.recipe.gate)
    lab.store.insert("dropped", [{**vars(drop), "pair_set": case.pairs.id} for drop in report.drops])
    stats = {"kept": len(report.kept), **Counter(drop.reason for drop in report.drops), **report.warnings}
    label = f"token gate {case.pairs.id}"
    seconds = time.monotonic() - started
    lab.note(Step(lab.iteration, "gate", label, case.pairs.id, len(case.pairs.pairs), 0, seconds, 0, stats))
    check_share(report, lab.recipe.gate)
    return report


def _rows(lab: Lab, case: _Case) -> list[Row]:
    pairs = sorted(case.pairs.pairs, key=lambda pair: pair.id)
    prompts = lab.store.find(Prompt, {pair.prompt for pair in pairs})
    answers = lab.store.find(Response, {side for pair in pairs for side in (pair.chosen, pair.rejected)})
    chat = lab.chat(case.parent)
    rows = []
    for pair in pairs:
        messages = prompts[pair.prompt].messages()
        chosen, rejected = answers[pair.chosen], answers[pair.rejected]
        rows.append(
            Row(
                pair_id=pair.id,
                prompt_id=pair.prompt,
                prompt=chat.text(messages),
                chosen=chosen.text or "",
                rejected=rejected.text or "",
                chosen_cut=chosen.finish == "length",
                rejected_cut=rejected.finish == "length",
                prompt_tokens=chat.tokens(messages),
            )
        )
    return rows


def _export(path: Path, report: GateReport, eos: str) -> None:
    """The hand-off: one JSON object a line, the prompt rendered, both answers ending in EOS."""
    with path.open("w", encoding="utf-8") as file:
        for row in report.kept:
            line = {
                "prompt": row.prompt,
                "chosen": export_answer(row.chosen, eos),
                "rejected": export_answer(row.rejected, eos),
            }
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def _store(lab: Lab, training: Training, case: _Case, outcome: Outcome) -> Model:
    path = Path("models") / training.id
    weights = checkpoint.weights_digest(lab.folder / path)
    model = Model(case.name, str(path), weights, case.parent.template, case.parent.id, training.id)
    found = {
        "pair_set": case.pairs.id,
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


def _device(lab: Lab) -> Any:
    asked = lab.recipe.trainer.device
    return ("gpu" if has_gpu() else "cpu") if asked == "auto" else asked


def _told(step: Mapping[str, float | None]) -> str:
    shown = (("loss", "loss"), ("acc", "accuracy"), ("grad_norm", "gradient"))
    return ", ".join(f"{word} {step[key]:.3f}" for key, word in shown if step.get(key) is not None)
