"""How a record becomes a row and comes back: one table a record, one column a field."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from toolkit.records import Sampling


@dataclass(frozen=True)
class Table:
    """Name and columns of a record's table; `id` is written but computed again on reading."""

    kind: type[Any]
    name: str
    columns: tuple[str, ...]

    def to_row(self, record: Any) -> dict[str, Any]:
        row = {column: _write(getattr(record, column)) for column in self.columns}
        return {"id": record.id} | row if hasattr(record, "id") else row

    def from_row(self, row: Sequence[Any]) -> Any:
        return self.kind(**{name: _read(name, value) for name, value in zip(self.columns, row, strict=True)})


def table_of(kind: type[Any]) -> Table:
    """The table of a record class: PairSet -> pair_set."""
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()
    return Table(kind, name, tuple(field.name for field in fields(kind) if field.init))


def read_json(text: str) -> Any:
    """JSON of a cell. Raises ValueError where a key stands twice: Python would take the last value, SQL the first."""
    return json.loads(text, object_pairs_hook=_once)


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found


def _write(value: Any) -> Any:
    return value.as_json() if isinstance(value, Sampling) else value


def _read(name: str, value: Any) -> Any:
    if name == "sampling" and value is None:
        return None
    if name == "history":
        return tuple((role, content) for role, content in read_json(value))
    if name == "sampling":
        data: Mapping[str, Any] = read_json(value)
        return Sampling(float(data["temperature"]), float(data["top_p"]), int(data["max_tokens"]), data.get("min_mass"))
    return read_json(value) if name in ("settings", "found") else value
