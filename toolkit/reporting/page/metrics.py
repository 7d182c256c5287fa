"""Which metrics a run's page shows over iterations, with the words for each, and their numbers.

Numbers are `summary` rows, which `python -m toolkit diagnose RUN` makes. Without them the score gap and the length gap
are taken from the pairs themselves, with a normal interval. The floor is the same number for two draws of one model.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from toolkit.reporting.audit_gaps import OWN_JUDGE
from toolkit.reporting.page.parts import Answer, Scope, ask, listed, quoted


@dataclass(frozen=True)
class Shown:
    """A metric on the page: where it is asked for, the words for it, and the paper's bars of it, if any.

    under: where the metric is measured, the first that has rows. alone: SQL over the view `pairs` that does without
    diagnostics.
    """

    metric: str
    under: tuple[str, ...]
    title: str
    unit: str
    said: str
    zero: bool = True
    published: str = ""
    alone: str = ""


NORMS = (
    "A norm is not the size of an update: AdamW divides a gradient by its own running scale, so a fall of all norms by "
    "one factor changes no step, and max_grad_norm (1 by default) clips a batch's gradient to that norm first."
)
SHOWN = (
    Shown(
        "gap", ("",), "Score gap, own judge", "points of the rubric",
        f"{OWN_JUDGE} It is the score of the chosen answer minus the score of the rejected. Each iteration has its own "
        "judge, the present model, so part of a change may be the judge's.",
        published="gap", alone="x.gap",
    ),
    Shown(
        "rank_gap", ("",), "Rank gap", "share of the ranks",
        "The same gap in ranks among all answers that the pair could be chosen from, which a judge that merely uses "
        "less of its scale leaves as it is.",
    ),
    Shown(
        "gradient.norm", ("parent",), "Directional gradient norm", "norm",
        "The length of the step a pair asks for: the exact norm of ∇ log π(chosen) − ∇ log π(rejected) over all "
        "parameters, under the model that is about to be trained. " + NORMS,
    ),
    Shown(
        "gradient.norm_per_sqrt_token", ("parent",), "Directional gradient norm per square root of token", "norm",
        "The same norm over the square root of the completion tokens of both answers: the norm is of a sum over these "
        "tokens, so longer answers raise it. " + NORMS,
    ),
    Shown(
        "coherence", ("parent",), "Coherence of the gradients", "share",
        "The norm of a set's mean gradient over the mean of its pairs' norms: 1 where all pairs ask for the same step, "
        "about 1/√n where they have nothing in common (n pairs; the view coherence has this number for every set and "
        "control). A norm that stays while this is at chance is no training signal. One number a set: no interval.",
    ),
    Shown(
        "dpo_gradient", ("result",), "DPO gradient norm after training", "norm",
        "Norm of the gradient of the loss that was trained, IPO, label smoothing and NLL included, under the trained "
        "model. For plain DPO it is beta × weight × directional norm. " + NORMS,
    ),
    Shown(
        "forward.cosine_mean", ("parent",), "Likeness of the two sides", "cosine",
        "Cosine of the last layer's features, averaged over each answer's tokens: 1 means alike. The paper does not "
        "say which tokens it takes, so this and the next curve show two readings.",
        zero=False, published="cosine",
    ),
    Shown(
        "forward.cosine_last", ("parent",), "Likeness at the last token", "cosine",
        "The same cosine of the features at each answer's last token.", zero=False,
    ),
    Shown(
        "margin", ("result",), "Margin after training", "DPO's implicit reward",
        "How much more than its reference the trained model prefers the chosen answer. Every training starts at 0.",
    ),
    Shown(
        "weight", ("result",), "DPO weight after training", "weight",
        "The factor of the trained loss on a pair's gradient. DPO: σ(−margin), 0.5 before any step, small once "
        "learned; with label smoothing that less the smoothing; IPO: (1 − 2 margin) / beta². Below 0 the pair is "
        "pushed back.",
        zero=False,
    ),
    Shown(
        "displaced", ("result",), "Displaced pairs", "share of pairs",
        "Pairs where training made both answers less likely.",
    ),
    Shown(
        "text.length_gap", ("",), "Length gap", "characters",
        "Characters of the chosen answer minus those of the rejected one. Far from 0, length itself is being taught.",
        alone="x.chosen_characters - x.rejected_characters",
    ),
)  # fmt: skip
_KEPT = """WHERE s.run IN ({runs})
QUALIFY s.run = {run} OR s.position = max(s.position) OVER (PARTITION BY s.run, s.iteration)
ORDER BY list_position([{runs}], s.run), s.iteration, s.position"""
_SUMMARY = """SELECT
    s.run, s.iteration, s.pair_set AS "set", x.n, x.missing, x.mean, x.low, x.high,
    f.n AS "floor n", f.mean AS floor, f.low AS "floor low", f.high AS "floor high"
