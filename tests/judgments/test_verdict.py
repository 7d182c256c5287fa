from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.judgments.expected import expected_score
from toolkit.judgments.verdict import parse_verdict

BLOCKS = (Path(__file__).parents[1] / "cases" / "verdicts.txt").read_text(encoding="utf-8").split("\n===\n")


def cases() -> list[tuple[str, str]]:
    found = []
    for block in BLOCKS:
        head, _, reply = "\n".join(line for line in block.split("\n") if not line.startswith("# One")).partition("\n")
        found.append((head, reply.removesuffix("\n")))
    return found


@pytest.mark.parametrize(
    ("expected", "reply"), cases(), ids=[f"{i}-{reply[:24]!r}" for i, (_, reply) in enumerate(cases())]
)
def test_a_reply_is_read_as_its_case_says(expected: str, reply: str) -> None:
    status, score, finish = expected.split()
    verdict = parse_verdict(reply, finish, (0, 5))  # type: ignore[arg-type]
    assert verdict.status == status, verdict
    assert verdict.score == (None if score == "-" else float(score))
    assert bool(verdict.reason) == (status != "scored")


@pytest.mark.parametrize(
    ("reply", "scale", "lead", "score"),
    [
        ("Rating: [[10]]", (1, 10), "Rating: ", 10.0),
        ("Rating: 1", (1, 10), "Rating: ", 1.0),  # lowest of its scale, never taken for a 10
        ("**Rating**: 1/10", (1, 10), "Rating: ", 1.0),
        ("Score: 4", (1, 10), "Rating: ", None),
        ("Rating: 0", (1, 10), "Rating: ", None),
        ("Rating: 11", (1, 10), "Rating: ", None),
        ("7", (0, 10), "", 7.0),
        (" **7**.\n", (0, 10), "", 7.0),
        ("7/10", (0, 10), "", 7.0),
        ("7 points", (0, 10), "", 7.0),
        ("7 out of 9 criteria", (0, 10), "", None),
        ("7 of 10, since it is short", (0, 10), "", None),
        ("I give it a 7", (0, 10), "", None),
        ("Score: 7", (0, 10), "", None),
        ("7 8", (0, 10), "", None),
        ("70%", (0, 10), "", None),
        ("11", (0, 10), "", None),
    ],
)
def test_a_rubric_reads_its_own_lead_and_scale_alone(
    reply: str, scale: tuple[int, int], lead: str, score: float | None
) -> None:
    verdict = parse_verdict(reply, "stop", scale, lead)
    assert verdict.score == score
    assert bool(verdict.reason) == (score is None)


def test_a_bare_number_that_was_cut_could_go_on() -> None:
    assert parse_verdict("1", "length", (0, 10), "").status == "truncated"
    assert parse_verdict("7", "length", (0, 10), "").score == 7


def test_there_are_at_least_forty_cases() -> None:
    assert len(cases()) >= 40


@given(
    st.text() | st.from_regex(r"(?s).{0,20}[Ss]core[:：] ?[^a-z]{0,12}.{0,20}", fullmatch=True),
    st.sampled_from(["stop", "length"]),
)
def test_no_reply_raises_or_leaves_the_scale(reply: str, finish: str) -> None:
    verdict = parse_verdict(reply, finish, (0, 5))  # type: ignore[arg-type]
    assert (verdict.status == "scored") == (verdict.score is not None)
    assert verdict.score is None or 0 <= verdict.score <= 5


@pytest.mark.timeout(120)  # a reading that is quadratic in the length takes hours
@pytest.mark.parametrize(
    "reply", ["Score:" * 400_000, "Score: " + "*" * 2_000_000, "Score: " + " " * 2_000_000 + "4", "4" * 2_000_000]
)
def test_a_hostile_reply_of_2_mb_is_unreadable_and_read_at_once(reply: str) -> None:
    assert parse_verdict(reply, "stop", (0, 5)).status == "unreadable"


def test_the_expected_score_is_the_mean_over_the_labels_alone() -> None:
    import math

    labels = {"0": 10, "1": 11, "2": 12}
    logprobs = {10: math.log(0.1), 11: math.log(0.1), 12: math.log(0.3)}
    expected = expected_score(logprobs, labels)
    assert expected.verdict().score == pytest.approx((0.1 + 0.6) / 0.5)
    assert expected.mass == pytest.approx(0.5)


@pytest.mark.parametrize("value", [float("-inf"), float("nan")])
def test_labels_without_probability_are_unreadable_not_zero(value: float) -> None:
    expected = expected_score({1: value, 2: value}, {"0": 1, "1": 2})
    assert (expected.verdict().status, expected.verdict().score) == ("unreadable", None)
    assert expected.as_reply().startswith("{")


def test_a_missing_label_is_unreadable() -> None:
    assert expected_score({1: -0.1}, {"0": 1, "1": 2}).verdict().status == "unreadable"


@pytest.mark.parametrize(("share", "status"), [(0.0999, "unreadable"), (0.1001, "scored")])
def test_score_tokens_with_less_than_the_minimum_mass_give_no_score(share: float, status: str) -> None:
    import math

    verdict = expected_score({1: math.log(share / 2), 2: math.log(share / 2)}, {"0": 1, "1": 2}).verdict(0.1)
    assert (verdict.status, verdict.score is None) == (status, status == "unreadable")
    assert verdict.reason == ("the labels have probability 0.0999, judge.min_mass is 0.1" if share < 0.1 else "")
