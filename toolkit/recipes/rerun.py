"""What running a launch's command again would do: its recipe planned from what the store keeps of it.

A launch keeps its settings and its command line, and the command line names the script. The shipped recipes are
planned; what a script outside the package would do, only its own --plan tells.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from toolkit.config import Recipe
from toolkit.lab import Lab, Step
from toolkit.provenance import capture
from toolkit.recipes.compare import RECIPES
from toolkit.recipes.run import RecipeFunction
from toolkit.redaction import redact
from toolkit.store.database import Store

PACKAGE = Path(__file__).parent


def recipe_of(arguments: Sequence[str], run: str) -> RecipeFunction | None:
    """The shipped recipe of this command line; in a comparison the one of the run's name."""
    script = Path(arguments[0]) if arguments else Path()
    if script.parent.name != PACKAGE.name or script.parent.parent.name != PACKAGE.parent.name:
        return None
    return RECIPES.get(run if script.stem == "compare" else script.stem)


def command_of(arguments: Sequence[str]) -> str:
    """What to type to go on; nothing where the store does not tell."""
    if not arguments:
        return ""
    script = Path(arguments[0])
    module = script.parent.name == PACKAGE.name and script.parent.parent.name == PACKAGE.parent.name
    start = ["python", "-m", f"toolkit.recipes.{script.stem}"] if module else ["python", str(script)]
    return shlex.join([*start, *redact(arguments[1:])])


def planned(store: Store, recipe: RecipeFunction, settings: Recipe) -> list[Step]:
    """Every step of a rerun, over a store open for reading. Raises ToolkitError where prompts or model are gone."""
    lab = Lab(settings, store, capture(settings.name, {}), planning=True)
    recipe(lab, settings)
    return lab.steps
