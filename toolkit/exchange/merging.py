"""Stores become one: the rows of several workers, by content id, in one transaction.

What two stores both hold must say the same, apart from when, where and on what it was made; else it is a conflict, and
nothing at all is written. So workers that answered and judged disjoint prompts merge into the store of one, and merging
again changes nothing. Rows keep the launch that made them; it is never the newest launch here, whatever its date.

A source is data of somebody else until it was checked: its catalog at the door, then every id, text, fingerprint,
verdict and reference (audit.py). What contradicts itself is refused by name before anything is written. Nor does a
source add to what is known here (`KNOWN`): steps of a launch of this store's own, drops of a set, steps of a training.

Left out: checkpoints, which lie beside their store (`missing_checkpoints` tells which to copy), and renaming: sets that
two workers both called anchored@1 are a conflict, so pair after merging.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import StoreError
from toolkit.pairs.audit import contradictions
from toolkit.store.database import Store

SLICE = 200_000  # rows that travel at a time
# Columns that may differ in what is the same record: names, places and times.
ASIDE = {
    "launch": {"position"},
    "prompt": {"source"},
    "model": {"name", "path"},
    "pair_set": {"parent", "base", "message", "created"},
    "pair_set_deleted": {"reason", "referred_by", "deleted"},
    "training": {"seconds"},
    "training_step": {"value"},  # seconds among them; what a training gave is compared as its model
}
_NOTED = {
    "known_launches": "SELECT id FROM launch WHERE position > 0",
    "known_sets": "SELECT id FROM pair_set UNION ALL SELECT id FROM demonstration_set",
    "known_trainings": "SELECT id FROM training",
}
MERGED = ("launch", "position")  # 0: not begun here
# Which of a table's rows say more about what this store knew before, so that they are left out.
KNOWN = {
    "step": "launch IN (FROM known_launches)",
    "training_step": "training IN (FROM known_trainings)",
    "rejected_row": "pair_set IN (FROM known_sets)",
    "pair_set_change": "pair_set IN (FROM known_sets)",  # it may be stored as another change than here
    # A training that is new here brings what its gate dropped of a known set.
    "dropped": "pair_set IN (FROM known_sets) AND (training IN (FROM known_trainings) "
    "OR training NOT IN (SELECT id FROM training))",
}
_LATER = ("pair_set_change", "dropped")  # they have no key, and belong to a set


@dataclass(frozen=True)
class Table:
    """A table of the store: its columns and its primary key, empty where it has none."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]

    @property
    def compared(self) -> list[str]:
        aside = {"launch", *self.key, *ASIDE.get(self.name, ())}
        return [column for column in self.columns if column not in aside]


def merge(sources: Sequence[Path], into: Path) -> dict[str, int]:
    """Put every row of the sources into the store `into`, new or not; table -> rows added. Raises StoreError."""
    for source in sources:
        if source.resolve() == into.resolve():
            raise StoreError(f"{source} cannot be merged into itself", remedy="name another file with --into")
    added: dict[str, int] = {}
    with Store(into) as store, store.transaction():
        tables = sorted(_tables(store), key=lambda table: table.name in _LATER)
        for source in sources:
            with Store(source, read_only=True) as other:
                _refuse_contradictions(other)
                _note_known(store)
                for table in tables:
                    added[table.name] = added.get(table.name, 0) + _merge_table(store, other, table)
        for name in _NOTED:
            store.query(f"DROP TABLE IF EXISTS {name}")
        _check_deleted(store, into)
    return {name: count for name, count in added.items() if count}


def missing_checkpoints(path: Path) -> list[str]:
    """Trained models of the store whose checkpoints do not lie beside it, as paths relative to its folder."""
    with Store(path, read_only=True) as store:
        rows = store.query("SELECT DISTINCT path FROM model WHERE training IS NOT NULL ORDER BY path")
    return [row["path"] for row in rows if not (path.parent / row["path"]).exists()]


