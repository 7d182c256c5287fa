"""Text of models and files made safe to show: it cannot forge terminal output, break a line or be markup."""

from __future__ import annotations

import re
import unicodedata


def one_line(text: str, limit: int = 0) -> str:
    """Control and direction characters replaced by visible ones, line ends by ⏎; cut at `limit` characters if set."""
    shown = text if text.isprintable() else "".join(_visible(character) for character in text)
    return f"{shown[: limit - 1]}…" if limit and len(shown) > limit else shown


def lines(text: str) -> str:
    """The same for a text of several lines, which stay lines."""
    return "\n".join(one_line(line) for line in text.split("\n"))


def in_markdown(text: str) -> str:
    """One line of Markdown, a cell's too, that is no link, picture, code or HTML, and no end of a cell."""
    return re.sub(r"([\\`|]|(?<=])\()", r"\\\1", one_line(text)).replace("&", "&amp;").replace("<", "&lt;")


def _visible(character: str) -> str:
    if character == "\n":
        return "⏎"
    return "�" if unicodedata.category(character) in {"Cc", "Cf", "Cs"} else character
