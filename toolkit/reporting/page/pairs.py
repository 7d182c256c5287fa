"""What the pairs of a run look like: distributions, yields and drops, and a few pairs in full."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from toolkit.reporting.page.metrics import SHOWN, means
from toolkit.reporting.page.parts import (
    Bin,
    Example,
    Figure,
    Histogram,
    Point,
    Scope,
    Section,
    Side,
    ask,
    listed,
    quoted,
)  # fmt: skip
from toolkit.reporting.run_report import CHANCE, roles_sentence
from toolkit.reporting.tables import show

BINS = 12  # about so many
TEXT = 4000  # characters of an answer or a reply on the page; the store has all of them
_CHANCE = """SELECT DISTINCT
    s.run, s.iteration, s.pair_set AS "set", c.pairs, c.yield, c.gap, c.gap_chance AS "gap by chance",
    c.gap_all AS "gap all", c.gap_all_chance AS "gap all by chance", c.p_roles AS "p roles",
    c.future AS "by future", c.future_chance AS "future by chance", c.p_future AS "p future",
    c.past AS "by past", c.past_chance AS "past by chance", c.p_past AS "p past", c.permutations, c.reason
FROM run_sets s JOIN selections c ON c.pair_set = s.pair_set
WHERE s.run IN ({runs}) ORDER BY s.run, s.iteration, s.pair_set"""
_RANGE = "SELECT min(value) AS low, max(value) AS high FROM ({values}) WHERE isfinite(value)"
_GAPS = """SELECT pair_set AS "set", control, gap AS value FROM compared
    WHERE control IN ('', 'draws') AND pair_set IN ({sets})"""
_NORMS = """SELECT m.pair_set AS "set", m.control, m.value FROM metrics m
JOIN run_sets s ON s.run = {run} AND s.pair_set = m.pair_set AND s.parent = m.model
WHERE m.metric = 'gradient.norm' AND m.control IN ('', 'draws') AND m.pair_set IN ({sets})"""
_BINS = """WITH found AS ({values})
SELECT "set", floor(value / {width}) * {width} AS "from", floor(value / {width}) * {width} + {width} AS "to",
    count(*) FILTER (control = '') AS pairs, count(*) FILTER (control = 'draws') AS "of two draws"
FROM found WHERE isfinite(value) GROUP BY ALL ORDER BY ALL"""
_YIELDS = """WITH lost AS (
    SELECT
        s.pair_set, s.training, count(DISTINCT prompt) FILTER (stage = 'selection') AS prompts,
        count(*) FILTER (stage = 'selection' AND reason = 'tie') AS ties,
        count(*) FILTER (stage = 'selection' AND reason = 'no_score') AS no_score,
        count(*) FILTER (stage = 'selection' AND reason NOT IN ('tie', 'no_score')) AS other,
        count(DISTINCT pair) FILTER (stage = 'gate') AS gate
    FROM (SELECT DISTINCT pair_set, training FROM run_sets WHERE run = {run}) s
    JOIN dropped d ON {own} GROUP BY s.pair_set, s.training
)
SELECT
    s.iteration, s.pair_set AS "set", p.size + coalesce(l.prompts, 0) AS "prompts asked", p.size AS "pairs made",
    coalesce(l.ties, 0) AS ties, coalesce(l.no_score, 0) AS "no score", coalesce(l.other, 0) AS "other drops",
    coalesce(l.gate, 0) AS "dropped at the gate", t.row_count AS "trained on", t.unseen AS "left over by batches"
FROM run_sets s
JOIN pair_set p ON p.id = s.pair_set
JOIN training t ON t.id = s.training
LEFT JOIN lost l ON l.pair_set = s.pair_set AND l.training = s.training
WHERE s.run = {run} ORDER BY s.iteration, s.position"""
_DROPS = """SELECT
    s.pair_set AS "set", stage, reason, count(DISTINCT (prompt, pair)) AS "how many", min(detail) AS "for example"
