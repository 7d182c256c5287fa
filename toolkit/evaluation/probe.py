"""The probe: the same prompts for every kept model, scored by one fixed judge, so that models are compared in pairs.

`probe.prompts` prompts are held out of `prompts.source`, the same for every seed. Every kept model (M_0, M_1 ...)
gives `probe.answers` answers to each. The judge is `judge.audit` where the recipe has one, else the recipe's judge with
M_0 in the place of the present model.

    score            of a prompt the mean score of its answers, in points
    spread           of a prompt the best score less the worst, in points: what a judge could choose between
    tokens           of a prompt the mean length of its answers, in tokens
    judge_accuracy   of a prompt the share of pairs of answers, among those that the fixed judge scores differently,
                     that the model as the recipe's own judge orders alike; a tie of its own counts half. On the first
                     `probe.judged` prompts; left out where the fixed judge is the recipe's own.

They are stored as the items of the test "probe", so intervals and paired tests of two models are the leaderboard's.
Gradients on the probe's answers are a study's: study/measure.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations
from pathlib import Path
from statistics import fmean

from toolkit.config import Judge, Prompts, Recipe
from toolkit.evaluation.answers import Graded, Questions, answers, keep, mean_score
from toolkit.identity import Json, fingerprint
from toolkit.judgments.judge import judging, verdicts
from toolkit.judgments.rubric import load_rubric
from toolkit.lab import Lab, Step
from toolkit.prompts.source import load_prompts
from toolkit.prompts.split import held_out
from toolkit.records import Item, Judgment, Model, Prompt, Response, Score

TASK = "probe"


@dataclass(frozen=True)
class Probed:
    """A model's answers to the probe by prompt id, and their scores by response id.

    fixed: by the fixed judge. own: by the recipe's judge, on the answers to the first `probe.judged` prompts; empty
    where it is the fixed judge.
    """

    prompts: tuple[Prompt, ...]
    answers: Mapping[str, tuple[Response, ...]]
    fixed: Mapping[str, float]
    own: Mapping[str, float]


def probe(lab: Lab, model: Model) -> Graded:
    """The model on the probe prompts, stored; nothing where the recipe has none. InputError for too few prompts."""
    recipe = lab.recipe
    if not recipe.probe.prompts:
        return Graded((), ())
    probed = ask_probe(lab, model)
    if lab.planning:
        return Graded((), ())
    blank = Item(model.id, TASK, "", "", protocol(lab, model))
    items = [item for prompt in probed.prompts for item in _items(blank, probed, prompt.id)]
    if probed.own:
        blank = replace(blank, metric="judge_accuracy", settings=own_protocol(lab, model))
        items += [_accuracy_item(blank, probed, prompt.id) for prompt in probed.prompts[: recipe.probe.judged]]
    return keep(lab, Graded(_scores(items), tuple(items)))


def ask_probe(lab: Lab, model: Model) -> Probed:
    """The model's answers and their scores; stored ones are reused, a plan asks for nothing."""
    recipe = lab.recipe
    prompts = probe_prompts(recipe)
    count = recipe.probe.answers or recipe.answers.k
    responses = answers(lab, model, Questions(TASK, prompts, recipe.answers.sampling, count, priced_as="generate"))
    by_prompt = {prompt.id: tuple(r for r in responses if r.prompt == prompt.id) for prompt in prompts}
    fixed = _verdicts(lab, model, fixed_judge(recipe), responses, "probe")
    judged = [response for prompt in prompts[: recipe.probe.judged] for response in by_prompt[prompt.id]]
    own = {} if same_judge(recipe) or not judged else _verdicts(lab, model, recipe.judge, judged, "judged probe")
    return Probed(prompts, by_prompt, fixed, own)


def probe_prompts(recipe: Recipe) -> tuple[Prompt, ...]:
    """The recipe's held-out prompts. Raises InputError where the source has too few."""
    file = Path(recipe.prompts.source).expanduser()
    state = (file.stat().st_mtime_ns, file.stat().st_size) if file.is_file() else None
    return _probe_prompts(recipe.prompts, recipe.probe.prompts, state)


@lru_cache(maxsize=4)
def _probe_prompts(settings: Prompts, count: int, state: object) -> tuple[Prompt, ...]:
    """Kept for the same settings and the same state of the file: every kept model asks for them."""
    return held_out(load_prompts(settings), count)


def stored_scores(lab: Lab, model: Model) -> list[Score]:
    """The model's scores on the probe by this recipe, from the store alone."""
    keys = [Score(model.id, TASK, metric, protocol(lab, model)) for metric in ("score", "spread", "tokens")]
    keys.append(Score(model.id, TASK, "judge_accuracy", own_protocol(lab, model)))
    stored = lab.store.find(Score, [key.id for key in keys])
    return [stored[key.id] for key in keys if key.id in stored]


