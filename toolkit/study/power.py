"""The power of a study: of one test (exact sign flips over seeds, at the level of Holm's first step) and of its claim.

Differences are simulated as independent normal draws, one a seed, with standard deviation 1. An effect is therefore
d_z: the mean difference in standard deviations over seeds. A claim needs every endpoint under every condition of the
claim, and a negative control that excludes half of the effect: it mostly takes a larger effect than one test.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from itertools import product
from typing import Any

from toolkit.evaluation.statistics import EXACT, SEED, SHIFTS, T_LEVEL
from toolkit.study.declaration import ALPHA, Declaration

DRAWS = 4000  # simulated studies; the standard error of a power of 0.8 is 0.006
LARGEST = 20.0  # standard deviations; a larger effect is not looked for
STUDIES = 1000  # simulated for a claim: each result of a condition meets each interval of the negative control
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
    if seeds > EXACT:
        return _bisect(_t_power(seeds, alpha / tests), power)
    flips = _Flips(_draws(DRAWS, seeds))
    return _bisect(lambda effect: float((flips.p(effect) < alpha / tests).mean()), power)


def claim_power(declaration: Declaration, effect: float, seeds: int | None = None, draws: int = STUDIES) -> float:
    """The probability that the declared claim is made, by a seeded simulation. seeds: those declared if left out.

    Every endpoint under every condition of the claim has the true effect d_z; the negative control has none; all have
    one standard deviation and are independent, as far as the rule (claim.py) lets them be. p is that of exact sign
    flips up to EXACT seeds, beyond it that of the paired t-test. Raises ValueError where no claim was declared.
    """
    key = _key(declaration, len(declaration.seeds) if seeds is None else seeds)
    return _Claim(*key, draws).power(effect) if _reachable(key) else 0.0


def claim_detectable(declaration: Declaration, seeds: int | None = None, power: float = 0.8) -> float | None:
    """The effect d_z at which the declared claim is made with this power, as `claim_power` has it; None for never."""
    if not 0 < power < 1:
        raise ValueError(f"power = {power!r}; it must lie between 0 and 1")
    return _of_claim(_key(declaration, len(declaration.seeds) if seeds is None else seeds), power)[0]


def claim_power_text(declaration: Declaration) -> str:
    """The effect at which the whole claim has 80 % power, its power at the effect of one test, and what is assumed.

    "" where no claim was declared, or where the declared seeds are too few for any.
    """
    if not declaration.claim_conditions:
        return ""
    seeds = len(declaration.seeds)
    effect, at_single = _of_claim(_key(declaration, seeds), 0.8)
    single = detectable(seeds, len(declaration.endpoints))
    if effect is None or single is None:
        return ""
    conditions, negative = ", ".join(filter(None, declaration.claim_conditions)), declaration.negative
    rule = ", ".join(declaration.endpoints) + (f" under {conditions}" if conditions else "") + ", each"
    rule += f"; {declaration.ruling} under {negative} below half of it" if negative else ""
    assumed = f", no effect under {negative}" if negative else ""
    return (
        f"with {seeds} seeds the whole claim ({rule}) has 80 % power at {effect:.2f} standard deviations over seeds; "
        f"at {single:.2f}, where one endpoint alone has 80 %, it has {100 * at_single:.0f} % (simulated: endpoints and "
        f"conditions are independent, all have one effect and one standard deviation{assumed})"
    )


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
            f"power, one endpoint: a mean difference of {effect:.2f} standard deviations over seeds"
        )
        lines += filter(None, [claim_power_text(declaration)])
    return "\n".join(lines)


class _Flips:
    """p-values of exact sign flips, of these rows of differences with any effect added. noise: a row a test."""

    def __init__(self, noise: Any) -> None:
        import numpy as np

        seeds = noise.shape[1]  # a flip and its opposite give one absolute sum: half of all flips is enough
        signs = np.array(list(product((-1.0, 1.0), repeat=seeds - 1)), dtype=np.float32)
        signs = np.hstack([np.ones((len(signs), 1), dtype=np.float32), signs])
        self._seeds, self._tilt = seeds, signs.sum(axis=1)
        parts = [noise[start : start + _SLICE] for start in range(0, len(noise), _SLICE)]
        self._flipped = [(part @ signs.T, part.sum(axis=1)) for part in parts]

    def p(self, effect: float) -> Any:
        """The p-value of each row with this effect."""
        import numpy as np

        shares = []
        for flipped, total in self._flipped:
            observed = np.abs(total + np.float32(effect * self._seeds)) * np.float32(1 - 1e-5)
            as_far = np.abs(flipped + np.float32(effect) * self._tilt) >= observed[:, None]
            shares.append(as_far.mean(axis=1))
        return np.concatenate(shares)


class _Claim:
    """Simulated studies of one declared claim, the same ones for every effect.

    Conditions are alike and independent: of one condition of the claim each simulated result meets each simulated
    interval of the negative control, and given that interval all conditions hold with the same probability.
    """

    def __init__(self, seeds: int, tests: int, conditions: int, negative: bool, draws: int) -> None:
        noise = _draws((1 + tests) * draws, seeds)
        own = noise[draws:]
        self._tests, self._conditions, self._draws = tests, conditions, draws
        self._p = _Flips(own).p if seeds <= EXACT else functools.partial(_t_p, own)
        self._means = own.mean(axis=1).reshape(tests, draws)
        self._highs = upper_ends(noise[:draws]) if negative else None

    def power(self, effect: float) -> float:
        """The probability of the claim at this effect."""
        import numpy as np

        p = np.sort(self._p(effect).reshape(self._tests, self._draws), axis=0)
        means = self._means + effect
        steps = np.arange(self._tests, 0, -1)[:, None]  # Holm: the least p times all tests, the next times one less
        holds = (p * steps < ALPHA).all(axis=0) & (means > 0).all(axis=0)
        if self._highs is None:
            return float(holds.mean() ** self._conditions)
        halves = np.sort(means[0][holds] / 2)
        shares = (len(halves) - np.searchsorted(halves, self._highs, side="right")) / self._draws
        return float((shares**self._conditions).mean())


def upper_ends(rows: Any) -> Any:
    """The upper ends of `interval_of_differences` of these rows, all at once."""
    import numpy as np
    from scipy.stats import t

    numbers = np.asarray(rows, dtype=float)
    n, means, sds = numbers.shape[1], numbers.mean(axis=1), numbers.std(axis=1, ddof=1)
    quantile = float(t.ppf((1 + T_LEVEL) / 2, n - 1))
    skewness = (((numbers - means[:, None]) / sds[:, None]) ** 3).sum(axis=1) * n / ((n - 1) * (n - 2))
    shift = SHIFTS * skewness * sds / n * (1 / 6 + quantile**2 / 3)
    return means + np.maximum(shift, 0.0) + quantile * sds / math.sqrt(n)


def _draws(rows: int, seeds: int) -> Any:
    import numpy as np

    return np.random.default_rng(SEED).standard_normal((rows, seeds)).astype(np.float32)


def _t_p(rows: Any, effect: float) -> Any:
    """Two-sided p-values of the paired t-test, of these rows with this effect."""
    import numpy as np
    from scipy.stats import t

    ratio = (rows.mean(axis=1) + effect) / (rows.std(axis=1, ddof=1) / math.sqrt(rows.shape[1]))
    return 2 * t.sf(np.abs(ratio), rows.shape[1] - 1)


_Key = tuple[int, int, int, bool]  # seeds, endpoints, conditions of the claim, whether there is a negative control


def _key(declaration: Declaration, seeds: int) -> _Key:
    if not declaration.claim_conditions:
        raise ValueError("no claim was declared, so it has no power")
    return seeds, len(declaration.endpoints), len(declaration.claim_conditions), bool(declaration.negative)


def _reachable(key: _Key) -> bool:
    return least_p(key[0]) * key[1] < ALPHA


@functools.lru_cache(maxsize=64)
def _of_claim(key: _Key, power: float) -> tuple[float | None, float]:
    """The effect at which the claim has this power, and its power at the effect of one test."""
    single = detectable(key[0], key[1])
    if single is None:
        return None, 0.0
    claim = _Claim(*key, STUDIES)
    return _bisect(claim.power, power), claim.power(single)


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
