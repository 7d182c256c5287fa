"""What `training.py` measures, one contender a process: training_contenders.py NAME JSON. Prints one JSON line.

toolkit   train(): rendering, token gate, hand-off, OpenRLHF, its log followed, checkpoint verified and stored
bare      OpenRLHF's train_dpo on the rows that the toolkit handed over into the same folder, with the same flags and
          environment, and nothing of ours but the patches without which it does not run on a CPU

Answers are the scripted engine's to the quick recipe's starter prompts; the model is the embedded one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from clock import Clock, peak

from toolkit.config import load
from toolkit.engines import checkpoint, embedded
from toolkit.judgments.judge import judge
from toolkit.lab import Lab
from toolkit.pairs.pair import pair
from toolkit.pairs.selection import best, worst
from toolkit.prompts.split import split
from toolkit.provenance import capture
from toolkit.responses.generate import generate
from toolkit.store.database import Store
from toolkit.training.process import TrainerJob
from toolkit.training.settings import command, environment
from toolkit.training.train import train

Found = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]


def opened(folder: Path, pairs: int, dtype: str) -> Lab:
    changes = (f"prompts.part_size={pairs}", "iterations=1", "engine.kind=scripted", "trainer.device=cpu")
    changes = (*changes, f"trainer.dtype={dtype}")
    recipe = load(ROOT / "recipes" / "quick.toml", changes)
    return Lab(recipe, Store(folder / "store.duckdb"), capture("benchmark", {}))


def toolkit(folder: Path, pairs: int, dtype: str) -> Found:
    clock = Clock()
    with opened(folder, pairs, dtype) as lab:
        model = lab.model(lab.recipe.model, called="M_0")
        pool = judge(lab, model, generate(lab, model, next(iter(split(lab, lab.recipe.prompts, 1)))))
        made = pair(lab, "self_rewarding", best(pool), worst(pool))
        with clock.measure():
            trained = train(lab, "M_1", model, made)
    return clock.seconds | {"weights": trained.weights} | begun(folder)


def bare(folder: Path, pairs: int, dtype: str) -> Found:
    """The job as it was handed over, once more."""
    with opened(folder, pairs, dtype) as lab:
        base = lab.path(lab.model(lab.recipe.model))
        batch = lab.store.query("SELECT batch FROM training")[0]["batch"]
        recipe = lab.recipe
    (work,) = (folder / "trainings").iterdir()
    logs = folder / "logs"
    logs.mkdir()
    job = TrainerJob(
        policy=base,
        reference=base,
        data=work / "pairs.jsonl",
        output=folder / "bare",
        log_dir=logs,
        settings=recipe.training,
        trainer=recipe.trainer,
        device="cpu",
        batch_size=batch,
        lora=recipe.lora,
    )
    line = [word for word in command(job) if not word.startswith(("--toolkit.watch", "--toolkit.step_log"))]
    clock = Clock()
    with clock.measure(), (folder / "bare.log").open("w") as log:
        subprocess.run(line, env=environment(job), stdout=log, stderr=log, check=True)
    weights = checkpoint.weights_digest(job.output)
    return clock.seconds | {"weights": weights, "rows": len(job.data.read_text(encoding="utf-8").splitlines())}


def begun(folder: Path) -> Found:
    """Seconds from the trainer's start to its first step: imports, two models, the rows tokenised."""
    (log,) = (folder / "trainings").glob("*/steps.jsonl")
    first = json.loads(log.read_text(encoding="utf-8").splitlines()[0])
    return {"start_seconds": first["seconds"]}


def main() -> None:
    embedded.prepare()
    name, asked = sys.argv[1], json.loads(sys.argv[2])
    found = {"toolkit": toolkit, "bare": bare}[name](Path(asked["folder"]), asked["pairs"], asked["dtype"])
    print(json.dumps(found | {"peak_mb": peak()}))


if __name__ == "__main__":
    main()
