"""Whether the declared difference may be claimed, and the sentence that says so first.

It is claimed only if, under every condition of the declaration's `claim`, every endpoint has a positive mean difference
and a corrected p-value below 0.05; a study without conditions has one set of endpoints, which is its claim. Where a
negative condition is declared, the interval of quality under it must lie below half of the mean of quality under each
of these conditions; where quality is no endpoint, the first one stands for it. Nothing is claimed while a declared seed
of any of these conditions is missing, or where summaries do not belong together (marks.py).

A test that is not significant tells no difference; it does not show that there is none. Its sentence states what was
detectable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from toolkit.reporting.page.as_html import sentence
from toolkit.reporting.tables import show
from toolkit.study.declaration import Declaration
from toolkit.study.differences import EndpointResult
from toolkit.study.endpoints import ENDPOINTS
from toolkit.study.marks import seed_words
from toolkit.study.power import claim_power_text

Results = Mapping[str, Sequence[EndpointResult]]  # by condition, the endpoints in the order of the declaration
CLAIMED, NOT_CLAIMED, NO_TEST = "claimed", "not claimed", "no claim declared"


@dataclass(frozen=True)
class Claim:
    """The answer of a study. word: CLAIMED, NOT_CLAIMED or NO_TEST. sentence: the answer with interval and seeds.

    reasons: every reason why the difference is not claimed; empty where it is, or where no claim was declared.
    """

    word: str
    sentence: str
    reasons: tuple[str, ...] = ()


def decide(declaration: Declaration, results: Results, blocks: Sequence[str]) -> Claim:
    """Apply the declared rule. blocks: reasons from the marks why nothing may be claimed."""
    if not declaration.endpoints:
        return Claim(NO_TEST, "No test was declared: this page describes the arms and compares none of them.")
    if not declaration.claim_conditions:
        first = [own[0] for own in results.values() if own]
        return Claim(NO_TEST, f"No claim was declared. {sentence(_joined(declaration, first))}.")
    own = [results.get(condition, ()) for condition in declaration.claim_conditions]
    tested, first = [result for each in own for result in each], [each[0] for each in own if each]
    rule = [reason for result in tested if (reason := _failure(declaration, result))]
    rule += _negative(declaration, results)
    missing = _missing(declaration, results)
    if not (rule or missing or blocks):
        return Claim(CLAIMED, f"{declaration.treatment} is better than {declaration.control}: {_means(first)}.")
    reasons = (*blocks, *rule, *missing)
    return Claim(NOT_CLAIMED, _answer(declaration, first, bool(rule or blocks)), reasons)


def result_sentence(declaration: Declaration, result: EndpointResult) -> str:
    """What one endpoint under one condition says: its direction, or that none can be told and what was detectable."""
    if result.mean is None:
        return f"No difference can be told: no seed has one{_because(result)}."
    if result.significant:
        return f"Favors {_favored(declaration, result)} by {amount(result, absolute=True)}; {p_text(result)}."
    return f"No difference can be told: {amount(result)}; {p_text(result)}; {detectable_text(result)}."


def rule_words(declaration: Declaration) -> list[str]:
    """How the negative control is read, and the power of the whole claim; nothing where none was declared."""
    words = []
    if declaration.negative:
        says = f"{declaration.negative} is the negative control: its judge knows nothing, so what it shows is no signal"
        if declaration.claim_conditions:
            title = ENDPOINTS[declaration.ruling].title
            says += f"; the interval of {title} under it must lie below half of the mean that is claimed"
        words.append(f"{says}.")
    power = claim_power_text(declaration)
    return [*words, f"{sentence(power)}."] if power else words


def amount(result: EndpointResult, *, absolute: bool = False) -> str:
    """The mean difference with its interval, unit and number of seeds. absolute: in the direction of the mean."""
    if result.mean is None:
        return "no seed has a difference"
    low, high, mean = result.low, result.high, result.mean
    if absolute and mean < 0:
        low, high, mean = None if high is None else -high, None if low is None else -low, -mean
    interval = "no interval" if low is None or high is None else f"95 % interval {show(low)} to {show(high)}"
    return f"{show(mean)} ({result.unit}; {interval}; {_seeds(result.seeds)})"


def p_text(result: EndpointResult) -> str:
    """The corrected p-value in words."""
    return f"corrected p = {show(result.p_holm)}"


def detectable_text(result: EndpointResult) -> str:
    """What the test could have detected, or why it could detect nothing."""
    if result.note:
        return result.note
    if result.detectable is None or result.detectable_sd is None:
        return "what was detectable is unknown"
    return (
        f"a true difference of {show(result.detectable)} ({show(result.detectable_sd)} standard deviations over seeds) "
        "would have been detected with a probability of 80 %"
    )


def result_name(result: EndpointResult) -> str:
    """The endpoint and its condition, as sentences name them."""
    return f"{result.title} under {result.condition}" if result.condition else result.title


def _answer(declaration: Declaration, first: Sequence[EndpointResult], broken: bool) -> str:
    """The sentence of a difference that is not claimed. broken: not only because seeds are missing."""
    arms = f"that {declaration.treatment} is better than {declaration.control}"
    joined = _joined(declaration, first)
    if broken:
        return f"It is not claimed {arms}: {joined}."
    return f"It is not claimed yet {arms}: the rule is met so far, but declared seeds are missing. {sentence(joined)}."


def _joined(declaration: Declaration, results: Sequence[EndpointResult]) -> str:
    """The direction of each, with its mean, interval and number of seeds."""
    parts = []
    for result in results:
        if result.mean is not None and result.significant:
            direction = (
                f"{result_name(result)} favors {_favored(declaration, result)} by {amount(result, absolute=True)}"
            )
        else:
            direction = f"no difference can be told in {result_name(result)}: {amount(result)}"
            direction += f"; {detectable_text(result)}" if result.mean is not None else ""
        parts.append(direction)
    return "; ".join(parts) or "no condition of the claim has a summary"


def _means(results: Sequence[EndpointResult]) -> str:
    return "; ".join(f"{result_name(result)} {amount(result)}, {p_text(result)}" for result in results)


def _failure(declaration: Declaration, result: EndpointResult) -> str:
    """Why this endpoint does not support the claim, or ""."""
    if result.mean is None:
        return f"{result_name(result)} has no difference of any seed{_because(result)}"
    if result.significant:
        return "" if result.mean > 0 else f"{result_name(result)} favors the control, {declaration.control}"
    return f"no difference can be told in {result_name(result)} ({p_text(result)}; {detectable_text(result)})"


def _negative(declaration: Declaration, results: Results) -> list[str]:
    """Why the negative control does not exclude half of the effect."""
    if not declaration.negative:
        return []
    own = _ruling(declaration, results, declaration.negative)
    if own is None or own.high is None:
        reason = own.method if own else "it has no summary"
        return [f"the negative control, {declaration.negative}, excludes nothing: {reason}"]
    effects = [_ruling(declaration, results, condition) for condition in declaration.claim_conditions]
    return [
        f"the interval of {own.title} under the negative control, {declaration.negative}, reaches {show(own.high)}, "
        f"which does not exclude half of the effect seen{_under(effect)}, {show(effect.mean / 2)} ({effect.unit})"
        for effect in effects
        if effect and effect.mean is not None and effect.mean > 0 and own.high >= effect.mean / 2
    ]


def _ruling(declaration: Declaration, results: Results, condition: str) -> EndpointResult | None:
    """The endpoint under this condition by which the negative control is read."""
    return next((own for own in results.get(condition, ()) if own.endpoint == declaration.ruling), None)


def _missing(declaration: Declaration, results: Results) -> list[str]:
    """Declared seeds that a condition of the rule lacks, whole or in an endpoint."""
    reasons = []
    for condition in (*declaration.claim_conditions, *([declaration.negative] if declaration.negative else [])):
        own = results.get(condition, ())
        where = f" under {condition}" if condition else ""
        if own and own[0].missing:
            reasons.append(f"no summary of {seed_words(own[0].missing)}{where}")
        for result in own:
            if condition and condition == declaration.negative and result.endpoint != declaration.ruling:
                continue
            reasons += [f"seed {seed} is not in {result_name(result)}: {reason}" for seed, reason in result.excluded]
    return reasons


def _favored(declaration: Declaration, result: EndpointResult) -> str:
    return declaration.treatment if (result.mean or 0.0) > 0 else f"the control, {declaration.control},"


def _because(result: EndpointResult) -> str:
    reasons = list(dict.fromkeys(reason for _, reason in result.excluded))
    return f" ({'; '.join(reasons)})" if reasons else ""


def _under(result: EndpointResult) -> str:
    return f" under {result.condition}" if result.condition else ""


def _seeds(count: int) -> str:
    return f"{count} seed{'' if count == 1 else 's'}"
