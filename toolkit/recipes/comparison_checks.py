"""What a study refuses before it starts: arms that are not measured alike, and endpoints that nothing would measure.

Within a condition every arm has the same M_0, probe prompts, number of probe answers, sampling and fixed judge. All
conditions of the declared claim, and its negative control, have the same fixed judge, and it is not the judge that
selects in the negative control.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from toolkit.config import Recipe
from toolkit.errors import RecipeError
from toolkit.evaluation.probe import fixed_judge, same_judge
from toolkit.recipes.comparison import Comparison, Entry
from toolkit.study.declaration import Declaration
from toolkit.study.endpoints import ENDPOINTS

GRADIENTS = ("coherence", "cosine")  # measured on probe.judged prompts


def check_study(comparison: Comparison, where: object) -> None:
    """Raise RecipeError where the study's numbers could not be compared, or could not be measured."""
    declaration = comparison.declaration
    if declaration is None:
        return
    if not comparison.entries[0].recipe.probe.prompts:
        raise RecipeError(
            "a study measures its arms on held-out prompts, and probe.prompts is 0",
            where=where,
            remedy="set probe.prompts in [common.probe], for example 200",
        )
    units = {condition: entries for _, condition, entries in comparison.units()}
    for condition, entries in units.items():
        _check_alike(condition, entries, where)
        for endpoint in declaration.endpoints:
            _check_measured(endpoint, condition, entries[0].recipe, where)
    _check_judges(declaration, {name: entries[0].recipe for name, entries in units.items()}, where)


def _check_alike(condition: str, entries: Sequence[Entry], where: object) -> None:
    first, *others = entries
    expected = _measured_by(first.recipe)
    for entry in others:
        own = _measured_by(entry.recipe)
        if differing := [key for key in expected if own[key] != expected[key]]:
            key = differing[0]
            raise RecipeError(
                f"{key} is {expected[key]!r} for {first.arm} and {own[key]!r} for {entry.arm}{_under(condition)}: "
                "their numbers could not be compared",
                where=where,
                remedy=f"set {key} in [common]",
            )


def _check_measured(endpoint: str, condition: str, recipe: Recipe, where: object) -> None:
    missing = ""
    if endpoint == "signal" and (recipe.probe.answers or recipe.answers.k) < 2:
        missing = "probe.answers is 1, and a spread needs two answers"
    elif endpoint in GRADIENTS and not recipe.probe.judged:
        missing = "probe.judged is 0"
    elif ENDPOINTS[endpoint].measure == "cosine" and same_judge(recipe):
        missing = "the own judge is the fixed judge, so the cosine is 1 by definition"
    if missing:
        remedy = "change it in [common.probe], or leave the endpoint out"
        raise RecipeError(
            f"endpoint {endpoint!r} has no value{_under(condition)}: {missing}", where=where, remedy=remedy
        )


def _check_judges(declaration: Declaration, recipes: Mapping[str, Recipe], where: object) -> None:
    ruled = [name for name in (*declaration.claim, declaration.negative) if name in recipes]
    judges = {name: _judge_of(recipes[name]) for name in ruled}
    for name in ruled[1:]:
        if judges[name] != judges[ruled[0]]:
            raise RecipeError(
                f"the fixed judge under {ruled[0]} is not the one under {name}, so their effects have two scales",
                where=where,
                remedy="set the same judge.audit under each condition of claim and negative; a condition whose own "
                "judge is that judge needs none",
            )
    if declaration.negative in recipes and same_judge(recipes[declaration.negative]):
        raise RecipeError(
            f"under {declaration.negative}, the negative control, the judge that selects also measures quality",
            where=where,
            remedy=f"set judge.audit in [conditions.{declaration.negative}] to the judge of the other conditions",
        )


def _measured_by(recipe: Recipe) -> dict[str, Any]:
    """What decides the probe's numbers of M_0, by the field's name."""
    prompts = recipe.prompts.model_dump(mode="json", exclude={"seed", "part_size"})
    sampling = recipe.answers.model_dump(mode="json", exclude={"k"})
    return {
        "model": recipe.model,
        "sft": recipe.sft.model_dump(mode="json", exclude={"seed"}),
        **{f"prompts.{key}": value for key, value in prompts.items()},
        "probe.prompts": recipe.probe.prompts,
        "probe.answers": recipe.probe.answers or recipe.answers.k,
        "probe.judged": recipe.probe.judged,
        **{f"answers.{key}": value for key, value in sampling.items()},
        "judge.audit": _judge_of(recipe),
        "training.max_length": recipe.training.max_length,
    }


def _judge_of(recipe: Recipe) -> dict[str, Any]:
    """The fixed judge as far as it decides a score."""
    fixed = fixed_judge(recipe)
    if fixed.method == "reward":
        return {"reward": fixed.reward}
    kept = ("by", "base_url", "method", "rubric", "draws", "temperature", "top_p", "max_tokens", "min_mass")
    return {key: getattr(fixed, key) for key in kept}


def _under(condition: str) -> str:
    return f" under {condition}" if condition else ""
