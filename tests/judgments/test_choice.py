from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.judgments.choice import RANKS, Choices, parse_choice

BLOCKS = (Path(__file__).parents[1] / "cases" / "choices.txt").read_text(encoding="utf-8").split("\n===\n")
FORMS = {
    "line": Choices("Better: {choice}", "A", "B", "tie"),
    "statement": Choices("{choice} is better", "Output (a)", "Output (b)"),
    "bare": Choices("{choice}", "1", "2", "Tie"),
    "ranks": Choices(RANKS, "m", "M"),
}


def cases() -> list[tuple[str, str]]:
    found = []
    for block in BLOCKS:
        head, _, reply = "\n".join(line for line in block.split("\n") if not line.startswith("# ")).partition("\n")
        found.append((head, reply.removesuffix("\n")))
    return found


@pytest.mark.parametrize(
    ("expected", "reply"), cases(), ids=[f"{i}-{reply[:24]!r}" for i, (_, reply) in enumerate(cases())]
)
def test_a_preference_is_read_as_its_case_says(expected: str, reply: str) -> None:
    status, side, finish, form = expected.split()
    choice = parse_choice(reply, finish, FORMS[form])  # type: ignore[arg-type]
    assert choice.status == status, choice
    assert choice.side == (None if side == "-" else side)
    assert bool(choice.reason) == (status in ("unreadable", "truncated"))


@pytest.mark.parametrize("form", FORMS)
def test_every_form_has_a_case_of_each_side_and_of_a_refusal(form: str) -> None:
    found = {tuple(head.split()[:2]) for head, _ in cases() if head.split()[3] == form}
    assert {("decided", "first"), ("decided", "second"), ("unreadable", "-")} <= found


def test_a_tie_that_was_not_offered_is_no_tie() -> None:
    assert parse_choice("Better: tie", "stop", Choices("Better: {choice}", "A", "B")).status == "unreadable"


@given(
    st.text() | st.from_regex(r"(?s).{0,20}[Bb]etter[:：] ?[^a-z]{0,8}[ABt]?.{0,12}", fullmatch=True),
    st.sampled_from(["stop", "length"]),
    st.sampled_from(sorted(FORMS)),
)
def test_no_reply_raises_or_has_a_side_without_a_decision(reply: str, finish: str, form: str) -> None:
    choice = parse_choice(reply, finish, FORMS[form])  # type: ignore[arg-type]
    assert (choice.status == "decided") == (choice.side is not None)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "unit", ["Better:", "Better: " + "*" * 40, "Output (a) is ", "1 ", '{"ordered_models":[', "[", "neither nor or "]
)
def test_hostile_preferences_of_100_kb_are_read_in_linear_time(form: str, unit: str) -> None:
    reply = unit * (100_000 // len(unit))
    started = time.process_time()
    parse_choice(reply[: len(reply) // 2], "stop", FORMS[form])
    middle = time.process_time()
    choice = parse_choice(reply, "stop", FORMS[form])
    assert time.process_time() - middle < 20 * (middle - started) + 0.5
    assert choice.status == "unreadable"
