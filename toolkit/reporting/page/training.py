"""What the trainings of a run did: the trainer's log step by step, and what became of each pair.

A step whose value is not finite is shown as NaN and counted; no mean is taken over steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from toolkit.reporting.advice import diagnose_advice
from toolkit.reporting.page.parts import Curves, Figure, Line, Point, Scope, Section, ask, quoted
from toolkit.reporting.tables import show

_CALLED = """coalesce((
        SELECT min(n.name) FROM model_names n WHERE n.run = s.run AND n.model = s.result
    ), s.result)"""
_STEPS = """SELECT
    {called} AS model, s.pair_set AS "set", x.step, coalesce(x.value, 'NaN'::DOUBLE) AS value
FROM run_sets s JOIN training_step x ON x.training = s.training
WHERE s.run = {run} AND x.metric = {metric} ORDER BY s.iteration, s.position, x.step"""
_ENDS = """WITH log AS (
    SELECT *, value IS NULL OR NOT isfinite(value) AS lost FROM training_step WHERE metric IN ('loss', 'grad_norm')
)
SELECT
    {called} AS model, s.pair_set AS "set", x.metric, count(*) AS steps, count(*) FILTER (x.lost) AS "NaN steps",
    min_by(x.value, x.step) FILTER (NOT x.lost) AS first, max_by(x.value, x.step) FILTER (NOT x.lost) AS last,
    min(x.value) FILTER (NOT x.lost) AS lowest, max(x.value) FILTER (NOT x.lost) AS highest
FROM run_sets s JOIN log x ON x.training = s.training
WHERE s.run = {run} GROUP BY s.run, s.iteration, s.position, s.pair_set, s.result, x.metric
ORDER BY s.iteration, s.position, x.metric"""
_EFFECTS = """WITH effect AS (
    SELECT
        iteration, pair_set, margin > 0 AS moved, ranked_before AS "ranked before", ranked_after AS "ranked after",
        displaced
    FROM trained_pairs WHERE run = {run} AND control = ''
),
counted AS (
    SELECT iteration, pair_set AS "set", effect, count(*) AS pairs, count(yes) AS n, sum(yes::INT)::BIGINT AS yes
    FROM effect UNPIVOT INCLUDE NULLS (yes FOR effect IN (moved, "ranked before", "ranked after", displaced))
    GROUP BY ALL
)
SELECT
    iteration, "set", effect, pairs, n, yes, yes / n AS share,
    (yes / n + 1.9208 / n - 1.96 * sqrt((yes / n) * (1 - yes / n) / n + 0.9604 / (n * n))) / (1 + 3.8416 / n) AS low,
    (yes / n + 1.9208 / n + 1.96 * sqrt((yes / n) * (1 - yes / n) / n + 0.9604 / (n * n))) / (1 + 3.8416 / n) AS high
FROM counted WHERE n > 0 ORDER BY iteration, "set", effect"""
_LOSSES = """SELECT DISTINCT pair_set AS "set", ipo, smoothing, nll, refused
FROM trained_pairs WHERE run = {run} ORDER BY ALL"""
_LOGGED = (
    ("loss", "Loss, step by step", "loss", "DPO's loss; it starts at ln 2 = 0.693 where policy and reference agree."),
    ("grad_norm", "Gradient norm, step by step", "norm", "Norm of the batch's loss gradient, as the trainer logs it."),
)
_WORDS = (
    "Moved: training raised the margin, so the model prefers the chosen answer more than its reference does. Ranked "
    "before: the chosen answer was already the likelier one, so the pair was solved; ranked after: it is now. "
    "Displaced: both answers became less likely. Share of the pairs of a set, Wilson's 95 % interval."
)


def training(scope: Scope) -> Section:
    """The section: log, pairs; where log-probabilities are missing it says so."""
    called = {"run": quoted(scope.run), "called": _CALLED}
    ends = ask(scope.store, "Trainings", _ENDS.format(**called))
    figures = [figure for one in _LOGGED if (figure := _logged(scope, one))]
    effects = _effects(scope)
    losses = _losses(scope)
    lost = sum(row["NaN steps"] for row in ends.rows)
    said = [f"{lost} logged values are not finite (NaN): they are marked, and in no other number."] if lost else []
    if not ends.rows:
        said.append("No training of this run left a log.")
    if effects is None:
        said.append(f"What became of each pair was not measured: {diagnose_advice(scope.store, [scope.run])}")
    said += losses
    shown = [*figures, *([effects] if effects else [])]
    return Section("Training", tuple(said), tuple(shown), (replace(ends.asked, open=True),) if ends.rows else ())


def _losses(scope: Scope) -> list[str]:
    """By which loss weight and gradient were computed, where it is not plain DPO; why they were not."""
    said = []
    for row in scope.store.query(_LOSSES.format(run=quoted(scope.run))):
        if row["refused"]:
            said.append(f"DPO weight and gradient of {row['set']} are not computed: {row['refused']}.")
            continue
        terms = ["IPO"] if row["ipo"] else [f"label smoothing {show(row['smoothing'])}"] if row["smoothing"] else []
        terms += [f"an NLL term of {show(row['nll'])}"] if row["nll"] else []
        said += (
            [f"Weight and gradient of {row['set']} are those of its loss, with {' and '.join(terms)}."] if terms else []
        )
    return said


def _logged(scope: Scope, about: tuple[str, str, str, str]) -> Figure | None:
    metric, title, unit, said = about
    found = ask(scope.store, "Steps", _STEPS.format(run=quoted(scope.run), called=_CALLED, metric=quoted(metric)))
    if not found.rows:
        return None
    lines, lost = [], []
    for place, name in enumerate(dict.fromkeys((row["model"], row["set"]) for row in found.rows)):
        own = [row for row in found.rows if (row["model"], row["set"]) == name]
        points = [Point(row["step"], row["value"], said=_step(row)) for row in own if row["value"] == row["value"]]
        lost += [float(row["step"]) for row in own if row["value"] != row["value"]]
        style = "own" if name[1] in scope.kept else "aside"
        lines.append(Line(f"{name[0]} on {name[1]}", tuple(points), place, "own" if style == "own" else "aside"))
    words = f"{said} One value an optimizer step, over one batch: there is no interval."
    return Figure(title, words, (Curves("step", unit, tuple(lines), lost=tuple(lost)),), (found.asked,))


def _step(row: Mapping[str, Any]) -> str:
    return f"{row['model']}, step {row['step']}: {show(row['value'])}"


def _effects(scope: Scope) -> Figure | None:
    found = ask(scope.store, "Shares", _EFFECTS.format(run=quoted(scope.run)))
    kept = [row for row in found.rows if row["set"] in scope.kept]
    if not kept:
        return None
    names = list(dict.fromkeys(row["effect"] for row in kept))
    lines = tuple(Line(name, _shares(kept, name), place, "own") for place, name in enumerate(names))
    return Figure(
        "What became of the pairs", _WORDS, (Curves("iteration", "share of pairs", lines, zero=True),), (found.asked,)
    )


def _shares(rows: Sequence[Mapping[str, Any]], effect: str) -> tuple[Point, ...]:
    return tuple(
        Point(
            row["iteration"], row["share"], row["low"], row["high"],
            f"{effect}, {row['set']}: {show(row['share'])} [{show(row['low'])}, {show(row['high'])}], n {row['n']}",
        )
        for row in rows
        if row["effect"] == effect
    )  # fmt: skip
