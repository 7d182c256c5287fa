"""More than one machine: selection by parts, and stores that become one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from toolkit.commands.common import DEFAULT, StoreOption, end, reading, writing
from toolkit.errors import InputError
from toolkit.pairs.at_scale import Selection
from toolkit.pairs.partitions import collect_parts, select_part, write_parts
from toolkit.records import Role
from toolkit.store.database import Store
from toolkit.store.merging import merge as merge_stores
from toolkit.store.merging import missing_checkpoints

FolderArgument = Annotated[str, typer.Argument(help="Folder of the parts, local or an address such as s3://b/f.")]


def merge(
    sources: Annotated[list[Path], typer.Argument(help="The stores of the workers.")],
    into: Annotated[Path, typer.Option("--into", help="The store that gets all rows; made where there is none.")],
) -> None:
    """Stores of several workers become one, by content id: merge a.duckdb b.duckdb --into all.duckdb."""
    end(lambda: _merge(sources, into))


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
) -> None:
    """Judged answers as Parquet, one part of the prompts for each worker: part-out guided DIR --judge M_0 ..."""
    models: dict[Role, str] = {"present": present, "past": past}
    if future:
        models["future"] = future
    end(lambda: _part_out(Selection(name, iteration, judge, models), folder, parts, store))


def part_select(folder: FolderArgument, part: Annotated[int, typer.Argument(help="Which part, from 0.")]) -> None:
    """The pairs of one part, on any machine that reads the folder: part-select DIR 3."""
    end(lambda: print(f"part {part}: {select_part(folder, part)} pairs"))


def part_collect(folder: FolderArgument, store: StoreOption = DEFAULT) -> None:
    """The pairs of all parts as the next version: part-collect DIR."""
    end(lambda: _part_collect(folder, store))


def _merge(sources: list[Path], into: Path) -> None:
    added = merge_stores(sources, into)
    told = ", ".join(f"{count} of {table}" for table, count in added.items())
    print(f"{into}: added {told}" if added else f"{into}: nothing was new")
    for path in missing_checkpoints(into):
        print(f"  copy {path} from beside its store to {into.parent / path}")


def _part_out(asked: Selection, folder: str, parts: int, path: Path) -> None:
    with reading(path) as store:
        models: dict[Role, str] = {role: _id(store, name) for role, name in asked.models.items()}
        selection = Selection(asked.name, asked.iteration, _id(store, asked.judge), models)
        write_parts(store, selection, folder, parts)
    print(
        f"{folder}: {parts} parts; now part-select {folder} N for each of 0 to {parts - 1}, then part-collect {folder}"
    )


def _part_collect(folder: str, path: Path) -> None:
    with writing(path, "part-collect") as (store, launch):
        version = collect_parts(store, folder, launch)
    print(f"{version.id}: {version.size} pairs, fingerprint {version.fingerprint}")


def _id(store: Store, name: str) -> str:
    """The model of this id or name; a name that no model has is an id that only rows know."""
    rows = store.query("SELECT id FROM model WHERE $name IN (id, name) ORDER BY id", {"name": name})
    if len(rows) > 1:
        ids = ", ".join(row["id"] for row in rows)
        raise InputError(f"{len(rows)} models are called {name!r}", remedy=f"name one by its id: {ids}")
    return rows[0]["id"] if rows else name
