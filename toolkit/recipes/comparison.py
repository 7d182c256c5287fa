"""A comparison or study as its TOML states it: arms, seeds, conditions, and what must be equal.

    name = "study"
    equal = "trainings"           # of all arms, checked on the plans before anything runs; or a list
    seeds = 8                     # 1 to 8, or a list; every arm runs once for each
    [common]                      # fields of every arm
    [temporal]                    # an arm: a recipe of this name, with the fields that differ
    iterations = 2
    [self_rewarding_2k]           # another name for a recipe with other settings
    recipe = "self_rewarding"
    answers.k = 8
    [conditions.noise]            # fields of every arm under this condition; all arms run under each
    judge.reward = "toolkit:noise"
    [study]                       # which tests will be read: study/declaration.py
    treatment = "temporal"
    control = "self_rewarding_2k"
    endpoints = ["quality", "signal"]

Without seeds and conditions, every table runs once, under its own name. Else the run of an arm is
CONDITION-ARM-sSEED, and its recipe's `seed` is the study's.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.config import Recipe, override, parse, read_toml
from toolkit.errors import RecipeError
from toolkit.precision import resolve_recipe
from toolkit.recipes.anchored_only import anchored_only
from toolkit.recipes.future_only import future_only
from toolkit.recipes.rejection_sampling_sft import rejection_sampling_sft
from toolkit.recipes.run import RecipeFunction
from toolkit.recipes.self_rewarding import self_rewarding
from toolkit.recipes.spin import spin
from toolkit.recipes.spin_fair import spin_fair
from toolkit.recipes.temporal import temporal
from toolkit.study.declaration import Declaration
from toolkit.trust.argument_secrets import refuse_secrets
from toolkit.trust.consent import check_recipe
from toolkit.trust.paths import check_name

RECIPES: dict[str, RecipeFunction] = {
    function.__name__: function
    for function in (temporal, self_rewarding, anchored_only, future_only, rejection_sampling_sft, spin, spin_fair)
}
EQUAL = ("trainings", "answers", "prompts", "candidates")
MOST_SEEDS = 1000
_KEYS = ("treatment", "control", "equal", "endpoints", "claim", "negative")
_LISTS = ("equal", "endpoints", "claim")


@dataclass(frozen=True)
class Entry:
    """One run of a comparison: an arm, with its seed and condition where the comparison is a study."""

    name: str
    function: RecipeFunction
    recipe: Recipe
    trusted: bool = False
    arm: str = ""
    seed: int | None = None
    condition: str = ""

    def resolved(self) -> dict[str, Any]:
        """The recipe as JSON, with the dtypes that this machine gives "auto"."""
        return resolve_recipe(self.recipe).resolved()


@dataclass(frozen=True)
class Comparison:
    """A comparison: its entries in order, and the budgets in which all of them must be equal.

    declaration: of a study, which has seeds; None for a single comparison.
    """

    name: str
    equal: tuple[str, ...]
    entries: tuple[Entry, ...]
    declaration: Declaration | None = None

    def units(self) -> Iterator[tuple[int | None, str, tuple[Entry, ...]]]:
        """Seed, condition and entries of each unit that finishes on its own."""
        keys = dict.fromkeys((entry.seed, entry.condition) for entry in self.entries)
        for seed, condition in keys:
            unit = tuple(entry for entry in self.entries if (entry.seed, entry.condition) == (seed, condition))
            yield seed, condition, unit


def load_comparison(
    path: Path,
    changes: Sequence[str] = (),
    *,
    seeds: Sequence[int] = (),
    conditions: Sequence[str] = (),
    trusted: bool = False,
) -> Comparison:
    """The comparison in this TOML file, with `table.key=value` changes. Raises RecipeError.

    seeds, conditions: which of the study's run here; empty for all. A file without seeds declares those given.
    """
    data = read_toml(path)
    check_recipe(data, changes, path, trusted=trusted)
    for change in changes:
        override(data, change)
    name, common = str(data.pop("name", path.stem)), data.pop("common", {})
    equal = _names(data.pop("equal", ""), path, "equal", EQUAL)
    declared = _seeds(data.pop("seeds", []), path) or tuple(seeds)
    study, variants = data.pop("study", {}), data.pop("conditions", {})
    for key, table in (("common", common), ("study", study), ("conditions", variants)):
        if not isinstance(table, Mapping):
            raise RecipeError(f"{key} = {table!r}", where=path, remedy=f"make it a table: [{key}]")
    if not data:
        raise RecipeError("no recipe to compare", where=path, remedy=f"add a table, one of {', '.join(RECIPES)}")
    check_name(name, "a comparison", f"{path}, key 'name'", RecipeError)
    if name in data:
        remedy = "change name: both write their report into reports/ under it"
        raise RecipeError(f"the comparison and one of its recipes have the name {name!r}", where=path, remedy=remedy)
    if not declared and (study or variants):
        raise RecipeError("[study] or [conditions] without seeds", where=path, remedy="add seeds = 8, or --seeds 1-8")
    chosen = _subset(seeds, declared, path, "seed"), _subset(conditions, tuple(variants) or ("",), path, "condition")
    declaration = _declaration(name, tuple(data), declared, tuple(variants) or ("",), study, path) if declared else None
    entries = []
    for seed in chosen[0] or (None,):
        for condition in chosen[1]:
            variant = _table(variants.get(condition, {}), path, f"conditions.{condition}")
            _refuse_overlap(variant, data, condition, path)
            base = _merged(common, variant)
            entries += [_entry(path, arm, own, base, seed, condition, trusted) for arm, own in data.items()]
    _refuse_one_name([entry.name for entry in entries], path)
    return Comparison(name, equal, tuple(entries), declaration)


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds as the command line names them: "8", "1,2,5" or "1-4". Raises RecipeError."""
    seeds: list[int] = []
    for part in filter(None, text.split(",")):
        first, dash, last = part.partition("-")
        if not first.isdigit() or (dash and not last.isdigit()) or len(part) > 20:
            raise RecipeError(f"--seeds {text!r}", remedy="name seeds as 3, 1,2,5 or 1-4")
        span = range(int(first), int(last or first) + 1)
        if not span or len(span) > MOST_SEEDS:
            raise RecipeError(f"--seeds {text!r} names {len(span)} seeds", remedy=f"name 1 to {MOST_SEEDS}")
        seeds += span
    return tuple(dict.fromkeys(seeds))


