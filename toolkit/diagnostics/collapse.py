"""verdict(): does the training signal of a run collapse? Said from stored summaries and changes, with the reasons.

The paper (arXiv 2508.06026) means by gradient collapse that the sides of pairs become alike and the preference gradient
fades. Here it is called so only where the gradient itself was measured and, from the first set of the phase whose
results are kept (M_1, M_2 ...) to a later one,

    the directional norm fell to FIFTH or less, its interval below 1 and the corrected p at most 0.05, and
    it fell further than its floor, two draws of the present model for the same prompts: the intervals do not overlap.

A fall with the floor is less variety in the model's answers, and is called that. A gap that closes alone, a bias for
length and steps without a finite value are findings of their own. One iteration has no trend.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.diagnostics.summary import FIFTH
from toolkit.store.database import Store

CHANCE = 0.05
WORDS = {
    "gradient.norm": "directional gradient norm",
    "distance": "distance of the sides' features (1 - cosine)",
    "gap": "score gap by the run's own judge",
    "rank_gap": "gap in ranks",
    "text.edit_distance": "edit distance of the sides",
}


@dataclass(frozen=True)
class Finding:
    """One question with its answer in a sentence; holds is None where the store cannot say."""

    name: str
    said: str
    holds: bool | None


@dataclass(frozen=True)
class Verdict:
    """What is said of a run. verdict: "collapse", "no collapse seen" or "not enough data"."""

    run: str
    verdict: str
    headline: str
    findings: tuple[Finding, ...]


def verdict(store: Store, run: str) -> Verdict:
    """The verdict with its findings; nothing is computed that is not in the store."""
    phase, sets = kept_phase(store, run)
    found = store.query("FROM changes WHERE run = ? AND phase = ? ORDER BY iteration_after", [run, phase])
    named = {
        name: _fallen(name, [change for change in found if (change["metric"], change["under"]) == (metric, under)])
        for name, metric, under in (
            ("gradient", "gradient.norm", "parent"),
            ("similarity", "distance", "parent"),
            ("gap", "gap", ""),
            ("rank gap", "rank_gap", ""),
            ("text", "text.edit_distance", ""),
        )
    }
    findings = (*named.values(), _length(store, sets), _displaced(store, run, sets), _training(store, run))
    return Verdict(run, *_said(phase, sets, named), findings)


def kept_phase(store: Store, run: str) -> tuple[str, list[str]]:
    """The phase whose trained models the recipe keeps, and its sets in order. "" where the run trained on none."""
    rows = store.query(
        "SELECT s.phase, s.pair_set FROM run_sets s WHERE s.run = ? AND EXISTS (SELECT 1 FROM model_names n "
        "WHERE n.run = s.run AND n.model = s.result AND regexp_full_match(n.name, 'M_[0-9]+')) ORDER BY s.position",
        [run],
    )
    phase = rows[-1]["phase"] if rows else ""
    return phase, [row["pair_set"] for row in rows if row["phase"] == phase]


def _said(phase: str, sets: Sequence[str], named: Mapping[str, Finding]) -> tuple[str, str]:
    gradient, gap = named["gradient"], named["gap"]
    if len(sets) < 2:
        return "not enough data", f"A collapse is a trend, and there is {len(sets)} iteration of {phase or 'pairs'}."
    if gradient.holds is None:
        return "not enough data", f"No verdict: {gradient.said} `toolkit diagnose` measures it."
    if gradient.holds:
        return "collapse", f"The training signal collapses: {gradient.said}"
    if gap.holds:
        return "no collapse seen", f"The gap closes, the gradient does not: {gap.said} {gradient.said}"
    return "no collapse seen", f"No collapse of the gradient is seen: {gradient.said}"


def _fallen(name: str, rows: Sequence[Mapping[str, Any]]) -> Finding:
    """Whether a signal fell beyond chance and beyond its floor, in any later set; told of the lowest."""
    measured = [row for row in rows if row["ratio"] is not None]
    if not measured:
        return Finding(name, f"the {_words(name, rows)} was not compared between two iterations.", None)
    fallen = [row for row in measured if fell(row)]
    beyond = [row for row in fallen if beyond_floor(row)]
    row = min(beyond or fallen or measured[-1:], key=lambda row: float(row["ratio"]))
    return Finding(name, f"the {_words(name, rows)} {_change(row)}.", bool(beyond))


def fell(change: Mapping[str, Any]) -> bool:
    """Down to FIFTH or less, and not by chance."""
    high, p = change["high"], change["p"]
    return change["ratio"] <= FIFTH and high is not None and high < 1 and p is not None and p <= CHANCE


def beyond_floor(change: Mapping[str, Any]) -> bool:
    """Further than two draws of one model; where that was not measured, nothing is beyond it."""
    return change["floor_low"] is not None and change["high"] < change["floor_low"]


def _change(row: Mapping[str, Any]) -> str:
    where = f"between iterations {row['iteration_before']} and {row['iteration_after']}"
    span = f"ratio {row['ratio']:.2f}"
    if row["low"] is not None:
        span += f" [{row['low']:.2f}, {row['high']:.2f}]"
    span += f", p {row['p']:.2g}"
    if not fell(row):
        least = f"a fall to {row['detectable']:.2f} would show" if row["detectable"] else "so few pairs show no fall"
        return (
            f"did not fall beyond chance {where} ({span}; {least}, {row['needed']} pairs a set for a fall by a fifth)"
        )
    times = f"fell {1 / row['ratio']:.1f} times {where} ({span})" if row["ratio"] else f"fell to nothing {where}"
    if row["floor_low"] is None:
        return f"{times}; its floor, two draws of one model, was not measured"
    floor = f"the floor's ratio is {row['floor_ratio']:.2f} [{row['floor_low']:.2f}, {row['floor_high']:.2f}]"
    if beyond_floor(row):
        return f"{times}, beyond the floor: {floor}"
    return f"{times}, with the floor: {floor}. That is less variety in the model's answers, not selection"


def _words(name: str, rows: Sequence[Mapping[str, Any]]) -> str:
    metric = rows[0]["metric"] if rows else {"gradient": "gradient.norm", "similarity": "distance"}.get(name, name)
    return WORDS.get(metric, metric)


def _length(store: Store, sets: Sequence[str]) -> Finding:
    """Whether the chosen side is the longer one more often than chance has it, in the last set."""
    rows = store.query(
        "SELECT count(*) AS n, count(*) FILTER (chosen_characters > rejected_characters) AS longer, "
        "avg(chosen_characters - rejected_characters) AS gap FROM pairs "
        "WHERE pair_set = ? AND chosen_characters <> rejected_characters",
        [sets[-1] if sets else ""],
    )
    n, longer = rows[0]["n"], rows[0]["longer"]
    if not n:
        return Finding("length", "no pair has sides of different length.", None)
    from scipy.stats import binomtest

    test = binomtest(longer, n, 0.5)
    ends = test.proportion_ci(0.95, "wilson")
    holds = bool(ends.low > 0.5)
    what = "the longer answer is chosen" if holds else "length does not tell which side is chosen"
    return Finding(
        "length",
        f"{what}: chosen is longer in {longer} of {n} pairs of {sets[-1]} ({longer / n:.2f} [{ends.low:.2f}, "
        f"{ends.high:.2f}]), by {rows[0]['gap']:+.0f} characters on average.",
        holds,
    )


def _displaced(store: Store, run: str, sets: Sequence[str]) -> Finding:
    """Whether the run's training lowered both sides in most pairs of the last set (likelihood displacement)."""
    rows = store.query(
        "SELECT x.* FROM summaries x JOIN run_sets s ON s.run = ? AND s.pair_set = x.pair_set AND s.result = x.model "
        "WHERE x.pair_set = ? AND x.metric = 'displaced' AND x.control = '' AND x.n > 0",
        [run, sets[-1] if sets else ""],
    )
    if not rows:
        return Finding("displacement", "log-probabilities before and after training were not measured.", None)
    row = rows[0]
    said = f"training lowered both sides in {row['mean']:.0%} of {row['n']} pairs of {sets[-1]}"
    return Finding("displacement", f"{said} [{row['low']:.0%}, {row['high']:.0%}].", bool(row["low"] > 0.5))


def _training(store: Store, run: str) -> Finding:
    """Steps whose logged value is not finite. They are in no average."""
    rows = store.query(
        "SELECT x.metric, count(*) AS n, count(*) FILTER (x.value IS NULL OR NOT isfinite(x.value)) AS bad "
        "FROM training_step x WHERE x.training IN (SELECT training FROM run_sets WHERE run = ?) "
        "AND x.metric IN ('loss', 'grad_norm') GROUP BY x.metric ORDER BY x.metric",
        [run],
    )
    if not rows:
        return Finding("training", "no training step was logged.", None)
    bad = [f"{row['bad']} of {row['n']} steps have no finite {row['metric']}" for row in rows if row["bad"]]
    return Finding("training", "; ".join(bad) + "." if bad else "every logged step is finite.", bool(bad))
