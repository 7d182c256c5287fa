"""The summary of one seed of a study under one condition: a small JSON file, from which every number of a report comes.

    {"format": 1, "declaration": {...}, "condition": "noise", "seed": 3, "recipes": {"temporal": {...}, ...},
     "launches": {"temporal": ["20261201T..."], ...}, "commit": "6c769d8...", "versions": {...}, "hardware": {...},
     "cost": [{"arm": "temporal", "seconds": 812.4, "prompt_tokens": 91234, "new_tokens": 45120, "trainings": 4}, ...],
     "values": [{"arm": "temporal", "trainings": 2, "model": "M_1", "metric": "score", "value": 0.284, "n": 200}, ...]}

It is written when all arms of the seed have finished and were measured: a seed that failed half-way has none.
`values` has M_0 under every arm, with 0 trainings. The summaries of several machines lie in one folder.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from toolkit.errors import InputError, RecipeError
from toolkit.study.declaration import Declaration
from toolkit.study.endpoints import MEASURES
from toolkit.trust.paths import check_name
from toolkit.trust.safe_files import write_files

FORMAT = 1
AGAIN = "remove this file and run `python -m toolkit.recipes.compare` with this study again"
_OF_M_0 = ("score", "spread", "tokens", "kl", "coherence")  # no judge of an arm enters them: equal under every arm


@dataclass(frozen=True)
class Value:
    """One number of one model of an arm after so many trainings. n: prompts, or pairs, that it is the mean of."""

    arm: str
    trainings: int
    model: str
    metric: str
    value: float | None
    n: int


@dataclass(frozen=True)
class Summary:
    """One finished seed under one condition. cost: a row an arm; seconds of wall time, tokens read and written."""

    declaration: Declaration
    condition: str
    seed: int
    values: tuple[Value, ...]
    recipes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    launches: Mapping[str, Sequence[str]] = field(default_factory=dict)
    commit: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    hardware: Mapping[str, Any] = field(default_factory=dict)
    cost: tuple[Mapping[str, Any], ...] = ()

    @property
    def file_name(self) -> str:
        return file_name(self.condition, self.seed)


def file_name(condition: str, seed: int) -> str:
    """Of a summary in its folder: noise-seed-3.json, or seed-3.json."""
    return f"{condition}-seed-{seed}.json" if condition else f"seed-{seed}.json"


def shared_recipe(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a resolved recipe that all machines and seeds of one arm share. dtypes are compared by themselves."""
    shared = {name: value for name, value in recipe.items() if name not in ("seed", "name", "engine")}
    for section in ("prompts", "training", "sft"):  # they have a seed of their own
        if isinstance(shared.get(section), Mapping):
            shared[section] = {name: value for name, value in shared[section].items() if name != "seed"}
    trainer = shared.get("trainer")
    options = trainer.get("options") if isinstance(trainer, Mapping) else None  # all else there is the machine's
    shared["trainer"] = {"options": options} if options else {}
    return shared


def write_summary(summary: Summary, folder: Path) -> Path:
    """Write the summary into the folder, replacing an older one of this seed; its path."""
    data = {
        "format": FORMAT,
        **asdict(summary),
        "declaration": summary.declaration.as_json(),
        "values": [asdict(value) for value in summary.values],
    }
    return write_files(folder, {summary.file_name: json.dumps(data, indent=1, sort_keys=True) + "\n"})[0]


def read_summary(path: Path) -> Summary:
    """The summary in this file. Raises InputError where it is not one, or is damaged."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise ValueError(f"format {data['format']!r}; this version reads {FORMAT}")
        values = tuple(_checked(Value(**row)) for row in data["values"])
        _check_values(values)
        fields = {name: data[name] for name in ("recipes", "launches", "commit", "versions", "hardware")}
        summary = Summary(
            Declaration.from_json(data["declaration"], path), data["condition"], data["seed"], values, **fields,
            cost=tuple(data["cost"]),
        )  # fmt: skip
        if isinstance(summary.seed, bool) or not isinstance(summary.seed, int):
            raise ValueError(f"seed {summary.seed!r}")
    except (OSError, ValueError, KeyError, TypeError, RecursionError, RecipeError) as error:
        raise InputError(
            f"not the summary of a seed: {type(error).__name__}: {error}"[:300], where=path, remedy=AGAIN
        ) from error
    if summary.condition not in summary.declaration.conditions:
        known = ", ".join(summary.declaration.conditions)
        problem = f"condition {summary.condition!r} is not in its declaration"
        raise InputError(problem, where=path, remedy=f"use one of {known}")
    return summary


def read_summaries(folders: Iterable[Path]) -> list[Summary]:
    """Every summary in these folders, by condition and seed. Raises InputError for none, or for a seed that is twice.

    Equal copies of one seed count once.
    """
    paths = sorted(path for folder in folders for path in folder.glob("*seed-*.json"))
    found: dict[tuple[str, str, int], tuple[Path, Summary]] = {}
    for path in paths:
        summary = read_summary(path)
        key = (summary.declaration.study, summary.condition, summary.seed)
        if key in found and found[key][1] != summary:
            raise InputError(
                f"two different summaries of seed {summary.seed}: {found[key][0]} and {path}",
                remedy="keep the one that belongs to the study",
            )
        found[key] = (path, summary)
    if not found:
        raise InputError("no summary of a study's seed", where=", ".join(map(str, folders)), remedy="name its folder")
    return [summary for _, summary in sorted(found.values(), key=lambda entry: (entry[1].condition, entry[1].seed))]


def _check_values(values: Sequence[Value]) -> None:
    """Raise ValueError for no values, for two of one model and measure, and where arms do not have the same M_0.

    A trained model may have no value: one whose answers all tie has no coherence. The report names its seed.
    """
    if not values:
        raise ValueError("no values")
    numbers: dict[tuple[str, int, str], float | None] = {}
    for value in values:
        key = (value.arm, value.trainings, value.metric)
        if key in numbers:
            raise ValueError(f"two values of {value.metric} for {value.arm} after {value.trainings} trainings")
        numbers[key] = value.value
    for (arm, trainings, metric), number in numbers.items():
        if trainings or number is not None or metric not in _OF_M_0:
            continue
        others = [other for (other, *rest), own in numbers.items() if rest == [0, metric] and own is not None]
        if others:
            raise ValueError(f"{metric} of M_0 has no value under {arm}, and has one under {others[0]}")


def _checked(value: Value) -> Value:
    check_name(value.arm, "an arm")
    number = value.value
    if value.metric not in MEASURES:
        raise ValueError(f"metric {value.metric!r}")
    if number is not None and (
        isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number)
    ):
        raise ValueError(f"{value.metric} = {number!r}")
    if any(isinstance(count, bool) or not isinstance(count, int) or count < 0 for count in (value.trainings, value.n)):
        raise ValueError(f"{value.trainings!r} trainings, n = {value.n!r}")
    return value
