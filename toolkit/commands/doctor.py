"""Is all well? The machine, the store, the files beside it. Migrates an older store; mends nothing unless asked."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from toolkit.commands.common import DEFAULT, JsonOption, StoreOption, end, show
from toolkit.commands.leftovers import leftovers, remove
from toolkit.errors import StoreError
from toolkit.pairs.audit import KINDS, SHAPES, Audit, audit
from toolkit.pairs.versions import versions
from toolkit.safe_text import one_line
from toolkit.store.database import Store
from toolkit.store.launches import clock_notes
from toolkit.store.references import lost_references
from toolkit.store.rows import table_of

CHECKS = {  # table -> what is computed again of its rows; the other tables' ids are
    "pair": "texts and scores of every pair",
    "judgment": "every verdict against its reply",
    "comparison": "every comparison against its reply",
    "demonstration_set": "every demonstration set against its answers",
}
SHAPED = tuple(dict.fromkeys(table for table, _ in SHAPES))
EXAMPLES = 3  # rows that a check names by itself; all of them follow in a table


def doctor(
    store: StoreOption = DEFAULT,
    fix: Annotated[bool, typer.Option("--fix", help="Remove what killed launches left and nothing needs.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what --fix would remove; remove nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check the machine, every row of the store (an older one is migrated) and the files beside it: doctor --json."""
    end(lambda: _doctor(store, fix and not dry_run, as_json))


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
        result = audit(store)
        rows = _checks(store, result)
        notes = [*_unchecked(result), *clock_notes(store)]
        beside = leftovers(store)
        safe = [found for found in beside if found.safe] if fix else []
        for found in safe:  # all are listed before the first goes
            print(f"to be removed: {one_line(str(found.path))}: {found.what}", file=sys.stderr, flush=True)
        for found in safe:
            remove(found)
    told = rows if as_json else [row | {"found": row["found"] or "nothing wrong"} for row in rows]
    show("Store", told, as_json=as_json, wide=True)
    if result.findings:
        show("Rows that contradict others", [vars(row) for row in result.findings], as_json=as_json, wide=True)
    if notes:
        show("Not checked, or worth a look", [{"note": note} for note in notes], as_json=as_json, wide=True)
    show("Files beside the store", [found.row(fix) for found in beside], as_json=as_json, wide=True)
    if bad := [row for row in rows if row["found"]]:
        raise StoreError(
            f"{len(bad)} of {len(rows)} checks failed",
            where=path,
            remedy="restore the store from a backup; do not trust one that came from somebody else",
        )


def examine(store: Store) -> list[dict[str, str]]:
    """Each check with what it found wrong; nothing found is an empty text."""
    return _checks(store, audit(store))


def _checks(store: Store, result: Audit) -> list[dict[str, str]]:
    rows = [
        {"check": f"fingerprint of {version.id}", "found": _problems(result, "pair_set", version.id)}
        for version in versions(store)
    ]
    for table in dict.fromkeys((*CHECKS, *(table_of(kind).name for kind in KINDS), *SHAPED, "rubric")):
        name = f"JSON of {table}" if table in SHAPED else f"ids of {table}"
        rows.append({"check": CHECKS.get(table, name), "found": _problems(result, table)})
    for table, lost in sorted(lost_references(store).items()):
        rows.append({"check": f"references of {table}", "found": "; ".join(lost)})
    return rows


def _problems(result: Audit, table: str, id: str = "") -> str:
    rows = [row for row in result.findings if row.table == table and id in ("", row.id)]
    if not rows:
        return ""
    named = "; ".join(row.problem if id else f"{row.id}: {row.problem}" for row in rows[:EXAMPLES])
    return named if id else f"{len(rows)} rows differ: {named}{' ...' if len(rows) > EXAMPLES else ''}"


def _unchecked(result: Audit) -> list[str]:
    return [f"not computed again: {count} {reason}" for reason, count in sorted(result.unchecked.items())]
