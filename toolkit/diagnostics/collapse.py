"""verdict(): does the training signal of a run collapse? Answered from stored changes and summaries, with the reasons.

The paper (arXiv 2508.06026) means by gradient collapse that the sides of pairs become alike and the preference gradient
fades. Here a run is called so only where the gradient itself was measured, and one hypothesis is rejected: that from
the first to the last set of the kept phase (M_1, M_2 ...) the directional norm kept MARGIN of its first value or
more, relative to its control. Three signals are tested so (summary.FAMILY, Holm over the three); the words are

    collapse             rejected for the norm (corrected p at most ALPHA), and the norm itself is lower than it was
    no collapse seen     not rejected, by a test that would have rejected a true ratio of HALVED with POWER
    not enough data      one iteration, nothing measured, fewer than MINIMUM prompts a set, or less power than that

No cause is named: a fall beside a control that fell too "cannot be told from the control". A low set between the first
and the last is reported, and is not a collapse. One run is one seed, so run-to-run variation is unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.diagnostics.ratio import ALPHA, HALVED, MARGIN, MINIMUM, POWER
from toolkit.diagnostics.summary import FAMILY, kept_phase
from toolkit.store.database import Store

WORDS = {
    "gradient.norm": "directional gradient norm",
    "distance": "distance of the sides' features (1 - cosine)",
    "gap": "score gap by the run's own judge",
    "rank_gap": "gap in ranks",
    "text.edit_distance": "edit distance of the sides",
}
CONTROLS = {
    "draws": "two draws of the present model",
    "present_past": "unselected pairs of the present and the past model",
    "future_past": "unselected pairs of the future and the past model",
    "future_present": "unselected pairs of the future and the present model",
}
UNKNOWN = "One run of one seed: run-to-run variation is unknown."
NOT_TESTED = "was not tested between the first and the last iteration."
ONE_SEED = (
    "This is one run of one seed: how much another seed would differ is unknown. A seed, not a pair, is the unit of "
    "replication."
)

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Finding:
    """One question with its answer in a sentence; holds is None where the store cannot say."""

    name: str
    said: str
    holds: bool | None


@dataclass(frozen=True)
class Verdict:
    """What follows for a run. verdict: "collapse", "no collapse seen" or "not enough data"."""

    run: str
    verdict: str
    headline: str
    findings: tuple[Finding, ...]


def verdict(store: Store, run: str) -> Verdict:
    """The verdict with its findings; nothing is computed that is not in the store."""
    phase, sets = kept_phase(store, run)
    rows = store.query("FROM changes WHERE run = ? AND phase = ? ORDER BY iteration_after", [run, phase])
    rows = [row for row in rows if sets and row["before"] == sets[0]]
    last = sets[-1] if sets else ""
    tested = {
        metric: _tested(metric, [row for row in rows if (row["metric"], row["under"]) == (metric, under)], last)
        for metric, under in FAMILY
    }
    described = [
        _described(name, metric, [row for row in rows if (row["metric"], row["after"]) == (metric, last)])
        for name, metric in (("rank gap", "rank_gap"), ("text", "text.edit_distance"))
    ]
    others = (_length(store, sets), _displaced(store, run, sets), _training(store, run))
    replication = Finding("replication", ONE_SEED, None)
    return Verdict(run, *_conclusion(phase, sets, tested), (*tested.values(), *described, *others, replication))


def _conclusion(phase: str, sets: Sequence[str], tested: Mapping[str, Finding]) -> tuple[str, str]:
    gradient, gap = tested["gradient.norm"], tested["gap"]
    if len(sets) < 2:
        return "not enough data", f"A collapse is a trend, and there is {len(sets)} iteration of {phase or 'pairs'}."
    if gradient.holds is None:
        advice = " toolkit diagnose measures it." if gradient.said.endswith(NOT_TESTED) else ""
        return "not enough data", f"No verdict: {gradient.said}{advice}"
    if gradient.holds:
        return "collapse", f"The training signal collapses: {gradient.said} {UNKNOWN}"
    if gap.holds:
        return "no collapse seen", f"The gap closes, the gradient is not seen to: {gap.said} {gradient.said} {UNKNOWN}"
    return "no collapse seen", f"No collapse of the gradient is seen: {gradient.said} {UNKNOWN}"


def _tested(metric: str, rows: Sequence[Row], last: str) -> Finding:
    """One signal of the family: its test, first set against last. holds: None where the test could not show a fall."""
    name, words = {"gradient.norm": "gradient", "distance": "similarity"}.get(metric, metric), WORDS[metric]
    tests = [row for row in rows if row["after"] == last and row["relative"] is not None]
    if not tests or (tests[0]["p"] is not None and tests[0]["p_holm"] is None):
        return Finding(name, f"the {words} {NOT_TESTED}", None)
    row = tests[0]
    if row["p"] is None:
        return Finding(name, f"the {words} cannot be tested: {_untestable(row)}; {_course(row)}.", None)
    compared = " relative to its control" if row["control"] else ""
    if row["p_holm"] <= ALPHA and row["ratio"] < 1:
        sentence = f"the {words} fell by more than {1 - MARGIN:.0%}{compared}: {_course(row)}, {_p(row)}."
        return Finding(name, sentence, True)
    if row["p_holm"] <= ALPHA:
        return Finding(name, f"the {words} did not fall, its control rose: {_course(row)}, {_p(row)}.", False)
    answer = f"the {words} {_not_rejected(row, compared)}: {_course(row)}, {_p(row)}{_between(rows, row)}."
    return Finding(name, f"{answer} {_power(row)}", False if row["detectable"] >= HALVED else None)


def _not_rejected(row: Row, compared: str) -> str:
    """What the interval says where the hypothesis stands."""
    relative, high = row["relative"], row["relative_high"]
    if high < 1 and relative >= MARGIN:
        return f"fell by {1 - relative:.0%}{compared}, significantly, less than the margin of {1 - MARGIN:.0%}"
    if high < 1:
        return f"fell by {1 - relative:.0%}{compared}, significantly, but perhaps by less than {1 - MARGIN:.0%}"
    if row["control"] and row["high"] < 1:
        return f"fell by {1 - row['ratio']:.0%}, which cannot be told from the control"
    return "is not seen to fall"


def _course(row: Row) -> str:
    """Both ratios, the signal's and the one that is tested, with the iterations and the control by name."""
    ratio = f"{row['ratio']:.2f}{_span(row['low'], row['high'])} of its first value"
    ratio += f" between iterations {row['iteration_before']} and {row['iteration_after']}"
    if not row["control"]:
        return f"{ratio}, no control was measured"
    control = f"{row['control_ratio']:.2f}{_span(row['control_low'], row['control_high'])}"
    words = CONTROLS.get(row["control"], f"the control {row['control']}")
    relative = f"{row['relative']:.2f}{_span(row['relative_low'], row['relative_high'])}"
    return f"{ratio}, its control ({words}) {control}, relative to it {relative}"


