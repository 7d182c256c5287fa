"""Summaries of a study with chosen numbers: what each arm's models have, seed by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from toolkit.study.declaration import Declaration
from toolkit.study.summary import Summary, Value

CONTROL = {"score": (0.25, 0.25), "spread": (0.4, 0.4)}  # M_0's value and the last model's
ENDPOINTS = ("quality", "signal")


def declared(seeds: Sequence[int] = range(1, 9), **changes: Any) -> Declaration:
    """Two arms, two conditions of the claim and a negative control."""
    data: dict[str, Any] = {
        "study": "trial", "arms": ("new", "old"), "seeds": tuple(seeds), "conditions": ("clean", "self", "noise"),
        "treatment": "new", "control": "old", "endpoints": ENDPOINTS, "claim": ("clean", "self"), "negative": "noise",
    }  # fmt: skip
    return Declaration(**{**data, **changes})


def summary(
    declaration: Declaration,
    condition: str,
    seed: int,
    new: Mapping[str, tuple[float | None, float | None]],
    **more: Any,
) -> Summary:
    """One seed. new: of each metric M_0's value and that after 4 trainings; the old arm has CONTROL's."""
    arms = {"new": new, "old": {metric: CONTROL.get(metric, pair) for metric, pair in new.items()}}
    values = tuple(
        Value(arm, trainings, f"M_{trainings // 2}", metric, pair[min(trainings, 1)], 200)
        for arm, metrics in arms.items()
        for metric, pair in metrics.items()
        for trainings in (0, 4)
    )
    recipe = {"seed": seed, "training": {"seed": seed + 7, "beta": 0.1}, "engine": {"kind": "vllm"}}
    cost = [
        {"arm": arm, "seconds": 1800.0 + seed, "prompt_tokens": 9000, "new_tokens": 4000, "trainings": 4}
        for arm in arms
    ]
    fields: dict[str, Any] = {
        "recipes": {arm: {**recipe, "name": arm} for arm in arms}, "commit": "6c769d8", "versions": {"torch": "2.13.0"},
        "hardware": {"processor": {"cores": 2}}, "cost": tuple(cost),
    }  # fmt: skip
    return Summary(declaration, condition, seed, values, **{**fields, **more})


def effect(seed: int, quality: float = 0.1, ratio: float = 1.5) -> dict[str, tuple[float | None, float | None]]:
    """A treatment whose quality differs by about `quality`, and whose signal is about `ratio` times the control's."""
    wobble = 0.001 * (seed % 5 - 2)
    return {"score": (0.25, 0.25 + quality + wobble), "spread": (0.4, 0.4 * ratio + wobble)}


def study(declaration: Declaration | None = None, **effects: Mapping[str, float]) -> list[Summary]:
    """All seeds of all conditions. effects: of a condition, what `effect` takes; the noise has none if left out."""
    declaration = declaration or declared()
    return [
        summary(
            declaration,
            condition,
            seed,
            effect(seed, **effects.get(condition, {"quality": 0.0, "ratio": 1.0} if condition == "noise" else {})),
        )
        for condition in declaration.conditions
        for seed in declaration.seeds
    ]
