"""Summaries of a run's numbers, and how they change from one iteration to a later one.

Both are made of the view `pair_values`, one row a number, and stored: means, quantiles and counts are what SQL says
of those rows, intervals are seeded bootstraps. A change is a ratio of means (signals are never negative), with its
bootstrap interval, a permutation test of no difference, and the same ratio of the control of two draws, the floor.

Pairs are taken as independent draws: an iteration's prompts are its own, so two sets are compared unpaired. Left out:
several runs (seeds) of one recipe, without which no one knows how much of a change another run would show.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from toolkit.evaluation.statistics import LEVEL, holm
from toolkit.identity import Json, content_id
from toolkit.lab import Lab
from toolkit.records import Change, Summary, Under
from toolkit.store.database import Store

RESAMPLES = 5_000
SEED = 20250806
SETTINGS: Mapping[str, Json] = {"level": LEVEL, "resamples": RESAMPLES, "seed": SEED}
POWER = 0.8
FIFTH = 0.8  # a fall to this share is worth a name; `needed` is the number of pairs that show it

# What a collapse would make small. All are zero or positive.
SIGNALS: tuple[tuple[str, Under], ...] = (
    ("gradient.norm", "parent"),
    ("dpo_gradient", "parent"),
    ("distance", "parent"),
    ("distance", "base"),
    ("gap", ""),
    ("rank_gap", ""),
    ("text.edit_distance", ""),
)


@dataclass(frozen=True)
class Series:
    """The finite values of one metric over one set or control, sorted; missing: how many of its pairs have none."""

    key: Summary
    values: tuple[float, ...]
    missing: int


def series(store: Store, run: str) -> list[Series]:
    """Every metric of every set and control of a run."""
    rows = store.query(
        "WITH whole AS (SELECT pair_set, control, count(*) AS pairs FROM compared GROUP BY ALL) "
        "SELECT v.pair_set, v.control, metric, under, model, any_value(w.pairs) - count(*) FILTER (isfinite(value)) "
        "AS missing, list(value ORDER BY value) FILTER (isfinite(value)) AS found "
        "FROM pair_values v JOIN whole w ON w.pair_set = v.pair_set AND w.control = replace(v.control, 'shuffled', '') "
        "WHERE run = ? GROUP BY ALL ORDER BY ALL",
        [run],
    )
    made = []
    for row in rows:
        values = tuple(float(value) + 0.0 for value in row["found"] or ())  # -0.0 becomes 0.0: the two have no order
        content = content_id("values", [repr(value) for value in values] + [str(row["missing"])])
        key = Summary(row["pair_set"], row["control"], row["metric"], row["under"], row["model"], SETTINGS, content)
        made.append(Series(key, values, row["missing"]))
    return made


def summed(lab: Lab, run: str) -> None:
    """Store the summaries of a run and the changes between its iterations."""
    found = series(lab.store, run)
    rows = lab.store.query("SELECT phase, pair_set FROM run_sets WHERE run = ? ORDER BY position", [run])
    phases = dict.fromkeys(row["phase"] for row in rows)
    chains = [[row["pair_set"] for row in rows if row["phase"] == phase] for phase in phases]
    with lab.store.transaction():
        lab.store.add([summarize(one) for one in found], launch=lab.launch.id)
        lab.store.add(changes(run, chains, found), launch=lab.launch.id)


def summarize(one: Series) -> Summary:
    """n, mean with interval, standard deviation, quantiles; all None where no value is finite."""
    import numpy as np

    if not one.values:
        return replace(one.key, missing=one.missing)
    values = np.asarray(one.values)
    means = resampled_means(values)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    q = [float(value) for value in np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95])]
    spread = float(values.std(ddof=1)) if len(values) > 1 else None
    return replace(
        one.key, n=len(values), missing=one.missing, mean=float(values.mean()), sd=spread, low=float(low),
        high=float(high), q05=q[0], q25=q[1], q50=q[2], q75=q[3], q95=q[4],
    )  # fmt: skip


def resampled_means(values: Any, salt: int = 0) -> Any:
    """RESAMPLES means of so many values drawn with replacement, in slices that keep memory small."""
    import numpy as np

    generator = np.random.default_rng([SEED, salt])
    size = max(1, 4_000_000 // len(values))
    counts = [min(size, RESAMPLES - start) for start in range(0, RESAMPLES, size)]
    return np.concatenate([values[generator.integers(0, len(values), (n, len(values)))].mean(axis=1) for n in counts])


def changes(run: str, chains: Sequence[Sequence[str]], found: Sequence[Series]) -> list[Change]:
    """Each chain (sets of one phase in order of iteration): every later set against the first, for every signal.

    p-values are corrected for all of the run's changes together.
    """
    by_key: dict[tuple[str, str, str, str], Series] = {
        (s.key.pair_set, s.key.control, s.key.metric, s.key.under): s for s in found
    }
    made = []
    for chain in chains:
        for after in chain[1:]:
            for metric, under in SIGNALS:
                keys = [(name, control, metric, under) for control in ("", "draws") for name in (chain[0], after)]
                sides = [by_key.get(key) for key in keys]
                if sides[0] and sides[1] and len(sides[0].values) > 1 and len(sides[1].values) > 1:
                    made.append(_change(run, metric, (sides[0], sides[1]), (sides[2], sides[3])))
    measured = [change for change in made if change.p is not None]
    corrected = iter(holm([change.p for change in measured if change.p is not None]))
    return [replace(change, p=next(corrected)) if change.p is not None else change for change in made]


def _change(run: str, metric: str, pairs: tuple[Series, Series], floor: tuple[Series | None, Series | None]) -> Change:
    import numpy as np

    before, after = (np.asarray(one.values) for one in pairs)
    keys = [one.key for one in (*pairs, *floor) if one]
    settings = {**SETTINGS, "of": [key.id for key in keys]}
    change = Change(run, keys[0].pair_set, keys[1].pair_set, metric, keys[0].under, settings)
    if not before.mean() > 0:
        return change
    low, high = ratio_interval(before, after)
    change = replace(
        change, ratio=float(after.mean() / before.mean()), low=low, high=high, p=permutation(before, after),
        detectable=detectable(before, after), needed=needed(before),
    )  # fmt: skip
    if floor[0] is None or floor[1] is None or min(len(floor[0].values), len(floor[1].values)) < 2:
        return change
    was, now = (np.asarray(one.values) for one in floor if one)
    if not was.mean() > 0:
        return change
    floor_low, floor_high = ratio_interval(was, now)
    return replace(change, floor_ratio=float(now.mean() / was.mean()), floor_low=floor_low, floor_high=floor_high)


def ratio_interval(before: Any, after: Any) -> tuple[float | None, float | None]:
    """Percentile interval of mean(after) / mean(before); None where a resampled mean before is zero."""
    import numpy as np

    below = resampled_means(before, 1)
    if not (below > 0).all():
        return None, None
    ends = np.quantile(resampled_means(after, 2) / below, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(ends[0]), float(ends[1])


def permutation(before: Any, after: Any) -> float:
    """Two-sided p-value of equal means: the sets' values dealt out again."""
    import numpy as np
    from scipy.stats import permutation_test

    def difference(a: Any, b: Any, axis: int) -> Any:
        return a.mean(axis=axis) - b.mean(axis=axis)

    found = permutation_test(
        (before, after), difference, n_resamples=RESAMPLES, batch=256, vectorized=True, rng=np.random.default_rng(SEED)
    )
    return float(found.pvalue)


def detectable(before: Any, after: Any) -> float | None:
    """The ratio below 1 that sets of these sizes and spreads show with POWER, uncorrected; None: no fall would."""
    error = math.sqrt(before.var(ddof=1) / len(before) + after.var(ddof=1) / len(after))
    ratio = 1 - _z() * error / float(before.mean())
    return ratio if ratio > 0 else None


def needed(before: Any) -> int:
    """Pairs in each of two sets to show a fall to FIFTH with POWER, at this spread, uncorrected."""
    fall = (1 - FIFTH) * float(before.mean())
    return max(2, math.ceil(2 * float(before.var(ddof=1)) * (_z() / fall) ** 2))


def _z() -> float:
    from scipy.stats import norm

    return float(norm.ppf((1 + LEVEL) / 2) + norm.ppf(POWER))
