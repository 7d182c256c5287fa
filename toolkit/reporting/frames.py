"""Frames of a store, each beside the one SQL statement that gives it: what the notebooks of analysis/ show.

Every question opens the store, asks and closes it, so a notebook that stays open keeps no run from starting, and while
a run writes, the run answers. A statement has its parameters written out: pasted into `python -m toolkit sql` it gives
the same numbers. Left out: what the numbers mean (the notebooks) and how they look (charts.py, panels.py).
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.reporting.leaderboard import Board, heads, leaderboard
from toolkit.store.serving import DEFAULT, open_reader

PUBLISHED_BARS = Path(__file__).with_name("published_bars.csv")
PUBLISHED = "published, Llama3.1-8B, outside judge"

# The newest summary of every set, control, metric and model, beside the run that trains on the set.
_SUMMARIES = """
WITH found AS (
    SELECT
        coalesce(r.run, '-') AS run, coalesce(r.phase, s.phase) AS phase,
        coalesce(r.iteration, s.iteration, 0) AS iteration,
        s.pair_set, s.control, s.metric, s.under, s.n, s.missing, s.mean, s.low, s.high
    FROM summaries s LEFT JOIN run_sets r ON r.pair_set = s.pair_set
    WHERE list_contains($metrics, s.metric) AND s.under = $under
        AND (r.run IS NULL OR list_contains($runs, r.run))
        AND (r.run IS NULL OR s.under IN ('', 'base') OR s.model IN (r.parent, r.result))
    QUALIFY row_number() OVER (
        PARTITION BY r.run, s.pair_set, s.control, s.metric, s.under ORDER BY s.launch DESC, s.n DESC
    ) = 1
)
SELECT CASE WHEN run = phase THEN run ELSE run || ' · ' || phase END AS series, * FROM found
ORDER BY run, phase, iteration, metric, control
"""
_CHANGES = """
SELECT
    run, phase, iteration_before, iteration_after, metric, ratio, low, high, p, floor_ratio, floor_low, floor_high,
    detectable, needed
FROM changes WHERE list_contains($metrics, metric) AND list_contains($runs, run)
QUALIFY row_number() OVER (PARTITION BY run, before, after, metric, under ORDER BY launch DESC) = 1
ORDER BY metric, run, phase, iteration_before
"""
_PLAIN = """
SELECT coalesce(r.run, s.run, '-') AS run, p.phase, coalesce(r.iteration, p.iteration) AS iteration, p.pair_set,
    count(*) AS n, count(p.gap) AS scored, avg(p.gap) AS gap, avg(p.chosen_score) AS chosen_score,
    avg(p.rejected_score) AS rejected_score, avg(p.chosen_characters - p.rejected_characters) AS length_gap
FROM pairs p JOIN pair_sets s ON s.id = p.pair_set LEFT JOIN run_sets r ON r.pair_set = p.pair_set
GROUP BY ALL ORDER BY ALL
"""
_SCORES = """
SELECT coalesce(n.run, '-') AS run, coalesce(n.name, s.model_name) AS model, s.task, s.metric, s.value, s.n,
    s.settings::VARCHAR AS settings
FROM scores s LEFT JOIN model_names n ON n.model = s.model WHERE s.task <> 'judge' ORDER BY ALL
"""
# The DPO trainings of each run, one after another.
_STEPS = """
SELECT
    r.run AS series, coalesce(n.name, m.name) AS model, r.iteration, t.metric, t.step, t.value, x.batch,
    row_number() OVER (PARTITION BY r.run, t.metric ORDER BY r.iteration, r.position, t.step) AS run_step
FROM run_sets r
JOIN training x ON x.id = r.training
JOIN training_step t ON t.training = r.training
JOIN model m ON m.id = r.result
LEFT JOIN model_names n ON n.model = r.result AND n.run = r.run
WHERE t.metric = $metric AND list_contains($runs, r.run)
ORDER BY series, run_step
"""
# Trained pairs whose likelihoods are known before and after.
_MOVED = """
SELECT
    CASE WHEN run = phase THEN run ELSE run || ' · ' || phase END AS series, run, phase, iteration, pair,
    chosen_after - chosen_before AS chosen_change, rejected_after - rejected_before AS rejected_change,
    margin, weight, ranked_before, ranked_after, displaced
FROM trained_pairs
WHERE control = '' AND list_contains($runs, run) AND chosen_after - chosen_before + rejected_after - rejected_before IS NOT NULL
ORDER BY run, phase, iteration, pair
"""
_MOVES = f"""
SELECT series, iteration, count(*) AS n, avg(chosen_change) AS chosen_change, avg(rejected_change) AS rejected_change,
    count(*) FILTER (ranked_before) AS ranked_before, count(*) FILTER (ranked_after) AS ranked_after,
    count(*) FILTER (displaced) AS displaced, avg(margin) AS margin, avg(weight) AS weight
FROM ({_MOVED.replace("ORDER BY run, phase, iteration, pair", "")}) GROUP BY series, iteration ORDER BY series, iteration
"""


@dataclass(frozen=True)
class Shown:
    """A pandas frame and the statement that gives it."""

    sql: str
    frame: Any

    @property
    def empty(self) -> bool:
        return bool(self.frame.empty)


@dataclass(frozen=True)
class Reader:
    """Asks the store at `path`, opening it for each question."""

    path: Path

    def ask(self, sql: str, **values: Any) -> Shown:
        """The answer; `$name` in the statement stands for a value. Raises StoreError with DuckDB's own words."""
        statement = filled(sql, values)
        with open_reader(self.path) as store:
            return Shown(statement, store.arrow(statement).to_pandas())


