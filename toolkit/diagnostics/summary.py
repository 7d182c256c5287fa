"""Summaries of a run's numbers, and how they change from one iteration to a later one.

Both are computed from the view `pair_values`, one row a number, and stored: means, quantiles and counts are what SQL
returns for those rows, intervals of means are those of statistics.py. A change is a ratio of means (signals are never
negative) with the same ratio of a control, unselected pairs of the same prompts, and the ratio of the two.

FAMILY is the family of tests, fixed in advance: for each of its signals one test, of the first set of the kept phase
against the last (ratio.py), corrected by Holm over all of FAMILY; a signal that was not measured counts as p = 1. Every
other change is descriptive: its p is not corrected, and nothing is concluded from it.

Pairs of different prompts are taken as independent draws: an iteration's prompts are its own, so two sets are compared
unpaired. Left out: several runs (seeds) of one recipe, without which no one knows how much of a change another run
would show. A seed is the unit of replication.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from toolkit.diagnostics.ratio import (
    ALPHA,
    HALVED,
    MARGIN,
    MINIMUM,
    POWER,
    Comparison,
    LogMean,
    compare,
    detectable,
    log_mean,
    needed,
)
from toolkit.evaluation.statistics import LEVEL, holm, interval
from toolkit.identity import Json, content_id
from toolkit.lab import Lab
from toolkit.records import Change, Summary, Under
from toolkit.store.database import Store

SETTINGS: Mapping[str, Json] = {"level": LEVEL, "interval": "Wilson, or t widened for skewness"}

Signal = tuple[str, Under]
FAMILY: tuple[Signal, ...] = (("gradient.norm", "parent"), ("distance", "parent"), ("gap", ""))
FAMILY_NAMES = tuple(f"{metric} under {under}" if under else metric for metric, under in FAMILY)
STEP = ALPHA / len(FAMILY)  # Holm's first step: the level that power and pairs needed are computed at
DESCRIPTIVE: tuple[Signal, ...] = (
    ("dpo_gradient", "parent"),
    ("distance", "base"),
    ("rank_gap", ""),
    ("text.edit_distance", ""),
)
SIGNALS = (*FAMILY, *DESCRIPTIVE)  # what a collapse would make small; all are zero or positive
TEST: Mapping[str, Json] = {
    "hypothesis": f"(last / first) / (control last / control first) >= {MARGIN}",
    "test": "one-sided t of the log ratio, jackknife over prompts, degrees of freedom by kurtosis",
    "family": list(FAMILY_NAMES),
    "correction": "Holm",
    "alpha": ALPHA,
    "margin": MARGIN,
    "power": POWER,
    "power_at": HALVED,
    "minimum_prompts": MINIMUM,
    "level": LEVEL,
}


@dataclass(frozen=True)
class Series:
    """The finite values of one metric over one set or control, sorted.

    missing: how many of its pairs have none. prompts: the prompt of each value, for the metrics of SIGNALS alone.
    """

    key: Summary
    values: tuple[float, ...]
    missing: int
    prompts: tuple[str, ...] = ()


def series(store: Store, run: str) -> list[Series]:
    """Every metric of every set and control of a run."""
    rows = store.query(
        "WITH whole AS (SELECT pair_set, control, count(*) AS pairs FROM compared GROUP BY ALL) "
        "SELECT v.pair_set, v.control, v.metric, v.under, v.model, "
        "any_value(w.pairs) - count(*) FILTER (isfinite(v.value)) AS missing, "
        "list(v.value ORDER BY v.value) FILTER (isfinite(v.value)) AS found, "
        "list(r.prompt ORDER BY v.value) FILTER (isfinite(v.value) AND list_contains($signals, v.metric)) AS prompts "
        "FROM pair_values v JOIN whole w ON w.pair_set = v.pair_set AND w.control = replace(v.control, 'shuffled', '') "
        "JOIN response r ON r.id = v.chosen WHERE v.run = $run GROUP BY ALL ORDER BY ALL",
        {"run": run, "signals": [metric for metric, _ in SIGNALS]},
    )
    made = []
    for row in rows:
        values = tuple(float(value) + 0.0 for value in row["found"] or ())  # -0.0 becomes 0.0: the two have no order
        content = content_id("values", [repr(value) for value in values] + [str(row["missing"])])
        key = Summary(row["pair_set"], row["control"], row["metric"], row["under"], row["model"], SETTINGS, content)
        made.append(Series(key, values, row["missing"], tuple(row["prompts"] or ())))
    return made


def summed(lab: Lab, run: str) -> None:
    """Store the summaries of a run and the changes between its iterations."""
    every = series(lab.store, run)
    rows = lab.store.query("SELECT phase, pair_set FROM run_sets WHERE run = ? ORDER BY position", [run])
    phases = dict.fromkeys(row["phase"] for row in rows)
    chains = [[row["pair_set"] for row in rows if row["phase"] == phase] for phase in phases]
    computed = changes(run, chains, every, roles(lab.store, run), kept_phase(lab.store, run)[1])
    with lab.store.transaction():
        lab.store.add([summarize(one) for one in every], launch=lab.launch.id)
        lab.store.add(computed, launch=lab.launch.id)


def kept_phase(store: Store, run: str) -> tuple[str, list[str]]:
    """The phase whose trained models the recipe keeps, and its sets in order. "" where the run trained on none."""
    rows = store.query(
        "SELECT s.phase, s.pair_set FROM run_sets s WHERE s.run = ? AND EXISTS (SELECT 1 FROM model_names n "
        "WHERE n.run = s.run AND n.model = s.result AND regexp_full_match(n.name, 'M_[0-9]+')) ORDER BY s.position",
        [run],
    )
    phase = rows[-1]["phase"] if rows else ""
    return phase, [row["pair_set"] for row in rows if row["phase"] == phase]


def roles(store: Store, run: str) -> dict[str, str]:
    """Of each pair set of a run, the roles most of its pairs have, as a control of them is named: "future_past"."""
    rows = store.query(
        "SELECT pair_set, chosen_role || '_' || rejected_role AS roles FROM pairs "
        "WHERE pair_set IN (SELECT pair_set FROM run_sets WHERE run = ?) ORDER BY ALL",
        [run],
    )
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        counts.setdefault(row["pair_set"], Counter())[row["roles"]] += 1
    return {pair_set: count.most_common(1)[0][0] for pair_set, count in counts.items()}


def summarize(one: Series) -> Summary:
    """n, mean with interval, standard deviation, quantiles; all None where no value is finite.

    The interval is evaluation/statistics.py's: Wilson's for 0 and 1, else t widened for skewness; None where all values
    are equal.
    """
    import numpy as np

    if not one.values:
        return replace(one.key, missing=one.missing)
    values = np.asarray(one.values)
    span = interval(one.values)
    q = [float(value) for value in np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95])]
    spread = float(values.std(ddof=1)) if len(values) > 1 else None
    return replace(
        one.key, n=len(values), missing=one.missing, mean=float(values.mean()), sd=spread, low=span.low,
        high=span.high, q05=q[0], q25=q[1], q50=q[2], q75=q[3], q95=q[4],
    )  # fmt: skip


def changes(
    run: str,
    chains: Sequence[Sequence[str]],
    every: Sequence[Series],
    of_roles: Mapping[str, str],
    kept: Sequence[str],
) -> list[Change]:
    """Each chain (sets of one phase in order of iteration): every later set against the first, for every signal.

    of_roles: `roles` of the run. kept: the sets of the kept phase; its first against its last is tested for FAMILY.
    """
    by_key: dict[tuple[str, str, str, str], Series] = {
        (s.key.pair_set, s.key.control, s.key.metric, s.key.under): s for s in every
    }
    computed = []
    for chain in chains:
        for after in chain[1:]:
            for metric, under in SIGNALS:
                first, last = (by_key.get((name, "", metric, under)) for name in (chain[0], after))
                if first is None or last is None or not _comparable(first) or len(last.values) < 2:
                    continue
                if metric == "dpo_gradient" and _proportional(first, last, by_key):
                    continue
                tested = (metric, under) in FAMILY and [*kept[:1], *kept[-1:]] == [chain[0], after]
                controls = _controls(first, last, by_key, of_roles)
                computed.append(_change(run, metric, (first, last), controls, tested))
    return _corrected(computed)


def _corrected(computed: Sequence[Change]) -> list[Change]:
    """Holm's p of the tested changes, over all of FAMILY: what could not be tested counts as p = 1."""
    places = [i for i, change in enumerate(computed) if change.settings["tested"] and change.p is not None]
    p_values = [p for i in places if (p := computed[i].p) is not None]
    corrected = dict(zip(places, holm(p_values + [1.0] * (len(FAMILY) - len(places))), strict=False))
    return [replace(change, p_holm=corrected.get(i)) for i, change in enumerate(computed)]


