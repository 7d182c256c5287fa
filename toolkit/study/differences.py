"""The endpoints of a study: one difference per seed, its interval over seeds, its test and what it could detect.

A seed that has no difference is named with the reason and enters no number of this endpoint.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from toolkit.evaluation.statistics import NO_INTERVAL, Interval, holm, interval_of_differences, sign_flips
from toolkit.study.declaration import ALPHA, Declaration
from toolkit.study.endpoints import ENDPOINTS, MEASURES, Endpoint
from toolkit.study.power import detectable, least_p, least_seeds
from toolkit.study.summary import Summary

FEWEST = 3  # values of which an interval is given


@dataclass(frozen=True)
class EndpointResult:
    """An endpoint under one condition: treatment minus control over seeds. A positive mean favors the treatment.

    differences: (seed, difference), by seed, in `unit`. excluded: (seed, reason) of seeds with a summary and no
    difference. missing: declared seeds without a summary. mean, sd, low, high, p, p_holm: None where there are too few
    seeds; method says how the interval was computed, or why there is none; p_holm is corrected over the endpoints of
    the condition. detectable_sd: the effect in standard deviations over seeds that the test finds with power 0.8;
    detectable: the same in `unit`. note: why no p-value could fall below 0.05, or "".
    """

    condition: str
    endpoint: str
    title: str
    unit: str
    differences: tuple[tuple[int, float], ...] = ()
    excluded: tuple[tuple[int, str], ...] = ()
    missing: tuple[int, ...] = ()
    mean: float | None = None
    sd: float | None = None
    low: float | None = None
    high: float | None = None
    method: str = ""
    p: float | None = None
    p_holm: float | None = None
    test: str = ""
    detectable_sd: float | None = None
    detectable: float | None = None
    note: str = ""

    @property
    def seeds(self) -> int:
        """How many seeds have a difference."""
        return len(self.differences)

    @property
    def significant(self) -> bool:
        """Whether the corrected p-value is below 0.05, in either direction."""
        return self.p_holm is not None and self.p_holm < ALPHA

    @property
    def complete(self) -> bool:
        """Whether every declared seed has a difference."""
        return not self.missing and not self.excluded


def over_seeds(values: Sequence[float]) -> Interval:
    """The mean of one value per seed with its 95 % interval; none below 3 seeds. Raises ValueError for no values."""
    if not values:
        raise ValueError("no values, no interval")
    if len(values) < FEWEST:
        reason = f"{NO_INTERVAL}fewer than {FEWEST} seeds"
        return Interval(math.fsum(values) / len(values), None, None, len(values), reason)
    return interval_of_differences(sorted(values))


def condition_results(
    declaration: Declaration, condition: str, summaries: Sequence[Summary], seeds: Sequence[int]
) -> list[EndpointResult]:
    """Every declared endpoint under this condition, in the declaration's order. seeds: those that were declared."""
    own = sorted((summary for summary in summaries if summary.condition == condition), key=lambda each: each.seed)
    missing = tuple(seed for seed in seeds if seed not in {summary.seed for summary in own})
    results = [_result(declaration, condition, name, own, missing) for name in declaration.endpoints]
    corrected = holm([1.0 if result.p is None else result.p for result in results])
    return [
        replace(result, p_holm=None if result.p is None else p) for result, p in zip(results, corrected, strict=True)
    ]


def difference_of(summary: Summary, endpoint: Endpoint, treatment: str, control: str) -> float | str:
    """Treatment minus control of this seed, or the reason why it has none."""
    values = []
    for arm in (treatment, control):
        value = _arm_value(summary, endpoint, arm)
        if isinstance(value, str):
            return value
        values.append(value)
    return values[0] - values[1]


def _result(
    declaration: Declaration, condition: str, name: str, own: Sequence[Summary], missing: tuple[int, ...]
) -> EndpointResult:
    endpoint, tests = ENDPOINTS[name], len(declaration.endpoints)
    numbers, excluded = [], []
    for summary in own:
        difference = difference_of(summary, endpoint, declaration.treatment, declaration.control)
        if isinstance(difference, str):
            excluded.append((summary.seed, difference))
        else:
            numbers.append((summary.seed, difference))
    result = EndpointResult(
        condition, name, endpoint.title, endpoint.unit, tuple(numbers), tuple(excluded), missing,
        method=f"{NO_INTERVAL}no seed", note=_unreachable(len(numbers), tests),
    )  # fmt: skip
    if not numbers:
        return result
    values = [difference for _, difference in numbers]
    span, (p, test) = over_seeds(values), sign_flips(values)
    sd = _sd(values)
    effect = detectable(len(values), tests)
    return replace(
        result, mean=math.fsum(values) / len(values), sd=sd, low=span.low, high=span.high, method=span.method, p=p,
        test=test, detectable_sd=effect, detectable=None if effect is None or sd is None else effect * sd,
    )  # fmt: skip


def _unreachable(seeds: int, tests: int) -> str:
    if least_p(seeds) * tests < ALPHA:
        return ""
    endpoints = f"{tests} endpoint{'s' if tests > 1 else ''}"
    return (
        f"{seeds} seed{'' if seeds == 1 else 's'} cannot reach {ALPHA:g} with {endpoints}; "
        f"at least {least_seeds(tests)} can"
    )


def _sd(values: Sequence[float]) -> float | None:
    if len(values) < 2:
        return None
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def _arm_value(summary: Summary, endpoint: Endpoint, arm: str) -> float | str:
    """The value of the arm's last model, or its log ratio to M_0's; else the reason why there is none."""
    rows = [value for value in summary.values if value.arm == arm]
    if not rows:
        return f"{arm} has no values"
    last = max(row.trainings for row in rows)
    if last == 0:
        return f"{arm} has no trained model"
    measure = MEASURES[endpoint.measure].title
    numbers = []
    for trainings in (last, 0) if endpoint.form == "log_ratio" else (last,):
        own = [row for row in rows if row.trainings == trainings]
        number = next((row.value for row in own if row.metric == endpoint.measure), None)
        model = f"{own[0].model if own else 'M_0'} of {arm}"
        if number is None:
            return f"{model} has no value of {measure}"
        if endpoint.form == "log_ratio" and number <= 0:
            return f"{measure} of {model} is {number:.4g}, which has no logarithm"
        numbers.append(float(number))
    return math.log(numbers[0]) - math.log(numbers[1]) if endpoint.form == "log_ratio" else numbers[0]
