"""Is all well? The machine, the store, the files beside it. Migrates an older store; mends nothing unless asked."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from toolkit.commands.common import DEFAULT, JsonOption, StoreOption, end, show
from toolkit.commands.leftovers import leftovers, remove
from toolkit.errors import StoreError
from toolkit.pairs.versions import verify, versions
from toolkit.safe_text import one_line
from toolkit.store.database import Store

VERSIONS = (
    "(SELECT id FROM pair_set UNION ALL SELECT id FROM pair_set_deleted)"  # where a deletion may have been forced
)
TRAINED_ON = f"(SELECT id FROM {VERSIONS} UNION ALL SELECT id FROM demonstration_set)"
# A pair or a demonstrated answer; a filter's may have gone with the version that it was dropped from.
DROPPED = """(
    SELECT id FROM pair UNION ALL SELECT id FROM response
    UNION ALL SELECT pair FROM dropped WHERE stage = 'filter' AND EXISTS (FROM pair_set_deleted)
)"""
# Of ratings that are not taught a demonstration set keeps no prompt.
ASKED = """(
    SELECT id FROM prompt
    UNION ALL SELECT prompt FROM dropped WHERE pair_set IN (SELECT id FROM demonstration_set)
)"""
# What the rows of a table may name: by the table, or the query, of what there is. NULL names nothing. Left out is
# dropped.training: a gate that refused, or whose run was killed, noted its drops for a training that nobody made.
REFERENCES = {
    "prompt": "response.prompt pair.prompt control.prompt",
    "model": "response.model judgment.judge comparison.judge pair.judge model.parent training.model training.parent "
    "training.reference score.model item.model metric.model summary.model",
    "response": "judgment.response comparison.first comparison.second pair.chosen pair.rejected demonstration.response "
    "item.answer metric.chosen metric.rejected control.chosen control.rejected",
    "rubric": "judgment.rubric comparison.rubric",
    "pair": "pair_set_change.pair",
    "pair_set": "pair_set_change.pair_set pair_set.base tag.pair_set",
    VERSIONS: "pair_set.parent training.pair_set control.pair_set summary.pair_set change.before change.after",
    "(SELECT id FROM pair_set UNION ALL SELECT '')": "rejected_row.pair_set",  # '': of an import of scores alone
    "demonstration_set": "demonstration.demonstration_set training.demonstration_set",
    "training": "model.training training_step.training",
    TRAINED_ON: "dropped.pair_set",
    DROPPED: "dropped.pair",
    ASKED: "dropped.prompt",
    "launch": "prompt.launch model.launch response.launch rubric.launch judgment.launch comparison.launch pair.launch "
    "pair_set.launch pair_set_deleted.launch tag.launch rejected_row.launch demonstration_set.launch training.launch "
    "step.launch score.launch item.launch metric.launch control.launch summary.launch change.launch",
}


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
        rows = examine(store)
        beside = leftovers(store)
        safe = [found for found in beside if found.safe] if fix else []
        for found in safe:  # all are listed before the first goes
            print(f"to be removed: {one_line(str(found.path))}: {found.what}", file=sys.stderr, flush=True)
        for found in safe:
            remove(found)
    told = rows if as_json else [row | {"found": row["found"] or "nothing wrong"} for row in rows]
    show("Store", told, as_json=as_json, wide=True)
    show("Files beside the store", [found.row(fix) for found in beside], as_json=as_json, wide=True)
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
    return [*rows, *_references(store)]


def _references(store: Store) -> list[dict[str, object]]:
    """A check for each table: rows that name what is not there, by column."""
    lost: dict[str, list[str]] = {}
    for there, columns in REFERENCES.items():
        for column in columns.split():
            table, _, _ = column.partition(".")
            nowhere = f"{column} IS NOT NULL AND NOT EXISTS (FROM {there} x WHERE x.id = {column})"
            n = store.query(f"SELECT count(*) AS n FROM {table} WHERE {nowhere}")[0]["n"]
            lost.setdefault(table, []).extend([f"{column}: {n} rows point nowhere"] if n else [])
    return [{"check": f"references of {table}", "found": "; ".join(found)} for table, found in sorted(lost.items())]
