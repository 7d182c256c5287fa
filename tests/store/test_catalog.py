"""What a store may hold: the toolkit's own objects, and nothing that answers in DuckDB's place."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from tests.trust.hostile_store import DOOR, lie
from toolkit.errors import StoreError
from toolkit.store import catalog, database
from toolkit.store.database import Store
from toolkit.store.serving import Server, address, open_reader


def test_the_shipped_digest_is_that_of_the_newest_schema() -> None:
    made = database._reference(database._newest())
    assert catalog.digest(made) == catalog.DIGEST, "migrations or views changed: copy the new digest into catalog.py"


@pytest.fixture
def lying(tmp_path: Path) -> Path:
    Store(tmp_path / "s.duckdb").close()
    return lie(tmp_path / "s.duckdb", DOOR["avg raised by 5"])


@pytest.fixture
def careless_writer(lying: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A store that a writer of another version has opened, which does not look at its catalog."""
    with monkeypatch.context() as patch:
        patch.setattr(Store, "_admit", lambda self, read_only: None)
        store = Store(lying)
    server = Server(store)
    yield lying
    server.close()
    store.close()


def test_a_reader_at_the_socket_compares_the_catalog_too(careless_writer: Path) -> None:
    with pytest.raises(StoreError, match="the store holds macro avg, not made by the toolkit"):
        open_reader(careless_writer)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_socket_of_another_user_is_not_asked(careless_writer: Path) -> None:
    os.chown(address(careless_writer), 12345, 12345)
    with pytest.raises(StoreError, match="belongs to another user"):
        open_reader(careless_writer)


def test_a_refused_store_is_left_as_it_was_and_unlocked(lying: Path) -> None:
    before = lying.read_bytes()
    for _ in range(2):
        with pytest.raises(StoreError, match="macro avg"):
            Store(lying)
    assert lying.read_bytes() == before
    assert not lying.with_name("s.duckdb.wal").exists()


def test_a_duckdb_file_of_ones_own_does_not_become_a_store(tmp_path: Path) -> None:
    path = tmp_path / "mine.duckdb"
    duckdb.connect(str(path)).execute("CREATE TABLE notes (text VARCHAR)").close()
    with pytest.raises(StoreError, match="table notes, not made by the toolkit"):
        Store(path)
    assert duckdb.connect(str(path)).sql("SHOW TABLES").fetchall() == [("notes",)]


def test_views_of_another_version_are_made_again_by_a_writer_and_refused_by_a_reader(tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    Store(path).close()
    lie(path, DOOR["view changed"])
    with pytest.raises(StoreError, match="another view answer_scores than this toolkit") as refused:
        open_reader(path)
    assert f"toolkit doctor --store {path}" in refused.value.remedy
    Store(path).close()
    open_reader(path).close()


def test_an_opening_for_writing_that_changes_nothing_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    Store(path).close()
    before = path.stat().st_mtime_ns
    Store(path).close()
    assert path.stat().st_mtime_ns == before


def test_without_the_digest_the_whole_catalog_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "DIGEST", "")
    path = tmp_path / "s.duckdb"
    Store(path).close()
    open_reader(path).close()
    lie(path, DOOR["extra column"])
    with pytest.raises(StoreError, match="another table tag"):
        open_reader(path)
