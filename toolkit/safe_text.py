"""Text of models and files made safe to show: it cannot forge terminal output or break a line."""

from __future__ import annotations

import unicodedata


def one_line(text: str, limit: int = 0) -> str:
    """Control and direction characters replaced by visible ones, line ends by ⏎; cut at `limit` characters if set."""
    shown = "".join(_visible(character) for character in text)
    return f"{shown[: limit - 1]}…" if limit and len(shown) > limit else shown


def lines(text: str) -> str:
    """The same for a text of several lines, which stay lines."""
    return "\n".join(one_line(line) for line in text.split("\n"))


def _visible(character: str) -> str:
    if character == "\n":
        return "⏎"
    return "�" if unicodedata.category(character) in {"Cc", "Cf", "Cs"} else character
