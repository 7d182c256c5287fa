"""What a page says where nothing was measured: the command that measures it, or why none does.

Of a scripted run (`toolkit demo`) answers and scores are made up and there is no network: `diagnose` and `evaluate`
refuse its models, so no page names them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from toolkit.diagnostics.collapse import Verdict
from toolkit.store.database import Store

NO_NETWORK = "the run is scripted: its answers and scores are made up, and there is no network to measure"
_SCRIPTED = """SELECT arg_max(recipe->'engine'->>'kind', (position, started)) = 'scripted' AS scripted
FROM launch WHERE run = ?"""
_ALL_SCRIPTED = """SELECT
    coalesce(bool_and(l.recipe->'engine'->>'kind' IS NOT DISTINCT FROM 'scripted'), false) AS scripted
FROM run_sets s JOIN launch l ON l.id = s.launch"""


def is_scripted(store: Store, run: str) -> bool:
    """Whether the newest launch of the run answered by the scripted engine."""
    return bool(store.query(_SCRIPTED, [run])[0]["scripted"])


def all_scripted(store: Store) -> bool:
    """Whether the store has runs with pair sets, and each of them is scripted."""
    return bool(store.query(_ALL_SCRIPTED)[0]["scripted"])


def diagnose_advice(store: Store, runs: Sequence[str]) -> str:
    """The commands that measure these runs' pairs; the reason for those that have none."""
    real = [run for run in runs if not is_scripted(store, run)]
    commands = [f"python -m toolkit diagnose {run}" for run in real]
    return ", ".join(commands + [NO_NETWORK] * (len(real) < len(runs)))


def evaluate_advice(store: Store, runs: Sequence[str]) -> str:
    """The command that evaluates a model of these runs; the reason where all of them are scripted."""
    scripted = all(is_scripted(store, run) for run in runs)
    return NO_NETWORK if scripted else "python -m toolkit evaluate MODEL --suite quick"


def without_advice(store: Store, verdict: Verdict) -> Verdict:
    """The verdict; of a scripted run whose gradient was not measured, without the command that would refuse it."""
    if "toolkit diagnose" in verdict.headline and is_scripted(store, verdict.run):
        return replace(verdict, headline=f"No verdict: {NO_NETWORK}.")
    return verdict