def _entry(
    path: Path, arm: str, own: Any, common: Mapping[str, Any], seed: int | None, condition: str, trusted: bool
) -> Entry:
    recipe = str(own.get("recipe", arm)) if isinstance(own, Mapping) else arm
    if not isinstance(own, Mapping) or recipe not in RECIPES:
        near = difflib.get_close_matches(recipe, [*RECIPES, "common", "conditions", "study", "seeds", "equal"], n=1)
        remedy = f"did you mean {near[0]!r}? " if near else ""
        remedy += f"name one of {', '.join(RECIPES)}; fields of every recipe stand in [common]"
        raise RecipeError(f"{arm!r} is not a recipe", where=path, remedy=remedy)
    check_name(arm, "a recipe of a comparison", path, RecipeError)
    fields = _merged(common, {key: value for key, value in own.items() if key != "recipe"})
    name = arm
    if seed is not None:
        _refuse_seeds(fields, path, arm)
        name = "-".join(filter(None, (condition, arm, f"s{seed}")))
        check_name(name, "a run of a study", path, RecipeError)
        fields["seed"] = seed
    parsed = parse({**fields, "name": name}, where=f"{path}, table {arm!r} with what it takes from the others")
    refuse_secrets(parsed.resolved())
    return Entry(name, RECIPES[recipe], parsed, trusted, arm, seed, condition)


