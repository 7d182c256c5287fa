"""text_metrics() on texts whose numbers are known by hand, and ROUGE-L against the package of that name."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path

import pytest

from toolkit.diagnostics.texts import rouge_l, text_metrics

PAIRS = [
    ("the cat sat on the mat", "the cat lay on a mat"),
    ("The CAT, sat!", "the cat-sat 3 times"),
    ("a b c d e", "e d c b a"),
    ("", "words"),
    ("naïve café İstanbul", "naive cafe istanbul"),
    ("一只狐狸 fox", "狐狸 fox"),
    ("x " * 300, "x y " * 200),
]


def test_the_numbers_of_a_small_pair_are_those_counted_by_hand() -> None:
    found = text_metrics("the cat sat", "the cats")
    assert found["length_gap"] == 3
    assert found["edit_distance"] == pytest.approx(3 / 11)  # out: the space, the a, the t
    assert found["rouge_l"] == pytest.approx(2 * 1 / (3 + 2))


def test_equal_texts_are_as_near_as_can_be() -> None:
    assert text_metrics("same words", "same words") == {"length_gap": 0, "edit_distance": 0, "rouge_l": 1}


def test_two_empty_texts_are_equal_and_have_no_words() -> None:
    found = text_metrics("", "")
    assert found["length_gap"] == found["edit_distance"] == 0 and math.isnan(found["rouge_l"])


def test_an_empty_side_is_as_far_as_can_be() -> None:
    assert text_metrics("words", "") == {"length_gap": 5, "edit_distance": 1, "rouge_l": 0}


def test_texts_in_a_script_that_rouge_cannot_read_have_no_rouge_and_still_a_distance() -> None:
    found = text_metrics("一只狐狸🦊", "一只狐狸")
    assert math.isnan(found["rouge_l"])
    assert found["edit_distance"] == pytest.approx(1 / 5) and found["length_gap"] == 1


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_rouge_l_is_that_of_the_package(one: str, other: str) -> None:
    assert rouge_l(one, other) == pytest.approx(_theirs(one, other), abs=1e-12)
    assert rouge_l(one, other) == rouge_l(other, one)


def test_rouge_l_is_that_of_the_package_on_published_preferences(data_folder: Path) -> None:
    with gzip.open(data_folder / "preferences/hh_rlhf_harmless_base_test.first_1156.jsonl.gz", "rt") as file:
        rows = [json.loads(line) for line, _ in zip(file, range(60), strict=False)]
    for row in rows:
        one, other = (row[side].rpartition("Assistant:")[2] for side in ("chosen", "rejected"))
        assert rouge_l(one, other) == pytest.approx(_theirs(one, other), abs=1e-12)


def _theirs(one: str, other: str) -> float:
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(["rougeL"])
    return float(scorer.score(one, other)["rougeL"].fmeasure)
