"""More than one machine: selection by parts, and stores that become one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from toolkit.commands.common import DEFAULT, JsonOption, StoreOption, end, reading, say, writing
from toolkit.errors import InputError
from toolkit.pairs.at_scale import Selection
from toolkit.pairs.versions import check_name
from toolkit.records import Role
from toolkit.store.database import Store

FolderArgument = Annotated[str, typer.Argument(help="Folder of the parts, local or an address such as s3://b/f.")]


def merge(
    sources: Annotated[list[Path], typer.Argument(help="The stores of the workers.")],
    into: Annotated[Path, typer.Option("--into", help="The store that gets all rows; made where there is none.")],
    as_json: JsonOption = False,
) -> None:
    """Stores of several workers become one, by content id: merge runs/store.duckdb --into all.duckdb."""
    end(lambda: _merge(sources, into, as_json))


def part_out(
    name: Annotated[str, typer.Argument(help="Name of the pair set to be.")],
    folder: FolderArgument,
    judge: Annotated[str, typer.Option(help="The judge: a model's id, or its name where that is one model's.")],
    present: Annotated[str, typer.Option(help="The present model, likewise.")],
    past: Annotated[str, typer.Option(help="The past model.")],
    future: Annotated[str, typer.Option(help="The future model; without it, phase 1.")] = "",
    iteration: Annotated[int | None, typer.Option(help="The iteration that the set is of.")] = None,
    parts: Annotated[int, typer.Option(help="How many parts.", min=1)] = 8,
    store: StoreOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Judged answers as Parquet, one part of the prompts for each worker:
    part-out anchored parts --judge M_0 --present M_0 --past M_0 --parts 2."""
    models: dict[Role, str] = {"present": present, "past": past}
    if future:
        models["future"] = future
    end(lambda: _part_out(Selection(name, iteration, judge, models), folder, (parts, as_json), store))


def part_select(
    folder: FolderArgument,
    part: Annotated[int, typer.Argument(help="Which part, from 0.")],
    as_json: JsonOption = False,
) -> None:
    """The pairs of one part, on any machine that reads the folder: part-select parts 0."""
    end(lambda: _part_select(folder, part, as_json))


def part_collect(folder: FolderArgument, store: StoreOption = DEFAULT, as_json: JsonOption = False) -> None:
    """The pairs of all parts as the next version: part-collect parts."""
    end(lambda: _part_collect(folder, store, as_json))


def _merge(sources: list[Path], into: Path, as_json: bool) -> None:
    from toolkit.exchange.merging import merge as merge_stores
    from toolkit.exchange.merging import missing_checkpoints

    added = merge_stores(sources, into)
    missing = [str(path) for path in missing_checkpoints(into)]
    told = ", ".join(f"{count} of {table}" for table, count in added.items())
    lines = [f"{into}: added {told}" if added else f"{into}: nothing was new"]
    lines += [f"  copy {path} from beside its store to {into.parent / path}" for path in missing]
    row = {"into": str(into), "added": added, "missing_checkpoints": missing}
    say(lines, row, as_json=as_json)


def _part_out(asked: Selection, folder: str, how: tuple[int, bool], path: Path) -> None:
    from toolkit.pairs.partitions import write_parts

    parts, as_json = how
    check_name(asked.name)
    with reading(path) as store:
        models: dict[Role, str] = {role: _id(store, name) for role, name in asked.models.items()}
        selection = Selection(asked.name, asked.iteration, _id(store, asked.judge), models)
        write_parts(store, selection, folder, parts)
    then = f"now part-select {folder} N for each of 0 to {parts - 1}, then part-collect {folder}"
    say(f"{folder}: {parts} parts; {then}", {"folder": folder, "parts": parts}, as_json=as_json)


def _part_select(folder: str, part: int, as_json: bool) -> None:
    from toolkit.pairs.partitions import select_part

    pairs = select_part(folder, part)
    say(f"part {part}: {pairs} pairs", {"part": part, "pairs": pairs}, as_json=as_json)


def _part_collect(folder: str, path: Path, as_json: bool) -> None:
    from toolkit.pairs.partitions import collect_parts

    with writing(path, "part-collect") as (store, launch):
        version = collect_parts(store, folder, launch)
    row = {"pair_set": version.id, "pairs": version.size, "fingerprint": version.fingerprint}
    say(f"{version.id}: {version.size} pairs, fingerprint {version.fingerprint}", row, as_json=as_json)


def _id(store: Store, name: str) -> str:
    """The model of this id or name; a name that no model has is an id that only rows know."""
    rows = store.query("SELECT id FROM model WHERE $name IN (id, name) ORDER BY id", {"name": name})
    if len(rows) > 1:
        ids = ", ".join(row["id"] for row in rows)
        raise InputError(f"{len(rows)} models are called {name!r}", remedy=f"name one by its id: {ids}")
    return rows[0]["id"] if rows else name
