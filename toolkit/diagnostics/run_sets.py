"""A run's pair sets with what was trained on them, and the two answers of each pair with those of its controls.

The controls of a set are what no selection looks like, for each of its prompts:

    draws            two draws of the present model, the better-scored first, as a recipe with K = 2 would pair them
    present_past     one answer of each role, the first of the name on the chosen side. Which of a model's K answers is
    future_past      taken follows from CHOICE, the prompt, the model and the role alone, so neither scores nor texts
    future_present   decide it; a role's answer is the same one in every control. Gaps have a sign here.

A set has the controls of the roles whose answers its launch had drawn before it was paired. All answers are the run's
own: none is generated. A prompt has no row in a control whose two answers are one text, or were not all given.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from toolkit.config import Recipe, parse
from toolkit.engines import checkpoint
from toolkit.errors import InputError
from toolkit.identity import Json, derive_seed
from toolkit.judgments.rubric import is_shipped, load_rubric
from toolkit.lab import Lab
from toolkit.records import Control, Model, Prompt, Response, Role
from toolkit.responses.generate import ask
from toolkit.store.database import Store
from toolkit.store.launches import NEWEST_FIRST

CHOICE = 20250806  # seed of the choice among a model's answers
ROLE_PAIRS: Mapping[Control, tuple[Role, Role]] = {
    "present_past": ("present", "past"),
    "future_past": ("future", "past"),
    "future_present": ("future", "present"),
}
_DRAWN = """SELECT DISTINCT g.subject AS model, regexp_extract(g.label, ' as ([a-z]+)$', 1) AS role
FROM step g JOIN step p ON p.launch = g.launch AND p.iteration = g.iteration AND g.position < p.position
WHERE p.launch = ? AND p.stage = 'pair' AND p.subject = ? AND g.stage = 'generate'
AND role IN ('past', 'future') ORDER BY ALL"""


@dataclass(frozen=True)
class Answers:
    """Two answers to one prompt: of a pair the chosen and the rejected one."""

    prompt: Prompt
    chosen: Response
    rejected: Response


@dataclass(frozen=True)
class TrainedSet:
    """A pair set of a run: trained from `parent` to `result`. controls: by name, those that have a prompt."""

    id: str
    iteration: int
    parent: Model
    result: Model
    pairs: tuple[Answers, ...]
    controls: Mapping[Control, tuple[Answers, ...]]

    @property
    def groups(self) -> dict[Control, tuple[Answers, ...]]:
        """The pairs, under "", and the controls."""
        return {"": self.pairs, **self.controls}


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


def refuse_scripted(store: Store, run: str) -> None:
    """Raise InputError where a model of the run is the scripted toy: it has no network to measure."""
    folder = store.path.parent if store.path else Path.cwd()
    rows = store.query(
        "SELECT DISTINCT m.name, m.path FROM run_sets s JOIN model m ON m.id IN (s.parent, s.result) "
        "WHERE s.run = ? AND m.path <> '' ORDER BY ALL",
        [run],
    )
    for row in rows:
        checkpoint.refuse_scripted(folder / row["path"], row["name"])


def trained_sets(lab: Lab, run: str) -> list[TrainedSet]:
    """The run's sets in the order they were paired; their controls are stored."""
    rows = lab.store.query("FROM run_sets WHERE run = ? ORDER BY iteration, position", [run])
    return [_trained_set(lab, row) for row in rows]


def _trained_set(lab: Lab, row: Mapping[str, Any]) -> TrainedSet:
    store, name = lab.store, row["pair_set"]
    parent = model(store, row["parent"])
    _store_controls(lab, name, row["launch"], parent)
    pairs = _answers(store, "SELECT prompt, chosen, rejected FROM pairs WHERE pair_set = ? ORDER BY id", [name])
    sql = "SELECT prompt, chosen, rejected FROM control WHERE pair_set = ? AND control = ? ORDER BY prompt"
    controls = {control: _answers(store, sql, [name, control]) for control in get_args(Control)}
    measured = {control: answers for control, answers in controls.items() if answers}
    return TrainedSet(name, row["iteration"], parent, model(store, row["result"]), pairs, measured)


