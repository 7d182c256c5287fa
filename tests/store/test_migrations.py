"""A store of every earlier schema opens, keeps all its rows, and passes every check. One file of rows a schema."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import duckdb
import pytest

import toolkit.store
from toolkit.commands.doctor import examine
from toolkit.errors import StoreError
from toolkit.pairs import versions
from toolkit.records import Comparison, Item, Judgment, Model, Prompt, Response, Score
from toolkit.store.database import Store
from toolkit.store.lineage import lineage
from toolkit.store.rows import table_of
from toolkit.store.serving import open_reader

MIGRATIONS = Path(toolkit.store.__path__[0]) / "migrations"
STORES = sorted((Path(__file__).parent / "stores").glob("*.sql"))


def make(path: Path, rows: Path) -> None:
    """A store file as the toolkit of that schema left it."""
    db = duckdb.connect(str(path))
    db.execute("CREATE TABLE migration (number INTEGER PRIMARY KEY, name VARCHAR NOT NULL)")
    for step in sorted(MIGRATIONS.glob("*.sql")):
        if step.stem[:4] <= rows.stem:
            db.execute(step.read_text(encoding="utf-8"))
            db.execute("INSERT INTO migration VALUES (?, ?)", [int(step.stem[:4]), step.stem])
    db.execute(rows.read_text(encoding="utf-8"))
    db.close()


def inserted(rows: Path) -> Counter[str]:
    """How many rows a table has there; what is no table any more now is another's rows."""
    found = Counter(re.findall(r"^INSERT INTO (\w+)", rows.read_text(encoding="utf-8"), re.MULTILINE))
    found["pair_set_change"] += found.pop("pair_set_member", 0)
    return found


@pytest.mark.parametrize("rows", STORES, ids=lambda path: path.stem)
def test_an_older_store_is_migrated_whole(tmp_path: Path, rows: Path) -> None:
    path = tmp_path / "old.duckdb"
    make(path, rows)
    with pytest.raises(StoreError, match="python -m toolkit doctor"):
        open_reader(path)
    with Store(path) as store:
        assert all(not row["found"] for row in examine(store))
        assert store.named("law") == []
        for table, rows_before in inserted(rows).items():
            assert store.query(f"SELECT count(*) AS n FROM {table}") == [{"n": rows_before}], table
        for kind in (Prompt, Model, Response, Judgment, Comparison, Item, Score):
            table = table_of(kind).name
            ids = [row["id"] for row in store.query(f"SELECT id FROM {table}")]
            assert set(store.find(kind, ids)) == set(ids), "the ids are still the hashes of the rows"
        for version in versions.versions(store):
            assert len(versions.load(store, version.id).pairs) == version.size > 0
        assert lineage(store, "M_1")
        launches = store.query("SELECT position FROM launch ORDER BY started, id")
        assert [row["position"] for row in launches] == list(range(1, len(launches) + 1))
        old = store.query("SELECT control, control_ratio, p, p_holm, needed FROM change")
        assert all(row["p"] is row["p_holm"] is row["needed"] is None for row in old), "they answered another question"
        assert all((row["control"] == "draws") == (row["control_ratio"] is not None) for row in old)
    open_reader(path).close()  # its catalog is, to the letter, that of a store which was made today


def test_every_schema_before_the_newest_has_its_store() -> None:
    newest = max(int(path.stem[:4]) for path in MIGRATIONS.glob("*.sql"))
    assert [int(path.stem) for path in STORES] == list(range(1, newest))


def test_a_migration_that_fails_leaves_the_old_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "old.duckdb"
    make(path, STORES[0])
    before = duckdb.connect(str(path), read_only=True).sql("SELECT count(*) FROM pair_set_member").fetchall()
    real = Path.read_text

    def broken(self: Path, *args: object, **more: object) -> str:
        text = real(self, *args, **more)  # type: ignore[arg-type]
        return f"{text};\nSELECT no_such_column;" if self.stem == "0002_versions" else text

    monkeypatch.setattr(Path, "read_text", broken)
    with pytest.raises(StoreError, match="no_such_column"):
        Store(path)
    monkeypatch.undo()
    assert duckdb.connect(str(path), read_only=True).sql("SELECT count(*) FROM pair_set_member").fetchall() == before
    with Store(path) as store:
        assert all(not row["found"] for row in examine(store))


def test_another_duckdb_file_is_not_taken_for_a_store(tmp_path: Path) -> None:
    duckdb.connect(str(tmp_path / "other.duckdb")).close()
    with pytest.raises(StoreError, match="is not a store"):
        open_reader(tmp_path / "other.duckdb")
