"""The end of a run's page: how its models did on tests, and where everything comes from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from toolkit.redaction import redact_mapping
from toolkit.reporting.advice import evaluate_advice
from toolkit.reporting.board.files import LEGEND, table_of
from toolkit.reporting.board.leaderboard import Board, Row, heads, leaderboard
from toolkit.reporting.page.parts import Asked, Scope, Section, ask, flat, listed, quoted
from toolkit.reporting.run_report import run_tables
from toolkit.reporting.tables import Table

_SCORES = """SELECT n.run, n.name AS model, x.task, x.metric, x.value, x.n, x.settings
FROM score x JOIN model_names n ON n.model = x.model
WHERE n.run IN ({runs}) AND x.task <> 'judge' ORDER BY ALL"""
_MODELS = """SELECT
    n.name AS model, n.model AS id, m.weights, m.parent AS "parent id", m.training, t.pair_set AS "trained on", m.path
FROM model_names n JOIN model m ON m.id = n.model LEFT JOIN training t ON t.id = m.training
WHERE n.run = {run} ORDER BY length(n.name), n.name"""
_SETS = """SELECT
    s.iteration, s.pair_set AS "set", p.fingerprint, p.size AS pairs, s.parent AS "trained from", s.reference,
    s.training, s.result AS "trained to", s.launch
FROM run_sets s JOIN pair_set p ON p.id = s.pair_set WHERE s.run = {run} ORDER BY s.iteration, s.position"""
_LAUNCH = """SELECT id, started, commit_hash, recipe, versions, hardware FROM launch
WHERE run = {run} ORDER BY position DESC, started DESC LIMIT 1"""


def evaluation(scope: Scope) -> Section:
    """The leaderboard of these runs, a line for each test and a column for each model."""
    board = leaderboard([scope.store])
    rows = _rows(scope, board)
    columns = tuple(column for column in board.columns if any(column in row.cells for row in rows))
    if not columns:
        return Section("Tests", (f"No model of these runs was evaluated: {evaluate_advice(scope.store, scope.runs)}",))
    own = Board(columns, rows)
    settings = [(name, column.settings) for name, column in zip(heads(columns), columns, strict=True)]
    values = ask(scope.store, "The scores by SQL", _SCORES.format(runs=listed(scope.runs)))
    shown = Asked(
        _turned(table_of(own)), source="python -m toolkit leaderboard; the scores by SQL are below", open=True
    )
    protocols = Asked(
        Table("Protocols", ("test", "settings"), tuple(settings)), source="column settings of the view scores"
    )
    return Section("Tests", (LEGEND,), asked=(shown, protocols, values.asked))


def _rows(scope: Scope, board: Board) -> tuple[Row, ...]:
    """Rows of these runs in their order; a model of several (M_0) once."""
    ordered = [row for run in scope.runs for row in board.rows if row.run == run]
    first: dict[str, Row] = {}
    for row in ordered:
        first.setdefault(row.weights, row)
    return tuple(row for row in ordered if first[row.weights] is row)


def appendix(scope: Scope) -> Section:
    """Lineage, settings, commit, machine, and the tables of the run's own report."""
    run = quoted(scope.run)
    lineage = [
        ask(scope.store, "Models", _MODELS.format(run=run)).asked,
        ask(scope.store, "Sets", _SETS.format(run=run)).asked,
    ]
    launch = scope.store.query(_LAUNCH.format(run=run))[0]
    source = f"python -m toolkit query; the shipped queries run_*, with launch={launch['id']}"
    tables = [Asked(one, source=source) for one in run_tables(scope.store, launch["id"]) if one.rows]
    where = f"--store {scope.store.path}"
    said = (
        f'Every number above is asked for again with the SQL beside it: python -m toolkit sql "…" {where}; also while '
        "a run is writing. From a model back to the raw replies of its judges: "
        f"python -m toolkit lineage MODEL {where}",
    )
    return Section("Where it comes from", said, asked=(*_settings(launch, _LAUNCH.format(run=run)), *lineage, *tables))


def _settings(launch: Mapping[str, Any], sql: str) -> list[Asked]:
    """The recipe, one line a field; the machine and versions of the newest launch."""
    recipe = redact_mapping(_read(launch["recipe"]))
    machine = {"commit": launch["commit_hash"] or "unknown", "started": str(launch["started"]), "launch": launch["id"]}
    machine |= flat(_read(launch["hardware"])) | flat(_read(launch["versions"]))
    return [
        Asked(_pairs("Settings of the recipe", flat(recipe)), source=sql),
        Asked(_pairs("Commit, machine and versions", machine), source=sql),
    ]


def _read(value: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(value) if isinstance(value, str) else dict(value)
    return found


def _pairs(title: str, values: Mapping[str, str]) -> Table:
    return Table(title, ("name", "value"), tuple(values.items()))


def _turned(board: Table) -> Table:
    """A line for each test: there are more of them than models."""
    columns = ("test", *(f"{row[0]} {row[1]}" for row in board.rows))
    places = range(2, len(board.columns) - 1)  # run, model, tests ..., note
    return Table("Tests", columns, tuple((board.columns[i], *(row[i] for row in board.rows)) for i in places))
