"""What a run has done so far, from its store alone: finished steps, answers, verdicts, trainings, and work in flight.

A run is every launch of its name that was not a command (`toolkit rescore` and the like bear their own names). What is
in flight is counted from rows that bear the launch and that no finished step counts yet.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from toolkit.errors import InputError
from toolkit.store.database import Store

_RUNS = """
SELECT
    run, count(*) AS launches, max(position) AS position, max(started) AS last,
    arg_max(id, (position, started, id)) AS launch
FROM launch l
WHERE recipe->>'iterations' IS NOT NULL
    AND NOT regexp_matches(coalesce(arguments->>0, ''), 'toolkit/__main__[.]py$|/toolkit$')
GROUP BY run ORDER BY position DESC, last DESC
"""
_COUNTS = """
WITH launches AS (SELECT id FROM launch WHERE run = $run)
SELECT
    (SELECT count(*) FROM response WHERE launch IN (FROM launches) AND role IN ('past', 'present', 'future'))
        AS answers,
    (SELECT count(*) FROM judgment WHERE launch IN (FROM launches)) AS verdicts,
    (SELECT count(*) FROM pair_set WHERE launch IN (FROM launches)) AS pair_sets,
    (SELECT count(*) FROM training WHERE launch IN (FROM launches)) AS trainings
"""
_NEW = """
SELECT
    (SELECT count(*) FROM response WHERE launch = $launch AND role IN ('past', 'present', 'future')) AS answers,
    (SELECT count(*) FROM judgment WHERE launch = $launch) AS verdicts,
    coalesce(sum(total - cached) FILTER (stage = 'generate'), 0)::BIGINT AS told_answers,
    coalesce(sum(total - cached) FILTER (stage IN ('judge', 'audit')), 0)::BIGINT AS told_verdicts
FROM step WHERE launch = $launch
"""
_STEPS = "SELECT iteration, stage, label, subject, total, cached, seconds FROM step WHERE launch = ? ORDER BY position"


@dataclass(frozen=True)
class Status:
    """A run as the store knows it. dtype: what it is trained in; steps: of the newest launch; in_flight: its rows
    beyond those steps."""

    run: str
    launch: str
    launches: int
    started: datetime
    arguments: tuple[str, ...]
    recipe: Mapping[str, Any]
    dtype: str
    done: Mapping[str, int]
    in_flight: Mapping[str, int]
    steps: tuple[Mapping[str, Any], ...]


def runs(store: Store) -> list[str]:
    """Names of the runs in the store, the newest first; what was merged comes after the store's own."""
    return [row["run"] for row in store.query(_RUNS)]


def status_of(store: Store, run: str = "") -> Status:
    """The run of this name, or the newest of the store's own: what was merged from another store is named, or left.
    Raises InputError where there is none."""
    known = store.query(_RUNS)
    found = [row for row in known if (row["run"] == run if run else row["position"])]
    if known and not found and not run:
        names = ", ".join(row["run"] for row in known)
        raise InputError(
            f"every run of this store was merged into it: {names}",
            where=store.path or "memory",
            remedy=f"name the run: toolkit status {known[0]['run']}",
        )
    if not found:
        told = f"one of {', '.join(runs(store))}" if runs(store) else "start one: python -m toolkit.recipes.temporal"
        raise InputError(f"no run {run!r}" if run else "no run", where=store.path or "memory", remedy=told)
    newest = found[0]
    launch = store.query("SELECT * FROM launch WHERE id = ?", [newest["launch"]])[0]
    return Status(
        run=newest["run"],
        launch=launch["id"],
        launches=newest["launches"],
        started=launch["started"],
        arguments=tuple(json.loads(launch["arguments"])),
        recipe=json.loads(launch["recipe"]),
        dtype=json.loads(launch["hardware"]).get("dtype", {}).get("trainer", "bfloat16"),
        done=store.query(_COUNTS, {"run": newest["run"]})[0],
        in_flight=_in_flight(store, launch["id"]),
        steps=tuple(store.query(_STEPS, [launch["id"]])),
    )


def is_trained(store: Store, status: Status, iterations: int) -> bool:
    """Whether the newest launch has come to the run's last model, by its steps."""
    sql = "SELECT count(*) AS n FROM step WHERE launch = ? AND stage = 'train' AND stats->>'name' = ?"
    return bool(store.query(sql, [status.launch, f"M_{iterations}"])[0]["n"])


def newest_launch(store: Store) -> str:
    """The launch that a living writer belongs to: one process writes at a time, and each begins with its launch."""
    return str(store.query("SELECT arg_max(id, position) AS id FROM launch")[0]["id"])


def _in_flight(store: Store, launch: str) -> dict[str, int]:
    row = store.query(_NEW, {"launch": launch})[0]
    return {kind: max(0, row[kind] - row[f"told_{kind}"]) for kind in ("answers", "verdicts")}
