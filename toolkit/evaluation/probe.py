"""The probe: the same prompts for every kept model, scored by one fixed judge, so that models are compared in pairs.

`prompts.probe` prompts are held out of `prompts.source`: the last of its seeded order, of which training takes the
first, so that no training prompt is among them and more iterations do not change them. Every kept model (M_0, M_1 ...)
gives K answers to each. The judge is `judge.audit` where the recipe has one, else the recipe's judge with M_0 in the
place of the present model.

    score     of a prompt the mean score of its K answers, in points
    spread    of a prompt the best of its K scores less the worst, in points: what a judge could choose between

Both are stored as the items of the test "probe", so intervals and paired tests of two models are the leaderboard's.
Left out: gradients on the probe's answers, which `toolkit diagnose` does not measure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from toolkit.config import Judge, Recipe
from toolkit.evaluation.answers import Graded, Questions, answers, keep, mean_score
from toolkit.identity import Json, fingerprint
from toolkit.judgments.judge import judging, verdicts
from toolkit.judgments.rubric import load_rubric
from toolkit.lab import Lab, Step
from toolkit.prompts.source import load_prompts
from toolkit.prompts.split import held_out
from toolkit.records import Item, Model, Prompt, Score

TASK = "probe"
METRICS = ("score", "spread")


def probe(lab: Lab, model: Model) -> Graded:
    """The model on the probe prompts; nothing where the recipe has none. Raises InputError for too few prompts."""
    recipe = lab.recipe
    if not recipe.prompts.probe:
        return Graded((), ())
    prompts = held_out(load_prompts(recipe.prompts), recipe.prompts, recipe.iterations)
    settings = fixed_judge(recipe)
    judge = judging(lab, Model.external("nobody"), settings)
    responses = answers(lab, model, Questions(TASK, prompts, recipe.answers.sampling, recipe.answers.k))
    step = Step(lab.iteration, "evaluate", f"on probe answers of {model.name}", "", 0, 0)
    judgments = verdicts(lab, settings, judge, responses, step)
    if lab.planning:
        return Graded((), ())
    by_answer: dict[str, list[float]] = {}
    for judgment in judgments:
        if judgment.score is not None:
            by_answer.setdefault(judgment.response, []).append(judgment.score)
    scores: dict[str, list[float]] = {prompt.id: [] for prompt in prompts}
    for response in responses:
        if response.id in by_answer:
            scores[response.prompt].append(fmean(by_answer[response.id]))
    blank = Item(model.id, TASK, "", "", _protocol(recipe, settings, judge, prompts))
    items = tuple(item for prompt, values in scores.items() for item in _items(blank, prompt, values))
    return keep(lab, Graded(_scores(items), items))


def fixed_judge(recipe: Recipe) -> Judge:
    """The judge's settings; never the present model, which is another in every iteration."""
    settings = recipe.judge.auditing or recipe.judge
    return settings.model_copy(update={"by": "past"}) if settings.by == "present" else settings


def _items(blank: Item, prompt: str, scores: Sequence[float]) -> list[Item]:
    """No value where the judge left every answer, or for a spread all but one, unread."""
    values = {"score": fmean(scores) if scores else None, "spread": max(scores) - min(scores) if scores[1:] else None}
    return [
        replace(blank, metric=metric, question=prompt, value=values[metric], detail=json.dumps(list(scores)))
        for metric in METRICS
    ]


def _scores(items: Sequence[Item]) -> tuple[Score, ...]:
    readable = {metric: [i for i in items if i.metric == metric and i.value is not None] for metric in METRICS}
    return tuple(mean_score(rows) for rows in readable.values() if rows)


def _protocol(recipe: Recipe, settings: Judge, judge: Model, prompts: Sequence[Prompt]) -> Mapping[str, Json]:
    function = settings.method == "reward"
    return {
        "judge": judge.id,
        "method": settings.method,
        "rubric": None if function else load_rubric(settings.rubric).id,
        "draws": 1 if settings.exact else settings.draws,
        "judging": settings.sampling.as_json(),
        "seed": recipe.seed,
        "prompts": fingerprint(prompt.id for prompt in prompts),
        "answers": recipe.answers.k,
        "sampling": recipe.answers.sampling.as_json(),
    }
