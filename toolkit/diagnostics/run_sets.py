"""A run's pair sets with what was trained on them, and the two answers of each pair with those of its control.

The control of a set is what no selection looks like: for each of its prompts two draws of the present model, of which
the better-scored comes first, as a recipe with K = 2 would pair them. Both draws are the run's own: nothing is made.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.config import Recipe, parse
from toolkit.errors import InputError
from toolkit.identity import Json
from toolkit.judgments.rubric import is_shipped, load_rubric
from toolkit.lab import Lab
from toolkit.records import Model, Prompt, Response
from toolkit.responses.generate import ask
from toolkit.store.database import Store
from toolkit.store.launches import NEWEST_FIRST


@dataclass(frozen=True)
class Answers:
    """Two answers to one prompt: of a pair the chosen and the rejected one."""

    prompt: Prompt
    chosen: Response
    rejected: Response


@dataclass(frozen=True)
class TrainedSet:
    """A pair set of a run: trained from `parent` to `result`. draws: the control."""

    id: str
    iteration: int
    parent: Model
    result: Model
    pairs: tuple[Answers, ...]
    draws: tuple[Answers, ...]


def recipe_of(store: Store, run: str, *, trusted: bool = False) -> Recipe:
    """The recipe of a run's newest launch, without what would run code or read files: the store may be a stranger's.

    trusted: code next to a model's weights may run. Raises InputError where there is no such run.
    """
    rows = store.query(
        f"SELECT recipe FROM launch WHERE run = ? AND id IN (SELECT launch FROM run_sets) ORDER BY {NEWEST_FIRST}",
        [run],
    )
    if not rows:
        known = [row["run"] for row in store.query("SELECT DISTINCT run FROM run_sets ORDER BY run")]
        told = f"one of {', '.join(known)}" if known else "run a recipe first: python -m toolkit.recipes.temporal"
        raise InputError(f"no run {run!r} has trained on a pair set", where=store.path or "memory", remedy=told)
    recipe = parse(json.loads(rows[0]["recipe"]), where=f"run {run}")
    return recipe.model_copy(update={"suite": "", "trust_remote_code": trusted})


def base_of(store: Store, run: str) -> Model:
    """M_0 of the run."""
    rows = store.query("SELECT model FROM model_names WHERE run = ? AND name = 'M_0'", [run])
    if not rows:
        raise InputError(f"run {run!r} names no M_0", where=store.path or "memory", remedy="run its recipe again")
    return model(store, rows[0]["model"])


def model(store: Store, id: str) -> Model:
    """A stored model."""
    found: Model = store.find(Model, [id])[id]
    return found


def trained_sets(lab: Lab, run: str) -> list[TrainedSet]:
    """The run's sets in the order they were made; their controls are stored."""
    rows = lab.store.query("FROM run_sets WHERE run = ? ORDER BY iteration, position", [run])
    return [_trained_set(lab, row) for row in rows]


def _trained_set(lab: Lab, row: Mapping[str, Any]) -> TrainedSet:
    store, name = lab.store, row["pair_set"]
    parent = model(store, row["parent"])
    _store_control(lab, name, parent)
    pairs = _answers(store, "SELECT prompt, chosen, rejected FROM pairs WHERE pair_set = ? ORDER BY id", name)
    draws = _answers(store, "SELECT prompt, chosen, rejected FROM control WHERE pair_set = ? ORDER BY prompt", name)
    return TrainedSet(name, row["iteration"], parent, model(store, row["result"]), pairs, draws)


def _answers(store: Store, sql: str, name: str) -> tuple[Answers, ...]:
    rows = store.query(sql, [name])
    prompts = store.find(Prompt, {row["prompt"] for row in rows})
    texts = store.find(Response, {row[side] for row in rows for side in ("chosen", "rejected")})
    return tuple(Answers(prompts[row["prompt"]], texts[row["chosen"]], texts[row["rejected"]]) for row in rows)


def _store_control(lab: Lab, name: str, parent: Model) -> None:
    """Two draws for every prompt of the set; a prompt whose draws are all one text has none."""
    store = lab.store
    ids = [
        r["prompt"] for r in store.query("SELECT DISTINCT prompt FROM pairs WHERE pair_set = ? ORDER BY ALL", [name])
    ]
    prompts = store.find(Prompt, ids)
    wanted = [request.id for request in ask(lab, parent, [prompts[id] for id in ids], "present")]
    stored = store.find(Response, wanted)
    drawn: dict[str, list[Response]] = {}
    for response in (stored[id] for id in wanted if id in stored):
        others = drawn.setdefault(response.prompt, [])
        if len(others) < 2 and all(other.text != response.text for other in others):
            others.append(response)
    two = {prompt: found for prompt, found in drawn.items() if len(found) == 2}
    scores = _scores(lab, name, [response.id for found in two.values() for response in found])
    rows = [_control(name, found, scores) | {"launch": lab.launch.id} for found in two.values()]
    store.insert("control", rows)


def _control(name: str, found: Sequence[Response], scores: Mapping[str, float]) -> dict[str, Json]:
    """The better-scored first; where they tie, or nobody judged, the earlier draw."""
    ordered = sorted(found, key=lambda response: -scores.get(response.id, 0.0))
    marks = [scores.get(response.id) for response in ordered]
    both = None not in marks
    return {
        "pair_set": name,
        "prompt": ordered[0].prompt,
        "chosen": ordered[0].id,
        "rejected": ordered[1].id,
        "chosen_score": marks[0] if both else None,
        "rejected_score": marks[1] if both else None,
    }


def _scores(lab: Lab, name: str, responses: Sequence[str]) -> dict[str, float]:
    """Scores by the set's judge, in the recipe's way of judging."""
    settings = lab.recipe.judge
    rubric = None if settings.method == "reward" else _rubric(lab.store, settings.rubric)
    sql = (
        "SELECT response, score FROM answer_scores WHERE response IN (SELECT unnest($responses::VARCHAR[])) "
        "AND judge IN (SELECT judge FROM pairs WHERE pair_set = $name) "
        "AND method = $method AND rubric IS NOT DISTINCT FROM $rubric "
        "AND (sampling IS NULL OR sampled(sampling) = sampled($sampling::JSON))"
    )
    asked = {"responses": list(responses), "name": name, "method": settings.method, "rubric": rubric}
    asked["sampling"] = json.dumps(settings.sampling.as_json())
    return {row["response"]: row["score"] for row in lab.store.query(sql, asked)}


def _rubric(store: Store, name: str) -> str | None:
    """The id of the recipe's rubric: a shipped one, or the newest of this name in the store; its file is not read."""
    if is_shipped(name):
        return load_rubric(name).id
    sql = "SELECT arg_max(id, launch) AS id FROM rubric WHERE name = ?"
    rubric: str | None = store.query(sql, [Path(name).stem])[0]["id"]
    return rubric
