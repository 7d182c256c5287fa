"""The pairs of a set, searched, filtered and sorted by any number measured of them; one pair with all that is known.

`Wanted` says which pairs; every function gives a frame beside its SQL. Left out: how it looks (panels.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from toolkit.reporting.notebooks.frames import Reader, Rows

LIMIT = 500  # rows of a page; the count of all that fit is beside them
COLUMNS = ("gap", "chosen_score", "rejected_score", "length_gap", "chosen_characters", "rejected_characters")
Range = tuple[float, float]

_PAIRS = """
WITH numbers AS (
    SELECT pair, any_value(value) AS value FROM metrics
    WHERE pair_set = $set AND control = '' AND metric = $metric AND model IS NOT DISTINCT FROM $model GROUP BY pair
),
moves AS (
    SELECT pair, bool_or(displaced) AS displaced FROM trained_pairs
    WHERE pair_set = $set AND control = '' GROUP BY pair
),
trainings AS (SELECT id FROM training WHERE data = (SELECT fingerprint FROM pair_set WHERE id = $set)),
gate AS (
    SELECT pair, string_agg(DISTINCT stage || ': ' || reason, ', ' ORDER BY stage || ': ' || reason) AS dropped,
        bool_or(training = '') OR count(DISTINCT training) FILTER (training IN (FROM trainings))
            = (SELECT count(*) FROM trainings) AS unused
    FROM drops($set) WHERE pair IS NOT NULL GROUP BY pair
),
known AS (
    SELECT
        x.*, x.chosen_characters - x.rejected_characters AS length_gap,
        x.chosen_role || ' > ' || x.rejected_role AS roles,
        n.value AS measured, m.displaced, g.dropped, coalesce(g.unused, false) AS unused
    FROM pairs x
    LEFT JOIN numbers n ON n.pair = x.id LEFT JOIN moves m ON m.pair = x.id LEFT JOIN gate g ON g.pair = x.id
    WHERE x.pair_set = $set
)
SELECT id AS pair, prompt_text, roles, gap, chosen_score, rejected_score, length_gap, measured, displaced, dropped,
    count(*) OVER () AS found
FROM known
WHERE ($text = '' OR contains(lower(concat_ws(chr(10), prompt_text, chosen_text, rejected_text)), lower($text)))
    AND ($roles = '' OR roles = $roles)
    AND ($low_score IS NULL OR rejected_score >= $low_score AND chosen_score <= $high_score)
    AND ($low_gap IS NULL OR gap BETWEEN $low_gap AND $high_gap)
    AND ($state = '' OR CASE $state
        WHEN 'displaced' THEN displaced WHEN 'not displaced' THEN NOT displaced
        WHEN 'trained on' THEN NOT unused ELSE contains(dropped, $state) END)
"""
_ONE = """
SELECT x.*, c.name AS chosen_model_name, r.name AS rejected_model_name
FROM pairs x JOIN model c ON c.id = x.chosen_model JOIN model r ON r.id = x.rejected_model
WHERE x.pair_set = $set AND x.id = $pair
"""
_REPLIES = """
SELECT CASE j.response WHEN x.chosen THEN 'chosen' ELSE 'rejected' END AS side, j.judge_name AS judge,
    j.judge IS NOT DISTINCT FROM x.judge AS ordered_the_pair, j.method, j.rubric_name AS rubric, j.draw, j.status,
    j.score, j.reason, j.reply
FROM pair x JOIN judgments j ON j.response IN (x.chosen, x.rejected)
WHERE x.id = $pair ORDER BY ordered_the_pair DESC, judge, side, j.draw, j.method, rubric, j.id
"""
_MEASURED = """
SELECT metric, model_name AS under, value, reason FROM metrics
WHERE pair_set = $set AND pair = $pair AND control = '' ORDER BY ALL
"""
_TRAINED = """
SELECT run, iteration, phase, chosen_before, chosen_after, rejected_before, rejected_after, margin, weight,
    ranked_before, ranked_after, displaced
FROM trained_pairs WHERE pair_set = $set AND pair = $pair AND control = '' ORDER BY ALL
"""
_SETS = "SELECT id, size FROM pair_set WHERE size > 0 ORDER BY created DESC, id"
_LIMITS = """
SELECT min(least(chosen_score, rejected_score)) AS low_score, max(greatest(chosen_score, rejected_score)) AS high_score,
    min(gap) AS low_gap, max(gap) AS high_gap FROM pairs WHERE pair_set = $set
