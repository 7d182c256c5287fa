"""What a number of seeds can detect, against closed forms and against the statistics that the study uses."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.stats import norm

from tests.study.synthetic import declared, summary
from toolkit.evaluation.statistics import interval_of_differences, sign_flips
from toolkit.study.claim import CLAIMED
from toolkit.study.declaration import Declaration
from toolkit.study.power import (
    _t_power,
    claim_detectable,
    claim_power,
    claim_power_text,
    detectable,
    least_seeds,
    power_text,
    upper_ends,
)
from toolkit.study.results import results


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


RULE = {"conditions": ("clean", "noise"), "claim": ("clean",)}
ALONE = {"conditions": ("",), "claim": (), "negative": ""}


def simulated(declaration: Declaration, effect: float, studies: int) -> float:
    """The share of simulated studies whose claim is made by the rule itself."""
    dice, claims = np.random.default_rng(3), 0
    for _ in range(studies):
        summaries = []
        for condition in declaration.conditions:
            true = 0.0 if condition and condition == declaration.negative else effect
            for seed, (quality, signal) in zip(
                declaration.seeds, dice.standard_normal((len(declaration.seeds), 2)) + true, strict=True
            ):
                arm = {"score": (0.25, 0.25 + quality), "spread": (0.4, 0.4 * np.exp(signal))}
                summaries.append(summary(declaration, condition, seed, arm))
        claims += results(summaries).claim.word == CLAIMED
    return claims / studies


@pytest.mark.parametrize(("changes", "effect"), [(RULE, 2.4), (ALONE, 1.3), ({}, 2.4)])
def test_the_power_of_a_claim_is_that_of_the_rule_that_the_report_applies(
    changes: dict[str, object], effect: float
) -> None:
    declaration = declared(**changes)
    power = claim_power(declaration, effect)
    assert 0.5 < power < 0.9
    assert simulated(declaration, effect, 200) == pytest.approx(power, abs=0.1)


def test_the_ends_of_many_intervals_are_those_of_each() -> None:
    rows = np.random.default_rng(4).standard_normal((40, 8))
    assert upper_ends(rows) == pytest.approx([interval_of_differences(list(row)).high for row in rows])


def test_a_claim_needs_a_larger_effect_the_more_it_asks() -> None:
    single = detectable(8, 2)
    effects = [claim_detectable(declared(**changes)) for changes in (ALONE, RULE, {})]
    assert single and all(effects) and effects == sorted(effects, key=float)  # type: ignore[arg-type]
    assert effects[2] is not None and effects[2] > 2 * single
    assert claim_power(declared(), effects[2]) == pytest.approx(0.8, abs=0.01)
    assert claim_power(declared(), single) < 0.3
    assert claim_power(declared(), effects[2], 12) > 0.95 and claim_power(declared(), effects[2], 6) == 0.0


def test_the_power_of_a_claim_is_continued_beyond_exact_flips() -> None:
    exact, t = claim_detectable(declared(), 13), claim_detectable(declared(), 14)
    assert exact is not None and t is not None and 0 < exact - t < 0.2


def test_a_claim_that_was_not_declared_has_no_power() -> None:
    with pytest.raises(ValueError, match="no claim was declared"):
        claim_power(declared(claim=(), negative=""), 1.0)
    with pytest.raises(ValueError, match="power = 1"):
        claim_detectable(declared(), power=1)
    assert claim_detectable(declared(range(6))) is None
    assert claim_power_text(declared(range(6))) == claim_power_text(declared(claim=(), negative="")) == ""


def test_a_plan_prints_the_power_of_one_test_and_of_the_claim_in_seconds() -> None:
    start = time.process_time()
    lines = power_text(declared()).split("\n")
    assert time.process_time() - start < 3
    assert lines[1].startswith(
        "with 8 seeds the least corrected p is 0.0156; detectable with 80 % power, one endpoint: "
    )
    whole, single = claim_detectable(declared()), detectable(8, 2)
    assert lines[2].startswith(
        "with 8 seeds the whole claim (quality, signal under clean, self, each; quality under noise below half of it) "
        f"has 80 % power at {whole:.2f} standard deviations over seeds; at {single:.2f}, where one endpoint alone has "
    )
    assert "endpoints and conditions are independent, all have one effect" in lines[2]
    assert "under" not in power_text(declared(**ALONE)).split("\n")[2]
    assert len(power_text(declared(claim=(), negative="")).split("\n")) == 2
