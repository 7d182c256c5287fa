"""The plan: every step a run would take, stored or to do, with what it costs at most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from toolkit.lab import Step
from toolkit.reporting.tables import Table


def plan_text(steps: Sequence[Step]) -> str:
    """Steps in order, then the sums of requests, new tokens and trainings still to do."""
    rows = tuple(_row(step) for step in steps)
    plan = Table("Plan", ("iteration", "stage", "what", "stored", "to do", "new tokens at most"), rows)
    return f"{plan.text()}\n\nto do: {told(left(steps))}"


def left(steps: Sequence[Step]) -> dict[str, int]:
    """What is still to do: requests, the most new tokens, trainings."""
    todo = [step for step in steps if step.cached < step.total and step.stage != "pair"]
    asking = [step for step in todo if step.stage in ("generate", "judge", "audit", "compare", "evaluate")]
    return {
        "requests": sum(step.total - step.cached for step in asking),
        "new_tokens": sum(step.new_tokens for step in todo),
        "trainings": sum(step.stage == "train" for step in todo),
    }


def once(steps: Sequence[Step]) -> list[Step]:
    """The steps where what a plan before this one would make (Lab.foresee) is stored by then."""
    made = []
    for step in steps:
        todo, shared = step.total - step.cached, step.stats.get("shared", 0)
        tokens = step.new_tokens * (todo - shared) // todo if shared else step.new_tokens
        made.append(replace(step, cached=step.cached + shared, new_tokens=tokens))
    return made


def told(sums: Mapping[str, int]) -> str:
    if not any(sums.values()):
        return "nothing"
    return "{requests:,} requests, at most {new_tokens:,} new tokens, {trainings} trainings".format(**sums)


def launch_text(steps: Sequence[Step]) -> str:
    """How the first training still to do is launched, word for word; empty where there is none."""
    commands = [step.stats["command"] for step in steps if "command" in step.stats]
    return f"\nthe first training runs, with its id for ID:\n{commands[0]}" if commands else ""


def _row(step: Step) -> tuple[str, ...]:
    todo = step.total - step.cached
    tokens = f"{step.new_tokens:,}" if step.new_tokens else "-"
    upto = "up to " if step.stage in ("pair", "audit") and todo else ""
    return (str(step.iteration), step.stage, step.label, f"{step.cached:,}", f"{upto}{todo:,}", tokens)
