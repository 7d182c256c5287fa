"""The report at the end of a run: what happened in each iteration, from the store alone.

Written as Markdown beside the store; its first table is shown on the terminal. Numbers are means unless a
column says otherwise; scores are points of the rubric, lengths are characters, rewards are DPO's implicit ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

from toolkit.engines.scripted import MADE_UP
from toolkit.evaluation.statistics import holm
from toolkit.provenance import Launch
from toolkit.reporting.audit_gaps import gap_table, own_judge_note
from toolkit.reporting.made_up import made_up
from toolkit.reporting.tables import Table, table
from toolkit.safe_text import in_markdown
from toolkit.store.database import Store
from toolkit.trust.paths import check_name
from toolkit.trust.safe_files import write_files

ALPHA = 0.05
WIDTH = 120  # columns of the sentences on a terminal
CHANCE = (
    "The best of several answers scores above the worst of them even where scores are noise. 'gap by chance' is what "
    "the same rule gives when roles are permuted among the scored answers to each prompt; 'p roles' is the probability "
    "of pools as different as these, or more, if roles made no difference. In 'gap all' a prompt without a pair is 0."
)


def roles_sentence(rows: Sequence[Mapping[str, Any]]) -> str:
    """How many tests of roles are significant, corrected for their number. rows: of the query run_chance."""
    tests = [row[name] for row in rows for name in ("p roles", "p future", "p past") if row[name] is not None]
    if not tests:
        return "All answers of each set come from one role, so no test compares roles."
    low = sum(p <= ALPHA for p in holm(tests))
    return (
        f"{low} of these {len(tests)} tests of roles are significant at {ALPHA:g} after Holm's correction for their "
        "number; the p-values shown are not corrected."
    )


def report_run(store: Store, launch: Launch, folder: Path) -> Path:
    """Write the report of this launch's run, show its short form, and return its path."""
    path = write_report(store, launch, folder)
    shown = run_tables(store, launch.id)
    first, *rest = (part.text() + "\n" for part in shown[:3])
    print(
        "",
        first + own_judge_note(shown[0]) + "\n",
        *rest,
        fill(f"{CHANCE} {roles_sentence(store.named('run_chance', launch=launch.id))}", WIDTH) + "\n",
        sep="\n",
    )
    print(_next_steps(store, launch, path))
    return path


def write_report(store: Store, launch: Launch, folder: Path) -> Path:
    """The report as Markdown, named as the run."""
    name = f"{check_name(launch.run, 'a run')}.md"
    gaps, *others = run_tables(store, launch.id)
    parts = [
        _head(launch, made_up(store, [launch.run])),
        gaps.markdown(),
        f"{own_judge_note(gaps)}\n",
        *(part.markdown() for part in others),
        _limits(roles_sentence(store.named("run_chance", launch=launch.id))),
    ]
    return write_files(folder, {name: "\n".join(parts)})[0]


def run_tables(store: Store, launch: str) -> list[Table]:
    """Every table of the report of the run that this launch belongs to."""
    return [
        gap_table("What happened", store, [launch], store.named("run_iterations", launch=launch)),
        table("What chance gives", store.named("run_chance", launch=launch)),
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
            f"- audit judge, which selected nothing: {_audit_judge(launch.recipe)}",
            f"- DPO: beta {training['beta']}, learning rate {rate} in {dtype}, "
            f"batch {training['batch_size']}, {training['epochs']} epochs, reference {training['reference']}",
            f"- launch {launch.id} of {launch.started}, commit {launch.commit_hash or 'unknown'}",
            f"- machine: {machine}; {versions}",
            "",
        ]
    )


def _audit_judge(recipe: Mapping[str, Any]) -> str:
    audit: Mapping[str, Any] = recipe["judge"].get("audit") or {}
    return str(audit.get("reward") or audit.get("by") or "none (judge.audit)")


def _limits(roles: str) -> str:
    return (
        f"{CHANCE} {roles}\n\n"
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