def fixed_judge(recipe: Recipe) -> Judge:
    """The judge's settings; never the present model, which is another in every iteration."""
    settings = recipe.judge.auditing or recipe.judge
    return settings.model_copy(update={"by": "past"}) if settings.by == "present" else settings


def same_judge(recipe: Recipe) -> bool:
    """Whether the recipe's own judge is the fixed judge, or the same reward function."""
    fixed, own = fixed_judge(recipe), recipe.judge
    return fixed == own or (fixed.method == own.method == "reward" and fixed.reward == own.reward)


def _verdicts(lab: Lab, model: Model, settings: Judge, responses: Sequence[Response], what: str) -> dict[str, float]:
    """Mean score over the readable verdicts, by response id; `model` is the present model."""
    judge = judging(lab, model, settings)
    stats = {"priced_as": "audit" if settings == lab.recipe.judge.auditing else "judge"}
    step = Step(lab.iteration, "evaluate", f"on {what} answers of {model.name}", "", 0, 0, stats=stats)
    return _means(verdicts(lab, settings, judge, responses, step))


def _means(judgments: Sequence[Judgment]) -> dict[str, float]:
    scores: dict[str, list[float]] = {}
    for judgment in judgments:
        if judgment.score is not None:
            scores.setdefault(judgment.response, []).append(judgment.score)
    return {response: fmean(values) for response, values in scores.items()}


def _items(blank: Item, probed: Probed, prompt: str) -> list[Item]:
    """No value where the judge left every answer, or for a spread all but one, unread."""
    responses = probed.answers[prompt]
    scores = [probed.fixed[response.id] for response in responses if response.id in probed.fixed]
    tokens = [float(response.tokens) for response in responses if response.tokens is not None]
    values = {
        "score": fmean(scores) if scores else None,
        "spread": max(scores) - min(scores) if scores[1:] else None,
        "tokens": fmean(tokens) if tokens else None,
    }
    detail = json.dumps(scores)
    return [replace(blank, metric=name, question=prompt, value=value, detail=detail) for name, value in values.items()]


def _accuracy_item(blank: Item, probed: Probed, prompt: str) -> Item:
    scores = [(probed.own.get(response.id), probed.fixed.get(response.id)) for response in probed.answers[prompt]]
    return replace(blank, question=prompt, value=accuracy(scores), detail=json.dumps(scores))


def accuracy(scores: Sequence[tuple[float | None, float | None]]) -> float | None:
    """Of the pairs of answers whose true scores differ, the share that the judge orders alike; a tie counts half.

    scores: (the judge's, the true one) of each answer. None where no pair can be compared.
    """
    readable = [(own, true) for own, true in scores if own is not None and true is not None]
    alike = [
        0.5 if a[0] == b[0] else float((a[0] > b[0]) == (a[1] > b[1]))
        for a, b in combinations(readable, 2)
        if a[1] != b[1]
    ]
    return fmean(alike) if alike else None


def _scores(items: Sequence[Item]) -> tuple[Score, ...]:
    by_metric: dict[str, list[Item]] = {}
    for item in items:
        if item.value is not None:
            by_metric.setdefault(item.metric, []).append(item)
    return tuple(mean_score(rows) for rows in by_metric.values())


def protocol(lab: Lab, model: Model) -> dict[str, Json]:
    """What the probe's numbers were measured by: the settings of their scores."""
    recipe = lab.recipe
    return {
        **_judge_protocol(lab, model, fixed_judge(recipe)),
        "seed": recipe.seed,
        "prompts": fingerprint(prompt.id for prompt in probe_prompts(recipe)),
        "answers": recipe.probe.answers or recipe.answers.k,
        "sampling": recipe.answers.sampling.as_json(),
    }


def own_protocol(lab: Lab, model: Model) -> dict[str, Json]:
    """As `protocol`, for numbers that depend on the recipe's own judge too.

    A model that judges itself is "present", so that all kept models share a column.
    """
    own = _judge_protocol(lab, model, lab.recipe.judge)
    own |= {"judge": "present"} if own["judge"] == model.id else {}
    return {**protocol(lab, model), "own": own, "judged": lab.recipe.probe.judged}


def _judge_protocol(lab: Lab, model: Model, settings: Judge) -> dict[str, Json]:
    function = settings.method == "reward"
    return {
        "judge": judging(lab, model, settings).id,
        "method": settings.method,
        "rubric": None if function else load_rubric(settings.rubric).id,
        "draws": 1 if settings.exact else settings.draws,
        "judging": settings.sampling.as_json(),
    }
