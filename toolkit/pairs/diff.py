"""What changed between two versions: added, removed and changed pairs, counted and row by row.

The rows are the table macro `pair_diff(a, b)` of the store, so SQL and this module give the same answer. Equal content
(prompt, texts, scores, roles) is no change, whoever made it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.pairs.versions import Version, resolve, verify
from toolkit.store.database import Store


@dataclass(frozen=True)
class Diff:
    """Versions a and b, how many pairs they share, and a row for each one that differs."""

    a: Version
    b: Version
    rows: Sequence[Mapping[str, Any]]

    @property
    def summary(self) -> dict[str, int]:
        """Counts: pairs of both, added, removed, changed, and for the changed ones of what."""
        changes = Counter(row["change"] for row in self.rows)
        whats = Counter(part for row in self.rows if row["what"] for part in row["what"].split("+"))
        same = self.b.size - changes["added"] - changes["changed"]
        counts = {"same": same, **{change: changes[change] for change in ("added", "removed", "changed")}}
        return counts | {f"{what} changed": whats[what] for what in ("chosen", "rejected", "score", "role")}


def diff(store: Store, a: str, b: str) -> Diff:
    """The differences from version `a` to version `b`, any two references of the store. Raises InputError."""
    before, after = resolve(store, a), resolve(store, b)
    for version in (before, after):
        verify(store, version)
    sql = "FROM pair_diff($a, $b) ORDER BY change, prompt, before, after"
    return Diff(before, after, store.query(sql, {"a": before.id, "b": after.id}))
