"""A recipe as TOML with every field: what was set stands as it is, what was not as a comment with its default.

The comments are the schema's own words (config.py): a field's description, its range or its choices. They begin with
"# ", a field that is not set with "#" alone: taking it away sets the field to what it already is. TOML has no word for
none: a field whose default it is stands in a comment without a value.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

import annotated_types
from pydantic.fields import FieldInfo

from toolkit.config import Recipe, Section

WIDTH, COLUMN = 110, 26
_BOUNDS = (
    (annotated_types.Ge, "ge", "at least"), (annotated_types.Gt, "gt", "above"),
    (annotated_types.Le, "le", "at most"), (annotated_types.Lt, "lt", "below"),
)  # fmt: skip


def commented(recipe: Recipe, head: Sequence[str]) -> str:
    """The recipe below these first lines, each of them a comment."""
    lines = [*(f"# {line}".rstrip() for line in head), "", *_fields(recipe), *_tables(recipe, "")]
    return "\n".join(lines) + "\n"


def _tables(section: Section, prefix: str) -> Iterator[str]:
    """The sections inside this one, after that section's own fields, as TOML needs them."""
    for name, inner in section:
        if isinstance(inner, Section):
            yield from ("", *_comment(opening(inner)), f"[{prefix}{name}]", *_fields(inner))
            yield from _tables(inner, f"{prefix}{name}.")


def _fields(section: Section) -> Iterator[str]:
    for name, info in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Section):
            continue
        mark = "" if name in section.model_fields_set else "#"
        line = f"# {name}: none where it is left out" if value is None else f"{mark}{name} = {as_toml(value)}"
        told = meaning(info)
        if told and len(line) + len(told) < WIDTH:
            yield f"{line:<{COLUMN}}  # {told}"
        else:
            yield from (*_comment(told), line)


def as_toml(value: Any) -> str:
    """A field's value in TOML, in one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)} = {as_toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(as_toml(inner) for inner in value) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)


def meaning(info: FieldInfo) -> str:
    """Description, choices and range of a field."""
    parts = [info.description or ""]
    kinds = (info.annotation, *get_args(info.annotation))  # Literal[...], or Literal[...] | None
    for choices in (get_args(kind) for kind in kinds if get_origin(kind) is Literal):
        parts.append("one of " + ", ".join(json.dumps(choice) for choice in choices))
    bounds = [(bound, *known) for bound in info.metadata for known in _BOUNDS if isinstance(bound, known[0])]
    parts.append(" and ".join(f"{word} {getattr(bound, key):g}" for bound, _, key, word in bounds))
    return "; ".join(part for part in parts if part)


def opening(section: Section) -> str:
    return " ".join((type(section).__doc__ or "").split("\n\n")[0].split())


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
