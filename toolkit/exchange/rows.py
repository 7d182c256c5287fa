"""A raw row: what one row of a preference file says, before it is checked and becomes records.

The columns that any shape may carry are read here: scores, model names, roles, a judge's name, the ids of an export.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from toolkit.records import Role

Row = Mapping[str, Any]
Turn = tuple[str, str]  # role, content
Scores = tuple[float | None, float | None]
SIDES = ("chosen", "rejected")
MOST = 9e9  # a fingerprint holds scores as billionths in 64 bits


class Flaw(Exception):
    """Why a row says no pair. It never leaves this package: the import keeps it beside the row."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class Said:
    """What a row's shape tells: the turns that ask, and the two answers. None: other columns may tell."""

    turns: tuple[Turn, ...]
    sides: tuple[str, str]
    scores: Scores = (None, None)
    models: tuple[str | None, str | None] = (None, None)


@dataclass(frozen=True)
class RawRow:
    """What was said, with its place, roles, judge and, of an export, the ids (pair, chosen, rejected)."""

    said: Said
    place: str
    roles: tuple[Role, Role]
    judge: str | None
    ids: tuple[str, str, str]

    @property
    def prompt(self) -> str:
        return self.said.turns[-1][1]

    def texts(self) -> list[str]:
        """Every text of the row that a store would take."""
        turns = [part for turn in self.said.turns for part in turn]
        return [*turns, *self.said.sides, *(name for name in (*self.said.models, self.judge) if name), *self.ids]


def raw_row(said: Said, row: Row, place: str) -> RawRow:
    """What was said, completed by the other columns of the row. Raises Flaw."""
    if not said.turns or said.turns[-1][0] != "user":
        raise Flaw("empty_prompt", "no user's turn comes before the answers")
    models = (_side_name(row, 0, "model"), _side_name(row, 1, "model"))
    whole = Said(
        said.turns,
        said.sides,
        _scores(row) if said.scores == (None, None) else said.scores,
        models if said.models == (None, None) else said.models,
    )
    ids = tuple(text_of(row.get(name)) or "" for name in ("pair_id", "chosen_id", "rejected_id"))
    return RawRow(whole, place, (_role(row, 0), _role(row, 1)), text_of(row.get("judge")), (ids[0], ids[1], ids[2]))


def text_of(value: Any) -> str | None:
    """A text that says something, or None."""
    return value if isinstance(value, str) and value else None


def number(value: Any) -> float | None:
    """A score, to nine decimals as all scores are compared here; None where there is none. Raises Flaw.

    Unrounded, half a billionth would be rounded to even by Python and upwards by DuckDB: two fingerprints.
    """
    if value is None or value == "" or value == "N/A":
        return None
    try:
        score = float(value)
    except (TypeError, ValueError, OverflowError):
        score = math.nan
    if not abs(score) < MOST:
        raise Flaw("missing_field", f"{str(value)[:40]!r} is no score")
    return round(score, 9)


def _scores(row: Row) -> Scores:
    """Both scores or none: one of them orders nothing."""
    for kind in ("score", "rating"):
        high, low = (number(_of_side(row, side, kind)) for side in SIDES)
        if high is not None and low is not None:
            return high, low
    return None, None


def _of_side(row: Row, side: str, kind: str) -> Any:
    names = (f"{side}_{kind}", f"{side}-{kind}", f"{kind}_{side}")
    return next((row[name] for name in names if row.get(name) is not None), None)


def _side_name(row: Row, side: int, kind: str) -> str | None:
    return text_of(_of_side(row, SIDES[side], kind))


def _role(row: Row, side: int) -> Role:
    named = row.get(f"{SIDES[side]}_role")
    return next((role for role in get_args(Role) if role == named), "unknown")
