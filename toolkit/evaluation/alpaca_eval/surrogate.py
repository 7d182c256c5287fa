"""A stand-in for AlpacaEval's df_gamed.csv, where only the outputs of the two gamed baselines are at hand.

The file's 1,610 preferences y enter the length-controlled fit through two sums alone,

    S_t = sum_g y_g t_g        S_d = sum_g y_g d_g        t_g = tanh(length difference / its standard deviation)

with d_g the instruction's difficulty. Both were solved from the optimality condition of 56 published fits; with the
two published win rates they fix the soft labels of greatest entropy, y_g = sigma(a t_g + b d_g + c_model).

Holds for the judge weighted_alpaca_eval_gpt4_turbo and the baseline gpt4_1106_preview alone. Left out: the outputs and
the difficulties, which are public files.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import stdev

from toolkit.errors import InputError

SUM_LENGTH, SUM_DIFFICULTY = -182.692370, 412.918415
WIN_RATES = {"gpt4_1106_preview_verbose": 64.30360147101865, "gpt4_1106_preview_concise": 22.92019444047205}
MAX_STEPS = 50
CLOSE_ENOUGH = 1e-9
LARGEST = 50.0  # a weight beyond this is on its way to infinity; the published ones are below 2
Vector = list[float]


@dataclass(frozen=True)
class Gamed:
    """One output of a gamed baseline: its length difference in standard deviations, and the difficulty."""

    model: str
    index: int
    std_delta_len: float
    difficulty: float

    def features(self) -> Vector:
        return [math.tanh(self.std_delta_len), self.difficulty, *(float(self.model == name) for name in WIN_RATES)]


def gamed(model: str, outputs: Sequence[str], baseline: Sequence[str], difficulties: Sequence[float]) -> list[Gamed]:
    """The outputs of one gamed baseline, in the order of the instructions, as alpaca_eval describes them."""
    delta = [len(theirs) - len(ours) for theirs, ours in zip(baseline, outputs, strict=True)]
    scale = stdev(delta)
    rows = zip(delta, difficulties, strict=True)
    return [Gamed(model, index, length / scale, difficulty) for index, (length, difficulty) in enumerate(rows)]


def preferences(rows: Sequence[Gamed]) -> list[float]:
    """The soft labels of greatest entropy with the known sums, by Newton's method. Raises InputError."""
    if {row.model for row in rows} != set(WIN_RATES):
        raise InputError(
            f"gamed baselines are {', '.join(sorted({row.model for row in rows})) or 'none'}",
            remedy=f"give the outputs of {' and '.join(WIN_RATES)}",
        )
    features = [row.features() for row in rows]
    counts = [sum(row.model == name for row in rows) for name in WIN_RATES]
    wanted = [SUM_LENGTH, SUM_DIFFICULTY, *(n * w / 100 for n, w in zip(counts, WIN_RATES.values(), strict=True))]
    weights = [0.0] * len(wanted)
    for _ in range(MAX_STEPS):
        labels = [_sigma(_dot(weights, row)) for row in features]
        gap = [want - sum(y * row[k] for y, row in zip(labels, features, strict=True)) for k, want in enumerate(wanted)]
        if max(map(abs, gap)) < CLOSE_ENOUGH:
            return labels
        if max(map(abs, weights)) > LARGEST:
            break
        weights = [w + step for w, step in zip(weights, _solve(_curvature(labels, features), gap), strict=True)]
    raise InputError(
        f"no labels have the published sums; the gap is {max(map(abs, gap)):.3g}",
        remedy="give the 805 published outputs and difficulties, in the order of the instruction file",
    )


def write(rows: Sequence[Gamed], path: Path) -> None:
    """The surrogate as df_gamed.csv."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(
            ["model", "preference", "index", "std_delta_len", "instruction_difficulty", "not_gamed_baseline"]
        )
        for row, label in zip(rows, preferences(rows), strict=True):
            table.writerow([row.model, label, row.index, row.std_delta_len, row.difficulty, False])


def difficulties(glm_preference: Sequence[float], weights: Mapping[str, float]) -> list[float]:
    """Every instruction's difficulty, from one model's length-controlled preferences and weights: d = (logit - b) / w.

    weights: "difficulty" and "model". Preferences published with ten decimals give d to about 5e-8.
    """
    slope, base = weights["difficulty"], weights["model"]
    return [(math.log(p / (1 - p)) - base) / slope for p in glm_preference]


def _curvature(labels: Sequence[float], features: Sequence[Vector]) -> list[Vector]:
    size = range(len(features[0]))
    weighted = [(y * (1 - y), row) for y, row in zip(labels, features, strict=True)]
    return [[sum(v * row[i] * row[j] for v, row in weighted) for j in size] for i in size]


def _solve(matrix: Sequence[Vector], right: Vector) -> Vector:
    """Gaussian elimination of a symmetric positive definite matrix, which needs no pivots."""
    rows = [[*line, value] for line, value in zip(matrix, right, strict=True)]
    for i, pivot in enumerate(rows):
        for row in rows[i + 1 :]:
            factor = row[i] / pivot[i]
            row[:] = [a - factor * b for a, b in zip(row, pivot, strict=True)]
    found = [0.0] * len(rows)
    for i in reversed(range(len(rows))):
        known = sum(rows[i][j] * found[j] for j in range(i + 1, len(rows)))
        found[i] = (rows[i][-1] - known) / rows[i][i]
    return found


def _dot(a: Vector, b: Vector) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def _sigma(x: float) -> float:
    return (1 + math.tanh(x / 2)) / 2
