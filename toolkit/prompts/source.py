"""Prompts from a file or a data set, checked: a broken line is an error with its place, never a skipped row.

Read: "starter" and "ift" (shipped, own-written, the second with answers), "constraints" (generated), .txt (one prompt a
line), .jsonl (`prompts.field`, or the first user turn of "messages"), .csv, .parquet and Hugging Face data sets through
`datasets`. A reference answer is `prompts.label`, or the turn after the first user turn; only SPIN asks for it.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from toolkit.config import Prompts as Settings
from toolkit.errors import InputError
from toolkit.prompts.constraints import constraint_prompts
from toolkit.records import Prompt
from toolkit.safe_text import one_line
from toolkit.trust.paths import check_ordinary

SHIPPED = {
    "starter": Path(__file__).with_name("starter.txt"),
    "ift": Path(__file__).parents[1] / "demonstrations" / "ift.jsonl",
}
GENERATED = "constraints"
LOADERS = {".csv": "csv", ".parquet": "parquet"}


def is_shipped(settings: Settings) -> bool:
    """Whether the prompts come with the toolkit: from a shipped file, or made by its generator."""
    return settings.source == GENERATED or settings.source in SHIPPED


def is_local(settings: Settings) -> bool:
    """Whether the prompts are shipped or in a file, so that no network is needed. A wrong file name is local."""
    path = Path(settings.source)
    return is_shipped(settings) or path.suffix in {".txt", ".jsonl", *LOADERS} or path.expanduser().exists()


def load_prompts(settings: Settings) -> tuple[Prompt, ...]:
    """Every prompt of the source, in its order. Raises InputError naming file and line."""
    seen: dict[str, str] = {}
    prompts = []
    for text, place in _read(settings):
        _check(text, place)
        if text in seen:
            if settings.duplicates == "drop":
                continue
            raise InputError(
                f"duplicate prompt {one_line(text, 60)!r}, first at {seen[text]}",
                where=place,
                remedy="remove one of them, or set prompts.duplicates = 'drop'",
            )
        seen[text] = place
        prompts.append(Prompt(text, place))
    if not prompts:
        raise InputError(f"no prompts in {settings.source!r}", remedy="name a file with at least one prompt")
    return tuple(prompts)


def load_labels(settings: Settings) -> dict[str, str]:
    """The reference answer to every prompt that has one, by prompt id; of equal prompts the first."""
    found: dict[str, str] = {}
    for row, place in _rows(settings):
        label = _label_of(row, settings.label)
        if label:
            found.setdefault(Prompt(_text_of(row, settings.field, place)).id, label)
    return found


def _read(settings: Settings) -> Iterator[tuple[str, str]]:
    for row, place in _rows(settings):
        yield _text_of(row, settings.field, place), place


def _rows(settings: Settings) -> Iterator[tuple[Any, str]]:
    """Every row with its place; a line of a .txt file is a row of one text."""
    if settings.source == GENERATED:
        for number, text in enumerate(constraint_prompts(settings.count), start=1):
            yield {settings.field: text}, f"{GENERATED}:{number}"
        return
    path = SHIPPED.get(settings.source) or Path(settings.source).expanduser()
    check_ordinary(path, "prompts.source")
    if path.suffix in {".txt", ".jsonl"}:
        for number, line in enumerate(_lines(path), start=1):
            place = f"{path.name}:{number}"
            if path.suffix == ".txt" and line:
                yield {settings.field: line}, place
            elif path.suffix == ".jsonl":
                yield _json(line, place), place
    else:
        for number, row in enumerate(_dataset(path, settings), start=1):
            yield row, f"{settings.source}:{number}"


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError as error:
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*")], n=1)
        hint = f"did you mean {near[0]!r}?" if near else "name an existing file"
        raise InputError(f"no prompt file {path}", where="prompts.source", remedy=hint) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise InputError(
            f"not UTF-8: {error.reason}", where=f"{path.name}:{line}", remedy="save it as UTF-8"
        ) from error
    except OSError as error:
        raise InputError(
            f"cannot read {path}: {error.strerror}", where="prompts.source", remedy="name a readable file"
        ) from error
    return [line.removesuffix("\r") for line in (lines[:-1] if lines[-1] == "" else lines)]


def _json(line: str, place: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"broken JSON line {one_line(line, 60)!r}: {error}", where=place, remedy="mend or remove this line"
        ) from error


def _turn(row: Any, role: str) -> Any:
    """The first turn of this role in "messages", or None."""
    messages = row.get("messages") if isinstance(row, Mapping) else None
    turns = [turn for turn in messages if isinstance(turn, Mapping)] if isinstance(messages, list) else []
    return next((turn.get("content") for turn in turns if turn.get("role") == role), None)


def _label_of(row: Any, field: str) -> str:
    label = row.get(field) if isinstance(row, Mapping) and field in row else _turn(row, "assistant")
    return label if isinstance(label, str) else ""


def _text_of(row: Any, field: str, place: str) -> str:
    if isinstance(row, Mapping) and field not in row and _turn(row, "user") is not None:
        row = {field: _turn(row, "user")}
    if not isinstance(row, Mapping) or not isinstance(row.get(field), str):
        found = sorted(row) if isinstance(row, Mapping) else type(row).__name__
        raise InputError(
            f"no text under {field!r}; found {found}", where=place, remedy="name its key with prompts.field"
        )
    text: str = row[field]
    return text


def _check(text: str, place: str) -> None:
    if not text.strip():
        raise InputError(f"empty prompt {one_line(text, 20)!r}", where=place, remedy="remove this row")
    if "\x00" in text:
        raise InputError(f"a NUL byte in prompt {one_line(text, 60)!r}", where=place, remedy="remove the byte")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise InputError(f"a lone surrogate in prompt {one_line(text, 60)!r}", where=place, remedy="write valid UTF-8")


def _dataset(path: Path, settings: Settings) -> Iterator[Any]:
    import datasets

    try:
        if path.suffix in LOADERS:
            yield from datasets.load_dataset(LOADERS[path.suffix], data_files=str(path), split="train")
        elif path.is_dir():  # its README.md could name files and servers elsewhere
            raise InputError(
                f"{settings.source!r} is a folder",
                where="prompts.source",
                remedy="name the file in it that has prompts",
            )
        else:
            yield from datasets.load_dataset(settings.source, split=settings.split)
    except (OSError, ValueError, OverflowError, datasets.exceptions.DatasetsError) as error:  # Overflow: of a date
        raise InputError(
            f"no prompts from {settings.source!r}: {type(error).__name__}: {str(error)[:200]}",
            where="prompts.source",
            remedy="name 'starter', a .txt, .jsonl, .csv or .parquet file, or a data set that can be reached",
        ) from error
