"""The stand-in for df_gamed.csv: the labels that have the published sums, and no others."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest

from toolkit.errors import InputError
from toolkit.evaluation.alpaca_eval.surrogate import (
    SUM_DIFFICULTY,
    SUM_LENGTH,
    WIN_RATES,
    Gamed,
    difficulties,
    gamed,
    preferences,
    write,
)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def features(rows: list[dict[str, str]]) -> list[Gamed]:
    return [
        Gamed(row["model"], int(row["index"]), float(row["std_delta_len"]), float(row["instruction_difficulty"]))
        for row in rows
    ]


def test_the_labels_have_the_published_sums_and_are_those_of_the_given_file(data_folder: Path, tmp_path: Path) -> None:
    given = table(data_folder / "alpaca_eval" / "df_gamed_surrogate.csv")
    rows = features(given)
    labels = preferences(rows)
    by_length = sum(y * math.tanh(row.std_delta_len) for y, row in zip(labels, rows, strict=True))
    by_difficulty = sum(y * row.difficulty for y, row in zip(labels, rows, strict=True))
    assert (by_length, by_difficulty) == (pytest.approx(SUM_LENGTH, abs=1e-7), pytest.approx(SUM_DIFFICULTY, abs=1e-7))
    for name, rate in WIN_RATES.items():
        own = [y for y, row in zip(labels, rows, strict=True) if row.model == name]
        assert 100 * sum(own) / len(own) == pytest.approx(rate, abs=1e-7)
    assert labels == pytest.approx([float(row["preference"]) for row in given], abs=1e-6)

    write(rows, tmp_path / "df_gamed.csv")
    written = table(tmp_path / "df_gamed.csv")
    assert written[0].keys() == given[0].keys() and features(written) == rows
    assert {row["not_gamed_baseline"] for row in written} == {"False"}


def test_difficulties_come_out_of_one_models_preferences_and_weights(data_folder: Path) -> None:
    folder = data_folder / "alpaca_eval"
    known = [json.loads(line) for line in (folder / "instruction_difficulty.jsonl").open(encoding="utf-8")]
    fitted = [json.loads(line) for line in (folder / "glm_preference.vicuna-13b-v1.5.jsonl").open(encoding="utf-8")]
    weights = next(row for row in table(folder / "glm_weights.csv") if row[""] == "vicuna-13b-v1.5")
    by_name = {
        "difficulty": float(weights["instruction_difficulty"]),
        "model": float(weights["not_gamed_baseline.astype(float)"]),
    }
    place = {row["instruction"]: row["glm_preference"] for row in fitted}
    found = difficulties([place[row["instruction"]] for row in known], by_name)
    assert found == pytest.approx([row["instruction_difficulty"] for row in known], abs=1e-7)


def test_a_longer_output_than_the_baselines_has_a_negative_length_difference() -> None:
    rows = gamed("gpt4_1106_preview_verbose", ["a" * 30, "a" * 10], ["b" * 10, "b" * 10], [0.5, -0.5])
    assert rows[0].std_delta_len == pytest.approx(-20 / math.sqrt(200)) and rows[1].std_delta_len == 0
    assert [row.index for row in rows] == [0, 1] and rows[1].difficulty == -0.5


def test_other_baselines_and_sums_that_no_labels_have_are_refused() -> None:
    with pytest.raises(InputError, match="gamed baselines are other"):
        preferences([Gamed("other", 0, 0.1, 0.1)])
    few = [Gamed(name, index, 0.1 * index, 0.3 - index) for name in WIN_RATES for index in range(3)]
    with pytest.raises(InputError, match="no labels have the published sums"):
        preferences(few)
