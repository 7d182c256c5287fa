"""Intervals and paired tests against published numbers, hand calculation and simulation."""

from __future__ import annotations

import random

import pytest

from toolkit.evaluation.statistics import holm, interval, mcnemar, paired


def test_wilsons_interval_is_the_textbook_one() -> None:
    found = interval([1.0] * 15 + [0.0] * 5)
    assert (found.value, found.n, found.method) == (0.75, 20, "Wilson")
    assert found.low == pytest.approx(0.5313, abs=1e-4) and found.high == pytest.approx(0.8881, abs=1e-4)
    assert interval([0.0] * 10).high == pytest.approx(0.2775, abs=1e-4), "no success is no proof of none"


def test_a_bootstrap_interval_is_seeded_and_leaves_the_global_generators_alone() -> None:
    values = [0.1, 0.5, 0.9, 0.4, 0.3, 0.7]
    random.seed(1)
    expected = random.random()
    random.seed(1)
    first = interval(values, seed=3)
    assert random.random() == expected
    assert first == interval(values, seed=3) != interval(values, seed=4)
    assert first.low < first.value < first.high


def test_a_bootstrap_interval_is_about_as_wide_as_the_normal_one() -> None:
    generator = random.Random(0)
    values = [generator.gauss(0, 1) for _ in range(400)]
    found = interval(values)
    assert found.high - found.low == pytest.approx(2 * 1.96 / 20, rel=0.1)


def test_mcnemar_counts_only_what_changed() -> None:
    assert mcnemar([0.0] * 100) == 1.0
    assert mcnemar([1.0] * 8 + [-1.0] * 1 + [0.0] * 50) == pytest.approx(0.0390625)
    assert mcnemar([1.0] * 5 + [-1.0] * 5) == 1.0


def test_models_are_compared_on_the_items_that_both_have() -> None:
    a = {f"q{i}": float(i % 2) for i in range(20)}
    b = {f"q{i}": 1.0 for i in range(5, 30)}
    found = paired(a, b)
    assert found.n == 15 and found.test.startswith("McNemar")
    assert found.difference == pytest.approx(sum(1 - a[f"q{i}"] for i in range(5, 20)) / 15)
    with pytest.raises(ValueError, match="no item in common"):
        paired({"x": 1.0}, {"y": 1.0})


def test_a_paired_test_sees_a_shift_and_not_noise() -> None:
    generator = random.Random(0)
    a = {str(i): generator.random() for i in range(200)}
    shifted = {key: min(1.0, value + 0.1 + 0.01 * generator.random()) for key, value in a.items()}
    noise = {key: value + generator.gauss(0, 0.05) for key, value in a.items()}
    assert paired(a, shifted).p < 0.001 and paired(a, shifted).low > 0
    assert paired(a, noise).p > 0.05


def test_two_equal_models_differ_by_nothing_with_p_of_one() -> None:
    a = {"x": 0.25, "y": 0.5}
    found = paired(a, a)
    assert (found.difference, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_holms_correction_is_the_textbook_one_and_keeps_the_order() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == []
