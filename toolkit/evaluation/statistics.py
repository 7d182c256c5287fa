"""Intervals and paired tests on per-item results. Everything random is seeded; the global generators are not touched.

    interval      Wilson for items that are 0 or 1, else a t interval widened towards the longer tail
    paired        two models on the same items: McNemar's exact test for 0 and 1, else sign flips
    holm          p-values of one family, corrected for their number (Holm 1979)

The t interval: benchmarks/statistics/coverage.py measures its coverage (benchmarks/results/coverage.json). It is at
least 0.93 from 3 items on for normal, uniform and exponential values and for scores whose range is known; it is less
for tails as heavy as a lognormal's. With two items nothing is known of the skewness, and nothing is promised.

Items are taken as independent draws. Left out: several runs (seeds) of one model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

LEVEL = 0.95
RESAMPLES = 10_000
SEED = 20250805
T_LEVEL = 0.955  # of the t quantile, and how many times Johnson's shift is added: chosen by coverage.py
SHIFTS = 2.0
EXACT = 13  # differences up to which all sign flips are taken
WILSON, WIDENED = "Wilson", "t, widened for skewness"
EQUAL, NO_INTERVAL = "all {n} values equal; the range of the scale alone", "no interval: "
Bounds = tuple[float, float]  # the smallest and the largest value that an item can have


@dataclass(frozen=True)
class Interval:
    """A value of n items with its interval at LEVEL. low, high: None where there is no interval; method says why."""

    value: float
    low: float | None
    high: float | None
    n: int
    method: str


@dataclass(frozen=True)
class Paired:
    """b minus a over the n items that both have: the difference, its interval (or None), the p-value of no difference.

    test: how p was computed. method: how the interval was, or why there is none.
    """

    difference: float
    low: float | None
    high: float | None
    p: float
    n: int
    test: str
    method: str = ""


def interval(values: Sequence[float], bounds: Bounds | None = None) -> Interval:
    """The mean and its interval. bounds: the range of an item's value, where it is known.

    Raises ValueError where there are no values.
    """
    if not values:
        raise ValueError("no values, no interval")
    n, mean = len(values), math.fsum(values) / len(values)
    if not math.isfinite(mean):
        return Interval(mean, None, None, n, f"{NO_INTERVAL}not all values are finite")
    if binary(values):
        return Interval(mean, *_wilson(sum(value == 1.0 for value in values), n), n, WILSON)
    if bounds and not bounds[0] <= min(values) <= max(values) <= bounds[1]:
        bounds = None
    if min(values) == max(values):
        return _all_equal(float(values[0]), n, bounds)
    low, high = _widened_t(values)
    if bounds:
        low, high = max(low, bounds[0]), min(high, bounds[1])
    return Interval(mean, low, high, n, WIDENED)


def paired(a: Mapping[str, float], b: Mapping[str, float], bounds: Bounds | None = None) -> Paired:
    """Two models on the same items, by question. Raises ValueError where they share none."""
    shared = sorted(set(a) & set(b))
    if not shared:
        raise ValueError("no item in common, nothing to compare")
    differences = [b[question] - a[question] for question in shared]
    mean = math.fsum(differences) / len(shared)
    if binary([a[q] for q in shared]) and binary([b[q] for q in shared]):
        low, high = _bonett_price(differences)
        return Paired(mean, low, high, mcnemar(differences), len(shared), "McNemar, exact", "Bonett-Price")
    width = bounds[1] - bounds[0] if bounds else None
    span = interval_of_differences(differences, width)
    p, test = sign_flips(differences)
    return Paired(mean, span.low, span.high, p, len(shared), test, span.method)


def interval_of_differences(differences: Sequence[float], width: float | None = None) -> Interval:
    """As `interval`, of differences between values of one scale; width: of that scale, where it is known."""
    if min(differences) == max(differences):
        return _all_equal(differences[0], len(differences), None if width is None else (-width, width))
    low, high = _widened_t(differences)
    if width is not None:
        low, high = max(low, -width), min(high, width)
    return Interval(math.fsum(differences) / len(differences), low, high, len(differences), WIDENED)


def mcnemar(differences: Sequence[float]) -> float:
    """Exact two-sided p-value: of the items that changed, as many for the better as for the worse."""
    from scipy.stats import binomtest

    better, worse = sum(d > 0 for d in differences), sum(d < 0 for d in differences)
    return float(binomtest(better, better + worse, 0.5).pvalue) if better + worse else 1.0


def sign_flips(differences: Sequence[float], seed: int = SEED) -> tuple[float, str]:
    """Two-sided p-value of a mean of zero, and how computed: all signs of up to EXACT differences, or drawn."""
    import numpy as np

    numbers = np.asarray([difference for difference in differences if difference], dtype=float)
    if not len(numbers):
        return 1.0, "sign flips, exact"
    far = abs(numbers.sum()) - 1e-9 * np.abs(numbers).sum()
    if len(numbers) <= EXACT:
        signs = np.array(list(product((-1.0, 1.0), repeat=len(numbers))))
        return float((np.abs(signs @ numbers) >= far).mean()), "sign flips, exact"
    generator, hits = np.random.default_rng(seed), 0
    for count in slices(len(numbers)):
        signs = generator.integers(0, 2, (count, len(numbers)), dtype=np.int8) * 2.0 - 1.0
        hits += int((np.abs(signs @ numbers) >= far).sum())
    return (hits + 1) / (RESAMPLES + 1), f"sign flips of {RESAMPLES}, seed {seed}"


def holm(p_values: Sequence[float]) -> list[float]:
    """Each p-value corrected for all of them, in their order."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected, most = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        most = max(most, min(1.0, p_values[index] * (len(p_values) - rank)))
        corrected[index] = most
    return corrected


