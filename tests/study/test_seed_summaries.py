"""Summaries that are refused when they are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.study.synthetic import declared, effect, summary
from toolkit.errors import InputError
from toolkit.study.summary import Summary, Value, read_summaries, read_summary, write_summary

Change = Callable[[Sequence[Value]], Sequence[Value]]


def written(change: Change, folder: Path) -> tuple[Path, Summary]:
    """One seed with a spread and a judge's accuracy, its values changed."""
    plain = summary(declared(), "clean", 1, {**effect(1), "judge_accuracy": (0.6, 0.6)})
    changed = replace(plain, values=tuple(change(plain.values)))
    return write_summary(changed, folder), changed


def without(arm: str, trainings: int, metric: str) -> Change:
    """This value is None."""
    return lambda values: [
        replace(row, value=None) if (row.arm, row.trainings, row.metric) == (arm, trainings, metric) else row
        for row in values
    ]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda values: [], "no values"),
        (lambda values: [*values, values[0]], "two values of score for new after 0 trainings"),
        (lambda values: [*values, replace(values[0], value=None)], "two values of score for new after 0 trainings"),
        (without("old", 0, "spread"), "spread of M_0 has no value under old, and has one under new"),
        (without("new", 0, "score"), "score of M_0 has no value under new, and has one under old"),
    ],
)
def test_a_summary_that_cannot_be_right_is_refused_with_the_command_that_writes_it(
    change: Change, problem: str, tmp_path: Path
) -> None:
    path, _ = written(change, tmp_path)
    with pytest.raises(InputError, match=problem) as caught:
        read_summary(path)
    assert "remove this file and run `python -m toolkit.recipes.compare` with this study again" in str(caught.value)
    with pytest.raises(InputError, match=problem):
        read_summaries([tmp_path])


@pytest.mark.parametrize(
    "change",
    [
        without("new", 4, "spread"),
        without("old", 0, "judge_accuracy"),
        lambda values: without("new", 0, "spread")(without("old", 0, "spread")(values)),
        lambda values: [row for row in values if (row.arm, row.metric) != ("new", "spread")],
    ],
    ids=["trained", "own judge", "no arm has one", "not measured"],
)
def test_a_value_that_a_model_can_lack_is_read(change: Change, tmp_path: Path) -> None:
    path, expected = written(change, tmp_path)
    assert read_summary(path).values == expected.values