def reader(arguments: Mapping[str, Any]) -> Reader:
    """Of the store that the command line (`--store`) names, else TOOLKIT_STORE, else of the default one."""
    return Reader(Path(str(arguments.get("store") or os.environ.get("TOOLKIT_STORE") or DEFAULT)))


def filled(sql: str, values: Mapping[str, Any]) -> str:
    """A statement with every `$name` replaced by its value as SQL writes it."""
    return re.sub(r"\$([a-z_]+)", lambda found: literal(values[found[1]]), sql).strip()


def literal(value: Any) -> str:
    """A value as SQL writes it. Raises TypeError for what is no number, text, list of such, or None."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(literal, value)) + "]" if value else "[]::VARCHAR[]"
    raise TypeError(f"no SQL literal for {value!r}")


def runs(store: Reader) -> list[str]:
    """The runs that trained on pairs."""
    return [str(run) for run in store.ask("SELECT DISTINCT run FROM run_sets ORDER BY run").frame["run"]]


def summaries(store: Reader, runs: Sequence[str], metrics: Sequence[str], under: str = "") -> Shown:
    """Means with interval and n by run, phase and iteration, of the pairs (control = '') and of two draws."""
    return store.ask(_SUMMARIES, runs=list(runs), metrics=list(metrics), under=under)


def changes(store: Reader, runs: Sequence[str], metrics: Sequence[str]) -> Shown:
    """How each mean changed from one iteration to another, with the floor and what so many pairs can show."""
    return store.ask(_CHANGES, runs=list(runs), metrics=list(metrics))


def parts(store: Reader, runs: Sequence[str], prefix: str) -> Shown:
    """Mean shares of the metrics that begin so, of the pairs; `part` is what follows the prefix, layers by number."""
    sql = "SELECT DISTINCT metric AS name FROM summaries WHERE starts_with(metric, $prefix) ORDER BY name"
    names = [str(name) for name in store.ask(sql, prefix=prefix).frame["name"]]
    ordered = sorted(names, key=lambda name: (int(part) if (part := name[len(prefix) :]).isdigit() else -1, name))
    shown = summaries(store, runs, ordered, "parent")
    frame = shown.frame[shown.frame["control"] == ""].copy()
    frame["part"] = [name[len(prefix) :] for name in frame["metric"]]
    frame["place"] = [ordered.index(name) for name in frame["metric"]]
    return Shown(shown.sql, frame.sort_values(["series", "iteration", "place"]))


def moved_pairs(store: Reader, runs: Sequence[str]) -> Shown:
    """Each trained pair with what the training did to the likelihood of both sides."""
    return store.ask(_MOVED, runs=list(runs))


def training_moves(store: Reader, runs: Sequence[str]) -> Shown:
    """The same counted for each training: ranked rightly before and after, displaced (both sides fell)."""
    return store.ask(_MOVES, runs=list(runs))


def scores(store: Reader) -> Shown:
    """Every stored score: the values of the leaderboard's cells."""
    return store.ask(_SCORES)


def training_steps(store: Reader, runs: Sequence[str], metric: str) -> Shown:
    """What the trainer logged, step by step: loss, acc, chosen_reward, reject_reward, grad_norm, lr."""
    return store.ask(_STEPS, runs=list(runs), metric=metric)


def plain_gaps(store: Reader) -> Shown:
    """What a store says of its sets without any diagnosis: means without intervals."""
    return store.ask(_PLAIN)


def diagnosed(store: Reader) -> bool:
    """Whether anything was summarised."""
    return bool(store.ask("SELECT count(*) > 0 AS found FROM summary").frame["found"][0])


def metric_names(store: Reader) -> list[str]:
    """Everything that was summarised: metric and, where it needs a model, the one it was measured under."""
    sql = "SELECT DISTINCT metric || CASE under WHEN '' THEN '' ELSE ' @ ' || under END AS name FROM summaries ORDER BY ALL"
    return [str(name) for name in store.ask(sql).frame["name"]]


def published_bars(measure: str) -> Any:
    """The paper's bars (arXiv 2508.06026, read off its figure to about 0.005): series, iteration, value."""
    import pandas

    with PUBLISHED_BARS.open(encoding="utf-8") as file:
        rows = [line for line in csv.DictReader(file) if line["measure"] == measure]
    made = [(f"paper: {line['method']}", int(line["iteration"]), float(line["value"])) for line in rows]
    return pandas.DataFrame(made, columns=["series", "iteration", "value"])


def board(store: Reader, published: bool = False) -> Board:
    """The leaderboard of a store, the paper's rows beside where they are wanted."""
    with open_reader(store.path) as opened:
        return leaderboard([opened], published)


def learning_curves(board: Board) -> Any:
    """The cells of a leaderboard by column and iteration, one row each; models outside the iterations are left out."""
    import pandas

    names = dict(zip(board.columns, heads(board.columns), strict=True))
    rows = [
        (names[column], f"{row.run} ({row.note})" if row.note else row.run, "", row.name, row.iteration, cell.value,
         cell.low, cell.high, cell.n, 0, bool(row.note))
        for row in board.rows
        for column, cell in row.cells.items()
        if row.iteration is not None
    ]  # fmt: skip
    columns = ["column", "series", "control", "model", "iteration", "mean", "low", "high", "n", "missing", "published"]
    return pandas.DataFrame(rows, columns=columns)
