"""The sections of a study's page: endpoints, curves, guards, cost, what was declared. Means are asked for by SQL.

Every interval on the page is over seeds. Columns that SQL does not give (intervals, p-values, what was detectable)
stand behind those that it gives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from toolkit.evaluation.statistics import Interval
from toolkit.reporting.page.as_html import sentence
from toolkit.reporting.page.parts import Answer, Asked, Curves, Figure, Line, Point, Section, ask, flat
from toolkit.reporting.tables import Table, show
from toolkit.safe_text import one_line
from toolkit.store.database import Store
from toolkit.study.claim import rule_words
from toolkit.study.differences import EndpointResult, over_seeds
from toolkit.study.endpoints import ENDPOINTS, GUARDS, MEASURES
from toolkit.study.marks import UNKNOWN, groups, named_seeds
from toolkit.study.results import StudyResults
from toolkit.study.values import Questions, Row

Key = tuple[Any, ...]
Answered = Mapping[str, Any]  # a row that SQL gave
_INTERVALS = "low, high: 95 % interval over seeds, toolkit.evaluation.statistics.interval_of_differences"
_TESTS = (
    f"{_INTERVALS}; p: sign flips over seeds, two-sided; p Holm: corrected over the endpoints of the condition; "
    "detectable: the true difference that this test finds with a probability of 80 %, in the endpoint's unit, and in "
    "standard deviations over seeds (toolkit.study.power)"
)
_READ_CURVES = (
    "A thick line joins the means over seeds of an arm; its whiskers are 95 % intervals over seeds. Each thin line is "
    "one seed. 0 trainings is M_0. All charts of a measure have one scale."
)
_SUMMARIES = "the summaries of the seeds"
CHANCE = 0.5  # of the judge's accuracy: a tie counts half


@dataclass(frozen=True)
class Scope:
    """What the sections are made of: the results, the rows of the CSV file, a store that answers SQL on them."""

    results: StudyResults
    rows: Sequence[Row]
    store: Store

    @property
    def questions(self) -> Questions:
        """The SQL of this study."""
        return Questions(self.results.declaration, self.results.conditions)

    def values(self, metric: str, key: Callable[[Row], Key | None]) -> dict[Key, list[float]]:
        """The values of a measure by key, where there is a key and a value."""
        parts: dict[Key, list[float]] = {}
        for row in self.rows:
            if row["metric"] == metric and row["value"] is not None and (of_row := key(row)) is not None:
                parts.setdefault(of_row, []).append(row["value"])
        return parts


def endpoint_section(scope: Scope) -> Section:
    """What was tested: every endpoint under every condition, what each says, and why nothing is claimed if so."""
    title, results = "Endpoints", scope.results
    declaration = results.declaration
    if not declaration.endpoints:
        return Section(title, ("No endpoint was declared, so no arm is tested against another.",))
    words = [
        f"Each number is {declaration.treatment} minus {declaration.control} of one seed, after the last training of "
        f"each; a positive number favors {declaration.treatment}.",
        *(
            f"{ENDPOINTS[name].title}: {MEASURES[ENDPOINTS[name].measure].meaning}; unit: {ENDPOINTS[name].unit}."
            for name in declaration.endpoints
        ),
        *(f"Not claimed: {reason}." for reason in results.claim.reasons),
    ]
    words += rule_words(declaration)
    words += [
        f"Seed {seed} is not in {result.endpoint}{_under(result.condition)}: {reason}."
        for result in results.endpoints
        for seed, reason in result.excluded
    ]
    answer = ask(scope.store, "Endpoints by condition", scope.questions.endpoints())
    by_key = {(result.endpoint, one_line(result.condition)): result for result in results.endpoints}
    further = [_tests(by_key[row["endpoint"], row["condition"]]) for row in answer.rows]
    columns = ("low", "high", "p", "p Holm", "detectable", "detectable sd", "reading")
    tests = replace(_wider(answer, columns, further), source=_TESTS, open=True)
    each = ask(scope.store, "Differences of the seeds", scope.questions.differences())
    return Section(title, tuple(words), asked=(tests, each.asked))


def curve_section(scope: Scope) -> Section:
    """Every measure that has values over trainings, a chart for each condition."""
    figures = [_figure(scope, name) for name in MEASURES if scope.values(name, lambda row: ())]
    return Section("Over trainings", (_READ_CURVES,), tuple(figures))


def guard_section(scope: Scope) -> Section:
    """Judge accuracy of M_0 first: without it there is no signal to keep. Then length, KL and yield."""
    words = []
    accuracy = ask(scope.store, "Judge accuracy of M_0", scope.questions.accuracy())
    spans = _spans(_accuracies(scope))
    tables = []
    if accuracy.rows:
        words += [_accuracy_sentence(row, spans[row["condition"],]) for row in accuracy.rows]
        words.append("Each seed counts with the mean over its arms; of two answers that tie, half is counted as right.")
        further = [_ends(spans[row["condition"],]) for row in accuracy.rows]
        tables.append(replace(_wider(accuracy, ("low", "high"), further), source=_INTERVALS, open=True))
    else:
        words.append("Judge accuracy was not measured: whether the judges had a signal to give is unknown.")
    present = [name for name in GUARDS if scope.values(name, lambda row: ())]
    words += [f"{name}: {MEASURES[name].meaning} ({MEASURES[name].unit})." for name in present]
    if present:
        guards = ask(scope.store, "Guards, of each arm's last model", scope.questions.guards(present))
        last = _last_trainings(scope.rows)
        spans = {
            (name, *key): span
            for name in present
            for key, span in _spans(scope.values(name, lambda row: _if_last(row, last))).items()
        }
        further = [_ends(spans[row["metric"], row["condition"], row["arm"]]) for row in guards.rows]
        tables.append(replace(_wider(guards, ("low", "high"), further), source=_INTERVALS, open=True))
    return Section("Guards", tuple(words), asked=tuple(tables))


def cost_section(scope: Scope) -> Section:
    """Wall time, tokens and trainings of each arm over its seeds, and the hours of all together."""
    costs = ask(scope.store, "Cost by arm, all seeds together", scope.questions.costs())
    if not costs.rows:
        return Section("Cost", ("The summaries hold no cost.",))
    hours = ask(scope.store, "All arms, conditions and seeds", scope.questions.hours())
    total = hours.rows[0]["hours"]
    words = f"All arms, conditions and seeds together took {show(total)} hours of wall time."
    return Section("Cost", (words if total is not None else "No wall time is known.",), asked=(
        replace(costs.asked, open=True), hours.asked,
    ))  # fmt: skip


def source_section(scope: Scope) -> Section:
    """What was declared; commit, versions and hardware of every seed."""
    declaration = scope.results.declaration
    declared = [(name, _words(value)) for name, value in declaration.as_json().items()]
    declared.append(("digest", declaration.digest))
    summaries = scope.results.summaries
    machine: list[tuple[str, str, str]] = []
    described = [
        {"commit": summary.commit or UNKNOWN, **flat(summary.versions), **flat(summary.hardware)}
        for summary in summaries
    ]
    for name in dict.fromkeys(name for data in described for name in data):
        parts = groups(summaries, [data.get(name, "none") for data in described])
        machine += [(name, value, named_seeds(own)) for value, own in parts.items()]
    words = "Everything above comes from the summaries of the seeds, one small file each, and from the CSV file here."
    return Section(
        "What was declared, and where it ran",
        (words,),
        asked=(
            Asked(Table("Declared", ("name", "value"), tuple(declared)), source=f"{_SUMMARIES}, declaration"),
            Asked(
                Table("Commit, versions and hardware", ("name", "value", "seeds"), tuple(machine)),
                source=f"{_SUMMARIES}, commit, versions, hardware",
            ),
        ),
    )


def _figure(scope: Scope, metric: str) -> Figure:
    measure = MEASURES[metric]
    means = ask(scope.store, "Means over seeds", scope.questions.curve(metric))
    each = ask(scope.store, "Values of the seeds", scope.questions.curve_seeds(metric))
    spans = _spans(scope.values(metric, lambda row: (row["condition"], row["arm"], row["trainings"])))
    further = [_ends(spans[row["condition"], row["arm"], row["trainings"]]) for row in means.rows]
    charts = [
        _chart(scope, measure.unit, condition, (means.rows, each.rows), spans)
        for condition in map(one_line, scope.results.conditions)
        if any(row["condition"] == condition for row in means.rows)
    ]
    ends = [value for span in spans.values() for value in (span.value, span.low, span.high) if value is not None]
    ends += [row["value"] for row in each.rows]
    charts = [replace(chart, reach=(min(ends), max(ends))) for chart in charts]
    wider = replace(_wider(means, ("low", "high"), further), source=_INTERVALS)
    return Figure(sentence(measure.title), f"{sentence(measure.meaning)}.", tuple(charts), (wider, each.asked))


def _chart(
    scope: Scope,
    unit: str,
    condition: str,
    answers: tuple[Sequence[Answered], Sequence[Answered]],
    spans: Mapping[Key, Interval],
) -> Curves:
    """Thin lines of the seeds below the thick ones of the means."""
    means, each = ([row for row in rows if row["condition"] == condition] for rows in answers)
    arms = list(map(one_line, scope.results.declaration.arms))
    arms += [arm for arm in dict.fromkeys(row["arm"] for row in means) if arm not in arms]
    thin, thick = [], []
    for color, arm in enumerate(arms):
        for seed in dict.fromkeys(row["seed"] for row in each if row["arm"] == arm):
            own = [row for row in each if row["arm"] == arm and row["seed"] == seed]
            points = tuple(Point(row["trainings"], row["value"], said=_of_seed(row)) for row in own)
            thin.append(Line(f"{arm}, seed {seed}", points, color, "thin"))
        own = [row for row in means if row["arm"] == arm]
        points = tuple(_mean_point(row, spans[condition, arm, row["trainings"]]) for row in own)
        thick += [Line(arm, points, color, "own")] if points else []
    return Curves("trainings", unit, (*thin, *thick), name=condition)


def _mean_point(row: Answered, span: Interval) -> Point:
    interval = "" if span.low is None else f" [{show(span.low)}, {show(span.high)}]"
    words = f"{row['arm']}, {row['trainings']} trainings: {show(row['mean'])}{interval}, {row['seeds']} seeds"
    return Point(row["trainings"], row["mean"], span.low, span.high, words)


def _of_seed(row: Answered) -> str:
    return f"{row['arm']}, {row['model']}, seed {row['seed']}: {show(row['value'])}, n {row['n']}"


def _tests(result: EndpointResult) -> tuple[str, ...]:
    """The cells behind those that SQL gives."""
    numbers = (result.low, result.high, result.p, result.p_holm, result.detectable, result.detectable_sd)
    return (*map(show, numbers), _reading(result))


def _reading(result: EndpointResult) -> str:
    if result.mean is None:
        return "no seed has a difference"
    if result.significant:
        return "favors the treatment" if result.mean > 0 else "favors the control"
    return "no difference can be told" + (f": {result.note}" if result.note else "")


def _accuracies(scope: Scope) -> dict[Key, list[float]]:
    """Judge accuracy of M_0 by condition: of each seed the mean over arms."""
    by_seed = scope.values(
        "judge_accuracy", lambda row: (row["condition"], row["seed"]) if row["trainings"] == 0 else None
    )
    parts: dict[Key, list[float]] = {}
    for (condition, _), values in by_seed.items():
        parts.setdefault((condition,), []).append(sum(sorted(values)) / len(values))
    return parts


def _accuracy_sentence(row: Answered, span: Interval) -> str:
    where = _under(row["condition"])
    seeds = f"{row['seeds']} seed{'' if row['seeds'] == 1 else 's'}"
    if span.low is None or span.high is None:
        return f"Judge accuracy of M_0{where}: {show(row['mean'])} ({seeds}, no interval); chance is {CHANCE:g}."
    chance = "cannot be told from" if span.low <= CHANCE <= span.high else "above" if span.low > CHANCE else "below"
    interval = f"95 % interval {show(span.low)} to {show(span.high)}"
    return (
        f"Judge accuracy of M_0{where}: {show(row['mean'])} ({interval}; {seeds}); it is {chance} chance, {CHANCE:g}."
    )


def _last_trainings(rows: Sequence[Row]) -> dict[Key, int]:
    last: dict[Key, int] = {}
    for row in rows:
        key = (row["condition"], row["seed"], row["arm"])
        if row["trainings"] is not None:
            last[key] = max(last.get(key, 0), row["trainings"])
    return last


def _if_last(row: Row, last: Mapping[Key, int]) -> Key | None:
    is_last = last[row["condition"], row["seed"], row["arm"]] == row["trainings"]
    return (row["condition"], row["arm"]) if is_last else None


def _spans(values: Mapping[Key, list[float]]) -> dict[Key, Interval]:
    return {key: over_seeds(own) for key, own in values.items()}


def _ends(span: Interval) -> tuple[str, str]:
    return show(span.low), show(span.high)


def _under(condition: str) -> str:
    return f" under {condition}" if condition else ""


def _words(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _wider(answer: Answer, columns: tuple[str, ...], further: Sequence[tuple[str, ...]]) -> Asked:
    """The table with columns behind those that its SQL gives."""
    table = answer.asked.table
    rows = tuple((*row, *cells) for row, cells in zip(table.rows, further, strict=True))
    return replace(answer.asked, table=replace(table, columns=(*table.columns, *columns), rows=rows))
