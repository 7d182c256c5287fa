"""Shapes of preference files: which columns a row has, and what it says.

    hh-rlhf            chosen, rejected: whole dialogues "\\n\\nHuman: ...\\n\\nAssistant: ..."
    ultrafeedback      prompt, chosen, rejected as conversations, score_chosen, score_rejected (the binarized form)
    ultrafeedback-raw  instruction, completions: best against worst
    distilabel         instruction or prompt, generations, ratings, generation_models: best against worst
    sharegpt           conversations, chosen, rejected, each turn as {from, value} (LLaMA-Factory)
    trl                prompt, chosen, rejected as messages (explicit prompt)
    trl-implicit       chosen, rejected: conversations that differ in their last turn
    openrlhf           as trl, trl-implicit or plain, and found as one of these
    plain              prompt, chosen, rejected as text; history as messages and system as text where they stand

Any of them may carry scores, model names, roles, a judge's name and the ids of an export (rows.py). A row that says
less than a pair is a Flaw. What is wrong with a whole pair is checks.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from toolkit.errors import InputError, RecipeError
from toolkit.exchange.ranked import completions, generations
from toolkit.exchange.rows import SIDES, Flaw, RawRow, Row, Said, raw_row
from toolkit.exchange.turns import answers_of, prompt_of, system_of, turns_of
from toolkit.reading import Line

_MARK = "\n\nAssistant:"
_SPEAKER = re.compile(r"\n\n(Human|Assistant): ?")


@dataclass(frozen=True)
class Shape:
    """fits: whether a row looks like it; read: what such a row says, or a Flaw."""

    name: str
    fits: Callable[[Row], bool]
    read: Callable[[Row], Said]


def parse(shape: Shape, line: Line) -> RawRow:
    """What a line says in this shape. Raises Flaw."""
    if line.row is None:
        raise Flaw("broken_json", line.problem)
    return raw_row(shape.read(line.row), line.row, line.place)


def detect(lines: Sequence[Line], source: str) -> Shape:
    """The shape of the first row that has one. Raises InputError with the columns found."""
    rows = [line.row for line in lines if line.row is not None]
    for row in rows:
        for shape in SHAPES:
            if shape.fits(row):
                return shape
    if not rows:
        return shape_named("plain")  # nothing here can be read: the import goes on and counts it
    columns = ", ".join(dict.fromkeys(str(name) for row in rows for name in row))
    raise InputError(
        f"no known shape of preferences has these columns: {columns}",
        where=f"the first {len(rows)} rows of {source}",
        remedy="rename the columns to prompt, chosen and rejected, or name the shape: " + ", ".join(_names()),
    )


def shape_named(name: str) -> Shape:
    """The shape of this name, or the one in which an export of this name is written. Raises RecipeError."""
    wanted = EXPORTED.get(name, name)
    for shape in SHAPES:
        if shape.name == wanted:
            return shape
    raise RecipeError(f"no shape {name!r}", remedy="use one of auto, " + ", ".join(_names()))


def _names() -> list[str]:
    return [shape.name for shape in SHAPES]


def _dialogues(row: Row) -> Said:
    """The prompt is what comes before the last "Assistant:", the answer what comes after it."""
    heads, answers = zip(*(_cut(row, side) for side in SIDES), strict=True)
    if heads[0] != heads[1]:
        raise Flaw("prompt_mismatch", "chosen and rejected differ before their last turn")
    before, *parts = _SPEAKER.split(heads[0] if heads[0].startswith("\n\n") else f"\n\n{heads[0]}")
    if before.strip():
        raise Flaw("missing_field", "text comes before the first 'Human:'")
    names = {"Human": "user", "Assistant": "assistant"}
    turns = [(names[speaker], text) for speaker, text in zip(parts[::2], parts[1::2], strict=True)]
    return Said(tuple(turns), (answers[0], answers[1]))


def _cut(row: Row, side: str) -> tuple[str, str]:
    text = row.get(side)
    if not isinstance(text, str) or _MARK not in text:
        raise Flaw("missing_field", f"no dialogue with {_MARK!r} under {side!r}")
    head, _, answer = text.rpartition(_MARK)
    return head, answer.removeprefix(" ")


def _asked(row: Row) -> Said:
    """A prompt, and sides that are answers or conversations that hold the prompt."""
    prompt = prompt_of(row)
    before, sides = answers_of(row)
    if isinstance(prompt, str):
        asked = (*system_of(row), *turns_of(row.get("history") or [], "history"), ("user", prompt))
        held = not before or ("user", prompt) in before
    else:
        asked = turns_of(prompt, "prompt")
        held = not before or before == asked
    if not held:
        raise Flaw("prompt_mismatch", "the conversations do not hold the prompt")
    return Said(before or asked, sides)


def _conversations(row: Row) -> Said:
    return Said(*answers_of(row))


def _either(row: Row) -> Said:
    return _conversations(row) if prompt_of(row) is None else _asked(row)


def _sharegpt(row: Row) -> Said:
    _, sides = answers_of(row)
    return Said((*system_of(row), *turns_of(row.get("conversations"), "conversations")), sides)


def _are(kind: type, row: Row, *names: str) -> bool:
    return all(isinstance(row.get(name), kind) for name in names)


SHAPES = (
    Shape("sharegpt", lambda row: _are(list, row, "conversations") and _are(dict, row, *SIDES), _sharegpt),
    Shape("ultrafeedback-raw", lambda row: _are(list, row, "completions"), completions),
    Shape("distilabel", lambda row: _are(list, row, "generations", "ratings"), generations),
    Shape("ultrafeedback", lambda row: _are(list, row, *SIDES) and "score_chosen" in row and "prompt" in row, _asked),
    Shape("hh-rlhf", lambda row: prompt_of(row) is None and all(_MARK in str(row.get(s)) for s in SIDES), _dialogues),
    Shape("trl-implicit", lambda row: prompt_of(row) is None and _are(list, row, *SIDES), _conversations),
    Shape("trl", lambda row: prompt_of(row) is not None and _are(list, row, *SIDES), _asked),
    Shape("plain", lambda row: prompt_of(row) is not None and _are(str, row, *SIDES), _asked),
    Shape("openrlhf", lambda row: False, _either),  # never found: its rows are those of the three above
)
EXPORTED = {"hf": "trl", "parquet": "plain", "jsonl": "plain", "csv": "plain"}
