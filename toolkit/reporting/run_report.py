"""The report at the end of a run: what happened in each iteration, from the store alone.

Written as Markdown beside the store; its first table is shown on the terminal. Numbers are means unless a
column says otherwise; scores are points of the rubric, lengths are characters, rewards are DPO's implicit ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.engines.scripted import MADE_UP
from toolkit.provenance import Launch
from toolkit.reporting.made_up import made_up
from toolkit.reporting.tables import Table, table
from toolkit.safe_text import in_markdown
from toolkit.store.database import Store
from toolkit.trust.paths import check_name
from toolkit.trust.safe_files import write_files


def report_run(store: Store, launch: Launch, folder: Path) -> Path:
    """Write the report of this launch's run, show its short form, and return its path."""
    path = write_report(store, launch, folder)
    shown = run_tables(store, launch.id)
    print(f"\n{shown[0].text()}\n\n{shown[1].text()}\n\n{_next_steps(store, launch, path)}")
    return path


def write_report(store: Store, launch: Launch, folder: Path) -> Path:
    """The report as Markdown, named as the run."""
    name = f"{check_name(launch.run, 'a run')}.md"
    tables = [part.markdown() for part in run_tables(store, launch.id)]
    return write_files(folder, {name: "\n".join([_head(launch, made_up(store, [launch.run])), *tables, _limits()])})[0]


def run_tables(store: Store, launch: str) -> list[Table]:
    """Every table of the report of the run that this launch belongs to."""
    return [
        table("What happened", store.named("run_iterations", launch=launch)),
        table("Training", store.named("run_trainings", launch=launch)),
        table("Verdicts", store.named("run_verdicts", launch=launch)),
        table("Answers", store.named("run_answers", launch=launch)),
        table("Token gate", store.named("run_gate", launch=launch)),
        table("Drops by reason", store.named("run_drops", launch=launch)),
        table("Training curve", store.named("run_curve", launch=launch)),
        table("Time by stage, all launches of the run", store.named("run_time", launch=launch)),
    ]


def made_by(engine: str | None) -> str:
    """Where answers and scores come from, for whoever reads a report."""
    return MADE_UP if engine == "scripted" else engine or "unknown"


def _head(launch: Launch, mark: str) -> str:
    judge: Mapping[str, Any] = launch.recipe["judge"]
    answers: Mapping[str, Any] = launch.recipe["answers"]
    training: Mapping[str, Any] = launch.recipe["training"]
    hardware = launch.hardware
    dtype = hardware.get("dtype", {}).get("trainer", "bfloat16")
    rate = training["learning_rate"]
    rate = rate[dtype] if isinstance(rate, Mapping) else rate
    versions = ", ".join(f"{name} {version}" for name, version in launch.versions.items())
    machine = ", ".join([f"{hardware['cores']} cores of {hardware['cpu']}", *hardware["gpus"]])
    return "\n".join(
        [
            f"# Run {launch.run}",
            "",
            *([f"**{in_markdown(mark)}**", ""] if mark else []),
            f"- model: {launch.recipe['model']}; K = {answers['k']}, T = {answers['temperature']}, "
            f"top_p = {answers['top_p']}, at most {answers['max_tokens']} tokens",
            f"- engine: {made_by(launch.recipe['engine']['kind'])}",
            f"- judge: {judge['by']}, method `{judge['method']}`, rubric `{judge['rubric']}`, {judge['draws']} draws",
            f"- DPO: beta {training['beta']}, learning rate {rate} in {dtype}, "
            f"batch {training['batch_size']}, {training['epochs']} epochs, reference {training['reference']}",
            f"- launch {launch.id} of {launch.started}, commit {launch.commit_hash or 'unknown'}",
            f"- machine: {machine}; {versions}",
            "",
        ]
    )


def _limits() -> str:
    return (
        "Scores of different iterations come from different judges (each M_i judges its own iteration), so they are no "
        "common scale: a gap that moves may be the judge moving.\n"
    )


def _next_steps(store: Store, launch: Launch, path: Path) -> str:
    newest = store.named("run_trainings", launch=launch.id)
    lines = [f"report:  {path}", f"store:   {store.path}"]
    if newest:
        model = newest[-1]["model"]
        lines.append(f"lineage: python -m toolkit lineage {model} --store {store.path}")
    return "\n".join(lines)
