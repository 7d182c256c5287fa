"""Exact gradient norms of pairs, and likelihoods with similarities, against plain passes and per-sample gradients.

    python benchmarks/speed/diagnostics.py --out benchmarks/results/diagnostics.json

SmolLM2-135M on random tokens. Contenders of `turns` and `forward` take turns batch by batch in one process, so that
whatever else runs on the machine meets all of them. In `alone` each has a process of its own, for its peak memory.
What gives norms must give the same ones. What runs is in diagnostics_contenders.py. Left out: other models.

Opacus takes part where --opacus names a Python that has it (python -m venv D; D/bin/pip install opacus transformers).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from importlib import metadata

from harness import Benchmark, Contenders, Found

TURNS = ("exact", "plain", "plain_all")
PASSES = ("metrics", "passes")
TOLERANCE = 1e-4
SCRIPT = "diagnostics_contenders.py"
run = Contenders(SCRIPT).run


def turns(options: argparse.Namespace) -> Found:
    """Norms of the directional gradient against forward and backward passes that give none."""
    return _turns(TURNS, options.rounds, _asked(options) | {"pairs": options.pairs})


def forward(options: argparse.Namespace) -> Found:
    """Log-probabilities, cosines at four depths and CHES against forward passes that give nothing of it."""
    return _turns(PASSES, 1, _asked(options) | {"pairs": options.read})


def alone(options: argparse.Namespace) -> Found:
    """Each contender's peak memory, on a share of the pairs; seconds are scaled by their number.

    The three run the first, longest batch; the others, a pair at a time, a share with lengths spread as in the whole.
    """
    asked = _asked(options) | {"pairs": options.pairs}
    found = {name: run(name, **asked, most=options.first) for name in TURNS}
    for name, pairs in {"each": options.each, "vmap": options.few, "opacus": options.few}.items():
        python = options.opacus if name == "opacus" else sys.executable
        if python:
            share = asked | {"every": max(1, options.pairs // pairs), "most": pairs}
            found[name] = _compared(name, Contenders(SCRIPT, python, may_fail=name != "each"), share)
    return {name: _scaled(name, one, options.pairs) for name, one in found.items()}


def _asked(options: argparse.Namespace) -> Found:
    return {"prompt": options.prompt, "answer": options.answer, "budget": options.budget}


def _turns(names: tuple[str, ...], count: int, asked: Found) -> Found:
    """Rounds of those that take turns, and the first's ratio to each other one."""
    rounds = [run(",".join(names), **asked) for _ in range(count)]
    found: Found = {field: rounds[0][field] for field in ("measured_pairs", "tokens")}
    for name in names:
        each = [one["contenders"][name] for one in rounds]
        found[name] = {field: [round(one[field], 2) for one in each] for field in ("seconds", "cpu_seconds")}
    found["ratios"] = {
        f"{names[0]} / {name}, {field}": [
            round(a / b, 3) for a, b in zip(found[names[0]][field], found[name][field], strict=True)
        ]
        for name in names[1:]
        for field in ("seconds", "cpu_seconds")
    }
    return found


def _compared(name: str, contenders: Contenders, share: Found) -> Found:
    """With the largest relative difference of its norms from the toolkit's on the same pairs."""
    found = contenders.run(name, **share)
    if "contenders" in found:
        mine = run("exact", **share)["contenders"]["exact"]["norms"]
        both = zip(sorted(mine), sorted(found["contenders"][name]["norms"]), strict=True)
        found["norms_differ_by"] = max(abs(a - b) / a for a, b in both)
    return found


def _scaled(name: str, found: Found, pairs: int) -> Found:
    if "contenders" not in found:
        return found
    seconds = found["contenders"][name]["seconds"]
    rest = {key: value for key, value in found.items() if key != "contenders"}
    scaled = {"seconds": round(seconds * pairs / found["measured_pairs"], 2), "measured_seconds": round(seconds, 2)}
    return scaled | rest


def targets(parts: Found) -> list[tuple[str, float, bool]]:
    made = []
    for name in TURNS[1:] if "turns" in parts else ():
        ratio = _middle(parts["turns"]["ratios"][f"exact / {name}, seconds"])
        made.append((f"exact norms in at most the time of {name}", ratio, ratio <= 1))
    for name in PASSES[1:] if "forward" in parts else ():
        rate = round(1 / _middle(parts["forward"]["ratios"][f"metrics / {name}, seconds"]), 3)
        made.append((f"likelihoods and similarities at 0.8 or more of the token rate of {name}", rate, rate >= 0.8))
    if "alone" in parts:
        worst = parts["alone"]["each"]["norms_differ_by"]
        made.append((f"norms within {TOLERANCE} of one backward pass a pair", worst, worst <= TOLERANCE))
    return made


def table(parts: Found) -> list[str]:
    lines = []
    for part in ("turns", "forward"):
        for name, each in parts.get(part, {}).get("ratios", {}).items():
            lines.append(f"{name:<36}{_middle(each):>8}   {each}")
    for name, found in parts.get("alone", {}).items():
        lines.append(f"{name:<12}" + ", ".join(f"{key} {value}" for key, value in found.items()))
    return lines


def _middle(each: list[float]) -> float:
    return sorted(each)[len(each) // 2]


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=32, help="turns and alone: pairs")
    parser.add_argument("--read", type=int, default=1000, help="forward: pairs")
    parser.add_argument("--prompt", type=int, nargs=2, default=[20, 50], help="least and most tokens of a prompt")
    parser.add_argument("--answer", type=int, nargs=2, default=[50, 100], help="least and most tokens of an answer")
    parser.add_argument("--budget", type=int, default=2048, help="tokens of a batch, padding included")
    parser.add_argument("--rounds", type=int, default=3, help="turns: rounds, of which the median counts")
    parser.add_argument("--first", type=int, default=6, help="alone: pairs of those that take a batch")
    parser.add_argument("--each", type=int, default=8, help="alone: pairs of one backward pass each")
    parser.add_argument("--few", type=int, default=2, help="alone: pairs of torch.func and Opacus")
    parser.add_argument("--opacus", default="", help="a Python that has Opacus beside torch and transformers")
    return parser


def _peers(options: argparse.Namespace) -> dict[str, str]:
    return {"torch": metadata.version("torch"), "opacus": _opacus_version(options.opacus)}


def _opacus_version(python: str) -> str:
    if not python:
        return "not measured: --opacus names no Python that has it"
    command = [python, "-c", "from importlib import metadata; print(metadata.version('opacus'))"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    parts = {one.__name__: one for one in (turns, forward, alone)}
    Benchmark("diagnostics", parts, targets, table).main(_options(), _peers)
