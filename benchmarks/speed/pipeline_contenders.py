"""What `pipeline.py` measures, one contender a process: pipeline_contenders.py NAME JSON. Prints one JSON line.

stages       generate, judge and pair of one iteration with the scripted engine, into a store on disk
resumed      the same again: everything is stored
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from clock import Clock, peak

from toolkit.config import Recipe, parse
from toolkit.engines import embedded
from toolkit.judgments.judge import judge
from toolkit.lab import Lab
from toolkit.pairs.pair import pair
from toolkit.pairs.selection import best, worst
from toolkit.prompts.split import split
from toolkit.provenance import capture
from toolkit.responses.generate import generate
from toolkit.store.database import Store


def recipe(folder: Path, prompts: int, k: int) -> Recipe:
    source = folder / "prompts.txt"
    source.write_text("".join(f"Question {i}: what is {i} plus {i + 1}?\n" for i in range(prompts)), encoding="utf-8")
    return parse(
        {
            "model": str(embedded.prepare()),
            "iterations": 1,
            "prompts": {"source": str(source), "part_size": prompts},
            "answers": {"k": k, "max_tokens": 64},
            "judge": {"method": "expected"},
            "engine": {"kind": "scripted", "device": "cpu"},
        }
    )


def iterate(settings: Recipe, path: Path) -> dict[str, Any]:
    """Seconds of each stage, and the rows that it made."""
    clock = Clock()
    with Lab(settings, Store(path), capture("benchmark", {})) as lab:
        model = lab.model(settings.model, called="M_0")
        prompts = next(iter(split(lab, settings.prompts, 1)))
        lab.chat(model)  # loads the tokenizer, once a run
        with clock.measure("seconds_generate"):
            answers = generate(lab, model, prompts)
        with clock.measure("seconds_judge"):
            pool = judge(lab, model, answers)
        with clock.measure("seconds_pair"):
            pairs = pair(lab, "self_rewarding", best(pool), worst(pool))
        rows = {"answers": len(answers), "verdicts": len(answers), "pairs": len(pairs.pairs)}
    return {"seconds_by_stage": clock.seconds, "rows": rows}


def main() -> None:
    name, asked = sys.argv[1], json.loads(sys.argv[2])
    folder = Path(tempfile.mkdtemp(prefix="pipeline-benchmark-"))
    settings, store = recipe(folder, asked["prompts"], asked["k"]), folder / "store.duckdb"
    found = iterate(settings, store)
    if name == "resumed":
        found = iterate(settings, store)
    stages = found["seconds_by_stage"]
    seconds = sum(stages[f"seconds_{stage}"] for stage in ("generate", "judge", "pair"))
    rate = round(sum(found["rows"].values()) / seconds)
    shutil.rmtree(folder)
    print(json.dumps(found | {"seconds": round(seconds, 3), "rows_per_second": rate, "peak_mb": peak()}))


if __name__ == "__main__":
    main()
