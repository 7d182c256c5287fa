"""Is all well? The machine, the store, the files beside it. Migrates an older store; mends nothing unless asked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from toolkit.commands.common import DEFAULT, JsonOption, StoreOption, end, show
from toolkit.commands.leftovers import leftovers, remove
from toolkit.errors import StoreError
from toolkit.pairs.versions import verify, versions
from toolkit.store.database import Store

# child table, column, parent table
REFERENCES = (
    ("response", "prompt", "prompt"),
    ("response", "model", "model"),
    ("judgment", "response", "response"),
    ("judgment", "judge", "model"),
    ("pair", "prompt", "prompt"),
    ("pair", "chosen", "response"),
    ("pair", "rejected", "response"),
    ("pair_set_change", "pair", "pair"),
    ("pair_set_change", "pair_set", "pair_set"),
    ("comparison", "first", "response"),
    ("comparison", "second", "response"),
    ("demonstration", "response", "response"),
    ("demonstration", "demonstration_set", "demonstration_set"),
    ("training", "model", "model"),
    ("training_step", "training", "training"),
    ("score", "model", "model"),
)


def doctor(
    store: StoreOption = DEFAULT,
    fix: Annotated[bool, typer.Option("--fix", help="Remove what killed launches left and nothing needs.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check the machine, every row of the store (an older one is migrated) and the files beside it: doctor --json."""
    end(lambda: _doctor(store, fix, as_json))


def _doctor(path: Path, fix: bool, as_json: bool) -> None:
    from toolkit.commands.machine import machine

    show("Machine", machine(path.parent), as_json=as_json, wide=True)
    if not path.exists() and path != DEFAULT:
        raise StoreError(f"no store {path}", remedy="name the file with --store")
    if path.exists():
        _examined(path, fix, as_json)
    elif not as_json:
        print(f"\nno store {path} yet: a recipe, `toolkit import` or `toolkit demo` makes it")


def _examined(path: Path, fix: bool, as_json: bool) -> None:
    with Store(path) as store:
        rows = examine(store)
        beside = leftovers(store)
        for found in beside if fix else ():
            if found.safe:
                remove(found)
    told = rows if as_json else [row | {"found": row["found"] or "nothing wrong"} for row in rows]
    show("Store", told, as_json=as_json, wide=True)
    show("Files beside the store", [found.row(fix and found.safe) for found in beside], as_json=as_json, wide=True)
    if bad := [row for row in rows if row["found"]]:
        raise StoreError(
            f"{len(bad)} of {len(rows)} checks failed", where=path, remedy="restore the store from a backup"
        )


def examine(store: Store) -> list[dict[str, object]]:
    """Each check with what it found wrong; nothing found is an empty text."""
    rows: list[dict[str, object]] = []
    for version in versions(store):
        try:
            verify(store, version)
            found = ""
        except StoreError as error:
            found = error.problem
        rows.append({"check": f"fingerprint of {version.id}", "found": found})
    changed = store.query("SELECT count(*) AS n FROM pair_contents WHERE stored IS DISTINCT FROM content")[0]["n"]
    rows.append({"check": "texts and scores of every pair", "found": f"{changed} pairs differ" if changed else ""})
    for child, column, parent in REFERENCES:
        sql = f"SELECT count(*) AS n FROM {child} c WHERE c.{column} NOT IN (SELECT id FROM {parent})"
        lost = store.query(sql)[0]["n"]
        rows.append({"check": f"{child}.{column}", "found": f"{lost} rows point nowhere" if lost else ""})
    return rows
