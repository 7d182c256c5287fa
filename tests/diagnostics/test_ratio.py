"""The test behind the verdict: its arithmetic by hand, its level and power by a small simulation."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks.statistics import power
from toolkit.diagnostics.ratio import HALVED, MARGIN, compare, detectable, log_mean, needed
from toolkit.diagnostics.summary import STEP

ROOT = Path(__file__).parents[2]
RESULTS = json.loads((ROOT / "benchmarks/results/power.json").read_text(encoding="utf-8"))


def test_the_variance_is_a_jackknife_over_prompts_of_both_means() -> None:
    """Two values for the first prompt, no control for the last."""
    signal, counts = np.array([5.0, 2.0, 4.0, 3.0, 2.5]), np.array([2, 1, 1, 1, 1])
    control, control_counts = np.array([1.0, 2.0, 1.5, 1.0, 0.0]), np.array([1, 1, 1, 1, 0])
    result = log_mean(signal, control, counts, control_counts)
    without = []
    for i in range(5):
        kept = np.arange(5) != i
        means = signal[kept].sum() / counts[kept].sum(), control[kept].sum() / control_counts[kept].sum()
        without.append(math.log(means[0] / means[1]))
    assert result.value == pytest.approx(math.log((16.5 / 6) / (5.5 / 4)))
    assert result.variance == pytest.approx(4 / 5 * sum((x - np.mean(without)) ** 2 for x in without))


def test_values_at_the_margin_itself_have_p_one_half() -> None:
    values = np.random.default_rng(0).uniform(1, 2, 16)
    assert compare(log_mean(values), log_mean(MARGIN * values)).p == pytest.approx(0.5)


def test_equal_values_give_no_p_and_no_interval() -> None:
    with np.errstate(invalid="ignore"):
        assert math.isnan(compare(log_mean(np.ones(16)), log_mean(np.ones(16))).p)


def test_a_signal_that_goes_with_its_control_is_measured_against_it_more_closely() -> None:
    rng = np.random.default_rng(0)
    prompt = rng.uniform(1, 5, 64)
    paired = log_mean(prompt * rng.uniform(0.9, 1.1, 64), prompt * rng.uniform(0.9, 1.1, 64))
    assert paired.variance < log_mean(prompt).variance / 10


def test_needed_pairs_are_the_fewest_whose_detectable_ratio_is_a_half() -> None:
    rng = np.random.default_rng(0)
    one = log_mean(rng.lognormal(0, 0.5, 200), rng.lognormal(0, 0.5, 200))
    n = needed(one, one, STEP)
    found = [detectable(math.sqrt(2 * one.variance * 200 / m), 2 * (m - 1), STEP) for m in (n - 2, n + 2)]
    assert found[0] < HALVED + 0.02 and found[1] > HALVED - 0.02
    assert needed(one, one, STEP, ratio=0.7) > 5 * n


def test_needed_pairs_are_a_number_where_a_large_set_has_a_very_heavy_tail() -> None:
    values = np.ones(1000) + np.arange(1000) / 1000
    values[0] = 300.0
    assert needed(log_mean(values), log_mean(values), STEP) > 8


def test_level_and_power_hold_in_a_small_simulation() -> None:
    runs = 1500
    tables = power.simulate(runs, sizes=(8, 16, 64), iterations=(2,))
    error = math.sqrt(0.05 * 0.95 / runs)
    assert max(row["any"] for row in tables["false_alarms"]) < 0.05 + 3 * error
    for row in tables["power"]:
        assert 0.73 <= row["rejected"] <= 0.87, row  # 0.75 to 0.85, and two standard errors


def test_the_stored_simulation_holds_the_level_and_the_page_quotes_it() -> None:
    error = math.sqrt(0.05 * 0.95 / RESULTS["settings"]["runs"])
    rows = RESULTS["false_alarms"]
    assert {row["pairs"] for row in rows} >= {16, 64, 256} and {row["iterations"] for row in rows} >= {2, 10}
    highest = max(row["any"] for row in rows)
    assert highest < 0.05 + 3 * error
    page = (ROOT / "docs/howto/collapse.md").read_text(encoding="utf-8")
    assert f"{highest:.1%}" in page.replace(" %", "%")
    for row in RESULTS["power"]:
        assert 0.75 <= row["rejected"] <= 0.85
        assert f"| {row['values']} | {row['needed']} | {row['rejected']:.1%} |" in page.replace(" %", "%")
    assert f"{max(row['any'] for row in RESULTS['limits']):.1%}" in page.replace(" %", "%")