def _comparable(*sides: Series) -> bool:
    """Whether each has two values, and a mean above zero."""
    return all(len(side.values) > 1 and math.fsum(side.values) > 0 for side in sides)


def _proportional(first: Series, last: Series, by_key: Mapping[tuple[str, str, str, str], Series]) -> bool:
    """Whether these are the directional norms times one constant: the same change under another name."""
    factors = set()
    for side in (first, last):
        norms = by_key.get((side.key.pair_set, "", "gradient.norm", side.key.under))
        if norms is None or len(norms.values) != len(side.values):
            return False
        factors |= {value / norm for value, norm in zip(side.values, norms.values, strict=True) if norm}
    return not factors or max(factors) - min(factors) <= 1e-9 * max(factors)


def _controls(
    first: Series, last: Series, by_key: Mapping[tuple[str, str, str, str], Series], of_roles: Mapping[str, str]
) -> tuple[Series, Series] | None:
    """Unselected pairs of the sets' own roles, else two draws of the present model; None where neither is enough."""
    names = {of_roles.get(side.key.pair_set, "") for side in (first, last)}
    for name in [*((names - {""}) if len(names) == 1 else ()), "draws"]:
        sides = [by_key.get((side.key.pair_set, name, side.key.metric, side.key.under)) for side in (first, last)]
        before, after = sides
        if before and after and _comparable(before, after) and min(map(_prompts, (before, after))) >= MINIMUM:
            return before, after
    return None


