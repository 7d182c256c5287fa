"""What a store file holds besides rows, read so that nothing in the file can answer in DuckDB's place.

A macro in a store's schema shadows DuckDB's function or operator of that name, a view or a generated column computes
what it likes, and a CHECK, a default or an index may call either. So the catalog is compared with the one that this
toolkit makes before any other statement runs (database.py). It is read with plain columns of `system.main` functions
and comparisons alone, which no object of a file can shadow.

Left out: comments and tags, which nothing reads, and rows, which `doctor` and `merge` check.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from toolkit.errors import StoreError

# Of a whole catalog at the newest schema: where it matches, no catalog is made to compare with (0.1 s).
# tests/store/test_catalog.py compares it with that one, and prints the new value when migrations or views changed.
DIGEST = "8550f8c8f31eced7d7d6e75c1a77a08e88aed2b86d102583425076c01b160b4c"
Entry = tuple[str, str]  # kind and name, the name with its schema where that is not main
Catalog = Mapping[Entry, str]
Rows = Callable[[str], Sequence[Sequence[Any]]]
SCHEMA, MIGRATION = ("schema", "main"), ("table", "migration")
MADE_AGAIN = {"view", "macro", "table_macro"}  # by every opening for writing
FOREIGN = (
    "a store holds what the toolkit makes and nothing else; one that a stranger sent may lie. Is it your own? Keep "
    "such things in another file, attach the store there, and remove them here: "
)
_PARTS = (  # schema, name, kind, text
    "SELECT parent_schema, schema_name, 'schema', sql FROM system.main.duckdb_schemas()",
    "SELECT schema_name, table_name, 'table', sql FROM system.main.duckdb_tables()",
    "SELECT schema_name, view_name, 'view', sql FROM system.main.duckdb_views()",
    "SELECT schema_name, function_name, function_type, parameters, macro_definition "
    "FROM system.main.duckdb_functions()",
    "SELECT schema_name, index_name, 'index', sql FROM system.main.duckdb_indexes()",
    "SELECT schema_name, sequence_name, 'sequence', sql FROM system.main.duckdb_sequences()",
    "SELECT schema_name, trigger_name, 'trigger', sql FROM system.main.duckdb_triggers()",
    "SELECT schema_name, crs_name, 'coordinate system', NULL FROM system.main.duckdb_coordinate_systems()",
)
_TYPES = "SELECT schema_name, type_name, logical_type FROM system.main.duckdb_types()"


def read_catalog(rows: Rows, where: object) -> dict[Entry, str]:
    """Every object of the one database that is open. Raises StoreError where another is attached."""
    names = [row[0] for row in rows("SELECT database_name FROM system.main.duckdb_databases()")]
    attached = [name for name in names if name not in ("system", "temp")]
    if len(attached) != 1:
        raise StoreError(f"{len(attached)} databases are attached, not 1", where=where, remedy="open the store alone")
    own = "WHERE database_name = '{}'".format(attached[0].replace("'", "''"))
    texts: dict[Entry, list[str]] = {}
    for part in _PARTS:
        for schema, name, kind, *text in rows(f"{part} {own}"):
            texts.setdefault((kind, _qualified(schema, name)), []).append(json.dumps(text))
    shipped = {tuple(row) for row in rows(f"{_TYPES} WHERE database_name = 'system'")}
    for schema, name, text in rows(f"{_TYPES} {own}"):
        if (schema, name, text) not in shipped:
            texts.setdefault(("type", _qualified(schema, name)), []).append(text)
    return {entry: "\n".join(sorted(text)) for entry, text in texts.items()}


def digest(catalog: Catalog) -> str:
    """The whole catalog in 64 hex digits."""
    items = sorted([*entry, text] for entry, text in catalog.items())
    return hashlib.sha256(json.dumps(items).encode()).hexdigest()


def check_catalog(catalog: Catalog, expected: Catalog, known: Catalog, where: object, *, reader: bool) -> None:
    """Raise StoreError with the names of all that is not as expected. known: whose views and macros a writer replaces;
    a reader takes them only as they are in `expected`."""
    foreign = [entry for entry in catalog if entry not in (known if entry[0] in MADE_AGAIN else expected)]
    changed = [entry for entry in {**catalog, **expected} if catalog.get(entry) != expected.get(entry)]
    tables = [entry for entry in changed if entry not in foreign and entry[0] not in MADE_AGAIN]
    if foreign:
        raise StoreError(
            f"the store holds {_listed(foreign)}, not made by the toolkit",
            where=where,
            remedy=_removal(foreign[0], where),
        )
    if tables:
        raise StoreError(
            f"the store has another {_listed(tables)} than the toolkit makes",
            where=where,
            remedy="restore the store from a backup; one that a stranger sent may lie",
        )
    if reader and changed:
        raise StoreError(
            f"the store has another {_listed(changed)} than this toolkit: written by another version, or changed",
            where=where,
            remedy=f"make its views again: toolkit doctor --store {where}",
        )


def _removal(entry: Entry, where: object) -> str:
    """How to remove a user's own object; DROP runs nothing that the file holds."""
    kind, name = entry
    sql_kind = {"table_macro": "MACRO TABLE"}.get(kind, kind.upper())
    quoted = ".".join('"{}"'.format(part.replace('"', '""')) for part in name.split(".", 1))
    code = f"import duckdb; duckdb.connect({str(where)!r}).execute({f'DROP {sql_kind} {quoted}'!r})"
    return FOREIGN + shlex.join(["python", "-c", code])


def _qualified(schema: str | None, name: str) -> str:
    return name if schema in (None, "main") else f"{schema}.{name}"


def _listed(entries: Sequence[Entry], most: int = 8) -> str:
    names = [f"{kind.replace('_', ' ')} {name}" for kind, name in sorted(entries)]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
