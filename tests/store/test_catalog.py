"""What a store may hold: the toolkit's own objects, and nothing that answers in DuckDB's place."""

from __future__ import annotations

from toolkit.store import catalog, database


def test_the_shipped_digest_is_that_of_the_newest_schema() -> None:
    made = database._reference(database._newest())
    assert catalog.digest(made) == catalog.DIGEST, "migrations or views changed: copy the new digest into catalog.py"