FROM (SELECT DISTINCT pair_set, training FROM run_sets WHERE run = {run}) s
JOIN dropped d ON {own} GROUP BY ALL ORDER BY ALL"""
_MASS = """WITH mass AS (
    SELECT TRY_CAST(TRY_CAST(j.reply AS JSON)->>'mass' AS DOUBLE) AS value
    FROM (SELECT unnest([chosen, rejected]) AS response, judge FROM pairs WHERE pair_set IN ({sets})) x
    JOIN judgment j ON j.response = x.response AND j.judge = x.judge
    WHERE j.method = 'expected' AND j.score IS NOT NULL GROUP BY j.id, j.reply
)
SELECT count(value) AS n, min(value) AS least, median(value) AS middle FROM mass WHERE isfinite(value)"""
# The empty training: a drop before any gate, or of a gate that an older store noted.
_OWN = "d.training = s.training OR d.training = '' AND d.pair_set = s.pair_set"
_ENDS = """WITH ranked AS (
    SELECT
        *, row_number() OVER (ORDER BY gap DESC, id, pair_set) AS top,
        row_number() OVER (ORDER BY gap, id, pair_set) AS low
    FROM pairs WHERE pair_set IN ({sets}) AND gap IS NOT NULL
)
SELECT
    id AS pair, pair_set AS "set", gap, chosen_score AS "chosen score", rejected_score AS "rejected score",
    chosen_role AS chosen, rejected_role AS rejected, chosen_characters AS "chosen characters",
    rejected_characters AS "rejected characters"
FROM ranked WHERE top <= 3 OR low <= 3 ORDER BY gap DESC, id, pair_set"""
_TEXTS = """SELECT id, prompt_text, chosen_text, rejected_text, chosen, rejected, chosen_finish, rejected_finish
FROM pairs WHERE id IN ({pairs})"""
_REPLIES = """SELECT x.id AS pair, j.response, m.name AS judge, j.method, j.draw, j.status, j.score{more}
FROM pair x
JOIN judgment j ON j.response IN (x.chosen, x.rejected) AND j.judge = x.judge
JOIN model m ON m.id = j.judge
WHERE x.id IN ({pairs}) ORDER BY ALL"""
_FINISH = {"length": ", cut at the most tokens allowed"}


def chance(scope: Scope) -> Section:
    """The gap and the roles of every set beside what permuted roles give."""
    table = ask(scope.store, "Gaps and roles with their chance values", _CHANCE.format(runs=listed(scope.runs)))
    if not table.rows:
        nothing = "No set of these runs has a chance value: they were made by an older version. Run the recipe again: "
        return Section("The gap and chance", (f"{nothing}nothing is generated anew, and the values are added.",))
    return Section("The gap and chance", (CHANCE, roles_sentence(table.rows)), asked=(replace(table.asked, open=True),))


def distributions(scope: Scope) -> Section:
    """Histograms of the score gap and the gradient norm, one for each set, on common bins."""
    made = [_histograms(scope, "gap", _GAPS), _histograms(scope, "gradient.norm", _NORMS)]
    said = "A mean can hide much. Bars count the pairs of a set, the grey outline pairs of two draws of one model: the "
    said += "floor, where they were measured. The mark above is the mean with its 95 % interval."
    return Section("How the pairs are spread", (said,), tuple(figure for figure in made if figure))


def yields(scope: Scope) -> Section:
    """From prompts asked to pairs trained on, and why the others were left out."""
    kept = ask(scope.store, "From prompts to training", _YIELDS.format(run=quoted(scope.run), own=_OWN))
    drops = ask(scope.store, "Drops by reason", _DROPS.format(run=quoted(scope.run), own=_OWN))
    said = (
        "A prompt gives a pair only where the chosen answer scores strictly above the rejected one. The token gate "
        "then drops what the trainer would cut or damage. These are counts of everything, so they have no interval."
    )
    nothing = () if drops.rows else ("Nothing was dropped.",)
    tables = [replace(one.asked, open=True) for one in (kept, drops) if one.rows]
    return Section("What became of the prompts", (said, *nothing, *_expected(scope)), asked=tuple(tables))


def _expected(scope: Scope) -> tuple[str, ...]:
    """What an expected score is, and the mass behind those of the run's pairs; nothing where there are none."""
    mass = scope.store.query(_MASS.format(sets=_sets(scope)))[0]
    if not mass["n"]:
        return ()
    return (
        "The scores are expected ones: the mean under the judge's probabilities of the score tokens, read before any "
        "justification is written, although the rubric asks for one first. This is another judge than the same model's "
        f"written verdict. Of {mass['n']:,} verdicts on these pairs the score tokens have a probability of "
        f"{show(mass['least'])} at least, median {show(mass['middle'])}; verdicts below judge.min_mass are unreadable.",
    )


