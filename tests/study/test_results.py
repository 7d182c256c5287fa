"""Endpoints by hand, the declared rule in each way that it can fail, and the marks."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import Any

import pytest

from tests.study.synthetic import declared, effect, study, summary
from toolkit.errors import InputError
from toolkit.study.claim import CLAIMED, NO_TEST, NOT_CLAIMED
from toolkit.study.differences import EndpointResult
from toolkit.study.results import StudyResults, results
from toolkit.study.summary import Summary

ALONE = {"conditions": ("",), "claim": ("",), "negative": ""}


def alone(scores: list[float], spreads: list[float], **more: Any) -> list[Summary]:
    """One condition. The new arm's last score less the old one's, and its last spread, seed by seed."""
    declaration = declared(range(1, len(scores) + 1), **{**ALONE, **more})
    return [
        summary(declaration, "", seed, {"score": (0.25, 0.25 + score), "spread": (0.4, spread)})
        for seed, (score, spread) in enumerate(zip(scores, spreads, strict=True), start=1)
    ]


def endpoint(computed: StudyResults, name: str, condition: str = "") -> EndpointResult:
    (result,) = [each for each in computed.endpoints if (each.endpoint, each.condition) == (name, condition)]
    return result


def test_differences_p_and_correction_by_hand() -> None:
    """Six positive differences: p = 2/64. Signs + - + - + + of equal size: |sum| >= 2 in all but 20 of 64 flips."""
    ratios = [math.exp(0.1 * sign) for sign in (1, -1, 1, -1, 1, 1)]
    computed = results(alone([0.01, 0.02, 0.03, 0.04, 0.05, 0.06], [0.4 * ratio for ratio in ratios]))
    quality, signal = endpoint(computed, "quality"), endpoint(computed, "signal")
    assert [round(value, 9) for _, value in quality.differences] == [0.01, 0.02, 0.03, 0.04, 0.05, 0.06]
    assert quality.mean == pytest.approx(0.035) and quality.sd == pytest.approx(math.sqrt(0.00175 / 5))
    assert (quality.p, quality.p_holm) == (pytest.approx(2 / 64), pytest.approx(4 / 64))
    assert [round(value, 9) for _, value in signal.differences] == [0.1, -0.1, 0.1, -0.1, 0.1, 0.1]
    assert (signal.p, signal.p_holm) == (pytest.approx(44 / 64), pytest.approx(44 / 64))
    assert quality.low is not None and quality.high is not None and quality.low < 0.035 < quality.high


def test_a_log_ratio_is_taken_to_m_0_in_each_arm() -> None:
    declaration = declared([1], **ALONE)
    rows = summary(declaration, "", 1, {"score": (0.2, 0.3), "spread": (0.2, 0.6)})
    assert endpoint(results([rows]), "signal").mean == pytest.approx(math.log(3) - math.log(0.4 / 0.4))


def test_six_seeds_cannot_reach_two_endpoints_and_seven_can() -> None:
    six = endpoint(results(alone([0.1] * 6, [0.5] * 6)), "quality")
    assert six.note == "6 seeds cannot reach 0.05 with 2 endpoints; at least 7 can"
    assert six.p_holm == pytest.approx(0.0625) and not six.significant and six.detectable is None
    seven = endpoint(results(alone([0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.11], [0.5] * 7)), "quality")
    assert seven.note == "" and seven.significant
    assert seven.sd is not None and seven.detectable_sd is not None
    assert seven.detectable == pytest.approx(seven.sd * seven.detectable_sd)


def test_two_seeds_have_no_interval_and_say_why() -> None:
    result = endpoint(results(alone([0.1, 0.2], [0.5, 0.5])), "quality")
    assert (result.low, result.high) == (None, None) and result.method == "no interval: fewer than 3 seeds"
    assert result.mean == pytest.approx(0.15)


@pytest.mark.parametrize(
    ("spoil", "name", "reason"),
    [
        ({"spread": (0.0, 0.4)}, "signal", "signal of M_0 of new is 0, which has no logarithm"),
        ({"spread": (0.4, 0.0)}, "signal", "signal of M_2 of new is 0, which has no logarithm"),
        ({"spread": (0.4, -1.0)}, "signal", "signal of M_2 of new is -1, which has no logarithm"),
        ({"score": (0.2, None)}, "quality", "M_2 of new has no value of quality"),
    ],
)
def test_a_value_that_cannot_be_used_excludes_its_seed_by_name(spoil: dict[str, Any], name: str, reason: str) -> None:
    summaries = study(declared(**ALONE))
    summaries[2] = summary(summaries[2].declaration, "", 3, {**effect(3), **spoil})
    computed = results(summaries)
    spoiled = endpoint(computed, name)
    assert spoiled.excluded == ((3, reason),) and spoiled.seeds == 7 and not spoiled.complete
    assert 3 not in [seed for seed, _ in spoiled.differences]
    assert endpoint(computed, "signal" if name == "quality" else "quality").complete
    assert computed.claim.word == NOT_CLAIMED and any("seed 3 is not in" in why for why in computed.claim.reasons)


def test_an_arm_without_values_or_without_a_training_excludes_the_seed() -> None:
    summaries = study(declared(**ALONE))
    summaries[0] = replace(summaries[0], values=tuple(row for row in summaries[0].values if row.arm == "new"))
    summaries[1] = replace(
        summaries[1], values=tuple(row for row in summaries[1].values if row.arm == "old" or not row.trainings)
    )
    result = endpoint(results(summaries), "quality")
    assert result.excluded == ((1, "old has no values"), (2, "new has no trained model"))


def test_a_seed_whose_last_model_was_not_measured_does_not_fall_back_to_an_earlier_one() -> None:
    summaries = study(declared(**ALONE))
    extra = replace(summaries[0].values[0], trainings=6, model="M_3", metric="tokens", value=40.0)
    summaries[0] = replace(summaries[0], values=(*summaries[0].values, extra))
    assert endpoint(results(summaries), "quality").excluded == ((1, "M_3 of new has no value of quality"),)


def test_a_missing_seed_is_named_and_in_no_mean() -> None:
    whole = study()
    part = [each for each in whole if (each.condition, each.seed) != ("self", 4)]
    computed = results(part)
    result = endpoint(computed, "quality", "self")
    assert result.missing == (4,) and result.seeds == 7 and not result.complete
    assert result.mean == pytest.approx(
        sum(value for seed, value in endpoint(results(whole), "quality", "self").differences if seed != 4) / 7
    )
    assert "Incomplete: no summary of seed 4 under self." in computed.marks
    assert computed.claim.word == NOT_CLAIMED
    assert computed.claim.reasons == ("no summary of seed 4 under self",)
    assert "the rule is met so far, but declared seeds are missing" in computed.claim.sentence


def test_the_rule_is_met() -> None:
    claim = results(study()).claim
    assert (claim.word, claim.reasons) == (CLAIMED, ())
    assert claim.sentence.startswith("new is better than old: quality on the probe under clean 0.1")
    assert "95 % interval 0.09" in claim.sentence and "8 seeds" in claim.sentence


NOISY = {"quality": 0.0, "ratio": 1.0}


@pytest.mark.parametrize(
    ("effects", "reason"),
    [
        ({"self": {"quality": 0.0}}, "no difference can be told in quality on the probe under self"),
        ({"clean": {"ratio": 1.0}}, "no difference can be told in signal kept per prompt under clean"),
        ({"self": {"quality": -0.1}}, "quality on the probe under self favors the control, old"),
        (
            {"noise": {"quality": 0.06, "ratio": 1.0}},
            "the interval of quality on the probe under the negative control, noise, reaches 0.06",
        ),
    ],
)
def test_each_part_of_the_rule_can_fail(effects: dict[str, dict[str, float]], reason: str) -> None:
    claim = results(study(**effects)).claim
    assert claim.word == NOT_CLAIMED and any(why.startswith(reason) for why in claim.reasons), claim.reasons
    assert claim.sentence.startswith("It is not claimed that new is better than old")


def test_half_of_each_effect_is_compared_with_the_negative_control() -> None:
    """0.03 excludes half of 0.1, and does not exclude half of 0.05."""
    effects = {"self": {"quality": 0.05}, "noise": {"quality": 0.03, "ratio": 1.0}}
    reasons = results(study(**effects)).claim.reasons
    assert len(reasons) == 1 and "half of the effect seen under self" in reasons[0]


def test_a_negative_control_without_an_interval_excludes_nothing() -> None:
    summaries = [each for each in study() if each.condition != "noise" or each.seed < 3]
    reasons = results(summaries).claim.reasons
    assert "the negative control, noise, excludes nothing: no interval: fewer than 3 seeds" in reasons


def test_a_condition_of_the_claim_without_summaries_fails() -> None:
    computed = results([each for each in study() if each.condition != "self"])
    assert "Incomplete: declared without any summary: self." in computed.marks
    assert "quality on the probe under self has no difference of any seed" in computed.claim.reasons


def test_a_difference_that_cannot_be_told_is_not_called_none_and_states_what_was_detectable() -> None:
    sentence = results(study(clean=NOISY, self=NOISY)).claim.sentence
    assert "no difference can be told in quality on the probe under clean" in sentence
    assert "would have been detected with a probability of 80 %" in sentence
    assert "no difference between" not in sentence and "no effect" not in sentence


def test_a_difference_in_the_other_direction_favors_the_control() -> None:
    claim = results(study(clean={"quality": -0.1}, self={"quality": -0.1})).claim
    assert "quality on the probe under clean favors the control, old, by 0.1" in claim.sentence
    assert "95 % interval 0.09" in claim.sentence


def test_changed_declarations_are_named_and_nothing_is_claimed() -> None:
    summaries = study()
    other = declared(endpoints=("quality",))
    changed = [replace(each, declaration=other) if each.seed > 6 else each for each in summaries]
    computed = results(changed)
    assert (
        "Declared differently: seeds 1, 2, 3, 4, 5, 6 (clean), 1, 2, 3, 4, 5, 6 (noise), 1, 2, 3, 4, 5, 6 (self) have "
        "endpoints quality, signal, seeds 7, 8 (clean), 7, 8 (noise), 7, 8 (self) have endpoints quality."
    ) in computed.marks
    assert computed.claim.word == NOT_CLAIMED
    assert computed.claim.reasons == ("the study was declared differently between seeds",)


def test_recipes_may_differ_in_seeds_and_machines_alone() -> None:
    assert results(study()).marks == (), "each seed has seeds of its own in its recipes"
    machine = {"trainer": {"python": "/opt/python", "processes": 2, "dtype": "float32"}, "engine": {"kind": "vllm"}}
    summaries = study()
    for index, processes in ((0, 1), (1, 2)):
        machine["trainer"] = {**machine["trainer"], "processes": processes}
        recipes = {"new": {"training": {"beta": 0.1}, **machine}, "old": summaries[index].recipes["old"]}
        summaries[index] = replace(summaries[index], recipes=recipes)
    beta = {**summaries[3].recipes["old"], "training": {"seed": 1, "beta": 0.2}}
    summaries[3] = replace(summaries[3], recipes={**summaries[3].recipes, "old": beta})
    computed = results(summaries)
    old = [mark for mark in computed.marks if mark.startswith("The recipe of old")]
    assert len(old) == 1 and "under clean differs between seeds in training.beta: " in old[0]
    assert computed.claim.word == NOT_CLAIMED
    assert "the recipe of old under clean differs between seeds" in computed.claim.reasons
    assert not [mark for mark in computed.marks if mark.startswith("The recipe of new")]
    assert "the dtype of new under clean differs between seeds" in computed.claim.reasons, "two seeds name one"
    same = [each for each in summaries if each.seed in (1, 2) and each.condition == "clean"]
    assert not [mark for mark in results(same).marks if mark.startswith("The recipe of")]


def test_commits_and_versions_that_differ_are_marked_with_their_seeds() -> None:
    summaries = study()
    summaries[1] = replace(summaries[1], commit="abc", versions={"torch": "2.12.0"})
    marks = results(summaries).marks
    assert any(mark.startswith("The summaries come from different commits: ") for mark in marks)
    assert any("abc (seed 2 (clean))" in mark for mark in marks)
    assert any("torch 2.13.0" in mark and "2.12.0 (seed 2 (clean))" in mark for mark in marks)
    changed = [replace(each, commit="6c769d8+changes") for each in study()]
    assert "The summaries come from changed code: 6c769d8+changes." in results(changed).marks


@pytest.mark.parametrize(("section", "field"), [("engine", "kind"), ("trainer", "python")])
def test_made_up_numbers_are_marked_and_never_claimed(section: str, field: str) -> None:
    summaries = [
        replace(each, recipes={**each.recipes, "new": {**each.recipes["new"], section: {field: "scripted"}}})
        for each in study()
    ]
    computed = results(summaries)
    assert computed.marks[0].startswith(f"Made-up numbers: scripted {section} (new). They come from hashes")
    assert computed.claim.word == NOT_CLAIMED and "the numbers are made up" in computed.claim.reasons


def test_a_number_of_trainings_that_differs_between_seeds_is_marked() -> None:
    summaries = study()
    shorter = tuple(replace(row, trainings=2) if row.trainings else row for row in summaries[0].values)
    summaries[0] = replace(summaries[0], values=shorter)
    assert any(mark.startswith("The number of trainings differs between seeds: new (2: seed 1") for mark in
               results(summaries).marks)  # fmt: skip


def test_the_order_of_the_summaries_does_not_matter() -> None:
    summaries = study()
    mixed = random.Random(3).sample(summaries, len(summaries))
    assert results(mixed) == results(summaries)


def test_without_a_declared_test_or_claim_nothing_is_decided() -> None:
    bare = declared(endpoints=(), claim=(), negative="", treatment="", control="")
    assert results(study(bare)).claim.word == NO_TEST and results(study(bare)).endpoints == ()
    claim = results(study(declared(claim=(), negative=""))).claim
    assert claim.word == NO_TEST
    assert claim.sentence.startswith("No claim was declared. Quality on the probe under clean favors new by 0.1")


def test_summaries_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(InputError, match="several studies: other, trial"):
        results([*study(), *study(declared(study="other"))])
    with pytest.raises(InputError, match="2 summaries of seed 1"):
        results([*study(), study()[0]])
    with pytest.raises(InputError, match="no summary"):
        results([])
    first = study()[0]
    with pytest.raises(InputError, match="2 values of score for new after 0 trainings"):
        results([replace(first, values=(*first.values, first.values[0]))])
