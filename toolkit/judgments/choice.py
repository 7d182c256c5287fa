"""A written preference becomes a typed result: decided, tie, unreadable, or truncated, with the reason.

A rubric says in which form it asks for the choice (`Choices.answer`), and only that form is read:

    "Better: {choice}"      a line that names the choice after a colon
    "{choice} is better"    a statement anywhere in the reply
    "{choice}"              the reply is nothing but the choice
    ranks                   JSON with ordered_models, a list of {"model": choice, "rank": 1 or 2}; equal ranks are a tie

The last answer counts. A choice that the rubric never offered cannot be read, nor can two choices on one line.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from toolkit.judgments.verdict import MARKUP, leads
from toolkit.records import Finish

RANKS = "ranks"
Side = Literal["first", "second"]
_CLOSED = re.compile(r"[ \t]{0,8}(?:$|[^\w\s])", re.MULTILINE)


@dataclass(frozen=True)
class Choices:
    """What a rubric offers: the words for the first answer, for the second and, where it may be said, for a tie."""

    answer: str
    first: str
    second: str
    tie: str | None = None

    @property
    def words(self) -> tuple[str, ...]:
        return (self.first, self.second, *([self.tie] if self.tie else []))


@dataclass(frozen=True)
class Choice:
    """side is None unless status is "decided"; where there is neither a choice nor a tie, reason says why."""

    status: Literal["decided", "tie", "unreadable", "truncated"]
    side: Side | None = None
    reason: str = ""


def parse_choice(reply: str, finish: Finish, choices: Choices) -> Choice:
    """The choice in a judge's reply; case, markup and colon style are free, the words are the rubric's."""
    if not reply.strip():
        return Choice("unreadable", reason="empty reply")
    if choices.answer == RANKS:
        return _ranked(reply, finish, choices)
    before, _, after = choices.answer.partition("{choice}")
    if after.strip():
        return _stated(reply, finish, choices, after.strip())
    if not before.strip():
        return _placed(reply, finish, choices, "the reply")
    marks = list(leads(before.strip().rstrip(":：").strip()).finditer(reply))
    if not marks:
        return _without("no answer line", finish)
    return _placed(reply[marks[-1].end() :], finish, choices, f"{marks[-1][0].strip()!r}")


def _placed(text: str, finish: Finish, choices: Choices, place: str) -> Choice:
    """The choice that `text` begins with; more on its line may only be set off by punctuation."""
    found = _pattern(choices.words).match(text)
    if not found:
        return _without(f"{place} names none of {', '.join(choices.words)}", finish if not text.strip() else "stop")
    rest = text[found.end() :]
    if _another(choices.words).match(rest):
        return Choice("unreadable", reason="two choices on the answer line")
    bare = choices.answer.strip() == "{choice}"
    if not (re.fullmatch(r"[\s*_`>\])}\"'.!]*", rest) if bare else _CLOSED.match(rest)):
        return Choice("unreadable", reason=f"{found['choice']!r} is part of a sentence, not the answer asked for")
    if finish == "length" and not rest:
        return Choice("truncated", reason=f"the reply was cut at {found['choice']!r}, which could go on")
    return _of(found["choice"], choices)


def _stated(reply: str, finish: Finish, choices: Choices, after: str) -> Choice:
    found = list(_statement(choices.words, after).finditer(reply))
    if not found:
        return _without(f"no choice before {after!r}", finish)
    if found[-1]["denied"]:
        return Choice("unreadable", reason=f"{found[-1][0]!r} chooses neither")
    return _of(found[-1]["choice"], choices)


def _ranked(reply: str, finish: Finish, choices: Choices) -> Choice:
    try:
        said = json.loads(reply[reply.index("{") : reply.rindex("}") + 1])
        ranks = _ranks(said["ordered_models"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return _without("no JSON with ordered_models, each with model and rank", finish)
    if set(ranks) != {choices.first, choices.second}:
        return Choice(
            "unreadable", reason=f"ranks {', '.join(sorted(ranks))}, not {choices.first} and {choices.second}"
        )
    if ranks[choices.first] == ranks[choices.second]:
        return Choice("tie")
    return Choice("decided", "first" if ranks[choices.first] < ranks[choices.second] else "second")


def _ranks(rows: Any) -> dict[str, int]:
    ranks: dict[str, int] = {}
    for row in rows:
        model, rank = row["model"], row["rank"]
        if not isinstance(model, str) or model in ranks or type(rank) is not int:
            raise ValueError(f"{row!r} is no rank of one more model")
        ranks[model] = rank
    return ranks


def _of(word: str, choices: Choices) -> Choice:
    known = {text.casefold(): text for text in choices.words}
    match known[word.casefold()]:
        case choices.first:
            return Choice("decided", "first")
        case choices.second:
            return Choice("decided", "second")
    return Choice("tie")


def _without(reason: str, finish: Finish) -> Choice:
    if finish == "length":
        return Choice("truncated", reason=f"{reason} before max_tokens")
    return Choice("unreadable", reason=reason)


def _either(words: tuple[str, ...]) -> str:
    """Any of the words as a whole one, the longest first."""
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


@lru_cache(maxsize=16)
def _pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"{MARKUP}(?P<choice>{_either(words)})(?!\w)", re.IGNORECASE)


@lru_cache(maxsize=16)
def _another(words: tuple[str, ...]) -> re.Pattern[str]:
    """A second choice joined to the first: "A or B", "A/B", "A, B or tie"."""
    joint = r"[ \t*_`>\])}\"']{0,8}(?:[/,&|=<>+–—-]|or\b|and\b)"
    return re.compile(rf"{joint}[ \t*_`<\[({{\"']{{0,8}}(?:{_either(words)})(?!\w)", re.IGNORECASE)


@lru_cache(maxsize=16)
def _statement(words: tuple[str, ...], after: str) -> re.Pattern[str]:
    tail = r"\s{1,3}".join(re.escape(word) for word in after.split())
    denied = r"(?P<denied>\b(?:neither|nor|or)\s{1,3})?"
    return re.compile(rf"{denied}(?<!\w)(?P<choice>{_either(words)})[*_`]{{0,3}}\s{{1,3}}{tail}(?!\w)", re.IGNORECASE)
