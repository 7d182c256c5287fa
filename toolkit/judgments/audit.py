"""audit(): the sides of a pair set scored by a second judge that took no part in selecting them (`judge.audit`).

The gap by the judge that selected is the gap of a maximum and a minimum: noise has one too. A judge that took no part
has no such gap by chance, so a gap by it says that the chosen answers are better to it. Its verdicts are stored as
every verdict is, and a step of stage "audit" keeps the set, the judge and its way of judging (view `audit_pairs`).

Only the two sides of every pair are scored: the gap needs no more, and a second pass over all candidates would cost as
much as the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from toolkit.config import Judge
from toolkit.errors import InputError
from toolkit.identity import Json, content_id
from toolkit.judgments.judge import judging, verdicts
from toolkit.judgments.rubric import load_rubric
from toolkit.lab import Lab, Step
from toolkit.records import Model, PairSet, Response


def audit(lab: Lab, pairs: PairSet, selecting: str | None, prompts: int) -> None:
    """Both sides of every pair scored by the recipe's audit judge; nothing where it names none.

    selecting: id of the judge that selected. prompts: how many pairs a planned set has at most. Raises InputError
    where both judges are one.
    """
    settings = lab.recipe.judge.auditing
    if settings is None:
        return
    model = judging(lab, Model.external("nobody"), settings)
    if model.id == selecting:
        raise InputError(
            f"the audit judge {model.name} ({model.id}) is the judge that selected {pairs.name}",
            where="judge.audit",
            remedy="name a judge that takes no part in selection; M_0 selects in iteration 0 of judge.by = 'present'",
        )
    step = Step(lab.iteration, "audit", f"on the sides of {pairs.name}", "", 0, 0)
    if pairs.asked:
        _plan(lab, pairs, settings, model, step, prompts)
        return
    sides = dict.fromkeys(side for pair in pairs.pairs for side in (pair.chosen, pair.rejected))
    stored = lab.store.find(Response, sides)
    answers = [stored[side] for side in sides if side in stored]  # a plan has not stored a data set's labels
    stats = {"set": pairs.id, "way": _way(settings, model.id, 0, 1 if settings.exact else settings.draws)}
    verdicts(lab, settings, model, answers, replace(step, stats=stats))


def held_out(lab: Lab, judge: str | None) -> Mapping[str, Any]:
    """For the step of a pair set: by which draws of its own judge the pairs were not selected; empty where by all."""
    settings = lab.recipe.judge
    if judge is None or not settings.select_draws:
        return {}
    return {"held_out": _way(settings, judge, settings.select_draws, settings.draws)}


def _plan(lab: Lab, pairs: PairSet, settings: Judge, model: Model, step: Step, prompts: int) -> None:
    """In a plan the sides are not known: at most two answers a prompt."""
    total = 2 * prompts * (1 if settings.exact else settings.draws)
    lab.foresee(content_id("audit", [pairs.asked, model.id, settings.method, number]) for number in range(total))
    label, tokens = f"verdicts of {model.name} {step.label}", total * settings.sampling.max_tokens
    lab.note(replace(step, label=label, subject=model.id, total=total, new_tokens=tokens))


def _way(settings: Judge, judge: str, first: int, end: int) -> dict[str, Json]:
    """Which verdicts measure: the judge, its way of judging, and its draws from `first` to before `end`."""
    function = settings.method == "reward"
    return {
        "judge": judge,
        "method": settings.method,
        "rubric": None if function else load_rubric(settings.rubric).id,
        "sampling": None if function else settings.sampling.as_json(),
        "first": first,
        "end": end,
    }
