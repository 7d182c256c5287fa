"""A made-up run to try the other commands on, where no model is at hand: python -m toolkit demo."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import typer

from toolkit.child_process import PYTHON, environment
from toolkit.commands.common import DEFAULT, JsonOption, StoreOption, end
from toolkit.config import load
from toolkit.engines import toy
from toolkit.errors import RecipeError, writing
from toolkit.recipes.commented import commented
from toolkit.recipes.run import find_config
from toolkit.trust.consent import SCRIPTED
from toolkit.trust.paths import refuse_links
from toolkit.trust.safe_files import write_file

CHANGES = ("engine.kind=scripted", "trainer.device=cpu", "gate.max_dropped=0.5")
HEAD = (
    "A made-up run: answers are drawn from syllables, scores from a hash, and training teaches nothing.",
    "All between them is real: selection, versions, token gate, hand-off, resume, report.",
)


def demo(store: StoreOption = DEFAULT, as_json: JsonOption = False) -> None:
    """A made-up run in seconds, without a model, to try the other commands on: demo."""
    end(lambda: _demo(store, as_json))


def _demo(path: Path, as_json: bool) -> None:
    recipe = _written(path)
    line = ["-m", "toolkit.recipes.temporal", "--config", str(recipe)]
    line += ["--store", str(path)] if path != DEFAULT else []
    if not as_json:
        print(*HEAD, f"It is: python {shlex.join(line)}", sep="\n", flush=True)
    command = [*PYTHON, *line, *(["--json"] if as_json else [])]
    code = subprocess.run(command, check=False, env=environment()).returncode
    if code:
        raise typer.Exit(code)


def _written(path: Path) -> Path:
    """The recipe in demo/ next to the store, with the toy checkpoint that it names."""
    folder = (path.parent / "demo").absolute()
    model, recipe = folder / "model", folder / "demo.toml"
    changes = (f"model={model}", f"trainer.python={SCRIPTED}", "name=demo", *CHANGES)
    text = commented(load(find_config(None), changes), HEAD)
    if os.path.lexists(folder):
        refuse_links(folder)
    if not recipe.exists() and path.exists():  # its sets would become versions of that store's
        raise RecipeError(f"{path} is there already", remedy="give the demo a store of its own: --store demo.duckdb")
    if recipe.exists() and recipe.read_text(encoding="utf-8", errors="replace") != text:
        remedy = "remove the folder demo/, or run that recipe yourself: toolkit.recipes.temporal --config"
        raise RecipeError("this is not the recipe that the demo writes", where=recipe, remedy=remedy)
    with writing(folder):
        if not recipe.exists():
            toy.make(model)
        write_file(recipe, text)
    return path.parent / "demo" / recipe.name
