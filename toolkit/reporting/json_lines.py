"""A row as a line of JSON that every parser takes and no terminal obeys.

No NaN, whole numbers whole, times as ISO 8601, control and direction characters as \\uXXXX.
"""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any


def json_line(row: Mapping[str, Any]) -> str:
    """The row as one JSON object; what JSON has no word for is written as text."""
    text = json.dumps(_plain(row), default=str, ensure_ascii=False, allow_nan=False)
    return text if text.isprintable() else "".join(map(_spelled, text))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, Decimal):  # DuckDB's sum of whole numbers, by way of Arrow
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value.isoformat() if isinstance(value, date) else value


def _spelled(character: str) -> str:
    """JSON writes the first 32 characters so by itself."""
    hidden = unicodedata.category(character) in {"Cc", "Cf", "Cs"}
    return json.dumps(character)[1:-1] if hidden else character
