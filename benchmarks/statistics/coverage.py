"""How often the toolkit's 95 % intervals hold the true value, by simulation: benchmarks/results/coverage.json.

    python -m benchmarks.statistics.coverage

Means of 3 to 64 items: normal, uniform, exponential and lognormal values, a judge's points from 0 to 5 (spread, and
saturated at 5) and shares near both ends of their scale; 0/1 items; f1 resampled through its formula. `plain_t` is
Student's interval, `percentile` the bootstrap that the toolkit used before. Columns: coverage, and the median width.

Source of the correction: Johnson (1978), Modified t tests and confidence intervals for asymmetrical populations.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t

from toolkit.evaluation.aggregation import resampled
from toolkit.evaluation.statistics import LEVEL, SHIFTS, T_LEVEL, Bounds, Interval, interval

RESULT = Path(__file__).parents[1] / "results" / "coverage.json"
SIZES = (3, 4, 5, 6, 8, 12, 16, 64)
SPREAD, SATURATED = (0.02, 0.05, 0.13, 0.30, 0.35, 0.15), (0.0, 0.0, 0.02, 0.08, 0.2, 0.7)
Draw = Callable[[Any, int], Any]
SHAPES: dict[str, tuple[Draw, float, Bounds | None]] = {
    "normal": (lambda g, n: g.normal(0, 1, n), 0.0, None),
    "uniform": (lambda g, n: g.random(n), 0.5, None),
    "exponential": (lambda g, n: g.exponential(1, n), 1.0, None),
    "lognormal": (lambda g, n: g.lognormal(0, 1, n), math.exp(0.5), None),
    "points, spread": (lambda g, n: g.choice(6, n, p=SPREAD) * 1.0, float(np.dot(range(6), SPREAD)), (0.0, 5.0)),
    "points at the top": (
        lambda g, n: g.choice(6, n, p=SATURATED) * 1.0,
        float(np.dot(range(6), SATURATED)),
        (0.0, 5.0),
    ),
    "shares near both ends": (lambda g, n: g.beta(0.5, 0.5, n), 0.5, (0.0, 1.0)),
    "right or wrong, 0.9": (lambda g, n: (g.random(n) < 0.9) * 1.0, 0.9, None),
}


def coverage(samples: int, seed: int) -> list[dict[str, Any]]:
    """A row for each shape and size."""
    rows = []
    for shape, (draw, mean, bounds) in SHAPES.items():
        for n in SIZES:
            generator = np.random.default_rng([seed, n])
            drawn = [draw(generator, n) for _ in range(samples)]
            toolkit = _summary([interval([float(x) for x in one], bounds) for one in drawn], mean)
            plain = _summary([plain_t(one) for one in drawn], mean)
            old = _summary([percentile(one, generator) for one in drawn[: samples // 10]], mean)
            rows.append({"shape": shape, "n": n, **toolkit, "plain_t": plain, "percentile": old})
    return rows


def f1_coverage(samples: int, seed: int) -> list[dict[str, Any]]:
    """f1 of items of which 40 % are positive, 70 % of those found and 20 % of the others taken for positive."""
    truth, rows = 2 * 0.28 / (2 * 0.28 + 0.12 + 0.12), []
    for n in (16, 50):
        generator = np.random.default_rng([seed, n])
        spans = []
        for _ in range(samples):
            gold = generator.random(n) < 0.4
            said = np.where(gold, generator.random(n) < 0.7, generator.random(n) < 0.2)
            spans.append(resampled("f1", list(zip(gold.astype(int), said.astype(int), strict=True))))
        rows.append({"metric": "f1", "n": n, **_summary(spans, truth)})
    return rows


def plain_t(values: Any) -> Interval:
    reach = t.ppf((1 + LEVEL) / 2, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    return Interval(values.mean(), values.mean() - reach, values.mean() + reach, len(values), "t")


def percentile(values: Any, generator: Any) -> Interval:
    means = values[generator.integers(0, len(values), (1000, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(values.mean(), low, high, len(values), "percentile")


def _summary(spans: list[Interval], mean: float) -> dict[str, float]:
    """Coverage of the intervals that there are, their share, and their median width."""
    ends = [(span.low, span.high) for span in spans if span.low is not None and span.high is not None]
    held = [low - 1e-9 <= mean <= high + 1e-9 for low, high in ends]
    return {
        "coverage": round(float(np.mean(held)), 4),
        "with_interval": round(len(ends) / len(spans), 4),
        "width": round(float(np.median([high - low for low, high in ends])), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULT)
    settings = parser.parse_args()
    result = {
        "command": f"python -m benchmarks.statistics.coverage --samples {settings.samples} --seed {settings.seed}",
        "level": LEVEL,
        "method": {"t_level": T_LEVEL, "shifts": SHIFTS},
        "means": coverage(settings.samples, settings.seed),
        "resampled": f1_coverage(min(settings.samples, 200), settings.seed),
    }
    settings.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for row in result["means"]:
        print(f"{row['shape']:22} n {row['n']:3}  {row['coverage']:.3f}  t {row['plain_t']['coverage']:.3f}")


if __name__ == "__main__":
    main()
