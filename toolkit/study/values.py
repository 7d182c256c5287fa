"""Every number of a study as rows of one CSV file, and questions to it in SQL.

The page asks these rows in memory under the file's name. So the SQL that is printed gives the same numbers again with
duckdb in the folder of the file. Means do not depend on the order of rows: avg(value ORDER BY value).
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from toolkit.reporting.page.parts import quoted
from toolkit.safe_text import one_line
from toolkit.store.database import Store
from toolkit.study.declaration import Declaration
from toolkit.study.endpoints import ENDPOINTS
from toolkit.study.summary import Summary
from toolkit.trust.paths import file_stem

COLUMNS = ("study", "condition", "seed", "arm", "trainings", "model", "metric", "value", "n")
COSTS = ("seconds", "prompt_tokens", "new_tokens", "trainings")  # as metrics: cost.seconds, ...
Row = dict[str, Any]

_MEASURED = """measured AS (
    SELECT
        coalesce(condition::VARCHAR, '') AS condition, seed, arm, trainings, metric, value,
        max(trainings) OVER (PARTITION BY condition, seed, arm) AS last_training
    FROM {file}
)"""
_DIFFERENCES = """WITH endpoint(position, endpoint, metric, form) AS (VALUES {endpoints}),
{measured},
arm_value AS (
    SELECT
        m.condition, m.seed, m.arm, e.position, e.endpoint, e.form,
        max(m.value) FILTER (m.trainings = m.last_training AND m.trainings > 0) AS last_value,
        max(m.value) FILTER (m.trainings = 0) AS first_value
    FROM measured m JOIN endpoint e ON e.metric = m.metric
    WHERE m.arm IN ({treatment}, {control}) GROUP BY ALL
),
compared AS (
    SELECT *, CASE
        WHEN form = 'last' THEN last_value
        WHEN last_value > 0 AND first_value > 0 THEN ln(last_value) - ln(first_value)
    END AS number FROM arm_value
),
difference AS (
    SELECT
        condition, seed, position, endpoint,
        max(number) FILTER (arm = {treatment}) - max(number) FILTER (arm = {control}) AS difference
    FROM compared GROUP BY condition, seed, position, endpoint
)
"""
_ENDPOINTS = """SELECT
    e.endpoint, c.condition, count(d.difference) AS seeds, avg(d.difference ORDER BY d.difference) AS mean,
    stddev_samp(d.difference ORDER BY d.difference) AS sd
FROM endpoint e CROSS JOIN (VALUES {conditions}) AS c(rank, condition)
LEFT JOIN difference d ON d.endpoint = e.endpoint AND d.condition = c.condition
GROUP BY e.position, e.endpoint, c.rank, c.condition ORDER BY e.position, c.rank"""
_EACH = """SELECT endpoint, condition, seed, difference FROM difference
WHERE difference IS NOT NULL ORDER BY position, condition, seed"""
_CURVE = """SELECT
    coalesce(condition::VARCHAR, '') AS condition, arm, trainings, count(value) AS seeds,
    avg(value ORDER BY value) AS mean, stddev_samp(value ORDER BY value) AS sd
FROM {file} WHERE metric = {metric} AND value IS NOT NULL GROUP BY ALL ORDER BY ALL"""
_CURVE_SEEDS = """SELECT coalesce(condition::VARCHAR, '') AS condition, arm, seed, trainings, model, value, n
FROM {file} WHERE metric = {metric} AND value IS NOT NULL ORDER BY ALL"""
_ACCURACY = """WITH own AS (
    SELECT coalesce(condition::VARCHAR, '') AS condition, seed, avg(value ORDER BY value) AS accuracy
    FROM {file} WHERE metric = 'judge_accuracy' AND trainings = 0 AND value IS NOT NULL GROUP BY ALL
)
SELECT
    condition, count(accuracy) AS seeds, avg(accuracy ORDER BY accuracy) AS mean,
    stddev_samp(accuracy ORDER BY accuracy) AS sd
FROM own GROUP BY condition ORDER BY condition"""
_GUARDS = """WITH {measured}
SELECT
    metric, condition, arm, count(value) AS seeds, avg(value ORDER BY value) AS mean,
    stddev_samp(value ORDER BY value) AS sd
FROM measured WHERE trainings = last_training AND metric IN ({metrics}) AND value IS NOT NULL
GROUP BY metric, condition, arm ORDER BY list_position([{metrics}], metric), condition, arm"""
_COSTS = """SELECT
    coalesce(condition::VARCHAR, '') AS condition, arm, count(DISTINCT seed) AS seeds, {sums},
    sum(value ORDER BY value) FILTER (metric = 'cost.seconds') / 3600 AS hours
