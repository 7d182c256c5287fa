"""Intervals and paired tests against published numbers, hand calculation and simulation."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from scipy.stats import t

from toolkit.evaluation.statistics import holm, interval, mcnemar, paired, sign_flips


def test_wilsons_interval_is_the_textbook_one() -> None:
    found = interval([1.0] * 15 + [0.0] * 5)
    assert (found.value, found.n, found.method) == (0.75, 20, "Wilson")
    assert found.low == pytest.approx(0.5313, abs=1e-4) and found.high == pytest.approx(0.8881, abs=1e-4)
    assert interval([0.0] * 10).high == pytest.approx(0.2775, abs=1e-4), "no success is no proof of none"


def test_no_success_of_few_is_not_an_interval_without_width() -> None:
    none = interval([0.0] * 16)
    assert none.low == pytest.approx(0.0, abs=1e-12) and none.high == pytest.approx(0.1936, abs=1e-4)


def test_an_interval_of_means_is_students_where_there_is_no_skewness_and_longer_on_the_tails_side() -> None:
    even = interval([1.0, 2.0, 3.0])
    assert even.low is not None and even.high is not None
    reach = float(t.ppf(0.9775, 2)) / math.sqrt(3)  # standard deviation 1, three values
    assert (even.low, even.high) == (pytest.approx(2 - reach), pytest.approx(2 + reach))
    skewed = interval([1.0, 1.0, 4.0])
    assert skewed.low is not None and skewed.high is not None
    assert skewed.high - skewed.value > 1.5 * (skewed.value - skewed.low)
    assert interval([3.0, 1.0, 2.0]) == even, "whatever order the items came in"


def test_values_that_are_all_equal_have_no_interval_or_that_of_their_scale() -> None:
    unknown = interval([4.0] * 5)
    assert (unknown.low, unknown.high) == (None, None)
    assert unknown.method == "no interval: all 5 values are equal, and the scale has no known ends"
    top, middle = interval([5.0] * 5, (0.0, 5.0)), interval([4.0] * 5, (0.0, 5.0))
    assert top.low == pytest.approx(5 * 0.025 ** (1 / 5)) and top.high == 5.0, "Clopper and Pearson's"
    assert middle.low is not None and middle.high is not None and middle.low < 4.0 < middle.high < 5.0
    assert "all 5 values equal" in middle.method
    assert interval([7.0] * 3, (0.0, 5.0)).low is None, "values outside a scale are not of that scale"


def test_one_value_and_values_that_are_not_finite_have_a_reason() -> None:
    assert interval([2.5]).low is None and interval([2.5], (0.0, 5.0)).high is not None
    assert interval([1.0, math.nan]).method == "no interval: not all values are finite"
    with pytest.raises(ValueError, match="no values"):
        interval([])


def test_an_interval_stays_on_its_scale() -> None:
    span = interval([0.1, 0.5, 0.9], (0.0, 1.0))
    assert (span.low, span.high) == (0.0, 1.0)


@pytest.mark.parametrize("n", [3, 4, 5, 8, 16])
@pytest.mark.parametrize("shape", ["normal", "exponential", "uniform"])
def test_coverage_of_few_values_is_close_to_nominal(n: int, shape: str) -> None:
    """2,000 samples: two standard errors are 0.011 below 0.93. benchmarks/statistics/coverage.py has the table."""
    generator = np.random.default_rng(7)
    samples = getattr(generator, shape)(size=(2000, n))
    mean = {"normal": 0.0, "exponential": 1.0, "uniform": 0.5}[shape]
    spans = [interval(list(map(float, one)), (0.0, 1.0) if shape == "uniform" else None) for one in samples]
    covered = sum(span.low is not None and span.high is not None and span.low <= mean <= span.high for span in spans)
    assert covered / len(spans) >= 0.93 - 0.011


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
    better = paired(a, shifted)
    assert better.p < 0.001 and better.low is not None and better.low > 0
    assert paired(a, noise).p > 0.05


def test_two_equal_models_differ_by_nothing_with_p_of_one_and_no_certainty() -> None:
    a = {"x": 0.25, "y": 0.5}
    same, on_scale = paired(a, a), paired(a, a, (0.0, 1.0))
    assert (same.difference, same.low, same.high, same.p) == (0, None, None, 1)
    assert on_scale.low is not None and on_scale.high is not None and on_scale.low < 0 < on_scale.high
    binary = paired({"x": 1.0, "y": 0.0}, {"x": 1.0, "y": 0.0})
    assert binary.low is not None and binary.high is not None and binary.low < 0 < binary.high
    assert (binary.p, binary.method) == (1.0, "Bonett-Price")


def test_bonett_and_prices_interval_of_two_proportions() -> None:
    """40 items, 20 gained and none lost: (21 - 1) / 42 +- 1.96 sqrt((22/42 - (20/42)^2) / 42)."""
    a, b = {str(i): 0.0 for i in range(40)}, {str(i): float(i < 20) for i in range(40)}
    found = paired(a, b)
    reach = 1.959964 * math.sqrt((22 / 42 - (20 / 42) ** 2) / 42)
    assert (found.low, found.high) == (pytest.approx(20 / 42 - reach), pytest.approx(20 / 42 + reach))


def test_sign_flips_of_few_differences_are_exact_and_of_many_seeded() -> None:
    assert sign_flips([1.0, 2.0, 3.0]) == (0.25, "sign flips, exact")
    assert sign_flips([0.0, 1.0, 2.0, 3.0])[0] == 0.25 and sign_flips([0.0])[0] == 1.0
    many = [0.1 * i for i in range(1, 40)]
    random.seed(1)
    expected = random.random()
    random.seed(1)
    p, test = sign_flips(many, seed=3)
    assert random.random() == expected
    assert (p, test) == sign_flips(many, seed=3) and "seed 3" in test and p == 1 / 10_001


def test_holms_correction_is_the_textbook_one_and_keeps_the_order() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == []
