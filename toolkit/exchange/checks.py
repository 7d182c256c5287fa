"""What keeps a whole row from being a pair. Each check gives a detail, or "" where nothing is wrong.

    bad_text         a NUL or a lone surrogate in a text, or bytes that are no UTF-8
    empty_prompt     nothing but white space
    empty_side       an answer is nothing but white space
    identical_sides  both answers are one text, trailing newlines aside
    not_ordered      scores are given and chosen is not above rejected

The first reason, in this order, is the one that is kept. Other reasons are broken_json, missing_field and
prompt_mismatch (formats.py), and duplicate, which needs all rows (importing.py).
"""

from __future__ import annotations

from collections.abc import Callable

from toolkit.exchange.rows import SIDES, Flaw, RawRow


def lone_surrogate(row: RawRow) -> str:
    for text in row.texts():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            return f"lone surrogate {text[error.start]!a} at character {error.start}"
    return ""


def bad_text(row: RawRow) -> str:
    for text in row.texts():
        if "\x00" in text:
            return f"NUL at character {text.index(chr(0))}"
    return lone_surrogate(row)


def empty_prompt(row: RawRow) -> str:
    return "" if row.prompt.strip() else f"{row.prompt[:20]!r}"


def empty_side(row: RawRow) -> str:
    return ", ".join(
        f"{name}: {text[:20]!r}" for name, text in zip(SIDES, row.said.sides, strict=True) if not text.strip()
    )


def identical_sides(row: RawRow) -> str:
    chosen, rejected = (text.rstrip("\n") for text in row.said.sides)
    return f"{len(chosen)} equal characters" if chosen == rejected else ""


def not_ordered(row: RawRow) -> str:
    high, low = row.said.scores
    if high is None or low is None or high > low:
        return ""
    return f"chosen {high:g} is not above rejected {low:g}"


CHECKS = (bad_text, empty_prompt, empty_side, identical_sides, not_ordered)
STORABLE = (lone_surrogate, not_ordered)  # of an export: a frozen set may hold empty or equal answers


def check(row: RawRow, checks: tuple[Callable[[RawRow], str], ...] = CHECKS) -> None:
    """Raise the first Flaw of a row."""
    for reason in checks:
        if detail := reason(row):
            raise Flaw(reason.__name__, detail)
