"""Do the rows of a store agree with each other? What follows from other rows is computed again, here in Python.

Ids from what was asked for, contents of pairs from their texts, fingerprints of sets from their members, verdicts from
their replies, scores of pairs from their verdicts. Rows are read with plain columns and joins of tables: no view, macro
or function of SQL takes part. `doctor` prints what comes out, and `merge` refuses a store of which anything does.

Left out: what follows from nothing in the store. Its author can change a reply and all that follows from it; only a
fingerprint that was published elsewhere shows that.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby
from statistics import fmean
from typing import Any

from toolkit.identity import content_id, fingerprint
from toolkit.judgments.reparse import comparison_problem, rubric_of, unchecked, verdict_problem
from toolkit.judgments.rubric import PairRubric, Rubric
from toolkit.records import (
    Change,
    Comparison,
    Item,
    Judgment,
    Metric,
    Model,
    Pair,
    Prompt,
    Record,
    Response,
    Score,
    Summary,
    Training,
    pair_content,
)  # fmt: skip
from toolkit.store.database import Store
from toolkit.store.references import lost_references
from toolkit.store.rows import read_json, table_of

UNREADABLE = (AttributeError, LookupError, TypeError, ValueError, ArithmeticError, RecursionError)
LAST_VERSION = 1_000_000
NAMED = 5  # rows that a refusal names
SHAPES: Mapping[tuple[str, str], type[Any]] = {
    ("launch", "recipe"): dict,
    ("launch", "arguments"): list,
    ("launch", "versions"): dict,
    ("launch", "hardware"): dict,
    ("step", "stats"): dict,
    ("pair_set_deleted", "referred_by"): list,
}
JSON_NAMES: Mapping[type[Any], str] = {dict: "object", list: "array"}
KINDS = (Prompt, Model, Response, Judgment, Comparison, Pair, Training, Score, Item, Metric, Summary, Change)
WITHOUT_VERDICTS = "scores of pairs' sides of which the store holds no verdict of the pair's judge"
OLD_PRINT = "trainings on a fingerprint that no set of the store has; the first two schemas had other fingerprints"
_PAIRS = """
SELECT x.id, x.prompt, c.text, r.text, x.chosen_score, x.rejected_score, x.chosen_role, x.rejected_role, x.content,
    c.prompt, r.prompt