FROM {file} WHERE starts_with(metric, 'cost.') GROUP BY ALL ORDER BY ALL"""
_HOURS = """SELECT sum(value ORDER BY value) / 3600 AS hours FROM {file} WHERE metric = 'cost.seconds'"""


def file_name(study: str) -> str:
    """Of the CSV file of this study."""
    return f"{file_stem(study)}-values.csv"


def value_rows(summaries: Sequence[Summary]) -> list[Row]:
    """All numbers of these summaries by COLUMNS: values of models, then cost, whose rows have no model.

    Texts are made safe to show. value: a float or None; a cost that is no finite number is None.
    """
    rows = []
    for summary in summaries:
        head = {
            "study": one_line(summary.declaration.study),
            "condition": one_line(summary.condition),
            "seed": summary.seed,
        }
        for value in summary.values:
            number = None if value.value is None else float(value.value)
            rows.append(
                {
                    **head, "arm": one_line(value.arm), "trainings": value.trainings, "model": one_line(value.model),
                    "metric": value.metric, "value": number, "n": value.n,
                }
            )  # fmt: skip
        for cost in summary.cost:
            rows += [
                {
                    **head, "arm": one_line(str(cost.get("arm", ""))), "trainings": None, "model": None,
                    "metric": f"cost.{name}", "value": _number(cost.get(name)), "n": None,
                }
                for name in COSTS
            ]  # fmt: skip
    return rows


def as_csv(rows: Sequence[Row]) -> str:
    """The rows as a CSV file with a header. Nothing stands for None."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


@contextmanager
def opened(study: str, rows: Sequence[Row]) -> Iterator[Store]:
    """A store that answers SQL on these rows under the name of their CSV file."""
    import pyarrow

    kinds = {"seed": pyarrow.int64(), "trainings": pyarrow.int64(), "n": pyarrow.int64(), "value": pyarrow.float64()}
    schema = pyarrow.schema([(column, kinds.get(column, pyarrow.string())) for column in COLUMNS])
    table = pyarrow.Table.from_pylist(list(rows), schema)
    with Store(None) as store, store.lent(file_name(study), table):
        yield store


class Questions:
    """The SQL of a study's page, over the CSV file of this declaration's study."""

    def __init__(self, declaration: Declaration, conditions: Sequence[str]) -> None:
        self._file = _text(file_name(declaration.study))
        self._measured = _MEASURED.format(file=self._file)
        endpoints = (
            f"({position}, {_text(name)}, {_text(ENDPOINTS[name].measure)}, {_text(ENDPOINTS[name].form)})"
            for position, name in enumerate(declaration.endpoints)
        )
        self._differences = _DIFFERENCES.format(
            endpoints=", ".join(endpoints),
            measured=self._measured,
            treatment=_text(declaration.treatment),
            control=_text(declaration.control),
        )
        self._conditions = ", ".join(f"({rank}, {_text(name)})" for rank, name in enumerate(conditions))

    def endpoints(self) -> str:
        """Mean and sd over seeds of each endpoint under each condition, in the order of the page."""
        return self._differences + _ENDPOINTS.format(conditions=self._conditions)

    def differences(self) -> str:
        """The difference of each seed."""
        return self._differences + _EACH

    def curve(self, metric: str) -> str:
        """Mean and sd over seeds of a measure, by condition, arm and trainings."""
        return _CURVE.format(file=self._file, metric=_text(metric))

    def curve_seeds(self, metric: str) -> str:
        """Every value of a measure."""
        return _CURVE_SEEDS.format(file=self._file, metric=_text(metric))

    def accuracy(self) -> str:
        """Judge accuracy of M_0: the mean over arms of each seed, then over seeds."""
        return _ACCURACY.format(file=self._file)

    def guards(self, metrics: Sequence[str]) -> str:
        """Mean and sd over seeds of these measures for each arm's last model."""
        return _GUARDS.format(measured=self._measured, metrics=", ".join(map(_text, metrics)))

    def costs(self) -> str:
        """Sums over seeds by condition and arm."""
        sums = (f"round(sum(value ORDER BY value) FILTER (metric = 'cost.{name}'))::BIGINT AS {name}" for name in COSTS)
        return _COSTS.format(file=self._file, sums=",\n    ".join(sums))

    def hours(self) -> str:
        """Wall time of all arms, conditions and seeds together."""
        return _HOURS.format(file=self._file)


def _text(text: str) -> str:
    return quoted(one_line(text))


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
