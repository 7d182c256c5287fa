"""The plan: every step a run would take, stored or to do, with what it costs at most."""

from __future__ import annotations

from collections.abc import Sequence

from toolkit.lab import Step
from toolkit.reporting.tables import Table


def plan_text(steps: Sequence[Step]) -> str:
    """Steps in order, then the sums of requests, new tokens and trainings still to do."""
    rows = tuple(_row(step) for step in steps)
    plan = Table("Plan", ("iteration", "stage", "what", "stored", "to do", "new tokens at most"), rows)
    todo = [step for step in steps if step.cached < step.total and step.stage != "pair"]
    requests = sum(step.total - step.cached for step in todo if step.stage in ("generate", "judge", "compare"))
    trainings = sum(step.stage == "train" for step in todo)
    tokens = sum(step.new_tokens for step in todo)
    return f"{plan.text()}\n\nto do: {requests:,} requests, at most {tokens:,} new tokens, {trainings} trainings"


def launch_text(steps: Sequence[Step]) -> str:
    """How the first training still to do is launched, word for word; empty where there is none."""
    commands = [step.stats["command"] for step in steps if "command" in step.stats]
    return f"\nthe first training runs, with its id for ID:\n{commands[0]}" if commands else ""


def _row(step: Step) -> tuple[str, ...]:
    todo = step.total - step.cached
    tokens = f"{step.new_tokens:,}" if step.new_tokens else "-"
    upto = "up to " if step.stage == "pair" and todo else ""
    return (str(step.iteration), step.stage, step.label, f"{step.cached:,}", f"{upto}{todo:,}", tokens)
