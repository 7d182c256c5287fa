"""Versions of pair sets: list, look at, compare, name, delete."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from toolkit.commands.common import DEFAULT, JsonOption, StoreOption, WideOption, end, reading, say, show, writing
from toolkit.errors import StoreError
from toolkit.pairs.diff import diff as difference
from toolkit.pairs.versions import check_name, load, pairs_of_this_alone, references, resolve, verify
from toolkit.pairs.versions import delete as remove
from toolkit.pairs.versions import tag as name_version
from toolkit.store.database import Store

VERIFIED = 200_000  # pairs of all versions together, that `sets` computes fingerprints of: a second
Reference = Annotated[str, typer.Argument(help="name, name@3, name@tag, name@2026-11-24T10:00 or name-ITERATION.")]


def sets(
    name: Annotated[str, typer.Argument(help="Versions of this set only.")] = "",
    store: StoreOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Every version with its size, tags, fingerprint and who made it when: sets guided."""
    end(lambda: _sets(name, store, as_json))


def pairs(
    reference: Reference,
    store: StoreOption = DEFAULT,
    limit: Annotated[int, typer.Option(help="Most pairs to print; 0 is all.", min=0)] = 20,
    as_json: JsonOption = False,
    wide: WideOption = False,
) -> None:
    """The pairs of a version, its members checked against its fingerprint: pairs guided@1."""
    end(lambda: _pairs(reference, store, limit, as_json, wide))


def diff(
    a: Reference,
    b: Reference,
    store: StoreOption = DEFAULT,
    as_json: JsonOption = False,
    wide: WideOption = False,
) -> None:
    """What version B says that A does not, counted and row by row: diff anchored-0 guided-0."""
    end(lambda: _diff(a, b, store, as_json, wide))


def tag(
    reference: Reference,
    name: Annotated[str, typer.Argument(help="The tag; naming another version moves it.")],
    store: StoreOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Name a version: tag guided@2 paper."""
    end(lambda: _tag(reference, name, store, as_json))


def delete(
    reference: Reference,
    reason: Annotated[str, typer.Option(help="Kept beside the deletion.")] = "",
    force: Annotated[bool, typer.Option(help="Also where a model, score or tag refers to it.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would go; delete nothing.")] = False,
    store: StoreOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Delete a version and the pairs that no other one holds: delete clean@1 --reason "wrong judge"."""
    if dry_run:
        end(lambda: _would_delete(reference, store, as_json))
    end(lambda: _delete(reference, (reason, force), store, as_json))


def _sets(name: str, path: Path, as_json: bool) -> None:
    sql = (
        "SELECT id AS set, iteration, size AS pairs, tags, base, fingerprint, run, author, message, created "
        "FROM pair_sets WHERE $name IN ('', name) ORDER BY name, version"
    )
    with reading(path) as store:
        rows = store.query(sql, {"name": name})
        few = sum(row["pairs"] for row in rows) <= VERIFIED
        drifted = [problem for row in rows if few and (problem := _drift(store, row["set"]))]
    show("Pair sets", rows, as_json=as_json)
    if drifted:
        raise StoreError("; ".join(drifted), where=path, remedy=f"see all of it: toolkit doctor --store {path}")
    if not few:
        print("fingerprints as they were stored; `toolkit doctor` computes them again", file=sys.stderr)


def _drift(store: Store, version: str) -> str:
    """What contradicts the fingerprint of this version, empty where nothing does."""
    try:
        verify(store, resolve(store, version))
    except StoreError as error:
        return error.problem
    return ""


def _pairs(reference: str, path: Path, limit: int, as_json: bool, wide: bool) -> None:
    sql = (
        "SELECT prompt_text AS prompt, chosen_text AS chosen, rejected_text AS rejected, chosen_score, rejected_score, "
        "chosen_role, rejected_role, id FROM pairs WHERE pair_set = $set ORDER BY id LIMIT $limit"
    )
    with reading(path) as store:
        found = load(store, reference)
        rows = store.query(sql, {"set": found.id, "limit": limit or len(found.pairs)})
    show(f"{found.id}: {len(found.pairs)} pairs, fingerprint {found.fingerprint}", rows, as_json=as_json, wide=wide)


def _diff(a: str, b: str, path: Path, as_json: bool, wide: bool) -> None:
    with reading(path) as store:
        found = difference(store, a, b)
    if as_json:
        show("", found.rows, as_json=True)
        return
    show(f"{found.a.id} -> {found.b.id}", [found.summary])
    columns = ("change", "what", "prompt_text", "chosen_before", "chosen_after", "gap_change")
    print()
    show("Pairs", [{column: row[column] for column in columns} for row in found.rows], wide=wide)


def _tag(reference: str, name: str, path: Path, as_json: bool) -> None:
    check_name(name)
    with writing(path, "tag") as (store, launch):
        version = name_version(store, reference, name, launch)
    row = {"set": version.id, "tag": name, "fingerprint": version.fingerprint}
    say(f"{version.name}@{name} is {version.id}", row, as_json=as_json)


def _would_delete(reference: str, path: Path, as_json: bool) -> None:
    with reading(path) as store:
        version = resolve(store, reference)
        alone, used = pairs_of_this_alone(store, version.id), references(store, version.id)
    row = {"would_delete": version.id, "pairs": version.size, "pairs_of_no_other": alone, "referred_by": used}
    words = [f"would delete {version.id}: {version.size} pairs, {alone} of them in no other version"]
    say([*words, *(f"referred to by {what}: needs --force" for what in used)], row, as_json=as_json)


def _delete(reference: str, how: tuple[str, bool], path: Path, as_json: bool) -> None:
    reason, force = how
    with writing(path, "delete") as (store, launch):
        size = resolve(store, reference).size
        version = remove(store, reference, launch, reason=reason, force=force)
    row = {"deleted": version.id, "pairs": size, "fingerprint": version.fingerprint, "reason": reason}
    say(f"deleted {version.id} ({size} pairs); its number will not be given again", row, as_json=as_json)