def _note_known(store: Store) -> None:
    for name, ids in _NOTED.items():
        store.query(f"CREATE OR REPLACE TEMP TABLE {name} AS {ids}")


def _refuse_contradictions(other: Store) -> None:
    """Raise StoreError where rows of a source contradict each other or name what is not there."""
    if problem := contradictions(other):
        raise StoreError(
            f"the store contradicts itself: {problem}; nothing was merged",
            where=other.path or "memory",
            remedy=f"do not trust it; `toolkit doctor` on a copy lists all of it: toolkit doctor --store {other.path}",
        )


def _tables(store: Store) -> list[Table]:
    sql = """
    SELECT t.table_name AS name,
        (SELECT list(c.column_name ORDER BY c.column_index) FROM duckdb_columns() c
            WHERE c.table_name = t.table_name AND NOT c.internal) AS columns,
        (SELECT any_value(k.constraint_column_names) FROM duckdb_constraints() k
            WHERE k.table_name = t.table_name AND k.constraint_type = 'PRIMARY KEY') AS key
    FROM duckdb_tables() t WHERE t.table_name <> 'migration' AND NOT t.temporary ORDER BY name
    """
    return [Table(row["name"], tuple(row["columns"]), tuple(row["key"] or ())) for row in store.query(sql)]


def _merge_table(store: Store, other: Store, table: Table) -> int:
    """The rows added, slice after slice."""
    columns = ", ".join(table.columns)
    taken = ", ".join("0 AS position" if (table.name, name) == MERGED else name for name in table.columns)
    last = other.query(f"SELECT max(rowid) AS n FROM {table.name}")[0]["n"]
    added = 0
    for start in range(0, -1 if last is None else last + 1, SLICE):
        rows = other.arrow(f"SELECT {taken} FROM {table.name} WHERE rowid >= ? AND rowid < ?", [start, start + SLICE])
        with store.lent("incoming", rows):
            _refuse_conflicts(store, other, table)
            added += store.query(_insertion(table, columns))[0]["Count"]
    return added


def _insertion(table: Table, columns: str) -> str:
    """A row with a key is left alone where it is known, one without where an equal one is."""
    new = f"SELECT {columns} FROM incoming"
    if table.name in KNOWN:
        new += f" WHERE NOT ({KNOWN[table.name]})"
    into = f"INSERT INTO {table.name} ({columns}) {new}"
    return f"{into} ON CONFLICT DO NOTHING" if table.key else f"{into} EXCEPT SELECT {columns} FROM {table.name}"


def _refuse_conflicts(store: Store, other: Store, table: Table) -> None:
    if not table.key or not table.compared:
        return
    differs = " OR ".join(f"i.{name}::VARCHAR IS DISTINCT FROM t.{name}::VARCHAR" for name in table.compared)
    which = ", ".join(f"{name} := i.{name}::VARCHAR IS DISTINCT FROM t.{name}::VARCHAR" for name in table.compared)
    key = ", ".join(f"i.{name}" for name in table.key)
    sql = (
        f"SELECT concat_ws(' ', {key}) AS key, struct_pack({which}) AS differs "
        f"FROM incoming i JOIN {table.name} t USING ({', '.join(table.key)}) WHERE {differs} ORDER BY key LIMIT 1"
    )
    for row in store.query(sql):
        names = ", ".join(name for name, other_than in row["differs"].items() if other_than)
        raise StoreError(
            f"{table.name} {row['key']} is known with another {names}; nothing was merged",
            where=other.path or "memory",
            remedy="merge workers of disjoint prompts, and pair, train and measure after merging",
        )


def _check_deleted(store: Store, into: Path) -> None:
    for row in store.query("SELECT id FROM pair_set JOIN pair_set_deleted USING (id) ORDER BY id LIMIT 1"):
        raise StoreError(
            f"pair set {row['id']} was deleted in one store and is there in another; nothing was merged",
            where=into,
            remedy="delete it in both, or in none",
        )
