"""A written verdict becomes a typed result: scored, unreadable, out of range, or truncated, with the reason.

Only the judge's own reply is read, never the prompt or the candidate. The last score line counts. What cannot be
read has no score at all. Every pattern is anchored to the lead's place and bounded, so reading is linear in the reply.
Which of two answers a judge prefers is read by choice.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from toolkit.records import Finish, Status

MARKUP = r"[\s*_`<\[({\"'=:：-]{0,12}?"
_NUMBER = re.compile(r"([-−+]?\d{1,6}(?:[.,]\d{1,6})?)")
_OF = re.compile(r"\s{0,3}[*_`>\])}]{0,4}\s{0,3}(?:/|out\s+of|of)\s{0,3}(\d{1,6})\b", re.IGNORECASE)
_AGAIN = re.compile(r"[ \t]*(?:[-–—]|or|to|and)[ \t]*\d|[ \t]+\d")
_ENDED = re.compile(r"[\s*_`>\])}\"'.!]{0,12}(?:points?[\s.!]{0,12})?", re.IGNORECASE)


@dataclass(frozen=True)
class Verdict:
    """score is None unless status is "scored"; reason says why it is not."""

    status: Status
    score: float | None = None
    reason: str = ""


def parse_verdict(reply: str, finish: Finish, scale: tuple[int, int], lead: str = "Score: ") -> Verdict:
    """The verdict in a judge's reply. `lead` is the word before the score; case, markup and colon style are free.

    An empty lead means that the reply is nothing but the number.
    """
    if not reply.strip():
        return Verdict("unreadable", reason="empty reply")
    word = lead.strip().rstrip(":：").strip()
    if not word:
        return _bare(reply.strip(), finish, scale)
    marks = list(leads(word).finditer(reply))
    if not marks:
        return _without("no score line", finish)
    tail = reply[marks[-1].end() :]
    start = re.match(MARKUP + r"(?=[-−+]?\d)", tail)
    number = _NUMBER.match(tail, start.end()) if start else None
    if start is None or number is None:
        return _without(f"no number after {marks[-1][0].strip()!r}", finish if not tail.strip(" \t*:：") else "stop")
    return _read(number, start[0], finish, scale)


def _bare(reply: str, finish: Finish, scale: tuple[int, int]) -> Verdict:
    start = re.match(MARKUP + r"(?=[-−+]?\d)", reply)
    number = _NUMBER.match(reply, start.end()) if start else None
    if start is None or number is None:
        return _without("no number at the start", finish)
    whole = _OF.match(reply, number.end())
    if not _ENDED.fullmatch(reply, whole.end() if whole else number.end()):
        return Verdict("unreadable", reason="more than a number, where the rubric asks for nothing else")
    return _read(number, start[0], finish, scale)


def justification(reply: str, lead: str = "Score: ") -> str:
    """What a judge wrote before its last score line."""
    marks = list(leads(lead.strip().rstrip(":：").strip()).finditer(reply))
    return reply[: marks[-1].start()].rstrip(" \t\r\n*_#>-") if marks else ""


def _read(number: re.Match[str], before: str, finish: Finish, scale: tuple[int, int]) -> Verdict:
    low, high = scale
    text, rest = number[1], number.string[number.end() :]
    negative = text[0] in "-−" or before.rstrip().endswith(("-", "−"))
    value = float(text.lstrip("-−+").replace(",", ".")) * (-1 if negative else 1)
    whole = _OF.match(rest)
    if finish == "length" and not rest.strip() and (value * 10 <= high or "." in text):
        return Verdict("truncated", reason=f"the reply was cut at {text!r}, which could go on")
    if whole and int(whole[1]) != high:
        return Verdict("unreadable", reason=f"{text!r} is out of {whole[1]}, the rubric's scale ends at {high}")
    if not whole and _AGAIN.match(rest):
        return Verdict("unreadable", reason="two numbers on the score line")
    if re.match(r"\s?%", rest):
        return Verdict("unreadable", reason=f"{text}% is no number of points")
    if not low <= value <= high:
        return Verdict("out_of_range", reason=f"{value:g} is outside {low} to {high}")
    return Verdict("scored", value)


def _without(reason: str, finish: Finish) -> Verdict:
    if finish == "length":
        return Verdict("truncated", reason=f"{reason} before max_tokens")
    return Verdict("unreadable", reason=reason)


@lru_cache(maxsize=16)
def leads(word: str) -> re.Pattern[str]:
    """The lead at a line's or a sentence's place: the word, optional markup, then a colon or '='."""
    return re.compile(rf"(?<![\w]){re.escape(word)}[ \t]{{0,3}}[*_`]{{0,3}}[ \t]{{0,3}}[:：=]", re.IGNORECASE)
