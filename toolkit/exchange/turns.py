"""Messages of a row as turns (role, content). Left out: content that is not text, answers of several turns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from toolkit.exchange.rows import Flaw, Row, Turn

NAMES = {"human": "user", "gpt": "assistant"}  # ShareGPT's words for the roles
PROMPTS = ("prompt", "instruction", "question")


def turns_of(value: Any, name: str) -> tuple[Turn, ...]:
    """A list of messages, each {role, content} or {from, value}. Raises Flaw."""
    if not isinstance(value, list):
        raise Flaw("missing_field", f"no list of turns under {name!r}")
    return tuple(_turn(message, name) for message in value)


def answer_of(row: Row, name: str) -> tuple[tuple[Turn, ...], str]:
    """The turns before an answer, and the answer: a text, one message, or a conversation that ends in it."""
    value = row.get(name)
    if isinstance(value, str):
        return (), value
    turns = turns_of([value] if isinstance(value, Mapping) else value, name)
    if not turns or turns[-1][0] != "assistant":
        raise Flaw("missing_field", f"{name!r} does not end in an assistant's turn")
    return turns[:-1], turns[-1][1]


def answers_of(row: Row) -> tuple[tuple[Turn, ...], tuple[str, str]]:
    """Both answers and the turns before them, which must be the same. Raises Flaw."""
    before, chosen = answer_of(row, "chosen")
    other, rejected = answer_of(row, "rejected")
    if before != other:
        raise Flaw("prompt_mismatch", "chosen and rejected differ before their last turn")
    return before, (chosen, rejected)


def prompt_of(row: Row) -> Any:
    """What stands in the first column that is named like a prompt, or None."""
    return next((row[name] for name in PROMPTS if row.get(name) is not None), None)


def system_of(row: Row) -> tuple[Turn, ...]:
    """The column `system` as a first turn."""
    text = row.get("system")
    return (("system", text),) if isinstance(text, str) and text else ()


def _turn(message: Any, name: str) -> Turn:
    it: Row = message if isinstance(message, Mapping) else {}
    role, content = it.get("role"), it.get("content")
    if role is None and isinstance(it.get("from"), str):
        role, content = NAMES.get(it["from"], it["from"]), it.get("value")
    if not isinstance(role, str) or not isinstance(content, str):
        raise Flaw("missing_field", f"a turn of {name!r} has no role or no text")
    return role, content
