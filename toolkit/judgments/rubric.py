"""Rubrics: what a judge is told, as a text file.

    # comments
    scale: 0-5
    lead: "Score: "
    [system]
    ...
    [user]
    ... {instruction} ... {response} ... {fence}

A rubric for two answers has {first} and {second} in place of {response}, and in place of scale and lead the choices
that it offers (first, second, and a tie if that may be said) and the form of the answer (choice.py knows the forms):

    choices: A, B, tie
    answer: "Better: {choice}"

Placeholders are filled in one pass, so braces and placeholders inside a candidate stay what they are. {fence} is
derived from all texts and occurs in none: a candidate cannot close its own frame.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from toolkit.errors import InputError
from toolkit.identity import Json, content_id
from toolkit.judgments.choice import RANKS, Choices
from toolkit.trust.paths import check_ordinary

SHIPPED = Path(__file__).parent / "rubrics"


@dataclass(frozen=True)
class Rubric:
    """Scale (lowest, highest points), the words that lead the score, both messages. `id` hashes all but the name."""

    name: str
    scale: tuple[int, int]
    lead: str
    system: str
    user: str

    @cached_property
    def id(self) -> str:
        return content_id("Rubric", self.body())

    @property
    def single_digit(self) -> bool:
        return 0 <= self.scale[0] < self.scale[1] <= 9

    def body(self) -> dict[str, Json]:
        return {"scale": list(self.scale), "lead": self.lead, "system": self.system, "user": self.user}

    def messages(self, instruction: str, response: str) -> list[dict[str, str]]:
        """The judge's conversation about one candidate."""
        return _conversation(self.system, self.user, {"instruction": instruction, "response": response})


@dataclass(frozen=True)
class PairRubric:
    """What a judge of two answers may choose and both messages. `id` hashes all but the name."""

    name: str
    choices: Choices
    system: str
    user: str

    @cached_property
    def id(self) -> str:
        return content_id("PairRubric", self.body())

    def body(self) -> dict[str, Json]:
        return {
            "choices": list(self.choices.words),
            "answer": self.choices.answer,
            "system": self.system,
            "user": self.user,
        }

    def messages(self, instruction: str, first: str, second: str) -> list[dict[str, str]]:
        """The judge's conversation about two candidates, shown in this order."""
        return _conversation(self.system, self.user, {"instruction": instruction, "first": first, "second": second})


def load_rubric(name: str) -> Rubric:
    """The shipped rubric of this name, or the one in this file. Raises InputError."""
    path = _find(name)
    return parse_rubric(_text(path), path)


def load_pair_rubric(name: str) -> PairRubric:
    """The shipped rubric for two answers of this name, or the one in this file. Raises InputError."""
    path = _find(name)
    return parse_pair_rubric(_text(path), path)


def parse_rubric(text: str, path: Path) -> Rubric:
    """A rubric from the text of its file."""
    fields, parts = _read(text, path)
    scale = re.fullmatch(r"\s*(\d{1,6})\s*-\s*(\d{1,6})\s*", fields.get("scale", ""))
    if not scale and "choices" in fields:
        raise InputError(
            "this is a rubric for two answers, no rubric for scores", where=path, remedy="name another one"
        )
    if not scale or int(scale[1]) >= int(scale[2]):
        raise InputError(f"scale {fields.get('scale')!r}", where=path, remedy="write for example: scale: 0-5")
    _check_placeholders(parts, ("instruction", "response", "fence"), path)
    lead = fields.get("lead", '"Score: "').strip().strip('"')
    return Rubric(path.stem, (int(scale[1]), int(scale[2])), lead, parts.get("system", ""), parts["user"])


def parse_pair_rubric(text: str, path: Path) -> PairRubric:
    """A rubric for two answers from the text of its file."""
    fields, parts = _read(text, path)
    words = [word.strip() for word in fields.get("choices", "").split(",")]
    if len(words) not in (2, 3) or not all(words) or len({word.casefold() for word in words}) < len(words):
        raise InputError(
            f"choices {fields.get('choices')!r}", where=path, remedy="write for example: choices: A, B, tie"
        )
    answer = fields.get("answer", "").strip().strip('"')
    before, choice, after = answer.partition("{choice}")
    if answer != RANKS and (not choice or (before.strip() and (after.strip() or not before.strip().endswith(":")))):
        raise InputError(
            f"answer {answer!r} is no form that is read",
            where=path,
            remedy='write for example: answer: "Better: {choice}"; or "{choice} is better", "{choice}", or ranks',
        )
    _check_placeholders(parts, ("instruction", "first", "second", "fence"), path)
    return PairRubric(path.stem, Choices(answer, *words), parts.get("system", ""), parts["user"])


def is_shipped(name: str) -> bool:
    """Whether this is the name of a shipped rubric, so that no other file is read."""
    return name in {path.stem for path in SHIPPED.glob("*.txt")}


def _find(name: str) -> Path:
    path = SHIPPED / f"{name}.txt" if is_shipped(name) else Path(name).expanduser()
    check_ordinary(path, "judge.rubric")
    if path.is_dir():
        raise InputError(f"{name!r} is a folder", where="judge.rubric", remedy="name the rubric's text file in it")
    if not path.is_file():
        shipped = sorted(known.stem for known in SHIPPED.glob("*.txt"))
        near = difflib.get_close_matches(name, shipped, n=1, cutoff=0.0)
        raise InputError(
            f"no rubric {name!r}", where="judge.rubric", remedy=f"did you mean {near[0]!r}? or name a file"
        )
    return path


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"not UTF-8: {error}", where=path, remedy="save it as UTF-8") from error


def _read(text: str, path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """The head's fields and the sections. Raises InputError where the file is not a rubric; it quotes none of it."""
    head, *sections = re.split(r"^\[(system|user)\]\n", text, flags=re.MULTILINE)
    if not sections:
        remedy = "write scale:, lead:, and [system] and [user] sections; docs: Your own judge"
        raise InputError("the file is not a rubric: it has no [user] section", where=path, remedy=remedy)
    parts = dict(zip(sections[::2], (section.strip() for section in sections[1::2]), strict=True))
    fields = dict(line.split(":", 1) for line in head.splitlines() if ":" in line and not line.startswith("#"))
    return fields, parts


def _check_placeholders(parts: Mapping[str, str], wanted: tuple[str, ...], path: Path) -> None:
    missing = [f"{{{name}}}" for name in wanted if f"{{{name}}}" not in parts.get("user", "")]
    if missing:
        raise InputError(f"[user] lacks {', '.join(missing)}", where=path, remedy="add the placeholders to [user]")


def _conversation(system: str, user: str, texts: Mapping[str, str]) -> list[dict[str, str]]:
    values = {**texts, "fence": _fence("".join(texts.values()))}
    filled = re.sub(r"\{(\w+)\}", lambda found: values.get(found[1], found[0]), user)
    return [*([{"role": "system", "content": system}] if system else []), {"role": "user", "content": filled}]


def _fence(text: str) -> str:
    fence = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8]
    while fence in text:
        fence = hashlib.sha256(fence.encode()).hexdigest()[:8]
    return fence
