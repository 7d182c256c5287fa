"""What a number of seeds can detect, against closed forms and against the statistics that the study uses."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.stats import norm

from toolkit.evaluation.statistics import sign_flips
from toolkit.study.power import _t_power, detectable, least_seeds


def test_six_seeds_are_significant_only_if_all_agree() -> None:
    """p = 2/64 needs six equal signs, so the power is the sixth power of that of one sign."""
    assert detectable(6, 1) == pytest.approx(norm.ppf(0.8 ** (1 / 6)), abs=0.03)


def test_the_power_is_that_of_the_test_that_the_study_runs() -> None:
    effect = detectable(8, 2)
    assert effect is not None
    draws = np.random.default_rng(1).standard_normal((1500, 8)) + effect
    power = np.mean([sign_flips(list(row))[0] < 0.05 / 2 for row in draws])
    assert power == pytest.approx(0.8, abs=0.035)


@pytest.mark.parametrize(("seeds", "effect"), [(6, 1.44), (8, 1.16), (10, 1.00)])
def test_the_published_reference_points_are_those_of_the_t_test(seeds: int, effect: float) -> None:
    """Sign flips come near them at 10 seeds and need more at 6, where the t-test promises too much."""
    assert _t_power(seeds, 0.05)(effect) == pytest.approx(0.8, abs=0.005)
    flips = detectable(seeds, 1)
    assert flips is not None and -0.02 < flips - effect < {6: 0.4, 8: 0.1, 10: 0.06}[seeds]


def test_the_two_ways_to_compute_power_meet() -> None:
    flips, t = detectable(13, 2), detectable(14, 2)
    assert flips is not None and t is not None and 0 < flips - t < 0.1


def test_more_tests_and_fewer_seeds_need_a_larger_effect() -> None:
    effects = [detectable(13, 1), detectable(13, 2), detectable(9, 2), detectable(7, 2)]
    assert all(effects) and effects == sorted(effects, key=float)  # type: ignore[arg-type]


def test_what_no_effect_can_reach_has_no_detectable_effect() -> None:
    assert detectable(5, 1) is None and detectable(6, 1) is not None
    assert detectable(6, 2) is None and detectable(7, 2) is not None
    assert detectable(0, 1) is None
    assert [least_seeds(tests) for tests in (1, 2, 3, 4)] == [6, 7, 7, 8]


def test_thirteen_seeds_take_less_than_two_seconds() -> None:
    start = time.process_time()
    detectable(13, 3, 0.04)
    assert time.process_time() - start < 2


def test_a_family_without_tests_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one test"):
        detectable(8, 0)
    with pytest.raises(ValueError, match="between 0 and 1"):
        least_seeds(1, 1.5)
    with pytest.raises(ValueError, match="power = 1"):
        detectable(8, 1, power=1)
