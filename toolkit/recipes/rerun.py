"""What running a launch's command again would do: its recipe planned from what the store keeps of it.

A launch keeps its settings and its command line, and the command line names the script. The shipped recipes are
planned, from the store's rows and shipped files alone: the store may be a stranger's, so no file, data set, model or
suite that its recipe names is read (`unread`). What those would change, only the recipe's own --plan can print.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.config import Judge, Recipe
from toolkit.demonstrations.source import SHIPPED as DEMONSTRATIONS
from toolkit.engines import embedded
from toolkit.judgments.rubric import is_shipped
from toolkit.lab import Lab, Step
from toolkit.prompts.source import is_shipped as has_shipped_prompts
from toolkit.provenance import capture
from toolkit.recipes.comparison import RECIPES
from toolkit.recipes.run import RecipeFunction
from toolkit.records import Model
from toolkit.redaction import redact
from toolkit.store.database import Store
from toolkit.trust.consent import SHIPPED_REWARDS

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


def bases_of(store: Store, steps: Sequence[Mapping[str, Any]]) -> dict[str, Model]:
    """The base models of a launch as its rows have them: M_0 of its first step, or what SFT made M_0 of."""
    start = next((step["subject"] for step in steps if step["stage"] == "start"), "")
    past: Model | None = store.find(Model, [start]).get(start)
    if past is None or past.parent is None:
        return {"M_0": past} if past else {}
    parent: Model | None = store.find(Model, [past.parent]).get(past.parent)
    return {"base": parent} if parent else {}


def unread(settings: Recipe, bases: Mapping[str, Model]) -> list[str]:
    """What a stored recipe names outside the store and the package, as `field = 'value'`; empty: it can be planned.

    Its suite is left out of the plan, so it is not listed.
    """
    judge, base = settings.judge, "base" if settings.sft.data else "M_0"
    wanted = {
        "model": "" if base in bases or settings.model == embedded.NAME else settings.model,
        "prompts.source": "" if has_shipped_prompts(settings.prompts) else settings.prompts.source,
        "sft.data": ", ".join(source for source in settings.sft.data if source not in DEMONSTRATIONS),
        "judge.by": "" if judge.by in ("present", "past") or judge.base_url else judge.by,
        "judge.reward": "" if judge.reward in SHIPPED_REWARDS else judge.reward,
        "judge.rubric": "" if is_shipped(judge.rubric) else judge.rubric,
        **_unread_audit(judge.auditing),
        "training.reference": "" if settings.training.reference in ("present", "past") else settings.training.reference,
    }
    return [f"{field} = {value!r}" for field, value in wanted.items() if value]


def _unread_audit(audit: Judge | None) -> dict[str, str]:
    if audit is None:
        return {}
    return {
        "judge.audit.by": "" if audit.by in ("present", "past") or audit.base_url else audit.by,
        "judge.audit.reward": "" if audit.reward in SHIPPED_REWARDS else audit.reward,
        "judge.audit.rubric": "" if audit.method == "reward" or is_shipped(audit.rubric) else audit.rubric,
    }


def planned(store: Store, recipe: RecipeFunction, settings: Recipe, bases: Mapping[str, Model]) -> list[Step]:
    """Every step of a rerun but its tests, over a store open for reading; `unread` is empty. Raises ToolkitError."""
    harmless = settings.model_copy(update={"suite": "", "trust_remote_code": False})
    lab = Lab(harmless, store, capture(settings.name, {}), planning=True)
    lab.bases = bases
    recipe(lab, harmless)
    return lab.steps