def _refuse_overlap(variant: Mapping[str, Any], arms: Mapping[str, Any], condition: str, path: Path) -> None:
    """Raise RecipeError where an arm would undo a field of the condition."""
    fields = set(_leaves(variant))
    for arm, own in arms.items():
        if isinstance(own, Mapping) and (both := sorted(fields & set(_leaves(own)))):
            raise RecipeError(
                f"{both[0]} is set in [conditions.{condition}] and in [{arm}]",
                where=path,
                remedy="set it in one of them: every arm runs with all fields of the condition",
            )


def _leaves(table: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _refuse_one_name(names: Sequence[str], path: Path) -> None:
    if twice := [name for name in names if names.count(name) > 1]:
        raise RecipeError(
            f"two runs would have the name {twice[0]!r}", where=path, remedy="rename an arm or a condition"
        )


def _refuse_seeds(fields: Mapping[str, Any], path: Path, arm: str) -> None:
    """Raise RecipeError where a part has a seed of its own: it would not move with the study's."""
    parts = {key: value for key, value in fields.items() if isinstance(value, Mapping)}
    fixed = ["seed"] if "seed" in fields else [f"{key}.seed" for key, part in parts.items() if "seed" in part]
    if fixed:
        raise RecipeError(
            f"{fixed[0]} is set, so this part would be the same in every seed",
            where=f"{path}, table {arm!r}",
            remedy=f"leave {fixed[0]} out: the study sets it",
        )


def _declaration(
    name: str, arms: tuple[str, ...], seeds: tuple[int, ...], conditions: tuple[str, ...], study: Mapping[str, Any],
    path: Path,
) -> Declaration:  # fmt: skip
    where = f"{path}, table 'study'"
    if unknown := [key for key in study if key not in _KEYS]:
        raise RecipeError(f"unknown key {unknown[0]!r}", where=where, remedy=f"use {', '.join(_KEYS)}")
    fields: dict[str, Any] = {}
    for key, value in study.items():
        fields[key] = _names(value, where, key, EQUAL if key == "equal" else ()) if key in _LISTS else str(value)
    for condition in conditions:
        if condition:
            check_name(condition, "a condition", path, RecipeError)
    return Declaration(name, arms, seeds, conditions, **fields).checked(where)


def _names(value: Any, where: object, key: str, allowed: Sequence[str]) -> tuple[str, ...]:
    """One name or a list of them as a tuple; "" is none. allowed: empty for any."""
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise RecipeError(f"{key} = {value!r}", where=where, remedy="name one in quotes, or a list of them")
    names = [name for name in names if name]
    if allowed and (unknown := [name for name in names if name not in allowed]):
        remedy = f"use one or some of {', '.join(allowed)}, or leave it out"
        raise RecipeError(f"{key} = {unknown[0]!r}", where=where, remedy=remedy)
    return tuple(dict.fromkeys(names))


def _seeds(value: Any, path: Path) -> tuple[int, ...]:
    """`seeds = 8` is 1 to 8; a list is itself."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    seeds = list(range(1, value + 1)) if whole and 1 <= value <= MOST_SEEDS else value
    right = isinstance(seeds, list) and all(type(seed) is int and seed >= 0 for seed in seeds)
    if not right or len(set(seeds)) < len(seeds) or (whole and not seeds):
        remedy = f"give a number from 1 to {MOST_SEEDS}, or a list of different whole numbers"
        raise RecipeError(f"seeds = {value!r}", where=path, remedy=remedy)
    return tuple(seeds)


def _subset(chosen: Sequence[Any], declared: tuple[Any, ...], path: Path, what: str) -> tuple[Any, ...]:
    if unknown := [name for name in chosen if name not in declared]:
        names = ", ".join(map(str, declared)) or "none"
        raise RecipeError(
            f"{what} {unknown[0]!r}: not declared", where=path, remedy=f"name one of {names}, or declare it there"
        )
    return tuple(name for name in declared if name in chosen) if chosen else declared


def _table(value: Any, path: Path, key: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise RecipeError(f"{key} = {value!r}", where=path, remedy=f"make it a table: [{key}]")
    return value


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        nested = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merged(merged[key], value) if nested else value
    return merged