"""
_LISTS = """
SELECT 'roles' AS kind, chosen_role || ' > ' || rejected_role AS value FROM pairs WHERE pair_set = $set
UNION SELECT 'dropped', stage || ': ' || reason FROM drops($set) WHERE pair IS NOT NULL
ORDER BY ALL
"""
_METRICS = """
WITH found AS (
    SELECT DISTINCT metric, model, metric || coalesce(' under ' || model_name, '') AS label
    FROM metrics WHERE pair_set = $set AND control = ''
)
SELECT metric, model,
    CASE WHEN count(*) OVER (PARTITION BY label) > 1 THEN label || ', ' || model ELSE label END AS label
FROM found ORDER BY ALL
"""
_DROPPED = """
SELECT d.stage, d.reason, count(*) OVER (PARTITION BY d.stage, d.reason) AS of_this_reason, p.text AS prompt_text,
    d.detail
FROM (SELECT DISTINCT stage, reason, prompt, pair, detail FROM drops($set)) d
JOIN prompt p ON p.id = d.prompt
WHERE ($reason = '' OR d.stage || ': ' || d.reason = $reason)
ORDER BY ALL LIMIT $limit
"""


@dataclass(frozen=True)
class Wanted:
    """Which pairs of a set, in which order. A range is None where it leaves nothing out, unscored pairs included.

    state: "", "displaced", "not displaced", "trained on", or "stage: reason" of a drop. order: one of COLUMNS or a
    metric's name; model: the id of the model it was measured under, None for metrics of the texts.
    """

    pair_set: str
    text: str = ""
    roles: str = ""
    scores: Range | None = None
    gaps: Range | None = None
    state: str = ""
    order: str = "gap"
    model: str | None = None
    falling: bool = True


def pair_rows(store: Reader, wanted: Wanted) -> Rows:
    """The first LIMIT of these pairs; `found` counts all of them, `measured` is the metric they are sorted by."""
    column = wanted.order if wanted.order in COLUMNS else "measured"
    direction = "DESC" if wanted.falling else "ASC"
    low_score, high_score = wanted.scores or (None, None)
    low_gap, high_gap = wanted.gaps or (None, None)
    return store.ask(
        f"{_PAIRS.rstrip()}\nORDER BY {column} {direction} NULLS LAST, pair LIMIT {LIMIT}",
        set=wanted.pair_set, text=wanted.text, roles=wanted.roles, state=wanted.state, metric=wanted.order,
        model=wanted.model, low_score=low_score, high_score=high_score, low_gap=low_gap, high_gap=high_gap,
    )  # fmt: skip


def sets(store: Reader) -> list[str]:
    """Versions with pairs in them, the newest first."""
    return [str(name) for name in store.ask(_SETS).frame["id"]]


def limits(store: Reader, pair_set: str) -> tuple[Range | None, Range | None]:
    """Least and greatest score and gap of a set; None where no pair has one."""
    row = store.ask(_LIMITS, set=pair_set).frame.iloc[0]
    return _range(row["low_score"], row["high_score"]), _range(row["low_gap"], row["high_gap"])


def lists(store: Reader, pair_set: str) -> tuple[list[str], list[str]]:
    """The roles that stand against each other in a set, and why pairs of it were dropped."""
    frame = store.ask(_LISTS, set=pair_set).frame
    roles, dropped = ([str(v) for v in frame[frame["kind"] == kind]["value"]] for kind in ("roles", "dropped"))
    return roles, dropped


def orders(store: Reader, pair_set: str) -> dict[str, tuple[str, str | None]]:
    """What pairs can be sorted by: label -> column or metric, and the model it was measured under."""
    made: dict[str, tuple[str, str | None]] = {name: (name, None) for name in COLUMNS}
    frame = store.ask(_METRICS, set=pair_set).frame
    for metric, model, label in frame.itertuples(index=False, name=None):
        made[str(label)] = (str(metric), str(model) if isinstance(model, str) else None)
    return made


def dropped_prompts(store: Reader, pair_set: str, reason: str = "", limit: int = 50) -> Rows:
    """Prompts that gave no pair, or whose pair was dropped, with the reason and how many share it."""
    return store.ask(_DROPPED, set=pair_set, reason=reason, limit=limit)


def one_pair(store: Reader, pair_set: str, pair: str) -> Rows:
    """Both texts with their scores, roles, models and lengths."""
    return store.ask(_ONE, set=pair_set, pair=pair)


def replies(store: Reader, pair: str) -> Rows:
    """Every verdict on either side, raw, those that ordered the pair first."""
    return store.ask(_REPLIES, pair=pair)


def numbers(store: Reader, pair_set: str, pair: str) -> Rows:
    """Everything that was measured of the pair."""
    return store.ask(_MEASURED, set=pair_set, pair=pair)


def trainings(store: Reader, pair_set: str, pair: str) -> Rows:
    """What each training on the set did to the pair."""
    return store.ask(_TRAINED, set=pair_set, pair=pair)


def _range(low: float | None, high: float | None) -> Range | None:
    return None if low is None or high is None or low != low or high != high else (float(low), float(high))
