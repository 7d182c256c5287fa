"""The power of a study's test: exact sign flips over seeds, at the level that Holm's first step leaves to each test.

Differences are simulated as independent normal draws, one a seed, with standard deviation 1. An effect is therefore
d_z: the mean difference in standard deviations over seeds.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from itertools import product
from typing import Any

from toolkit.evaluation.statistics import EXACT, SEED
from toolkit.study.declaration import ALPHA, Declaration

DRAWS = 4000  # simulated studies; the standard error of a power of 0.8 is 0.006
LARGEST = 20.0  # standard deviations; a larger effect is not looked for
STEPS = 14  # bisections: the effect is exact to LARGEST / 2**STEPS
_SLICE = 500  # simulated studies whose sign flips are in memory at once


def least_p(seeds: int) -> float:
    """The least two-sided p-value that sign flips of so many differences can give."""
    return min(1.0, 2.0 ** (1 - seeds))


def least_seeds(tests: int, alpha: float = ALPHA) -> int:
    """The fewest seeds with which one of so many tests can fall below alpha after Holm's correction.

    Raises ValueError for no tests, or for an alpha outside of 0 to 1.
    """
    _check(tests, alpha)
    return next(seeds for seeds in range(1, 1100) if least_p(seeds) * tests < alpha)


@functools.lru_cache(maxsize=64)
def detectable(seeds: int, tests: int, alpha: float = ALPHA, power: float = 0.8) -> float | None:
    """The effect d_z, in standard deviations over seeds, that the test finds with this power; None if none can be.

    tests: the size of the Holm family; each test is taken at alpha / tests, as Holm's first step takes the smallest p.
    Up to EXACT = 13 seeds the power is that of the exact sign-flip test, by a seeded simulation of DRAWS studies.
    Beyond, it is that of the paired t-test from the noncentral t distribution: sign flips are then drawn at random, and
    their power is close to it. At fewer seeds the t-test would promise too much: 6 seeds, one test, 1.44 instead of
    1.79. Raises ValueError as `least_seeds`.
    """
    _check(tests, alpha)
    if not 0 < power < 1:
        raise ValueError(f"power = {power!r}; it must lie between 0 and 1")
    if seeds < 2 or least_p(seeds) * tests >= alpha:
        return None
    return _bisect(_Flips(seeds, alpha / tests).power if seeds <= EXACT else _t_power(seeds, alpha / tests), power)


def power_text(declaration: Declaration) -> str:
    """For a plan: the declared tests, their least p, and the effect that they detect or the seeds that they need."""
    seeds, tests = len(declaration.seeds), len(declaration.endpoints)
    if not tests:
        return "no tests were declared: the report will describe, and claim nothing"
    family = f"{declaration.treatment} minus {declaration.control} in {', '.join(declaration.endpoints)}"
    lines = [f"declared: {family}; exact sign flips over seeds, p corrected for {tests} (Holm) in each condition"]
    effect = detectable(seeds, tests)
    if effect is None:
        lines.append(
            f"{seeds} seeds cannot reach p < {ALPHA:g}: the least corrected p is {min(1, tests * least_p(seeds)):.3g}; "
            f"{least_seeds(tests)} seeds can"
        )
    else:
        lines.append(
            f"with {seeds} seeds the least corrected p is {min(1, tests * least_p(seeds)):.3g}; detectable with 80 % "
            f"power: a mean difference of {effect:.2f} standard deviations over seeds"
        )
    return "\n".join(lines)


class _Flips:
    """The power of the exact sign-flip test over simulated studies, the same ones for every effect."""

    def __init__(self, seeds: int, level: float) -> None:
        import numpy as np

        self._limit = _most_flips(level, seeds) // 2  # a flip and its opposite give one absolute sum: half is enough
        signs = np.array(list(product((-1.0, 1.0), repeat=seeds - 1)), dtype=np.float32)
        signs = np.hstack([np.ones((len(signs), 1), dtype=np.float32), signs])
        noise = np.random.default_rng(SEED).standard_normal((DRAWS, seeds)).astype(np.float32)
        self._seeds, self._tilt = seeds, signs.sum(axis=1)
        self._flipped = [(part @ signs.T, part.sum(axis=1)) for part in _parts(noise)]

    def power(self, effect: float) -> float:
        """The share of simulated studies with this effect whose p-value is below the level."""
        import numpy as np

        hits = 0
        for flipped, total in self._flipped:
            observed = np.abs(total + np.float32(effect * self._seeds)) * np.float32(1 - 1e-5)
            as_far = np.abs(flipped + np.float32(effect) * self._tilt) >= observed[:, None]
            hits += int((as_far.sum(axis=1) <= self._limit).sum())
        return hits / DRAWS


def _parts(noise: Any) -> list[Any]:
    return [noise[start : start + _SLICE] for start in range(0, len(noise), _SLICE)]


def _most_flips(level: float, seeds: int) -> int:
    """How many of all 2**seeds flips may be as far as the differences themselves, for p < level."""
    return math.ceil(level * 2.0**seeds) - 1


def _t_power(seeds: int, level: float) -> Callable[[float], float]:
    """The power of the two-sided paired t-test as a function of d_z > 0; rejections on the wrong side are left out."""
    from scipy.stats import nct, t

    quantile = float(t.ppf(1 - level / 2, seeds - 1))
    return lambda effect: float(nct.sf(quantile, seeds - 1, effect * math.sqrt(seeds)))


def _bisect(power_of: Callable[[float], float], power: float) -> float | None:
    low, high = 0.0, LARGEST
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if power_of(middle) >= power else (middle, high)
    return high if power_of(high) >= power else None


def _check(tests: int, alpha: float) -> None:
    if tests < 1:
        raise ValueError(f"tests = {tests!r}; a family has at least one test")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha = {alpha!r}; it must lie between 0 and 1")
