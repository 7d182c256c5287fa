"""What generate, judge and pair cost beside the model: the scripted engine at growing numbers of prompts.

    python benchmarks/speed/pipeline.py --out benchmarks/results/pipeline.json

Rows are answers, verdicts and pairs together, stored; the tokenizer is SmolLM2's, so rendering and encoding count too.
What runs is in pipeline_contenders.py. Left out: training, and engines that compute.
"""

from __future__ import annotations

import argparse
from importlib import metadata

from harness import Benchmark, Contenders, Found

run = Contenders("pipeline_contenders.py").run
RATE, LINEAR, AGAIN = 5000, 1.25, 5


def growth(options: argparse.Namespace) -> Found:
    """Seconds and rows a second at each number of prompts."""
    return {str(n): run("stages", prompts=n, k=options.k) for n in options.prompts}


def resumed(options: argparse.Namespace) -> Found:
    """The middle number of prompts once more, everything stored."""
    n = sorted(options.prompts)[len(options.prompts) // 2]
    return {str(n): run("resumed", prompts=n, k=options.k)}


def targets(parts: Found) -> list[tuple[str, float, bool]]:
    made: list[tuple[str, float, bool]] = []
    if "growth" in parts:
        rates = [found["rows_per_second"] for found in parts["growth"].values()]
        slower = round(max(rates) / rates[-1], 3)
        made.append((f"{RATE} rows a second at the largest number", rates[-1], rates[-1] >= RATE))
        made.append((f"at most {LINEAR} times a row's least cost at the largest number", slower, slower <= LINEAR))
    for found in parts.get("resumed", {}).values():
        made.append((f"stages that are stored in under {AGAIN} s", found["seconds"], found["seconds"] < AGAIN))
    return made


def table(parts: Found) -> list[str]:
    return [
        f"{part:<9}{n:>7} prompts: {found['seconds']:>8} s, {found['rows_per_second']} rows/s, {found['peak_mb']} MB"
        for part, by_n in parts.items()
        for n, found in by_n.items()
    ]


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--prompts", type=int, nargs="+", default=[100, 1000, 10_000], help="numbers of prompts")
    parser.add_argument("--k", type=int, default=4, help="answers a prompt")
    return parser


if __name__ == "__main__":
    benchmark = Benchmark("pipeline", {one.__name__: one for one in (growth, resumed)}, targets, table)
    benchmark.main(_options(), lambda _: {name: metadata.version(name) for name in ("duckdb", "tokenizers")})
