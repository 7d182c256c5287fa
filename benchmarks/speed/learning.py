"""What the quick recipe's training learns in each dtype at several learning rates, and what rounding to bfloat16 keeps.

    python benchmarks/speed/learning.py --out benchmarks/results/learning.json

One set of real pairs (iteration 0 of the quick recipe), one seed, one training for each dtype and rate. The margin is
the mean over the pairs of beta times the change of log pi(chosen) - log pi(rejected), always computed in float32: of
the saved weights, and of the same weights rounded to bfloat16, as an engine in bfloat16 serves them.
Left out: other seeds, other pairs; what a margin is worth.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from harness import Benchmark, Found

from toolkit.config import load
from toolkit.diagnostics.forward import forward
from toolkit.diagnostics.sequences import Sides
from toolkit.diagnostics.sides import sides
from toolkit.engines.network import load_network
from toolkit.judgments.judge import judge
from toolkit.lab import Lab
from toolkit.pairs.pair import pair
from toolkit.pairs.selection import best, worst
from toolkit.prompts.split import split
from toolkit.provenance import capture
from toolkit.records import Model, PairSet, Prompt, Response
from toolkit.responses.generate import generate
from toolkit.store.database import Store
from toolkit.training.train import train

ROOT = Path(__file__).resolve().parents[2]


def margins(options: argparse.Namespace) -> Found:
    """A row for each dtype and rate."""
    folder = Path(tempfile.mkdtemp(prefix="learning-benchmark-"))
    return {
        f"{dtype} {rate:g}": trained(folder, options.pairs, dtype, rate)
        for dtype in ("bfloat16", "float32")
        for rate in options.rates
    }


def trained(folder: Path, count: int, dtype: str, rate: float) -> Found:
    changes = (f"prompts.part_size={count}", "iterations=1", "engine.device=cpu", "trainer.device=cpu")
    changes += (f"training.learning_rate={rate}", f"trainer.dtype={dtype}")
    recipe = load(ROOT / "recipes" / "quick.toml", (*changes, "engine.dtype=float32"))
    with Lab(recipe, Store(folder / "store.duckdb"), capture("benchmark", {})) as lab:
        model = lab.model(recipe.model, called="M_0")
        pool = judge(lab, model, generate(lab, model, next(iter(split(lab, recipe.prompts, 1)))))
        pairs = pair(lab, "learning", best(pool), worst(pool))
        after = train(lab, f"{dtype}-{rate:g}", model, pairs)
        steps = lab.store.query(
            "SELECT metric, arg_max(value, step) AS value FROM training_step s JOIN training t ON t.id = s.training "
            "WHERE t.model = ? AND metric IN ('loss', 'grad_norm') GROUP BY metric",
            [after.id],
        )
        rows = measured(lab, pairs, model)
        before = ratios(lab.path(model), rows)
        beta = recipe.training.beta
        found: Found = {"pairs": len(rows)} | {f"last_{row['metric']}": round(row["value"], 4) for row in steps}
        for name, rounded in (("margin", False), ("margin_rounded", True)):
            change = [b - a for a, b in zip(before, ratios(lab.path(after), rows, rounded=rounded), strict=True)]
            found[name] = round(beta * sum(change) / len(change), 4)
    return found


def measured(lab: Lab, pairs: PairSet, model: Model) -> list[Sides]:
    chat, rows = lab.chat(model), pairs.pairs
    prompts = lab.store.find(Prompt, {row.prompt for row in rows})
    answers = lab.store.find(Response, {side for row in rows for side in (row.chosen, row.rejected)})
    made: list[Any] = [
        sides(chat, prompts[row.prompt], (answers[row.chosen], answers[row.rejected]), lab.recipe.training.max_length)
        for row in rows
    ]
    return [each for each in made if isinstance(each, Sides)]


def ratios(path: Path, rows: list[Sides], *, rounded: bool = False) -> list[float]:
    """log pi(chosen) - log pi(rejected) of each pair, in float32."""
    network = load_network(path, device="cpu")
    if rounded:
        network = network.bfloat16().float()
    values = dict(forward(network, rows))
    return [values[place]["chosen_logprob"] - values[place]["rejected_logprob"] for place in range(len(rows))]


def table(parts: Found) -> list[str]:
    return [
        f"{name:<18}" + ", ".join(f"{key} {value}" for key, value in row.items())
        for name, row in parts["margins"].items()
    ]


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=16, help="prompts; the quick recipe's are 16")
    parser.add_argument("--rates", type=float, nargs="+", default=[5e-6, 1e-5, 2e-5], help="learning rates")
    return parser


if __name__ == "__main__":
    benchmark = Benchmark("learning", {"margins": margins}, lambda parts: [], table)
    benchmark.main(_options(), lambda _: {name: metadata.version(name) for name in ("openrlhf", "deepspeed", "torch")})
