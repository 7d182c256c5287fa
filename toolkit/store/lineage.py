"""Lineage: from a model, score, pair set, pair or answer back to every raw judge reply, and from a prompt forward.

The view `lineage` says the same in SQL, for people. Here a list of ids is found first, and every table is read at the
rows of a list before it is joined (hence MATERIALIZED), by its primary key where that is what the list holds. Joined
first, as one query, whole columns of text are read: 2 to 7 s for one pair in a store of a million, against 0.06 s.
What is left of it is the scan of `judgment.response`, 0.04 s for two million verdicts. An index on it would leave
0.015 s, for 66 to 130 bytes a verdict.

Left out: references as versions.py reads them. A target is a name or an id; of a model, its name in a run
(temporal/M_2) or the beginning of an id do too.
"""

from __future__ import annotations

from typing import Any

from toolkit.store.database import Store

BATCH = 50_000  # pairs; the database then holds the texts of these alone
_ANCESTRY = """
WITH RECURSIVE ancestry AS (
    SELECT id, parent FROM model
    WHERE name = $target OR (length($target) >= 6 AND starts_with(id, $target))
    OR id IN (SELECT model FROM score WHERE id = $target)
    OR id IN (SELECT model FROM model_names WHERE run || '/' || name = $target)
    UNION
    SELECT p.id, p.parent FROM model p JOIN ancestry child ON p.id = child.parent
)
SELECT id FROM ancestry
"""
_SETS = """
SELECT pair_set AS id FROM training WHERE model IN (SELECT unnest($models::VARCHAR[]))
UNION SELECT id FROM pair_set WHERE id = $target
"""
_PAIR = "SELECT id FROM pair WHERE id = $target"
_PAIRS_OF_ANSWER = "SELECT id FROM pair WHERE chosen = $target UNION SELECT id FROM pair WHERE rejected = $target"
_MEMBERS = "FROM pair_set_members WHERE {0} IN (SELECT unnest($ids::VARCHAR[])) ORDER BY ALL"
_ROWS = """
WITH member AS (SELECT unnest($sets::VARCHAR[]) AS pair_set, unnest($pairs::VARCHAR[]) AS pair),
held AS MATERIALIZED (FROM pair WHERE id IN (SELECT unnest($pairs::VARCHAR[]))),
question AS MATERIALIZED (SELECT id, text FROM prompt WHERE id IN (SELECT prompt FROM held)),
answer AS MATERIALIZED (
    SELECT id, model, text, sampling, seed FROM response WHERE id IN (SELECT unnest([chosen, rejected]) FROM held)
),
verdict AS MATERIALIZED (
    SELECT response, judge, method, draw, reply, status, score FROM judgment WHERE response IN (SELECT id FROM answer)
),
side AS (
    SELECT d.pair_set, x.id AS pair, x.prompt, x.judge, 'chosen' AS side, x.chosen AS response, x.chosen_role AS role
    FROM member d JOIN held x ON x.id = d.pair
    UNION ALL
    SELECT d.pair_set, x.id, x.prompt, x.judge, 'rejected', x.rejected, x.rejected_role
    FROM member d JOIN held x ON x.id = d.pair
)
SELECT
    m.name AS model, m.weights, e.pair_set, e.pair, p.text AS prompt_text, e.role, e.side, r.text,
    maker.name AS answered_by, r.sampling, r.seed, judge.name AS judged_by, j.method, j.draw, j.reply, j.status, j.score
FROM side e
JOIN question p ON p.id = e.prompt
JOIN answer r ON r.id = e.response
JOIN model maker ON maker.id = r.model
LEFT JOIN training t ON t.pair_set = e.pair_set
    AND (t.model IN (SELECT unnest($models::VARCHAR[])) OR len($models::VARCHAR[]) = 0)
LEFT JOIN model m ON m.id = t.model
LEFT JOIN verdict j ON j.response = e.response AND j.judge = e.judge
LEFT JOIN model judge ON judge.id = j.judge
ORDER BY ALL
"""
_DEMONSTRATED = """
SELECT
    m.name AS model, m.weights, d.demonstration_set AS pair_set, NULL AS pair, p.text AS prompt_text, r.role,
    'demonstrated' AS side, r.text, maker.name AS answered_by, r.sampling, r.seed, judge.name AS judged_by, j.method,
    j.draw, j.reply, j.status, j.score
FROM training t
JOIN model m ON m.id = t.model
JOIN demonstration d ON d.demonstration_set = t.demonstration_set
JOIN response r ON r.id = d.response
JOIN prompt p ON p.id = r.prompt
JOIN model maker ON maker.id = r.model
LEFT JOIN judgment j ON j.response = r.id AND j.judge = t.parent
LEFT JOIN model judge ON judge.id = j.judge
WHERE t.model IN (SELECT unnest($models::VARCHAR[]))
ORDER BY ALL
"""
_ROWS_OF_PROMPT = """
WITH answer AS MATERIALIZED (FROM response WHERE prompt IN (SELECT unnest($prompts::VARCHAR[]))),
verdict AS MATERIALIZED (FROM judgment WHERE response IN (SELECT id FROM answer)),
member AS (
    SELECT d.pair_set, x.* FROM (SELECT unnest($sets::VARCHAR[]) AS pair_set, unnest($pairs::VARCHAR[]) AS pair) d
    JOIN (FROM pair WHERE id IN (SELECT unnest($pairs::VARCHAR[]))) x ON x.id = d.pair
)
SELECT
    m.name AS answered_by, r.role, r.draw, r.text, r.finish, judge.name AS judged_by, j.method, j.reply, j.status,
    j.score, x.pair_set, CASE r.id WHEN x.chosen THEN 'chosen' WHEN x.rejected THEN 'rejected' END AS side
FROM answer r
JOIN model m ON m.id = r.model
LEFT JOIN verdict j ON j.response = r.id
LEFT JOIN model judge ON judge.id = j.judge
LEFT JOIN member x ON r.id IN (x.chosen, x.rejected) AND x.judge IS NOT DISTINCT FROM j.judge
ORDER BY ALL
"""


