"""The declared rule where it depends on what was declared: which endpoint rules, and a study without conditions."""

from __future__ import annotations

import pytest

from tests.study.synthetic import declared, study
from toolkit.study.claim import CLAIMED, NO_TEST, NOT_CLAIMED
from toolkit.study.declaration import Declaration
from toolkit.study.page import study_document
from toolkit.study.results import results

ALONE = {"conditions": ("",), "claim": (), "negative": ""}


def test_the_negative_control_is_read_by_quality_wherever_it_stands() -> None:
    """Noise moves quality and not the signal: the order of the endpoints decides nothing."""
    moved = {"noise": {"quality": 0.06, "ratio": 1.0}}
    for endpoints in (("quality", "signal"), ("signal", "quality")):
        claim = results(study(declared(endpoints=endpoints), **moved)).claim
        assert claim.word == NOT_CLAIMED and len(claim.reasons) == 2, endpoints
        assert claim.reasons[1].startswith(
            "the interval of quality on the probe under the negative control, noise, reaches 0.06"
        ) and "half of the effect seen under self, 0.05 (points)" in claim.reasons[1]  # fmt: skip


def test_the_signal_under_noise_decides_nothing_where_quality_is_declared() -> None:
    moved = {"noise": {"quality": 0.0, "ratio": 1.5}}
    for endpoints in (("quality", "signal"), ("signal", "quality")):
        assert results(study(declared(endpoints=endpoints), **moved)).claim.word == CLAIMED, endpoints


def test_the_first_endpoint_rules_where_quality_is_not_declared() -> None:
    moved = {"noise": {"quality": 0.0, "ratio": 1.4}}
    claim = results(study(declared(endpoints=("signal",)), **moved)).claim
    assert claim.reasons[0].startswith("the interval of signal kept per prompt under the negative control, noise")


def test_the_page_names_the_endpoint_that_rules_and_the_power_of_the_claim() -> None:
    document = study_document(results(study(declared(endpoints=("signal", "quality")))))
    (section,) = [part for part in document.sections if part.title == "Endpoints"]
    words = " ".join(section.said)
    assert "so what it shows is no signal; the interval of quality on the probe under it must lie below half" in words
    assert "With 8 seeds the whole claim (signal, quality under clean, self, each; quality under noise below" in words


def test_a_study_without_conditions_claims_what_it_tests() -> None:
    claim = results(study(declared(**ALONE))).claim
    assert (claim.word, claim.reasons) == (CLAIMED, ())
    assert claim.sentence.startswith("new is better than old: quality on the probe 0.1")
    assert claim == results(study(declared(**{**ALONE, "claim": ("",)}))).claim
    failed = [each for each in study(declared(**ALONE)) if each.seed != 3]
    assert results(failed).claim.reasons == ("no summary of seed 3",)


def test_a_study_with_conditions_must_name_those_of_its_claim() -> None:
    assert results(study(declared(claim=(), negative=""))).claim.word == NO_TEST
    assert declared(conditions=("clean",), claim=(), negative="").claim_conditions == ()


@pytest.mark.parametrize("claim", [(), ("",)])
def test_without_conditions_and_endpoints_nothing_is_claimed(claim: tuple[str, ...]) -> None:
    assert Declaration("s", ("a",), (1,), claim=()).claim_conditions == ()
    stated = declared(**{**ALONE, "claim": claim})
    assert Declaration.from_json(stated.as_json(), "here") == stated
    assert stated.claim_conditions == ("",)
