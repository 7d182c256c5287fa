"""The verdict on planted runs: every sentence it can print, in the case that it is for and in no other."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

import pytest

from tests.diagnostics.planted import Turn, plant
from toolkit.diagnostics.collapse import Finding, Verdict, verdict
from toolkit.diagnostics.summary import summed
from toolkit.store.database import Store


def noise(seed: int, n: int = 24, mean: float = 100.0, spread: float = 25.0) -> list[float]:
    rng = random.Random(seed)
    return [max(1.0, rng.gauss(mean, spread)) for _ in range(n)]


def said(turns: Sequence[Turn]) -> Verdict:
    store = Store(None)
    lab = plant(store, turns)
    summed(lab, "planted")
    return verdict(store, "planted")


def finding(found: Verdict, name: str) -> Finding:
    return next(one for one in found.findings if one.name == name)


def near(mean: float, seed: int, n: int = 24) -> list[float]:
    """Values that vary by a tenth."""
    return noise(seed, n, mean, mean / 10)


def turns_of(means: Sequence[float], n: int = 24, controls: Sequence[float] = ()) -> list[Turn]:
    """A set for each mean of the norm; gaps and controls stay as they are, unless controls are given."""
    of_control = controls or [60.0] * len(means)
    pairs = enumerate(zip(means, of_control, strict=True))
    return [Turn(near(mean, i, n), near(1, 30 + i, n), near(control, 60 + i, n)) for i, (mean, control) in pairs]


def gradient(turns: Sequence[Turn]) -> tuple[str, str]:
    """The verdict's word, and the sentence of the norm."""
    result = said(turns)
    return result.verdict, finding(result, "gradient").said


def test_sides_that_grow_alike_are_a_collapse() -> None:
    result = said(turns_of([100, 50, 25]))
    assert result.verdict == "collapse"
    assert "fell by more than 20% relative to its control: 0.2" in result.headline
    assert "between iterations 0 and 2, its control (two draws of the present model) " in result.headline
    assert "(Holm, 3 signals)" in result.headline
    assert result.headline.endswith("One run of one seed: run-to-run variation is unknown.")
    assert "A seed, not a pair, is the unit of replication" in finding(result, "replication").said


def test_a_gap_that_closes_alone_is_no_collapse_of_the_gradient() -> None:
    gaps = [[x / (1 + 3 * i) for x in noise(10 + i)] for i in range(3)]
    result = said([Turn(near(100, i), gaps[i], near(60, 20 + i)) for i in range(3)])
    assert result.verdict == "no collapse seen"
    assert finding(result, "gradient").holds is False
    assert finding(result, "gap").holds is True
    assert "the gap closes" in result.headline.lower()


def test_a_fall_with_the_control_cannot_be_told_from_it_and_has_no_cause() -> None:
    result = said(turns_of([100, 50, 25], controls=[60, 30, 15]))
    sentence = finding(result, "gradient").said
    assert result.verdict == "no collapse seen"
    assert "fell by 75%, which cannot be told from the control: 0.25" in sentence
    assert "variety" not in result.headline


def test_a_fall_beside_a_wide_control_that_did_not_fall_is_not_enough_data() -> None:
    """The control's own interval is wide, so nothing can be said relative to it, and nothing about a cause."""
    controls = [noise(20 + i, 16, 60, 60) for i in range(2)]
    word, sentence = gradient([Turn(near(100 - 35 * i, i, 16), near(1, 10 + i, 16), controls[i]) for i in range(2)])
    assert word == "not enough data"
    assert "fell by 3" in sentence and "which cannot be told from the control" in sentence
    assert "a ratio of 0.5 takes" in sentence and "variety" not in sentence


def test_a_significant_fall_of_less_than_a_fifth_is_called_that() -> None:
    word, sentence = gradient(turns_of([100, 88], n=64))
    assert word == "no collapse seen"
    assert re.search(
        r"fell by (9|1[0-5])% relative to its control, significantly, less than the margin of 20%", sentence
    )


def test_a_significant_fall_that_may_be_less_than_a_fifth_is_called_that() -> None:
    word, sentence = gradient(
        [Turn(noise(i, 64, 100 - 26 * i), near(1, 9 + i, 64), near(60, 5 + i, 64)) for i in (0, 1)]
    )
    assert word == "no collapse seen"
    assert re.search(r"fell by 2\d% relative to its control, significantly, but perhaps by less than 20%", sentence)


def test_three_pairs_are_not_enough_however_far_the_norm_falls() -> None:
    word, sentence = gradient(turns_of([100, 1], n=3))
    assert word == "not enough data"
    assert "cannot be tested: it has 3 and 3 pairs, the test needs 8 a set" in sentence


def test_a_fall_to_a_hundredth_is_a_collapse_after_any_number_of_iterations() -> None:
    assert gradient(turns_of([100.0] * 9 + [1.0], n=8))[0] == "collapse"


def test_a_passing_dip_is_called_passing() -> None:
    word, sentence = gradient(turns_of([100, 46, 108]))
    assert word == "no collapse seen"
    assert re.search(r"a passing dip at iteration 1 \(0\.4\d \[.*\], p .* uncorrected\), not a collapse", sentence)


def test_a_low_set_from_which_the_last_cannot_be_told_is_not_called_passing() -> None:
    middle, last = noise(1, 24, 60, 12), noise(2, 24, 75, 30)
    turns = [Turn(n, near(1, 9 + i), near(60, 5 + i)) for i, n in enumerate((near(100, 0), middle, last))]
    word, sentence = gradient(turns)
    assert word != "collapse"
    assert "; lower at iteration 1 (" in sentence and "passing" not in sentence