def examples(scope: Scope) -> Section:
    """The pairs with the widest and the narrowest gap of the sets that trained kept models."""
    ends = ask(scope.store, "Their numbers", _ENDS.format(sets=listed(scope.kept)))
    if not ends.rows:
        return Section("Pairs in full", ("No pair of this run has two scores, so none is widest or narrowest.",))
    ids = listed([row["pair"] for row in ends.rows])
    texts = {row["id"]: row for row in scope.store.query(_TEXTS.format(pairs=ids))}
    replies = scope.store.query(_REPLIES.format(pairs=ids, more=", j.reply"))
    verdicts = ask(scope.store, "Every verdict on them", _REPLIES.format(pairs=ids, more=""))
    half = (len(ends.rows) + 1) // 2
    words = ["widest"] * half + ["narrowest"] * (len(ends.rows) - half)
    shown = [
        _example(f"Among the {word}: gap {show(row['gap'])}", row, texts[row["pair"]], replies)
        for word, row in zip(words, ends.rows, strict=True)
    ]
    said = (
        f"The three pairs with the largest and the three with the smallest gap among {', '.join(scope.kept)}, in full."
    )
    return Section("Pairs in full", (said,), asked=(ends.asked, verdicts.asked), examples=tuple(shown))


def _example(
    title: str, row: Mapping[str, Any], texts: Mapping[str, Any], replies: Sequence[Mapping[str, Any]]
) -> Example:
    sides = [
        Side(
            side, row[side] + _FINISH.get(texts[f"{side}_finish"], ""), show(row[f"{side} score"]),
            _cut(texts[f"{side}_text"]),
            tuple((_verdict(one), _cut(one["reply"])) for one in replies if one["response"] == texts[side]),
        )
        for side in ("chosen", "rejected")
    ]  # fmt: skip
    return Example(title, f"{row['set']}, pair {row['pair']}", _cut(texts["prompt_text"]), (sides[0], sides[1]))


def _verdict(row: Mapping[str, Any]) -> str:
    """Which verdict it is, and what was read in it."""
    read = f"score {show(row['score'])}" if row["score"] is not None else row["status"]
    return f"{row['judge']}, {row['method']}, draw {row['draw']}: {read}"


def _cut(text: str) -> str:
    return text if len(text) <= TEXT else f"{text[:TEXT]} … ({len(text) - TEXT} characters more in the store)"


def _histograms(scope: Scope, metric: str, values: str) -> Figure | None:
    """One chart a set; None where nothing was measured."""
    shown = next(one for one in SHOWN if one.metric == metric)
    values = values.format(run=quoted(scope.run), sets=_sets(scope))
    ends = scope.store.query(_RANGE.format(values=values))[0]
    if ends["low"] is None:
        return None
    width = _width(ends["high"] - ends["low"])
    found = ask(scope.store, "Counts", _BINS.format(values=values, width=repr(width)))
    mean = means(scope, shown)
    charts = [_chart(row["pair_set"], shown.unit, found.rows, width) for row in scope.sets]
    marks = {row["set"]: row for row in mean.rows if row["run"] == scope.run} if mean else {}
    marked = [replace(chart, mean=_mean(marks.get(chart.name))) for chart in charts if chart.bins]
    n = ", ".join(f"{chart.name} {sum(one.count for one in chart.bins)}" for chart in marked)
    return Figure(
        f"{shown.title}, pair by pair", f"Pairs: {n}.", tuple(marked), (found.asked, *([mean.asked] if mean else []))
    )


def _chart(name: str, unit: str, rows: Sequence[Mapping[str, Any]], width: float) -> Histogram:
    """The bins of one set over the range of all."""
    most = max(max(row["pairs"], row["of two draws"]) for row in rows)
    places = [round(row["from"] / width) for row in rows]
    own = {round(row["from"] / width): row for row in rows if row["set"] == name}
    bins = tuple(
        Bin(k * width, (k + 1) * width, own[k]["pairs"], own[k]["of two draws"])
        if k in own
        else Bin(k * width, (k + 1) * width, 0)
        for k in range(min(places), max(places) + 1)
    )
    return Histogram(name, unit, bins if own else (), most)


def _mean(row: Mapping[str, Any] | None) -> Point | None:
    if row is None or row["mean"] is None or not math.isfinite(row["mean"]):
        return None
    said = f"mean of {row['set']}: {show(row['mean'])} [{show(row['low'])}, {show(row['high'])}], n {row['n']}"
    return Point(row["mean"], row["mean"], row["low"], row["high"], said)


def _width(span: float) -> float:
    """A round bin width that gives about BINS bins."""
    if span <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(span / BINS))
    return float(next(step * power for step in (1, 2, 5, 10) if step * power >= span / BINS))


def _sets(scope: Scope) -> str:
    return listed([row["pair_set"] for row in scope.sets])
