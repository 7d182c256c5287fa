"""The one test behind the verdict: did a signal fall by more than the margin, relative to its control?

    R = (mean signal of the last set / mean of the first) / (mean control of the last set / mean of the first)
    H0: R >= MARGIN        H1: R < MARGIN        without a control: the first ratio alone

Of each set the logarithm of mean(signal) / mean(control) is taken, with a jackknife variance over prompts, so that a
signal and its control on the same prompt may be correlated. The difference of two sets' logarithms, less log(MARGIN),
over its standard error is compared with Student's t. Its degrees of freedom are Satterthwaite's, each set's reduced
by the kurtosis of its pseudo-values: Var(s^2) = sigma^4 (kurtosis / n + 2 / (n - 1)). Without that, heavy tails reject
too often. Power is that of the same test, by the noncentral t with the same degrees of freedom.

benchmarks/statistics/power.py checks level and power by simulation; benchmarks/results/power.json holds the table.
Left out: prompts shared by two sets (sets are compared unpaired) and run-to-run variation, which one run cannot show.
Known limit: where the later set is much more skewed than the first, the test rejects too often (same table).

Every function takes arrays with any leading axes, the last axis being prompts, so that a simulation runs this code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

ALPHA = 0.05  # familywise, one-sided
LEVEL = 0.95  # of the intervals, two-sided, not corrected
MARGIN = 0.8  # a fall by less than a fifth is not called a collapse
POWER = 0.8
HALVED = 0.5  # the true ratio for which `needed` is computed
MINIMUM = 8  # prompts a set; for smaller sets the level was not verified


@dataclass(frozen=True)
class LogMean:
    """log(mean signal), less log(mean control) where there is one, of a set. Arrays or numbers.

    variance: of value. n: prompts. kurtosis: excess kurtosis of the pseudo-values, at least 0; normal values have 0.
    """

    value: Any
    variance: Any
    n: int
    kurtosis: Any


@dataclass(frozen=True)
class Comparison:
    """The last set against the first. log_ratio, error: of R. freedom: degrees of freedom. p: one-sided, of H0."""

    log_ratio: Any
    error: Any
    freedom: Any
    p: Any

    def interval(self) -> tuple[Any, Any]:
        """R's two-sided interval at LEVEL."""
        import numpy as np
        from scipy.stats import t

        width = t.ppf((1 + LEVEL) / 2, self.freedom) * self.error
        return np.exp(self.log_ratio - width), np.exp(self.log_ratio + width)


def log_mean(signal: Any, control: Any = None, counts: Any = None, control_counts: Any = None) -> LogMean:
    """Of one set. signal, control: sums by prompt; counts: how many values each sum has (default one each).

    A number that is not finite comes out where leaving one prompt out leaves nothing above zero.
    """
    import numpy as np

    signal = np.asarray(signal, dtype=float)
    n = signal.shape[-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        value, rest = _logs(signal, counts)
        if control is not None:
            minus, minus_rest = _logs(np.asarray(control, dtype=float), control_counts)
            value, rest = value - minus, rest - minus_rest
        deviations = (n - 1) * (rest - rest.mean(axis=-1, keepdims=True))
        squares = (deviations**2).mean(axis=-1)
        squares = np.where(squares < 1e-20, 0.0, squares)  # rounding, where every prompt has one ratio
        kurtosis = (deviations**4).mean(axis=-1) / squares**2 - 3
        unbiased = ((n + 1) * kurtosis + 6) * (n - 1) / ((n - 2) * (n - 3)) if n > 3 else kurtosis * 0
    return LogMean(value, squares / (n - 1), n, np.where(squares == 0, 0.0, np.maximum(unbiased, 0.0)))


def compare(first: LogMean, last: LogMean) -> Comparison:
    """The test. p is not a number where a set has none, or neither set has any spread."""
    import numpy as np
    from scipy.stats import t

    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.sqrt(first.variance + last.variance)
        freedoms = [_set_freedom(side.n, side.kurtosis) for side in (first, last)]
        freedom = _freedom(first.variance, freedoms[0], last.variance, freedoms[1])
        ratio = last.value - first.value
        return Comparison(ratio, error, freedom, t.cdf((ratio - math.log(MARGIN)) / error, freedom))


def detectable(error: float, freedom: float, alpha: float) -> float:
    """The true R, below MARGIN, that a test at `alpha` with this standard error rejects with POWER."""
    return MARGIN * math.exp(-_distance(freedom, alpha) * error)


def needed(first: LogMean, last: LogMean, alpha: float, ratio: float = HALVED) -> int:
    """Prompts in each of two sets so that a test at `alpha` rejects with POWER where R is `ratio`, below MARGIN.

    Variance and kurtosis a prompt are taken to stay as they are. At least MINIMUM.
    """
    spreads = [(float(one.variance) * one.n, float(one.kurtosis)) for one in (first, last)]

    def enough(n: int) -> bool:
        variances = [spread / n for spread, _ in spreads]
        freedoms = [float(_set_freedom(n, kurtosis)) for _, kurtosis in spreads]
        freedom = float(_freedom(variances[0], freedoms[0], variances[1], freedoms[1]))
        return detectable(math.sqrt(sum(variances)), freedom, alpha) >= ratio

    high = MINIMUM
    while not enough(high):
        high *= 2
    low = high // 2
    while high - low > 1 and high > MINIMUM:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _logs(sums: Any, counts: Any) -> tuple[Any, Any]:
    """Logarithm of the mean, and of the mean without each prompt."""
    import numpy as np

    counts = np.ones(sums.shape[-1]) if counts is None else np.asarray(counts, dtype=float)
    total, number = sums.sum(axis=-1, keepdims=True), counts.sum()
    return np.log(total[..., 0] / number), np.log((total - sums) / (number - counts))


def _set_freedom(n: int, kurtosis: Any) -> Any:
    """Twice a variance's squared expectation over its variance; n - 1 for normal values. n values show at most n."""
    import numpy as np

    return 2 * n / (np.minimum(kurtosis, n) + 2 * n / (n - 1))


def _freedom(variance: Any, freedom: Any, other: Any, other_freedom: Any) -> Any:
    """Satterthwaite's degrees of freedom of a sum of two variances."""
    return (variance + other) ** 2 / (variance**2 / freedom + other**2 / other_freedom)


def _distance(freedom: float, alpha: float) -> float:
    """How many standard errors below MARGIN the truth must lie to be rejected with POWER."""
    from scipy.optimize import brentq
    from scipy.stats import nct, t

    critical = float(t.ppf(1 - alpha, freedom))
    return float(brentq(lambda shift: nct.sf(critical, freedom, shift) - POWER, 0.0, 4 * critical + 10))
