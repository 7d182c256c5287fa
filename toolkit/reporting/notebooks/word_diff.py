"""Two texts word by word: what one says and the other does not, as HTML in which nothing of the texts is markup."""

from __future__ import annotations

import html
import re
from difflib import SequenceMatcher

WORDS = 4000  # of each text; longer ones are compared up to there, since the time grows with the product of both
_GONE = "background:rgba(213,94,0,.25);text-decoration:line-through"
_NEW = "background:rgba(0,158,115,.3)"


def word_diff(before: str, after: str) -> str:
    """The words of both texts in one: of `before` alone struck through, of `after` alone on green."""
    a, b = _words(before), _words(after)
    parts = []
    for kind, a1, a2, b1, b2 in SequenceMatcher(None, a[:WORDS], b[:WORDS], autojunk=False).get_opcodes():
        if kind == "equal":
            parts.append(html.escape("".join(a[a1:a2])))
        else:
            parts.append(_marked("del", _GONE, a[a1:a2]) + _marked("ins", _NEW, b[b1:b2]))
    if max(len(a), len(b)) > WORDS:
        parts.append(f" … (compared: the first {WORDS:,} words)")
    return "".join(parts)


def _words(text: str) -> list[str]:
    """Words with the space after them; joined they are the text."""
    return re.findall(r"\s*\S+\s*|\s+", text)


def _marked(tag: str, style: str, words: list[str]) -> str:
    return f'<{tag} style="{style}">{html.escape("".join(words))}</{tag}>' if words else ""
