"""The runs of a study in a store: their declaration, what is finished, and the summary of a seed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.lab import Lab
from toolkit.redaction import redact_mapping
from toolkit.store.database import Store
from toolkit.study.declaration import Declaration
from toolkit.study.summary import Summary, Value, file_name, read_summary, shared_recipe
from toolkit.trust.consent import SCRIPTED

_LAUNCHES = """
SELECT l.id, l.recipe, l.commit_hash, l.versions, l.hardware, EXISTS (
    FROM step s WHERE s.launch = l.id AND s.cached < s.total AND s.stage NOT IN ('pair', 'gate')
) AS worked
FROM study_run r JOIN launch l ON l.id = r.launch
WHERE r.study = ? AND r.condition = ? AND r.seed = ? AND r.arm = ? ORDER BY l.position, l.started, l.id
"""
_COST = """
SELECT
    coalesce(sum(seconds), 0) AS seconds, coalesce(sum((stats->>'prompt_tokens')::BIGINT), 0)::BIGINT AS prompt_tokens,
    coalesce(sum((stats->>'new_tokens')::BIGINT), 0)::BIGINT AS new_tokens,
    count(*) FILTER (stage = 'train' AND cached < total) AS trainings
FROM step WHERE launch IN (SELECT unnest(?))
"""
_EARLIER = """
SELECT DISTINCT ON (digest) digest, declaration, launch FROM study_run WHERE study = ? AND digest <> ? ORDER BY launch
"""


def declare(lab: Lab, declaration: Declaration, condition: str, seed: int, arm: str) -> None:
    """Store with this launch what the study declares, before anything runs."""
    row = {"launch": lab.launch.id, "study": declaration.study, "condition": condition, "seed": seed, "arm": arm}
    lab.store.insert("study_run", [{**row, "digest": declaration.digest, "declaration": declaration.as_json()}])


def changed_declarations(store: Store, declaration: Declaration) -> list[str]:
    """A warning for each earlier declaration of this study in the store that differs from this one."""
    lines = []
    for row in store.query(_EARLIER, [declaration.study, declaration.digest]):
        earlier, current = json.loads(row["declaration"]), declaration.as_json()
        keys = [key for key in current if key != "seeds" and earlier.get(key) != current[key]]
        changes = "; ".join(f"{key} was {earlier.get(key)!r}, is {current[key]!r}" for key in keys)
        lines.append(
            f"warning: study {declaration.study} was declared differently at launch {row['launch']}: {changes}"
        )
    return lines


def finished(folder: Path, condition: str, seed: int, recipes: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether this seed's summary is there, of these arms with these recipes. Raises InputError for a damaged one."""
    path = folder / file_name(condition, seed)
    if not path.exists():
        return False
    summary = read_summary(path)
    measured = {value.arm for value in summary.values}
    return measured == recipes.keys() == summary.recipes.keys() and all(
        science(summary.recipes[arm]) == science(redact_mapping(recipe)) for arm, recipe in recipes.items()
    )


def science(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A resolved recipe, as JSON, without what may differ between the machines and seeds of one study.

    What made-up numbers come from, the scripted engine and trainer, stays.
    """
    engine, trainer = recipe.get("engine", {}), recipe.get("trainer", {})
    fields = shared_recipe(recipe)
    fields["trainer"] |= {"dtype": trainer.get("dtype"), "scripted": trainer.get("python") == SCRIPTED}
    fields["engine"] = {"dtype": engine.get("dtype"), "scripted": engine.get("kind") == SCRIPTED}
    plain: dict[str, Any] = json.loads(json.dumps(fields))
    return plain


def summarize(
    store: Store,
    declaration: Declaration,
    condition: str,
    seed: int,
    recipes: Mapping[str, Mapping[str, Any]],
    values: Sequence[Value],
) -> Summary:
    """The summary of a seed whose arms have all finished. recipes: resolved, by arm.

    Launches of an arm with another recipe do not count. commit, versions: of every launch that made something; several
    ones are joined by " | ".
    """
    launches = {
        arm: [
            row
            for row in store.query(_LAUNCHES, [declaration.study, condition, seed, arm])
            if _without_dtypes(json.loads(row["recipe"])) == _without_dtypes(redact_mapping(recipe))
        ]
        for arm, recipe in recipes.items()
    }
    every = [row for rows in launches.values() for row in rows]
    worked = [row for row in every if row["worked"]] or every[-1:]
    versions = [json.loads(row["versions"]) for row in worked]
    ids = {arm: [row["id"] for row in rows] for arm, rows in launches.items()}
    return Summary(
        declaration, condition, seed, tuple(values), {arm: redact_mapping(recipe) for arm, recipe in recipes.items()},
        ids, _joined(row["commit_hash"] or "unknown" for row in worked),
        {name: _joined(str(each.get(name, "absent")) for each in versions) for name in sorted(set().union(*versions))},
        json.loads(worked[-1]["hardware"]),
        tuple({"arm": arm, **store.query(_COST, [own])[0]} for arm, own in ids.items()),
    )  # fmt: skip


def _without_dtypes(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A launch keeps "auto" where a summary has what it was resolved to."""
    fields = science(recipe)
    return fields | {part: {k: v for k, v in fields[part].items() if k != "dtype"} for part in ("trainer", "engine")}


def _joined(texts: Iterable[str]) -> str:
    return " | ".join(dict.fromkeys(texts))
