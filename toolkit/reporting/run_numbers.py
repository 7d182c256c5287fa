"""A run as numbers over steps, the form that experiment trackers take.

    train/M_1/loss          by optimizer step: what the trainer logged for the model that it made
    sets/guided/gap         by iteration: the pairs of a phase, as in the view `iterations`
    scores/gsm8k strict     by iteration: the scores of M_0, M_1, ...

Numbers are those of the run's newest launch, which names again what earlier ones had made. A value that is not finite
is left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from toolkit.redaction import redact_mapping
from toolkit.reporting.board.cells import Column
from toolkit.reporting.board.leaderboard import heads
from toolkit.reporting.run_status import status_of
from toolkit.store.database import Store

_SCORES = """
SELECT DISTINCT s.task, s.metric, s.settings::VARCHAR AS settings, s.value, n.name[3:]::INT AS iteration
FROM model_names n JOIN score s ON s.model = n.model
WHERE n.run = $run AND regexp_full_match(n.name, 'M_[0-9]+') ORDER BY ALL
"""


@dataclass(frozen=True)
class Number:
    """One value of one curve."""

    name: str
    step: int
    value: float


@dataclass(frozen=True)
class RunNumbers:
    """settings: the recipe as the launch stored it, secrets replaced by ***."""

    run: str
    launch: str
    settings: Mapping[str, Any]
    numbers: tuple[Number, ...]

    def by_step(self) -> dict[int, dict[str, float]]:
        """The values of every step, the steps in order: a tracker's clock must not go back."""
        steps: dict[int, dict[str, float]] = {}
        for number in sorted(self.numbers, key=lambda one: one.step):
            steps.setdefault(number.step, {})[number.name] = number.value
        return steps


def run_numbers(store: Store, run: str = "") -> RunNumbers:
    """The numbers of this run, or of the newest. Raises InputError where there is none."""
    status = status_of(store, run)
    found = [*_trainings(store, status.launch), *_sets(store, status.launch), *_scores(store, status.run)]
    kept = tuple(number for number in found if math.isfinite(number.value))
    return RunNumbers(status.run, status.launch, redact_mapping(status.recipe), kept)  # the store may be another's


def _trainings(store: Store, launch: str) -> Iterator[Number]:
    for row in store.named("run_curve", launch=launch):
        yield from _numbers(row, f"train/{row['model']}", row["step"], ("model", "step"))


def _sets(store: Store, launch: str) -> Iterator[Number]:
    for row in store.named("run_iterations", launch=launch):
        yield from _numbers(row, f"sets/{row['pairs of']}", row["iteration"], ("iteration", "pairs of", "set"))


def _numbers(row: Mapping[str, Any], place: str, step: int, keys: tuple[str, ...]) -> Iterator[Number]:
    for name, value in row.items():
        if name not in keys and value is not None:
            yield Number(f"{place}/{name.replace(' ', '_')}", step, float(value))


def _scores(store: Store, run: str) -> Iterator[Number]:
    rows = store.query(_SCORES, {"run": run})
    columns = {Column(row["task"], row["metric"], row["settings"]): None for row in rows}
    names = dict(zip(columns, heads(list(columns)), strict=True))
    for row in rows:
        name = names[Column(row["task"], row["metric"], row["settings"])]
        yield Number(f"scores/{name}", row["iteration"], float(row["value"]))