FROM run_sets s
JOIN summaries x ON x.pair_set = s.pair_set AND x.metric = {metric} AND x.under = {under} AND x.control = ''
    AND x.model IS NOT DISTINCT FROM {model}
LEFT JOIN summaries f ON f.pair_set = x.pair_set AND f.metric = x.metric AND f.under = x.under AND f.control = 'draws'
    AND f.model IS NOT DISTINCT FROM x.model
"""
_ALONE = """WITH found AS (
    SELECT x.pair_set, count(v.v) AS n, count(*) - count(v.v) AS missing, avg(v.v ORDER BY v.v) AS mean,
        1.96 * stddev_samp(v.v ORDER BY v.v) / sqrt(count(v.v)) AS half
    FROM pairs x, LATERAL (SELECT {value} AS v) v
    WHERE x.pair_set IN (SELECT pair_set FROM run_sets WHERE run IN ({runs})) GROUP BY x.pair_set
)
SELECT
    s.run, s.iteration, s.pair_set AS "set", x.n, x.missing, x.mean, x.mean - x.half AS low, x.mean + x.half AS high
FROM run_sets s JOIN found x ON x.pair_set = s.pair_set AND x.n > 0
"""
_AUDITS = """SELECT DISTINCT a.judge, a.judge_name, a.method FROM audit_gaps a JOIN run_sets s USING (pair_set)
WHERE s.run IN ({runs}) AND a.kind = 'audit' AND a.newest ORDER BY a.judge_name, a.method, a.judge"""
_AUDIT_GAP = """(
    SELECT max(a.gap) FROM audit_pairs a
    WHERE a.pair = x.id AND a.pair_set = x.pair_set AND a.kind = 'audit' AND a.newest AND a.judge = {judge}
)"""
_HELD_OUT = (
    "SELECT 1 FROM audit_gaps a JOIN run_sets s USING (pair_set) WHERE s.run IN ({runs}) AND a.kind = 'held_out'"
)
_HELD_OUT_GAP = """(
    SELECT max(a.gap) FROM audit_pairs a
    WHERE a.pair = x.id AND a.pair_set = x.pair_set AND a.kind = 'held_out' AND a.newest
)"""
_JUDGES = """SELECT DISTINCT x.metric FROM summary x JOIN run_sets s ON s.pair_set = x.pair_set
WHERE s.run IN ({runs}) AND starts_with(x.metric, 'gap/') ORDER BY x.metric"""
_MODEL = {"parent": "s.parent", "result": "s.result", "": "NULL", "base": "x.model"}


def all_shown(scope: Scope) -> list[Shown]:
    """The metrics above: the gap by each audit judge first, then by held-out draws, the own judge, others."""
    runs = listed(scope.runs)
    audits = [_by_audit(**row) for row in scope.store.query(_AUDITS.format(runs=runs))]
    held_out = [_BY_HELD_OUT] if scope.store.query(_HELD_OUT.format(runs=runs)) else []
    judges = [row["metric"] for row in scope.store.query(_JUDGES.format(runs=runs))]
    others = [_by_judge(metric) for metric in judges if metric not in {audit.metric for audit in audits}]
    return [*audits, *held_out, SHOWN[0], *others, *SHOWN[1:]]


def means(scope: Scope, shown: Shown) -> Answer | None:
    """Its mean for every set of the page's runs, from summaries or else from the pairs; None where there is neither."""
    runs = {"run": quoted(scope.run), "runs": listed(scope.runs)}
    for under in shown.under:
        asked = {"metric": quoted(shown.metric), "under": quoted(under), "model": _MODEL[under], **runs}
        if (found := ask(scope.store, "Numbers", (_SUMMARY + _KEPT).format(**asked))).rows:
            return found
    if shown.alone:
        found = ask(scope.store, "Numbers", (_ALONE + _KEPT).format(value=shown.alone, **runs))
        return found if found.rows else None
    return None


def _by_audit(judge: str, judge_name: str, method: str) -> Shown:
    said = (
        f"The sides of the pairs scored by {judge_name} ({method}), which took no part in selection: 0 where the "
        "chosen answers are no better to it than the rejected ones."
    )
    return Shown(
        f"gap/{judge_name}/{method}", ("",), f"Score gap by the audit judge {judge_name}", "points of that judge", said,
        alone=_AUDIT_GAP.format(judge=quoted(judge)),
    )  # fmt: skip


_BY_HELD_OUT = Shown(
    "gap_held_out", ("",), "Score gap, held-out draws", "points of the rubric",
    "The own judge's gap by the draws of its verdicts that did not select (judge.select_draws): without the part that "
    "selection takes out of the noise between draws.", alone=_HELD_OUT_GAP,
)  # fmt: skip


def _by_judge(metric: str) -> Shown:
    judge = metric.partition("/")[2].replace("/", ", ")
    said = f"The same answers scored by {judge}, one judge for all iterations: what moves here is not the judge."
    return replace(SHOWN[0], metric=metric, title=f"Score gap by {judge}", said=said, published="", alone="")
