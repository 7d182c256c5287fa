"""Content identity: the same content has the same id on every machine and in every process.

`canonical` writes a value as JSON with sorted keys and refuses what has no stable form (NaN, sets,
objects, non-string keys) instead of calling `str()` on it. `content_id` hashes that text.
What was asked for is identity; where, when and on what it ran is provenance and stays out.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]

ID_LENGTH = 24  # hex digits: 96 bits, no collision expected below 10^12 rows
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True)
_PLAIN = {str, int, bool, type(None)}  # what needs no look inside


def canonical(value: Json) -> str:
    """JSON text of `value` that depends on its content alone. Raises TypeError or ValueError."""
    _check(value, "$")
    return _ENCODER.encode(value)


def content_id(kind: str, value: Json) -> str:
    """Id of a record of this kind: 24 hex digits of SHA-256 over kind and canonical JSON."""
    return hashlib.sha256(f"{kind}\n{canonical(value)}".encode()).hexdigest()[:ID_LENGTH]


def fingerprint(ids: Iterable[str]) -> str:
    """Identity of a set of records, whatever their order."""
    return content_id("set", sorted(ids))


def derive_seed(*parts: Json) -> int:
    """A sampling seed in [0, 2^31) from whatever makes the sample unique."""
    return int(content_id("seed", list(parts))[:8], 16) & 0x7FFFFFFF


def file_digest(paths: Iterable[Path]) -> str:
    """SHA-256 over the names and bytes of these files, in name order."""
    total = hashlib.sha256()
    for path in sorted(paths, key=lambda p: p.name):
        with path.open("rb") as file:
            total.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest()[:ID_LENGTH]


def _check(value: Json, place: str) -> None:
    if value is None or isinstance(value, bool | int | str):
        return
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value!r} at {place} has no canonical form")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"key {key!r} at {place} is not a string")
            if type(item) not in _PLAIN:
                _check(item, f"{place}.{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            if type(item) not in _PLAIN:
                _check(item, f"{place}[{index}]")
    else:
        raise TypeError(f"{type(value).__name__} at {place} has no canonical form")
