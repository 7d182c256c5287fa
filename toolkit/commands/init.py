"""A recipe for one's own model and data, written with comments: python -m toolkit init."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from toolkit.commands.common import JsonOption, end, say
from toolkit.commands.judges import SetOption
from toolkit.config import Recipe, load
from toolkit.engines import embedded, find
from toolkit.errors import InputError, RecipeError
from toolkit.prompts.source import is_local, load_prompts
from toolkit.recipes.commented import commented
from toolkit.recipes.run import find_config
from toolkit.trust.consent import FLAG, named
from toolkit.trust.paths import check_name


@dataclass(frozen=True)
class Wanted:
    """What was said on the command line. changes: --set lines."""

    model: str
    prompts: str
    iterations: int
    like: str
    changes: tuple[str, ...]


def init(
    file: Annotated[Path, typer.Argument(help="The recipe to write; an existing file is never written over.")] = Path(
        "recipe.toml"
    ),
    model: Annotated[str, typer.Option(help="M_0: the embedded model, a directory or a hub id.")] = embedded.NAME,
    prompts: Annotated[
        str, typer.Option(help="'starter', 'ift', a .txt, .jsonl, .csv or .parquet file, or a hub data set.")
    ] = "starter",
    iters: Annotated[int, typer.Option(help="How many iterations.", min=1)] = 2,
    like: Annotated[
        str, typer.Option(help="Recipe whose settings are taken; 'quick' for the embedded model, else 'temporal'.")
    ] = "",
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """A commented recipe for your model and data: init my.toml --model DIR --prompts prompts.jsonl --iters 2."""
    end(lambda: _init(file, Wanted(model, prompts, iters, like, tuple(set_ or ())), as_json))


def _init(file: Path, wanted: Wanted, as_json: bool) -> None:
    if file.exists() or file.is_symlink():
        raise RecipeError(f"{file} is there already", remedy="name another file, or remove this one yourself")
    recipe, notes = _recipe(file, wanted)
    check_name(recipe.name, "a run", "the file's name, or --set name=NAME", RecipeError)
    text = commented(recipe, _head(file, recipe, notes))
    with file.open("x", encoding="utf-8") as opened:
        opened.write(text)
    command = _command(file, recipe)
    told = [f"written: {file}", *notes, f"plan: {command} --plan", f"run:  {command}"]
    say(told, {"file": str(file), "notes": notes, "command": command}, as_json=as_json)


def _recipe(file: Path, wanted: Wanted) -> tuple[Recipe, list[str]]:
    """The recipe, its parts as large as the prompts allow, and what was found or could not be checked."""
    like = wanted.like or ("quick" if wanted.model == embedded.NAME else "temporal")
    own = {"name": file.stem, "model": wanted.model, "iterations": wanted.iterations, "prompts.source": wanted.prompts}
    changes = [*(f"{key}={json.dumps(value)}" for key, value in own.items()), *wanted.changes]
    recipe = load(find_config(Path(like)), changes)
    found = find.check(recipe.model, trust_remote_code=recipe.trust_remote_code)
    notes = [f"model {recipe.model}: {'found, complete' if found else 'not looked up; it is downloaded by the run'}"]
    if not is_local(recipe.prompts):
        return recipe, [*notes, f"prompts {recipe.prompts.source}: not looked up; downloaded by the run"]
    fitted, told = _fitted(recipe, len(load_prompts(recipe.prompts)))
    return load(find_config(Path(like)), [*changes, *fitted]), [*notes, *told]


def _fitted(recipe: Recipe, count: int) -> tuple[list[str], list[str]]:
    """What so many prompts ask for: the size of a part, and a batch no larger than it; and how that is told."""
    size = min(recipe.prompts.part_size, count // recipe.iterations)
    if size < 1:
        raise InputError(
            f"{count} prompts are too few for {recipe.iterations} iterations", where=recipe.prompts.source,
            remedy="bring more prompts, or ask for fewer iterations with --iters",
        )  # fmt: skip
    changes = [f"prompts.part_size={size}"]
    notes = [f"prompts {recipe.prompts.source}: {count:,} found, {size:,} an iteration"]
    if size < recipe.training.batch_size and recipe.training.small_sets == "refuse":
        changes.append("training.small_sets=shrink")
        notes.append(f"fewer prompts than training.batch_size = {recipe.training.batch_size}: the batch will shrink")
    return changes, notes


def _head(file: Path, recipe: Recipe, notes: Sequence[str]) -> list[str]:
    """What it costs, by the paper's recipe, and how it is run."""
    parts, k = recipe.prompts.part_size, recipe.answers.k
    asked = recipe.iterations * parts * k * 3
    return [
        "A recipe: fields without # are set; those behind # have the value shown, their default.",
        f"Found:   {'; '.join(notes)}",
        f"Cost:    {recipe.iterations} iterations x {parts:,} prompts x {k} answers x 3 pools = {asked:,} answers at "
        f"most and as many verdicts, {2 * recipe.iterations} trainings",
        f"Plan:    {_command(file, recipe)} --plan",
        f"Command: {_command(file, recipe)}",
    ]


def _command(file: Path, recipe: Recipe) -> str:
    """How it is run; with consent where --set wrote code or a server into it."""
    consent = f" {FLAG}" if named(recipe.resolved()) else ""
    return f"python -m toolkit.recipes.temporal --config {shlex.quote(str(file))}{consent}"