def _answers(store: Store, sql: str, parameters: list[str]) -> tuple[Answers, ...]:
    rows = store.query(sql, parameters)
    prompts = store.find(Prompt, {row["prompt"] for row in rows})
    texts = store.find(Response, {row[side] for row in rows for side in ("chosen", "rejected")})
    return tuple(Answers(prompts[row["prompt"]], texts[row["chosen"]], texts[row["rejected"]]) for row in rows)


def _store_controls(lab: Lab, name: str, launch: str, parent: Model) -> None:
    """The set's controls, each with a row for every prompt that has two answers for it."""
    store = lab.store
    rows = store.query("SELECT DISTINCT prompt FROM pairs WHERE pair_set = ? ORDER BY ALL", [name])
    ids = [row["prompt"] for row in rows]
    found = store.find(Prompt, ids)
    prompts = [found[id] for id in ids]
    models: dict[Role, Model] = {row["role"]: model(store, row["model"]) for row in store.query(_DRAWN, [launch, name])}
    models["present"] = parent
    drawn = {role: _drawn(lab, answerer, prompts, role) for role, answerer in models.items()}
    two = {"draws": _two_draws(drawn["present"])}
    chosen = {role: _choice(answers) for role, answers in drawn.items()}
    for control, (one, other) in ROLE_PAIRS.items():
        sides = chosen.get(one, {}), chosen.get(other, {})
        both = [(sides[0][id], sides[1][id]) for id in ids if id in sides[0] and id in sides[1]]
        two[control] = [answers for answers in both if answers[0].text != answers[1].text]
    scores = _scores(lab, name, [response.id for pairs in two.values() for both in pairs for response in both])
    two["draws"] = [_better_first(both, scores) for both in two["draws"]]
    store.insert(
        "control",
        [_control(name, control, both, scores) | {"launch": lab.launch.id} for control in two for both in two[control]],
    )


def _drawn(lab: Lab, answerer: Model, prompts: Sequence[Prompt], role: Role) -> dict[str, list[Response]]:
    """The stored answers that the recipe asked this model for, by prompt, in the order of their draws."""
    requested = [request.id for request in ask(lab, answerer, prompts, role)]
    stored = lab.store.find(Response, requested)
    drawn: dict[str, list[Response]] = {}
    for response in (stored[id] for id in requested if id in stored):
        drawn.setdefault(response.prompt, []).append(response)
    return drawn


def _two_draws(drawn: Mapping[str, Sequence[Response]]) -> list[tuple[Response, Response]]:
    """The first two answers of different text; a prompt whose draws are all one text has none."""
    pairs = []
    for answers in drawn.values():
        second = next((answer for answer in answers[1:] if answer.text != answers[0].text), None)
        if second:
            pairs.append((answers[0], second))
    return pairs


def _choice(drawn: Mapping[str, Sequence[Response]]) -> dict[str, Response]:
    """One answer a prompt, chosen without a look at scores or texts; none where an answer was not given."""
    chosen = {prompt: answers[_place(answers)] for prompt, answers in drawn.items()}
    return {prompt: answer for prompt, answer in chosen.items() if answer.text is not None}


def _place(answers: Sequence[Response]) -> int:
    first = answers[0]
    return derive_seed(CHOICE, first.prompt, first.model, first.role) % len(answers)


def _better_first(both: tuple[Response, Response], scores: Mapping[str, float]) -> tuple[Response, Response]:
    """The better-scored first; where they tie, or nobody judged, the earlier draw."""
    ordered = sorted(both, key=lambda response: -scores.get(response.id, 0.0))
    return ordered[0], ordered[1]


def _control(name: str, control: str, both: tuple[Response, Response], scores: Mapping[str, float]) -> dict[str, Json]:
    marks = [scores.get(response.id) for response in both]
    complete = None not in marks
    return {
        "pair_set": name,
        "control": control,
        "prompt": both[0].prompt,
        "chosen": both[0].id,
        "rejected": both[1].id,
        "chosen_score": marks[0] if complete else None,
        "rejected_score": marks[1] if complete else None,
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
