"""toolkit:constraints, the positive control: the share of a prompt's stated constraints that the answer meets.

Constraints are read from the prompt's text, in the words of prompts/constraints.py. A word is what stands between
spaces and has a letter or digit; a sentence ends at . ! or ? before a space or the end, and a rest without one counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from toolkit.prompts.constraints import read_constraints


def constraints(prompt: str, answer: str, label: str | None) -> float | None:
    """In [0, 1]; an empty answer meets none. None, so unreadable, for a prompt that states no constraint."""
    stated = read_constraints(prompt)
    if not stated:
        return None
    text = answer.strip()
    return sum(bool(text) and _CHECKS[kind](text, value) for kind, value in stated) / len(stated)


def _words(text: str) -> list[str]:
    return [word for word in text.split() if any(character.isalnum() for character in word)]


def _sentences(text: str) -> int:
    return sum(bool(_words(part)) for part in re.split(r"[.!?]+[\"')\]]*(?:\s+|$)", text))


def _bullets(text: str) -> int:
    return sum(line.lstrip().startswith("- ") for line in text.splitlines())


def _first_word(text: str) -> str:
    return next(iter(re.findall(r"\w+", text)), "").casefold()


_CHECKS: dict[str, Callable[[str, str], bool]] = {
    "most_words": lambda text, value: len(_words(text)) <= int(value),
    "sentences": lambda text, value: _sentences(text) == int(value),
    "no_commas": lambda text, _: "," not in text,
    "lower_case": lambda text, _: text == text.lower(),
    "first_word": lambda text, value: _first_word(text) == value.casefold(),
    "contains": lambda text, value: value.casefold() in re.findall(r"\w+", text.casefold()),
    "question": lambda text, _: text.endswith("?"),
    "exclamation": lambda text, _: text.endswith("!"),
    "no_digits": lambda text, _: not any(character.isdigit() for character in text),
    "bullets": lambda text, value: _bullets(text) == int(value),
}