def test_without_a_control_the_ratio_alone_is_tested_and_that_is_said() -> None:
    turns = [Turn(near(100 - 60 * i, i), near(1, 10 + i)) for i in range(2)]
    word, sentence = gradient(turns)
    assert word == "collapse"
    assert "no control was measured" in sentence and "relative" not in sentence


def test_a_control_that_rises_makes_no_collapse() -> None:
    word, sentence = gradient(turns_of([100, 102], controls=[60, 120]))
    assert word == "no collapse seen"
    assert "did not fall, its control rose" in sentence


def test_a_test_without_the_power_to_see_a_fall_to_a_half_gives_no_verdict() -> None:
    rows = [(noise(i, 10, 100, 60), near(1, 10 + i, 10), noise(20 + i, 10, 60, 40)) for i in range(2)]
    word, sentence = gradient([Turn(*row) for row in rows])
    assert word == "not enough data"
    assert re.search(
        r"10 and 10 pairs has power 0\.8 for a true ratio of 0\.[0-4]\d; a ratio of 0\.5 takes \d\d", sentence
    )


def test_a_run_that_went_on_since_it_was_diagnosed_is_not_judged_by_its_older_sets() -> None:
    with Store(None) as store:
        turns = turns_of([100, 30, 30])
        summed(plant(store, turns[:2]), "planted")
        assert verdict(store, "planted").verdict == "collapse"
        lab = plant(store, turns)
        assert verdict(store, "planted").verdict == "not enough data"
        assert "was not tested between the first and the last" in verdict(store, "planted").headline
        summed(lab, "planted")
        assert verdict(store, "planted").verdict == "collapse"


def test_two_draws_of_one_model_are_no_collapse() -> None:
    """Twenty runs of nothing but noise: the corrected tests may err in few of them; none does here."""
    fired = []
    for seed in range(20):
        salts = [(seed * 100 + i, seed * 100 + 50 + i, seed * 100 + 70 + i) for i in range(2)]
        fired.append(said([Turn(*(noise(salt, 24) for salt in three)) for three in salts]).verdict)
    assert set(fired) == {"no collapse seen"}


def test_one_iteration_has_no_trend() -> None:
    found = said([Turn(noise(1), noise(2), noise(3))])
    assert found.verdict == "not enough data"
    assert "1 iteration" in found.headline


def test_without_gradients_there_is_no_verdict() -> None:
    turns = [Turn([None] * 8, noise(10 + i, 8, 1 / (1 + 9 * i), 0.01)) for i in range(2)]
    assert said(turns).verdict == "not enough data"


def test_a_bias_for_length_is_called_length() -> None:
    longer = [Turn(noise(i), noise(10 + i), noise(20 + i), [(40, 20)] * 22 + [(20, 30)] * 2) for i in range(2)]
    found = said(longer)
    assert found.verdict == "no collapse seen"
    assert finding(found, "length").holds is True
    assert "22 of 24" in finding(found, "length").said
    even = [Turn(noise(i), noise(10 + i), noise(20 + i), [(40, 20), (20, 40)] * 12) for i in range(2)]
    assert finding(said(even), "length").holds is False


def test_a_step_without_a_number_is_reported() -> None:
    turns = [Turn(noise(i), noise(10 + i), noise(20 + i), losses=(0.69, None, float("nan"), 0.5)) for i in range(2)]
    told = finding(said(turns), "training")
    assert told.holds is True
    assert "4 of 8 steps have no finite loss" in told.said


def test_a_pair_without_a_number_is_counted_and_in_no_mean() -> None:
    store = Store(None)
    lab = plant(store, [Turn([10.0, None, 30.0], [1.0, 1.0, 1.0])])
    summed(lab, "planted")
    row = store.query("FROM summaries WHERE metric = 'gradient.norm' AND under = 'parent'")[0]
    assert (row["n"], row["missing"], row["mean"]) == (2, 1, 20.0)


def test_a_summary_is_what_sql_says_of_the_pairs() -> None:
    store = Store(None)
    lab = plant(store, [Turn(noise(1), noise(2), noise(3))])
    summed(lab, "planted")
    for row in store.query("FROM summaries WHERE n > 0"):
        asked = store.query(
            "SELECT count(value) AS n, avg(value) AS mean, quantile_cont(value, 0.25) AS q25, stddev_samp(value) AS sd "
            "FROM pair_values WHERE run = 'planted' AND pair_set = ? AND control = ? AND metric = ? AND under = ?",
            [row["pair_set"], row["control"], row["metric"], row["under"]],
        )[0]
        assert row["n"] == asked["n"]
        for name in ("mean", "q25", "sd"):
            assert row[name] == pytest.approx(asked[name], rel=1e-12)


def test_summing_again_adds_nothing() -> None:
    store = Store(None)
    lab = plant(store, [Turn(noise(i), noise(10 + i), noise(20 + i)) for i in range(2)])
    counted = []
    for _ in range(2):
        summed(lab, "planted")
        counted.append(store.query("SELECT (SELECT count(*) FROM summary) AS s, (SELECT count(*) FROM change) AS c"))
    assert counted[0] == counted[1]
    assert counted[0][0]["c"] == 2  # the norm and the gap: nothing else was measured