def _p(row: Row) -> str:
    return f"p {row['p_holm']:.2g} against a ratio of {MARGIN} or more (Holm, {len(FAMILY)} signals)"


def _power(row: Row) -> str:
    """What this very test would have shown, and what it takes."""
    pairs = f"{row['prompts_before']} and {row['prompts_after']} pairs"
    return (
        f"A test of {pairs} has power {POWER} for a true ratio of {row['detectable']:.2f}; "
        f"a ratio of {HALVED} takes {row['needed']} pairs a set."
    )


def _untestable(row: Row) -> str:
    if min(row["prompts_before"], row["prompts_after"]) < MINIMUM:
        needed = f", and a ratio of {HALVED} takes {row['needed']}" if row["needed"] else ""
        sizes = f"{row['prompts_before']} and {row['prompts_after']} pairs"
        return f"it has {sizes}, the test needs {MINIMUM} a set{needed}"
    return "its values do not vary, or rest on one prompt"


def _between(rows: Sequence[Row], last: Row) -> str:
    """The lowest set between the first and the last, where it is lower than chance has it (not corrected)."""
    low = [row for row in rows if row["after"] != last["after"] and row["p"] is not None and row["p"] <= ALPHA]
    if not low:
        return ""
    row = min(low, key=lambda row: float(row["relative"]))
    value = f"{row['relative']:.2f}{_span(row['relative_low'], row['relative_high'])}, p {row['p']:.2g} uncorrected"
    if row["relative_high"] < last["relative_low"]:
        return f"; a passing dip at iteration {row['iteration_after']} ({value}), not a collapse"
    return f"; lower at iteration {row['iteration_after']} ({value}), which is not what is tested"


def _described(name: str, metric: str, rows: Sequence[Row]) -> Finding:
    """A signal outside the family: its ratio and interval, from which nothing is concluded."""
    if not rows or rows[0]["relative"] is None:
        return Finding(name, f"the {WORDS[metric]} was not compared between the first and the last iteration.", None)
    p = f", p {rows[0]['p']:.2g} uncorrected" if rows[0]["p"] is not None else ""
    return Finding(name, f"the {WORDS[metric]}, described and not tested: {_course(rows[0])}{p}.", None)


def _span(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" [{low:.2f}, {high:.2f}]"


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
    what = "the longer answer is chosen" if holds else "no preference for the longer answer is seen"
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