FROM main.pair x LEFT JOIN main.response c ON c.id = x.chosen LEFT JOIN main.response r ON r.id = x.rejected
"""
_SIDES = """
SELECT x.id, 'chosen', x.chosen_score, j.method, j.rubric, j.sampling, j.draw, j.score
FROM main.pair x LEFT JOIN main.judgment j ON j.response = x.chosen AND j.judge = x.judge AND j.score IS NOT NULL
UNION ALL
SELECT x.id, 'rejected', x.rejected_score, j.method, j.rubric, j.sampling, j.draw, j.score
FROM main.pair x LEFT JOIN main.judgment j ON j.response = x.rejected AND j.judge = x.judge AND j.score IS NOT NULL
ORDER BY 1, 2
"""
# Metrics of toolkit/evaluation whose score is the mean of the items; lm-eval's have aggregations of their own.
MEANS = ("pass@1", "score", "spread", "win")
SAME = 1e-6
WITHOUT_ITEMS = "scores of tests that are not a mean of stored items"
_ITEMS = "SELECT model, task, metric, settings::VARCHAR, value FROM main.item"
_SCORES = "SELECT id, model, task, metric, settings::VARCHAR, value FROM main.score"
_SELECTED = """
SELECT c.pair_set, x.chosen_score, x.rejected_score, x.chosen_role, x.rejected_role
FROM main.pair_set s JOIN main.pair_set_change c ON c.pair_set = s.id AND c.added JOIN main.pair x ON x.id = c.pair
WHERE s.base IS NULL
"""
_COMPARED = """
SELECT x.id, a.prompt, b.prompt
FROM main.comparison x JOIN main.response a ON a.id = x.first JOIN main.response b ON b.id = x.second
"""
_TRAININGS = """
SELECT t.id, t.data, t.parent, m.training, m.parent, s.fingerprint, x.fingerprint, d.fingerprint
FROM main.training t LEFT JOIN main.model m ON m.id = t.model LEFT JOIN main.pair_set s ON s.id = t.pair_set
LEFT JOIN main.pair_set_deleted x ON x.id = t.pair_set
LEFT JOIN main.demonstration_set d ON d.id = t.demonstration_set
"""
_PRINTS = """
SELECT fingerprint FROM main.pair_set UNION SELECT fingerprint FROM main.pair_set_deleted
UNION SELECT fingerprint FROM main.demonstration_set
"""
_MADE = "SELECT m.id, t.id, t.model FROM main.model m JOIN main.training t ON t.id = m.training"
_DEMONSTRATED = """
SELECT d.demonstration_set, r.prompt, r.text
FROM main.demonstration d JOIN main.response r ON r.id = d.response
"""


@dataclass(frozen=True)
class Finding:
    """A row that contradicts other rows."""

    table: str
    id: str
    problem: str


@dataclass
class Audit:
    """findings: rows that do not agree. unchecked: reason -> how many numbers could not be computed again."""

    findings: list[Finding] = field(default_factory=list)
    unchecked: Counter[str] = field(default_factory=Counter)

    def add(self, table: str, id: str, problem: str) -> None:
        if problem:
            self.findings.append(Finding(table, id, problem))


def audit(store: Store) -> Audit:
    """Everything that can be computed again, compared with what is stored."""
    result = Audit()
    _check_json(store, result)
    rubrics = _rubrics(store, result)
    for kind in KINDS:
        _check_records(store, kind, rubrics, result)
    contents = _contents(store, result)
    _check_comparisons(store, result)
    _check_pair_scores(store, result)
    _check_scores(store, result)
    _check_selections(store, result)
    _check_trainings(store, result)
    _check_sets(store, contents, result)
    _check_demonstrations(store, result)
    return result


def contradictions(store: Store) -> str:
    """The first rows that contradict others or point nowhere, in words; empty where there are none."""
    rows = [f"{row.table} {row.id} {row.problem}" for row in audit(store).findings]
    rows += [text for lost in lost_references(store).values() for text in lost]
    more = f" and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
    return "; ".join(rows[:NAMED]) + more


def _check_json(store: Store, result: Audit) -> None:
    """JSON columns of which no record is made must have the shape that every reader expects."""
    for (table, column), shape in SHAPES.items():
        id = "launch" if table == "step" else "id"
        for key, text in store.stream(f"SELECT {id}, {column}::VARCHAR FROM main.{table}"):
            try:
                fits = isinstance(read_json(text), shape)
            except UNREADABLE:
                fits = False
            result.add(table, key, "" if fits else f"its {column} is not a JSON {JSON_NAMES[shape]}")


def _rubrics(store: Store, result: Audit) -> dict[str, Rubric | PairRubric]:
    rubrics: dict[str, Rubric | PairRubric] = {}
    for id, name, body in store.stream("SELECT id, name, body FROM main.rubric"):
        try:
            rubric = rubric_of(name, read_json(body))
            known = content_id(type(rubric).__name__, read_json(body))
        except UNREADABLE:
            result.add("rubric", id, "is not a rubric")
            continue
        rubrics[id] = rubric
        result.add("rubric", id, "" if known == id else f"its text has the id {known}")
    return rubrics


def _check_records(store: Store, kind: type[Record], rubrics: Mapping[str, Any], result: Audit) -> None:
    table = table_of(kind)
    for id, *row in store.stream(f"SELECT id, {', '.join(table.columns)} FROM main.{table.name}"):
        try:
            record = table.from_row(row)
        except UNREADABLE as error:
            result.add(table.name, id, f"cannot be read: {type(error).__name__}")
            continue
        result.add(table.name, id, "" if record.id == id else f"its columns have the id {record.id}")
        if isinstance(record, Judgment):
            result.add(table.name, id, verdict_problem(record, rubrics.get(record.rubric or "")))
            result.unchecked[unchecked(record)] += 1
        elif isinstance(record, Comparison):
            result.add(table.name, id, comparison_problem(record, rubrics.get(record.rubric)))
    del result.unchecked[""]


def _contents(store: Store, result: Audit) -> dict[str, str]:
    """Pair -> its content, from its texts."""
    contents: dict[str, str] = {}
    for id, prompt, chosen, rejected, high, low, chosen_role, rejected_role, stored, *asked in store.stream(_PAIRS):
        if any(other not in (None, prompt) for other in asked):
            result.add("pair", id, "holds an answer to another prompt")
        if chosen is None or rejected is None:  # the references say so
            contents[id] = stored
            continue
        try:
            contents[id] = pair_content(prompt, (chosen, rejected), (high, low), (chosen_role, rejected_role))
        except UNREADABLE as error:
            result.add("pair", id, f"its texts and scores have no content: {type(error).__name__}: {error}")
            contents[id] = stored
            continue
        result.add(
            "pair", id, "" if contents[id] == stored else f"its texts and scores have the content {contents[id]}"
        )
    return contents


def _check_comparisons(store: Store, result: Audit) -> None:
    for id, first, second in store.stream(_COMPARED):
        result.add("comparison", id, "" if first == second else "compares answers to two prompts")


def _check_trainings(store: Store, result: Audit) -> None:
    """A training, the set that it learned from and the model that it made name each other."""
    everywhere = {row[0] for row in store.stream(_PRINTS)}
    for id, data, parent, made_by, made_from, *known in store.stream(_TRAININGS):
        prints = [found for found in known if found is not None]
        if prints and data not in prints and data in everywhere:
            result.add("training", id, "names a set with another fingerprint than it learned from")
        elif prints and data not in prints:
            result.unchecked[OLD_PRINT] += 1
        result.add("training", id, "" if made_by == id else "names a model that another training made, or none")
        result.add("training", id, "" if made_by != id or made_from == parent else "names a model of another parent")
    for id, training, model in store.stream(_MADE):
        result.add("model", id, "" if model == id else f"names the training {training}, which made {model}")


def _check_pair_scores(store: Store, result: Audit) -> None:
    """A side's score is the mean of its first n verdicts by the pair's judge in one way of judging."""
    for (pair, side, score), rows in groupby(store.stream(_SIDES), key=lambda row: row[:3]):
        ways: dict[tuple[Any, ...], dict[int, list[float]]] = {}
        for *_, method, rubric, sampling, draw, verdict in rows:
            if verdict is not None:
                ways.setdefault((method, rubric, sampling), {}).setdefault(draw, []).append(verdict)
        if score is not None and not ways:
            result.unchecked[WITHOUT_VERDICTS] += 1
        elif score is not None and not any(_reached(score, draws) for draws in ways.values()):
            result.add("pair", pair, f"its {side} score {score} is not the mean of its verdicts")


def _reached(score: float, draws: Mapping[int, list[float]]) -> bool:
    """Whether the score is a mean of the first n draws; runs of other seeds may have verdicts of the same number."""
    order = sorted(draws)
    for n in range(1, len(order) + 1):
        low, high = (round(fmean(pick(draws[draw]) for draw in order[:n]), 9) for pick in (min, max))
        if low - 1e-9 <= score <= high + 1e-9:
            return True
    return False


def _check_scores(store: Store, result: Audit) -> None:
    """A score of our own tests is the mean of its items, with the ungraded ones left out or as 0."""
    items: dict[tuple[str, ...], list[float | None]] = {}
    for model, task, metric, settings, value in store.stream(_ITEMS):
        items.setdefault((model, task, metric, _canonical(settings)), []).append(value)
    for id, model, task, metric, settings, stored in store.stream(_SCORES):
        values = items.get((model, task, metric, _canonical(settings)), [])
        if metric not in MEANS or stored is None or '"lm_eval"' in str(settings) or not values:
            result.unchecked[WITHOUT_ITEMS] += 1
            continue
        graded = [value for value in values if value is not None]
        means = [sum(graded) / n for n in (len(graded), len(values)) if n]
        if not any(abs(mean - stored) < SAME for mean in means):
            result.add("score", id, f"its value {stored} is not the mean of its items, {means[-1]:g}")


def _canonical(settings: str) -> str:
    try:
        return json.dumps(read_json(settings), sort_keys=True)
    except UNREADABLE:  # the record's own check names it
        return settings


def _check_selections(store: Store, result: Audit) -> None:
    """Pairs, gap and shares of a selection follow from the pairs of its set; chance values do not."""
    sides: dict[str, list[tuple[float, bool, bool]]] = {}
    for pair_set, high, low, chosen_role, rejected_role in store.stream(_SELECTED):
        if high is not None and low is not None:
            sides.setdefault(pair_set, []).append((high - low, chosen_role == "future", rejected_role == "past"))
    for pair_set, *stored in store.stream("SELECT pair_set, pairs, gap, future, past FROM main.selection"):
        rows = sides.get(pair_set, [])
        computed = [len(rows), *(fmean(column) if rows else None for column in zip(*rows, strict=True))]
        computed += [None] * (4 - len(computed))
        pairs = list(zip(stored, computed, strict=True))
        alike = all(a is None or (b is not None and abs(a - b) < 1e-6) for a, b in pairs)
        result.add("selection", pair_set, "" if alike or not rows else "its gap or shares are not those of its pairs")


def _check_sets(store: Store, contents: Mapping[str, str], result: Audit) -> None:
    changes: dict[str, dict[str, bool]] = {}
    for pair_set, pair, added in store.stream("SELECT pair_set, pair, added FROM main.pair_set_change"):
        known = changes.setdefault(pair_set, {})
        if known.setdefault(pair, added) is not added:
            result.add("pair_set", pair_set, f"both adds and removes the pair {pair}")
    rows = list(store.stream("SELECT id, name, version, base, fingerprint, size FROM main.pair_set ORDER BY id"))
    bases = {id: base for id, _, _, base, _, _ in rows}
    for id, version in store.stream("SELECT id, version FROM main.pair_set_deleted"):
        result.add("pair_set_deleted", id, _number_problem(version))
    for id, name, version, _, stored, size in rows:
        result.add("pair_set", id, "" if id == f"{name}@{version}" else f"is called {name}@{version}")
        result.add("pair_set", id, _number_problem(version))
        members: set[str] = set()
        for link in _chain(id, bases, result):
            members |= {pair for pair, added in changes.get(link, {}).items() if added}
            members -= {pair for pair, added in changes.get(link, {}).items() if not added}
        computed = fingerprint(contents.get(pair, f"no pair {pair}") for pair in members)
        if (computed, len(members)) != (stored, size):
            result.add(
                "pair_set", id, f"has drifted: {len(members)} pairs with fingerprint {computed}, frozen were {size} "
                f"with {stored}",
            )  # fmt: skip


def _number_problem(version: int | None) -> str:
    """Versions are counted. From the largest that the column holds, the next could not be."""
    counted = version is not None and 1 <= version <= LAST_VERSION
    return "" if counted else f"has the version number {version}; numbers go from 1 to {LAST_VERSION:,}"


def _chain(id: str, bases: Mapping[str, str | None], result: Audit) -> list[str]:
    """The set's bases, the farthest first, and the set itself."""
    chain = [id]
    while (base := bases.get(chain[-1])) is not None:
        if base in chain:
            result.add("pair_set", id, f"is stored as a change of {base}, which is a change of it")
            break
        chain.append(base)
    return chain[::-1]


def _check_demonstrations(store: Store, result: Audit) -> None:
    contents: dict[str, list[str]] = {}
    for name, prompt, text in store.stream(_DEMONSTRATED):
        contents.setdefault(name, []).append(content_id("Demonstration", [prompt, text]))
    for id, name, stored, size in store.stream("SELECT id, name, fingerprint, size FROM main.demonstration_set"):
        held = contents.get(id, [])
        computed = fingerprint(held)
        if (computed, len(held), f"{name}@{computed[:8]}") != (stored, size, id):
            result.add("demonstration_set", id, f"has drifted: {len(held)} answers with fingerprint {computed}")
