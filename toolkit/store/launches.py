"""Launches of a store in their order: the newest is the last that this store's own writer began, whatever clocks say.

A launch that came by `merge` has position 0: it is in the store, and it is never the newest.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from toolkit.provenance import Launch
from toolkit.store.database import Store

NEWEST_FIRST = "position DESC, started DESC, id DESC"  # of the table launch


def begin(store: Store, launch: Launch) -> None:
    """Insert the launch of this process as the newest of the store."""
    position = store.query("SELECT coalesce(max(position), 0) + 1 AS n FROM launch")[0]["n"]
    store.insert("launch", [{**vars(launch), "arguments": list(launch.arguments), "position": position}])


def clock_notes(store: Store) -> list[str]:
    """Launches whose dates cannot be right: later than now, or earlier than the launch before."""
    notes, before = [], None
    limit = datetime.now(UTC) + timedelta(minutes=5)  # clocks of two machines differ by as much
    for row in store.query("SELECT id, run, started, position FROM launch ORDER BY position, started, id"):
        if row["started"] > limit:
            notes.append(f"launch {row['id']} of {row['run']} is dated {row['started']:%Y-%m-%d %H:%M}, later than now")
        elif before and row["position"] and row["started"] < before["started"]:
            notes.append(f"launch {row['id']} of {row['run']} is dated before the launch {before['id']}, begun earlier")
        before = row if row["position"] else None
    return notes
