"""Level and power of the collapse verdict's test, by simulation.

    python benchmarks/statistics/power.py --out benchmarks/results/power.json     # a minute on one core

Every number comes from toolkit/diagnostics/ratio.py, as the verdict uses it: three signals (summary.FAMILY), each with
a control, the first set against the last, Holm over the three. Values are normal (coefficient of variation 0.25, about
that of directional norms) or lognormal with sigma 0.5 and 1.0 (heavy tails).

    false_alarms   share of runs in which any of the three tests rejects, true R at the margin or at 1, for 2 to 10
                   iterations; `verdict` is the share in which the norm's does, which alone makes a collapse
    power          with `needed` pairs a set (median of 51 runs of 256 pairs), how often a true R of 0.5 is rejected at
                   Holm's first step; the target is 0.8
    limits         the same level where the last set's values are more skewed than the first's: above 5 %

Left out: correlation between signals (it lowers the false alarms of a family) and run-to-run variation.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from toolkit.diagnostics.ratio import ALPHA, HALVED, MARGIN, compare, log_mean, needed  # noqa: E402
from toolkit.diagnostics.summary import FAMILY, STEP  # noqa: E402
from toolkit.provenance import capture  # noqa: E402
from toolkit.trust.safe_files import write_file  # noqa: E402

Row = dict[str, Any]
SEED = 20250807
VALUES = ("normal 0.25", "lognormal 0.5", "lognormal 1.0")
SIZES, ITERATIONS = (8, 16, 64, 256), (2, 4, 10)
PILOTS, PILOT = 51, 256


def draw(rng: np.random.Generator, values: str, mean: float, shape: tuple[int, ...]) -> Any:
    """Positive values of this mean: "normal CV" (cut off at a thousandth of the mean) or "lognormal SIGMA"."""
    kind, spread = values.split()
    noise = rng.standard_normal(shape, dtype=np.float32).astype(float)
    if kind == "normal":
        return mean * np.maximum(1 + float(spread) * noise, 0.001)
    return mean * np.exp(float(spread) * noise - float(spread) ** 2 / 2)


def p_values(rng: np.random.Generator, values: tuple[str, str], ratio: float, n: int, runs: int) -> Any:
    """One test in each of so many runs: values of the first and of the last set; controls are like the first set's."""
    sets = [
        log_mean(draw(rng, kind, mean, (runs, n)), draw(rng, values[0], 1.0, (runs, n)))
        for kind, mean in zip(values, (1.0, ratio), strict=True)
    ]
    return compare(*sets).p


def family(rng: np.random.Generator, values: tuple[str, str], ratio: float, n: int, runs: int) -> tuple[float, float]:
    """The share of runs with any rejection after Holm, and with one of the first signal, the norm."""
    p = np.stack([p_values(rng, values, ratio, n, runs) for _ in FAMILY])
    order = np.argsort(p, axis=0)
    steps = np.take_along_axis(p, order, axis=0) * np.arange(len(FAMILY), 0, -1)[:, None]
    rejected = np.logical_and.accumulate(steps <= ALPHA, axis=0)
    of_norm = np.take_along_axis(rejected, np.argsort(order, axis=0), axis=0)[0]
    return float(rejected[0].mean()), float(of_norm.mean())


def false_alarms(rng: np.random.Generator, runs: int, sizes: tuple[int, ...], iterations: tuple[int, ...]) -> list[Row]:
    """Sets between the first and the last are not tested, so they are not drawn: a length is an independent repeat."""
    rows = []
    for values in VALUES:
        for n in sizes:
            for ratio in (MARGIN, 1.0):
                for length in iterations:
                    share, verdict = family(rng, (values, values), ratio, n, runs)
                    row = {"values": values, "pairs": n, "iterations": length, "true_ratio": ratio}
                    rows.append(row | {"any": round(share, 4), "verdict": round(verdict, 4)})
    return rows


def power(rng: np.random.Generator, runs: int) -> list[Row]:
    rows = []
    for values in VALUES:
        pilots = [log_mean(*(draw(rng, values, 1.0, (PILOT,)) for _ in range(2))) for _ in range(2 * PILOTS)]
        n = sorted(needed(*both, STEP) for both in zip(pilots[::2], pilots[1::2], strict=True))[PILOTS // 2]
        share = float((p_values(rng, (values, values), HALVED, n, runs) <= STEP).mean())
        rows.append({"values": values, "true_ratio": HALVED, "needed": n, "rejected": round(share, 4)})
    return rows


def limits(rng: np.random.Generator, runs: int, sizes: tuple[int, ...]) -> list[Row]:
    """The level where the last set's tail is heavier than the first's."""
    rows = []
    for n in sizes:
        share, verdict = family(rng, ("lognormal 0.5", "lognormal 1.0"), MARGIN, n, runs)
        row = {"values": "lognormal 0.5, then 1.0", "pairs": n, "true_ratio": MARGIN}
        rows.append(row | {"any": round(share, 4), "verdict": round(verdict, 4)})
    return rows


def simulate(
    runs: int, sizes: tuple[int, ...] = SIZES, iterations: tuple[int, ...] = ITERATIONS
) -> dict[str, list[Row]]:
    """The three tables, each row from so many simulated runs."""
    rng = np.random.default_rng(SEED)
    return {
        "false_alarms": false_alarms(rng, runs, sizes, iterations),
        "power": power(rng, runs),
        "limits": limits(rng, runs, sizes),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=12_000, help="simulated runs for each row")
    options = parser.parse_args()
    settings = {"runs": options.runs, "seed": SEED, "alpha": ALPHA, "margin": MARGIN, "tests": len(FAMILY)}
    tables = simulate(options.runs)
    launch = capture("benchmark_power", settings)
    found = {"command": " ".join(launch.arguments), "commit": launch.commit_hash, "settings": settings, **tables}
    write_file(options.out, json.dumps(found, indent=1) + "\n")
    for name, rows in tables.items():
        print(name)
        for row in rows:
            print("  " + "  ".join(f"{key} {value}" for key, value in row.items()))


if __name__ == "__main__":
    main()
