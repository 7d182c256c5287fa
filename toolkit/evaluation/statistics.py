"""Intervals and paired tests on per-item results. Everything random is seeded; the global generators are not touched.

    interval      Wilson for items that are 0 or 1, else a percentile bootstrap of the mean
    paired        two models on the same items: McNemar's exact test for 0 and 1, else a paired bootstrap
    holm          p-values of one table, corrected for their number (Holm 1979)

Items are taken as independent draws. Left out: clustered items, and several runs (seeds) of one model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LEVEL = 0.95
RESAMPLES = 10_000
SEED = 20250805


@dataclass(frozen=True)
class Interval:
    """Mean of n items with its interval at LEVEL."""

    value: float
    low: float
    high: float
    n: int
    method: str


@dataclass(frozen=True)
class Paired:
    """b minus a over the n items that both have: difference, its interval, and the p-value of no difference."""

    difference: float
    low: float
    high: float
    p: float
    n: int
    test: str


def interval(values: Sequence[float], seed: int = SEED) -> Interval:
    """The mean and its interval. Raises ValueError where there are no values."""
    if not values:
        raise ValueError("no values, no interval")
    n, mean = len(values), sum(values) / len(values)
    if _binary(values):
        from scipy.stats import binomtest

        found = binomtest(round(sum(values)), n).proportion_ci(LEVEL, "wilson")
        return Interval(mean, float(found.low), float(found.high), n, "Wilson")
    low, high = _bootstrap(values, seed)
    return Interval(mean, low, high, n, f"bootstrap of {RESAMPLES}, seed {seed}")


def paired(a: Mapping[str, float], b: Mapping[str, float], seed: int = SEED) -> Paired:
    """Two models on the same items, by question. Raises ValueError where they share none."""
    shared = sorted(set(a) & set(b))
    if not shared:
        raise ValueError("no item in common, nothing to compare")
    differences = [b[question] - a[question] for question in shared]
    mean = sum(differences) / len(shared)
    low, high = _bootstrap(differences, seed)
    if _binary([a[q] for q in shared]) and _binary([b[q] for q in shared]):
        return Paired(mean, low, high, mcnemar(differences), len(shared), "McNemar, exact")
    p = _sign_flips(differences, seed)
    return Paired(mean, low, high, p, len(shared), f"sign flips of {RESAMPLES}, seed {seed}")


def mcnemar(differences: Sequence[float]) -> float:
    """Exact two-sided p-value: of the items that changed, as many for the better as for the worse."""
    from scipy.stats import binomtest

    better, worse = sum(d > 0 for d in differences), sum(d < 0 for d in differences)
    return float(binomtest(better, better + worse, 0.5).pvalue) if better + worse else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Each p-value corrected for all of them, in their order."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected, most = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        most = max(most, min(1.0, p_values[place] * (len(p_values) - rank)))
        corrected[place] = most
    return corrected


def _binary(values: Sequence[float]) -> bool:
    return all(value in (0.0, 1.0) for value in values)


def _bootstrap(values: Sequence[float], seed: int) -> tuple[float, float]:
    """Percentile interval of the mean of items drawn with replacement."""
    import numpy as np

    numbers = np.sort(np.asarray(values, dtype=float))  # whatever order the items came in
    generator = np.random.default_rng(seed)
    means = np.array([generator.choice(numbers, len(numbers)).mean() for _ in range(RESAMPLES)])
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _sign_flips(differences: Sequence[float], seed: int) -> float:
    """Two-sided p-value of a mean of zero: how often random signs give a mean as far from it."""
    import numpy as np

    numbers = np.asarray(differences, dtype=float)
    generator = np.random.default_rng(seed)
    far = 0
    for _ in range(RESAMPLES):
        signs = generator.integers(0, 2, len(numbers)) * 2 - 1
        far += abs((numbers * signs).mean()) >= abs(numbers.mean()) - 1e-12
    return (far + 1) / (RESAMPLES + 1)