def binary(values: Sequence[float]) -> bool:
    return all(value in (0.0, 1.0) for value in values)


def slices(width: int) -> list[int]:
    """RESAMPLES in parts whose matrices of this width stay small."""
    size = max(1, 4_000_000 // max(1, width))
    return [min(size, RESAMPLES - start) for start in range(0, RESAMPLES, size)]


def _wilson(successes: int, n: int) -> tuple[float, float]:
    from scipy.stats import binomtest

    span = binomtest(successes, n).proportion_ci(LEVEL, "wilson")
    return float(span.low), float(span.high)


def _all_equal(value: float, n: int, bounds: Bounds | None) -> Interval:
    """All values alike: the data bound the share of other values alone, and the scale how far off those can be.

    At least a share p of values is as high as this one, with p to the power of n = (1 - LEVEL) / 2; the rest may be at
    the scale's lowest. The same upwards. At the end of a scale this is Clopper and Pearson's interval.
    """
    if bounds is None:
        return Interval(value, None, None, n, f"{NO_INTERVAL}all {n} values are equal, and the scale has no known ends")
    other = 1 - ((1 - LEVEL) / 2) ** (1 / n)
    low, high = value - (value - bounds[0]) * other, value + (bounds[1] - value) * other
    return Interval(value, low, high, n, EQUAL.format(n=n))


def _widened_t(values: Sequence[float]) -> tuple[float, float]:
    """t's interval, its end on the side of the longer tail moved outwards by SHIFTS of Johnson's (1978) skewness term.

    Johnson moves both ends, which loses the short side where the skewness of a few values is itself noise.
    """
    import numpy as np
    from scipy.stats import t

    numbers = np.asarray(values, dtype=float)
    n, mean, sd = len(numbers), float(numbers.mean()), float(numbers.std(ddof=1))
    quantile = float(t.ppf((1 + T_LEVEL) / 2, n - 1))
    skewness = _skewness((numbers - mean) / sd) if n > 2 else 0.0
    shift = SHIFTS * skewness * sd / n * (1 / 6 + quantile**2 / 3)
    reach = quantile * sd / math.sqrt(n)
    return mean + min(shift, 0.0) - reach, mean + max(shift, 0.0) + reach


def _skewness(standardized: Any) -> float:
    n = len(standardized)
    return float((standardized**3).sum()) * n / ((n - 1) * (n - 2))


def _bonett_price(differences: Sequence[float]) -> tuple[float, float]:
    """Of paired 0/1 items: Wald's interval with one more item changed each way (Bonett and Price 2012)."""
    from scipy.stats import norm

    n = len(differences) + 2
    better, worse = (sum(d > 0 for d in differences) + 1) / n, (sum(d < 0 for d in differences) + 1) / n
    middle = better - worse
    reach = float(norm.ppf((1 + LEVEL) / 2)) * math.sqrt((better + worse - middle**2) / n)
    return max(-1.0, middle - reach), min(1.0, middle + reach)
