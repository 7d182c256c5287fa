"""What the notebooks of analysis/ ask a store: parts of a run's report, and rows beside the SQL that gives them.

Every question opens the store, asks and closes it, so a notebook that stays open keeps no run from starting, and while
a run writes, the run answers. A statement has its parameters written out: pasted into `python -m toolkit sql` it gives
the same numbers. Left out: how it looks (panels.py, charts.py).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.diagnostics.collapse import Verdict, verdict
from toolkit.reporting.advice import all_scripted, without_advice
from toolkit.reporting.page.parts import Scope, Section, quoted
from toolkit.store.serving import DEFAULT, open_reader

_SETS = "SELECT iteration, phase, pair_set, position FROM run_sets WHERE run = {run} ORDER BY iteration, position"
_ALL_SETS = """
SELECT coalesce(r.run, s.run, '-') AS run, p.pair_set AS "set", p.iteration, count(*) AS pairs, count(p.gap) AS scored,
    avg(p.gap ORDER BY p.gap) AS gap, any_value(c.gap_chance) AS "gap by chance", any_value(c.p_roles) AS "p roles",
    avg(p.chosen_score ORDER BY p.chosen_score) AS "chosen score",
    avg(p.rejected_score ORDER BY p.rejected_score) AS "rejected score",
    avg(p.chosen_characters - p.rejected_characters) AS "length gap"
FROM pairs p JOIN pair_sets s ON s.id = p.pair_set LEFT JOIN run_sets r ON r.pair_set = p.pair_set
LEFT JOIN selections c ON c.pair_set = p.pair_set
GROUP BY ALL ORDER BY ALL
"""
_PARTS = """
SELECT r.iteration, r.pair_set AS "set", substr(s.metric, length($prefix) + 1) AS part, s.mean, s.low, s.high, s.n
FROM run_sets r
JOIN summaries s ON s.pair_set = r.pair_set AND s.control = '' AND s.under = 'parent' AND s.model = r.parent
WHERE r.run = $run AND starts_with(s.metric, $prefix)
ORDER BY r.iteration, r.position, try_cast(part AS INT) NULLS FIRST, part
"""
_MOVED = """
SELECT pair_set AS "set", pair, chosen_after - chosen_before AS chosen_change,
    rejected_after - rejected_before AS rejected_change, margin, ranked_before, ranked_after, displaced
FROM trained_pairs
WHERE run = $run AND control = '' AND chosen_change + rejected_change IS NOT NULL ORDER BY iteration, "set", pair
"""
_NAMES = """
SELECT DISTINCT s.metric, s.under FROM summaries s JOIN run_sets r ON r.pair_set = s.pair_set
WHERE r.run = $run ORDER BY ALL
"""


@dataclass(frozen=True)
class Rows:
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

    def ask(self, sql: str, **values: Any) -> Rows:
        """The answer; `$name` in the statement stands for a value. Raises StoreError with DuckDB's own words."""
        statement = filled(sql, values)
        with open_reader(self.path) as store:
            return Rows(statement, store.arrow(statement).to_pandas())

    def section(self, part: Callable[[Scope], Section], run: str, beside: Sequence[str] = ()) -> Section:
        """A part of the run's report: `curves`, `distributions`, `training` ..., just as the report has it."""
        with open_reader(self.path) as store:
            sets = tuple(store.query(_SETS.format(run=quoted(run))))
            return part(Scope(store, run, tuple(name for name in beside if name != run), sets))

    def verdict(self, run: str) -> Verdict:
        with open_reader(self.path) as store:
            return without_advice(store, verdict(store, run))

    def scripted(self) -> bool:
        """Whether every run of the store is scripted, so that no command measures it."""
        with open_reader(self.path) as store:
            return all_scripted(store)


def reader(arguments: Mapping[str, Any]) -> Reader:
    """Of the store that the command line (`--store`) names, else TOOLKIT_STORE, else of the default one."""
    return Reader(Path(str(arguments.get("store") or os.environ.get("TOOLKIT_STORE") or DEFAULT)))


def filled(sql: str, values: Mapping[str, Any]) -> str:
    """A statement with every `$name` replaced by its value as SQL writes it."""
    return re.sub(r"\$([a-z_]+)", lambda found: literal(values[found[1]]), sql).strip()


def literal(value: float | str | None) -> str:
    """A value as SQL writes it."""
    if value is None:
        return "NULL"
    return quoted(value) if isinstance(value, str) else repr(value)


def runs(store: Reader) -> list[str]:
    """The runs that trained on pairs, the newest first; what was merged comes after the store's own."""
    order = "ORDER BY max(l.position) DESC, max(l.started) DESC"
    sql = f"SELECT s.run FROM run_sets s JOIN launch l ON l.id = s.launch GROUP BY s.run {order}"
    return [str(run) for run in store.ask(sql).frame["run"]]


def diagnosed(store: Reader) -> bool:
    """Whether anything was summarised."""
    return bool(store.ask("SELECT count(*) > 0 AS found FROM summary").frame["found"][0])


def all_sets(store: Reader) -> Rows:
    """What a store says of its sets without any diagnosis, imported ones too: means without intervals."""
    return store.ask(_ALL_SETS)


def shares(store: Reader, run: str, prefix: str) -> Rows:
    """Mean shares of the metrics that begin so; `part` is what follows the prefix, layers by number."""
    return store.ask(_PARTS, run=run, prefix=prefix)


def moved_pairs(store: Reader, run: str) -> Rows:
    """Each trained pair with what its training did to the likelihood of both sides."""
    return store.ask(_MOVED, run=run)


def metric_names(store: Reader, run: str) -> dict[str, tuple[str, str]]:
    """All that was summarised of a run: label -> metric and the model it was measured under."""
    found = store.ask(_NAMES, run=run).frame.itertuples(index=False, name=None)
    return {f"{metric} under the {under}" if under else str(metric): (metric, under) for metric, under in found}
