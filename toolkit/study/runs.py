"""The runs of a study in a store: their declaration, what is finished, and the summary of a seed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.lab import Lab
from toolkit.store.database import Store
from toolkit.study.declaration import Declaration
from toolkit.study.summary import Summary, Value, file_name, read_summary

_COST = """
SELECT
    coalesce(sum(s.seconds), 0) AS seconds,
    coalesce(sum((s.stats->>'prompt_tokens')::BIGINT), 0)::BIGINT AS prompt_tokens,
    coalesce(sum((s.stats->>'new_tokens')::BIGINT), 0)::BIGINT AS new_tokens,
    count(*) FILTER (s.stage = 'train' AND s.cached < s.total) AS trainings
FROM step s JOIN launch l ON l.id = s.launch WHERE l.run = ?
"""
_LAUNCHES = "SELECT id FROM launch WHERE run = ? ORDER BY position, started, id"
_EARLIER = """
SELECT DISTINCT ON (digest) digest, declaration, launch FROM study_run WHERE study = ? AND digest <> ? ORDER BY launch
"""
# Of a recipe: what may differ between machines and seeds of one study.
MACHINE = ("name", "seed", "engine", "trainer")
PARTS_SEED = ("prompts", "training", "sft")


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
    return {arm: science(recipe) for arm, recipe in summary.recipes.items()} == {
        arm: science(recipe) for arm, recipe in recipes.items()
    }


def science(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A resolved recipe without what may differ between machines and seeds of one study; as JSON."""
    fields = {key: value for key, value in recipe.items() if key not in MACHINE}
    for part in PARTS_SEED:
        if isinstance(fields.get(part), Mapping):
            fields[part] = {key: value for key, value in fields[part].items() if key != "seed"}
    plain: dict[str, Any] = json.loads(json.dumps(fields))
    return plain


def summarize(
    store: Store, declaration: Declaration, condition: str, seed: int, runs: Mapping[str, str],
    recipes: Mapping[str, Mapping[str, Any]], values: Sequence[Value],
) -> Summary:  # fmt: skip
    """The summary of a seed whose arms have all finished. runs: the run of each arm."""
    launches = {arm: [row["id"] for row in store.query(_LAUNCHES, [run])] for arm, run in runs.items()}
    newest = store.query(
        "SELECT commit_hash, versions, hardware FROM launch WHERE id = ?", [launches[[*runs][-1]][-1]]
    )[0]
    cost = tuple({"arm": arm, **store.query(_COST, [run])[0]} for arm, run in runs.items())
    return Summary(
        declaration, condition, seed, tuple(values), recipes, launches, newest["commit_hash"] or "",
        json.loads(newest["versions"]), json.loads(newest["hardware"]), cost,
    )  # fmt: skip
