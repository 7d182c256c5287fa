"""Metrics of lm-eval that are not means of items: f1, Matthews' correlation, perplexity. Items are resampled through
the metric's own formula, and so is the difference of two models.

Each formula is one of sums over the items of fixed features, so that all resamples are computed at once; a test holds
the formulas against lm-eval's own functions. What has no formula here (bleu, chrf, ter, a task's own function) gets no
interval, and says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from toolkit.evaluation.statistics import (
    LEVEL,
    NO_INTERVAL,
    RESAMPLES,
    SEED,
    Interval,
    Paired,
    interval,
    slices,
)

Statistic = Any  # what lm-eval aggregates of one item: (label, prediction), or a log-likelihood
Of = tuple[Callable[[Sequence[Statistic]], Any], Callable[[Any], Any]]  # items -> features; sums of them -> the metric


def aggregate(name: str, statistics: Sequence[Statistic]) -> float:
    """The metric of these items. Raises KeyError for an aggregation that is not here."""
    features, metric = AGGREGATIONS[name]
    return float(metric(features(statistics).sum(axis=0, keepdims=True))[0])


def resampled(name: str, statistics: Sequence[Statistic]) -> Interval:
    """The metric of the items with its interval."""
    import numpy as np

    value, n = aggregate(name, statistics), len(statistics)
    if name == "perplexity":  # a function of a mean, so its interval is that of the mean
        mean = interval([float(one) for one in statistics])
        if mean.low is None or mean.high is None:
            return Interval(value, None, None, n, mean.method)
        return Interval(value, math.exp(-mean.high), math.exp(-mean.low), n, f"{mean.method}, of the log-likelihoods")
    features, metric = AGGREGATIONS[name]
    values = metric(_sums(features(statistics)))
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    if low == high:
        return Interval(value, None, None, n, f"{NO_INTERVAL}every resample has the same {name}")
    return Interval(value, float(low), float(high), n, f"bootstrap of {RESAMPLES} through {name}, seed {SEED}")


def paired_resampled(name: str, a: Mapping[str, Statistic], b: Mapping[str, Statistic]) -> Paired:
    """b minus a: bootstrap over the shared questions; p by exchanging the two models' results question by question.

    Raises ValueError where they share none.
    """
    import numpy as np

    shared = sorted(set(a) & set(b))
    if not shared:
        raise ValueError("no item in common, nothing to compare")
    make, metric = AGGREGATIONS[name]
    first, second = [a[q] for q in shared], [b[q] for q in shared]
    both = make([*first, *second])  # together: the features of a metric over classes depend on all classes
    left, right = both[: len(shared)], both[len(shared) :]
    difference = float(metric(right.sum(axis=0, keepdims=True))[0] - metric(left.sum(axis=0, keepdims=True))[0])
    values = metric(_sums(right)) - metric(_sums(left))  # one seed: the same questions on both sides
    low, high = (float(end) for end in np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
    generator, hits = np.random.default_rng(SEED), 0
    for count in slices(len(shared)):
        kept = generator.integers(0, 2, (count, len(shared))).astype(float)
        moved = kept @ (right - left)
        exchanged = metric(left.sum(axis=0) + moved) - metric(right.sum(axis=0) - moved)
        hits += int((np.abs(exchanged) >= abs(difference) - 1e-12).sum())
    p = (hits + 1) / (RESAMPLES + 1)
    test = f"exchanges of {RESAMPLES} through {name}, seed {SEED}"
    if low == high:
        reason = f"{NO_INTERVAL}every resample has the same difference"
        return Paired(difference, None, None, p, len(shared), test, reason)
    method = f"bootstrap of {RESAMPLES} through {name}, seed {SEED}"
    return Paired(difference, low, high, p, len(shared), test, method)


def _sums(features: Any) -> Any:
    """The sums of the features over RESAMPLES samples with replacement."""
    import numpy as np

    n, generator = len(features), np.random.default_rng(SEED)
    return np.concatenate([generator.multinomial(n, [1 / n] * n, count) @ features for count in slices(n)])


def _counts(statistics: Sequence[Statistic]) -> Any:
    """Of binary labels and predictions: true positives, false positives, false negatives. Class 1 is positive."""
    import numpy as np

    gold, said = (np.array([one[side] for one in statistics]) for side in (0, 1))
    return np.stack([(gold == 1) & (said == 1), (gold != 1) & (said == 1), (gold == 1) & (said != 1)], axis=1) * 1.0


def _f1(sums: Any) -> Any:
    import numpy as np

    right, below = 2 * sums[:, 0], 2 * sums[:, 0] + sums[:, 1] + sums[:, 2]
    return np.divide(right, below, out=np.zeros_like(right), where=below > 0)


def _confusion(statistics: Sequence[Statistic]) -> Any:
    """One-hot cells of the confusion matrix, over the classes in order."""
    import numpy as np

    classes = {label: i for i, label in enumerate(sorted({label for one in statistics for label in one}))}
    cells = np.zeros((len(statistics), len(classes) ** 2))
    cells[range(len(statistics)), [classes[gold] * len(classes) + classes[said] for gold, said in statistics]] = 1.0
    return cells


def _matthews(sums: Any) -> Any:
    """Matthews' correlation for any number of classes (Gorodkin 2004); 0 where a side has one class alone."""
    import numpy as np

    size = math.isqrt(sums.shape[1])
    cells = sums.reshape(-1, size, size)
    n, right = cells.sum(axis=(1, 2)), np.trace(cells, axis1=1, axis2=2)
    gold, said = cells.sum(axis=2), cells.sum(axis=1)
    above = right * n - (gold * said).sum(axis=1)
    below = np.sqrt((n**2 - (said**2).sum(axis=1)) * (n**2 - (gold**2).sum(axis=1)))
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


def _log_likelihoods(statistics: Sequence[Statistic]) -> Any:
    import numpy as np

    return np.stack([np.asarray(statistics, dtype=float), np.ones(len(statistics))], axis=1)


def _perplexity(sums: Any) -> Any:
    import numpy as np

    return np.exp(-sums[:, 0] / sums[:, 1])


AGGREGATIONS: Mapping[str, Of] = {
    "f1": (_counts, _f1),
    "matthews_corrcoef": (_confusion, _matthews),
    "perplexity": (_log_likelihoods, _perplexity),
}