def lineage(store: Store, target: str) -> list[dict[str, Any]]:
    """A row for each verdict that ordered a pair of the target; none where nothing is called that.

    A model brings the pairs that it and its ancestors were trained on, a score those of its model, an answer the
    pairs it stands in. A side without a verdict has one row, and so has an answer that a model learned by SFT.
    """
    models = _ids(store, _ANCESTRY, target=target)
    sets = _ids(store, _SETS, target=target, models=models)
    pairs = _ids(store, _PAIR, target=target) or _ids(store, _PAIRS_OF_ANSWER, target=target)
    members = _members(store, "pair_set", sets) + _members(store, "pair", pairs)
    made: list[dict[str, Any]] = []
    for start in range(0, len(members), BATCH):
        made += store.query(_ROWS, {**_columns(members[start : start + BATCH]), "models": models})
    return made + (store.query(_DEMONSTRATED, {"models": models}) if models else [])


def lineage_of_prompt(store: Store, prompt: str) -> list[dict[str, Any]]:
    """A row for each verdict on each answer to the prompt (its id, or its very text), and each set it put it into."""
    prompts = _ids(store, "SELECT id FROM prompt WHERE id = $prompt", prompt=prompt)
    prompts = prompts or _ids(store, "SELECT id FROM prompt WHERE text = $prompt", prompt=prompt)
    of_prompts = "SELECT id FROM pair WHERE prompt IN (SELECT unnest($prompts::VARCHAR[]))"
    members = _members(store, "pair", _ids(store, of_prompts, prompts=prompts)) if prompts else []
    return store.query(_ROWS_OF_PROMPT, {**_columns(members), "prompts": prompts}) if prompts else []


def _ids(store: Store, sql: str, **parameters: Any) -> list[str]:
    return [row["id"] for row in store.query(sql, parameters)]


def _members(store: Store, column: str, ids: list[str]) -> list[dict[str, Any]]:
    return store.query(_MEMBERS.format(column), {"ids": ids}) if ids else []


def _columns(members: list[dict[str, Any]]) -> dict[str, list[str]]:
    return {"sets": [member["pair_set"] for member in members], "pairs": [member["pair"] for member in members]}
