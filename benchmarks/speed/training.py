"""A training by the toolkit against OpenRLHF's own program with the same flags, rows and environment, on a CPU.

    python benchmarks/speed/training.py --out benchmarks/results/training.json

In turn, each in a process of its own, some rounds over; the median counts. What runs is in training_contenders.py.
Left out: GPUs; trainings of several processes.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from importlib import metadata
from statistics import median

from harness import Benchmark, Contenders, Found

run = Contenders("training_contenders.py").run
MOST = 1.10  # times bare OpenRLHF


def dpo(options: argparse.Namespace) -> Found:
    """Seconds of both in every round, each round on a store of its own; the weights must be the same."""
    found: Found = {"rounds": []}
    for _ in range(options.rounds):
        folder = tempfile.mkdtemp(prefix="training-benchmark-")
        asked = {"pairs": options.pairs, "folder": folder, "dtype": "auto"}
        ours, bare = run("toolkit", **asked), run("bare", **asked)
        shutil.rmtree(folder)
        if ours["weights"] != bare["weights"]:
            raise SystemExit(f"the checkpoints differ: {ours} {bare}")
        found["rounds"].append({"toolkit": ours, "bare": bare, "ratio": round(ours["seconds"] / bare["seconds"], 3)})
    return found | {"ratio": round(median(one["ratio"] for one in found["rounds"]), 3)}


def dtypes(options: argparse.Namespace) -> Found:
    """Seconds of the toolkit's training in bfloat16 and in float32, side by side."""
    found: Found = {}
    for dtype in ("bfloat16", "float32"):
        folder = tempfile.mkdtemp(prefix="training-benchmark-")
        found[dtype] = run("toolkit", pairs=options.pairs, folder=folder, dtype=dtype)
        shutil.rmtree(folder)
    found["float32_over_bfloat16"] = round(found["float32"]["seconds"] / found["bfloat16"]["seconds"], 3)
    return found


def targets(parts: Found) -> list[tuple[str, float, bool]]:
    if "dpo" not in parts:
        return []
    ratio = parts["dpo"]["ratio"]
    return [(f"a training takes at most {MOST} times bare OpenRLHF's time", ratio, ratio <= MOST)]


def table(parts: Found) -> list[str]:
    dtypes = parts.get("dtypes", {})
    ratio = [f"float32 takes {dtypes['float32_over_bfloat16']} times bfloat16's time"] if dtypes else []
    return ratio + [
        f"{one['ratio']} times: {one['toolkit']['seconds']} s, of which {one['toolkit']['start_seconds']} s before the "
        f"first step, against {one['bare']['seconds']} s; {one['bare']['rows']} rows"
        for one in parts.get("dpo", {}).get("rounds", ())
    ]


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=16, help="pairs before the token gate; the quick recipe's are 16")
    parser.add_argument("--rounds", type=int, default=3, help="of toolkit and bare in turn")
    return parser


if __name__ == "__main__":
    benchmark = Benchmark("training", {"dpo": dpo, "dtypes": dtypes}, targets, table)
    benchmark.main(_options(), lambda _: {name: metadata.version(name) for name in ("openrlhf", "deepspeed", "torch")})