def _prompts(side: Series) -> int:
    return len(set(side.prompts))


def _change(
    run: str, metric: str, pairs: tuple[Series, Series], controls: tuple[Series, Series] | None, tested: bool
) -> Change:
    first, last = pairs
    keys = [side.key for side in (*pairs, *(controls or ()))]
    settings = {**TEST, "tested": tested, "of": [key.id for key in keys]}
    change = Change(run, first.key.pair_set, last.key.pair_set, metric, first.key.under, settings)
    alone = compare(_log_mean(first), _log_mean(last))
    ratio, low, high = _numbers(alone)
    change = replace(
        change, ratio=ratio, low=low, high=high, relative=ratio, relative_low=low, relative_high=high,
        prompts_before=_prompts(first), prompts_after=_prompts(last),
    )  # fmt: skip
    sides, result = (_log_mean(first), _log_mean(last)), alone
    if controls is not None:
        ratio, low, high = _numbers(compare(_log_mean(controls[0]), _log_mean(controls[1])))
        change = replace(
            change, control=controls[0].key.control, control_ratio=ratio, control_low=low, control_high=high
        )
        sides = (_log_mean(first, controls[0]), _log_mean(last, controls[1]))
        result = compare(*sides)
        ratio, low, high = _numbers(result)
        change = replace(change, relative=ratio, relative_low=low, relative_high=high)
    reached = min(map(_prompts, pairs)) >= MINIMUM
    change = replace(change, p=_finite(result.p) if reached else None)
    error = _finite(result.error)
    if not tested or not error:
        return change
    least = detectable(error, float(result.freedom), STEP) if reached else None
    return replace(change, detectable=least, needed=needed(*sides, STEP))


def _log_mean(signal: Series, control: Series | None = None) -> LogMean:
    """The values of a set, and of its control, summed by prompt."""
    import numpy as np

    prompts = {name: i for i, name in enumerate(sorted({*signal.prompts, *(control.prompts if control else ())}))}
    sums = []
    for side in (signal, *([control] if control else [])):
        places = np.array([prompts[name] for name in side.prompts])
        sums += [np.bincount(places, side.values, len(prompts)), np.bincount(places, minlength=len(prompts))]
    return log_mean(sums[0], sums[2], sums[1], sums[3]) if control else log_mean(sums[0], counts=sums[1])


def _numbers(result: Comparison) -> tuple[float | None, float | None, float | None]:
    """The ratio with its interval. No interval where there is no spread: equal values say nothing of other prompts."""
    low, high = result.interval() if _finite(result.error) else (None, None)
    ratio = None if math.isnan(result.log_ratio) else math.exp(result.log_ratio)
    return ratio, _finite(low), _finite(high)


def _finite(value: Any) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None
