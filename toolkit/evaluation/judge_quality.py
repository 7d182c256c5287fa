"""measure(): how good a judge is on a labelled set, stored as scores of the judging model (task "judge").

A labelled set is a stored pair set whose chosen sides are known to be better (import gold pairs), or the answers that a
judge known by name alone has rated (import-scores). Scores come from `judge`, comparisons from `compare`, so measuring
again makes nothing. `MEANING` says what each metric is. The settings of a score name the set, its fingerprint and how
was judged; method "pairwise" are the comparisons. A metric that nothing could be measured by has no value and is not
stored: it is never 0.

`measured` adds an interval to each metric. Pairs and answers of one prompt are one item of it (their mean), so are the
two orders of a pair; correlations are resampled by prompt.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import fmean

from toolkit.errors import InputError
from toolkit.evaluation.statistics import LEVEL, NO_INTERVAL, SEED, Interval, interval
from toolkit.identity import Json, content_id, fingerprint
from toolkit.judgments.judge import Pool, judge
from toolkit.judgments.pairwise import compare, swap
from toolkit.judgments.rubric import load_rubric
from toolkit.lab import Lab
from toolkit.pairs.versions import load, versions
from toolkit.records import Comparison, Model, Response, Score
from toolkit.store.database import Store

TASK = "judge"
MEANING = {
    "accuracy": "share of gold pairs, or of their readable orders, with the chosen side ahead; a tie counts half",
    "ties": "share of gold pairs, or of their readable orders, without a winner",
    "unreadable": "share of verdicts that could not be read",
    "kendall": "tau-b of scores and ratings, over all answers",
    "spearman": "rank correlation of scores and ratings, over all answers",
    "ordered_alike": "share of differently rated answers to one prompt that are ordered as rated; a tie counts half",
    "saturation": "share of answers at the top of the scale",
    "consistency": "share of pairs with one winner in both orders, of those decided in both",
    "first_chosen": "share of decided orders won by the answer shown first; 0.5 is no bias",
}
CORRELATION_RESAMPLES, FEWEST = 1_000, 5  # resamples of a correlation, and the prompts that it takes
Number = tuple[str, float | None, int, Interval | None]  # metric, value, of how many, with its interval
Numbers = Iterable[Number]
Judged = tuple[Score, Interval | None]


@dataclass(frozen=True)
class Labelled:
    """gold: ids of (chosen, rejected). ratings: rater -> answer -> mean of the scores that it gave."""

    id: str
    fingerprint: str
    answers: tuple[Response, ...]
    gold: tuple[tuple[str, str], ...]
    ratings: Mapping[str, Mapping[str, float]]


def measure(lab: Lab, model: Model, reference: str, pairwise: bool = False) -> list[Score]:
    """Every metric of `model` as a judge of this set; those without a value had nothing to be measured by."""
    return [score for score, _ in measured(lab, model, reference, pairwise)]


def measured(lab: Lab, model: Model, reference: str, pairwise: bool = False) -> list[Judged]:
    """As `measure`, each metric with its interval; None where nothing was measured."""
    known = labelled(lab.store, reference)
    scores = _by_scores(lab, model, known)
    if pairwise:
        scores += _by_comparisons(lab, model, known)
    if not lab.planning:
        lab.store.add([score for score, _ in scores if score.value is not None], launch=lab.launch.id)
    return scores


def scored_by(lab: Lab, model: Model, answers: Sequence[Response]) -> Pool:
    """The answers' scores by this very model. Raises InputError where the recipe lets another one judge."""
    pool = judge(lab, model, answers)
    if pool.judge != model.id:
        raise InputError(
            f"the recipe lets {pool.judge} judge, not {model.name} ({model.id})",
            remedy="use a recipe whose judge is the model itself",
        )
    return pool


def labelled(store: Store, reference: str) -> Labelled:
    """The pair set, or the answers rated by the judge, of this name. Raises InputError."""
    if not versions(store, reference.partition("@")[0]) and (rater := _rater(store, reference)):
        ratings = _ratings(store, "j.judge = $key", rater)
        answers = store.find(Response, ratings[rater])
        return Labelled(f"ratings of {reference}", _fingerprint(ratings[rater]), _ordered(answers), (), ratings)
    version = load(store, reference)
    if not version.pairs:
        raise InputError(f"{version.id} has no pairs", remedy="name a set that has some")
    gold = tuple((pair.chosen, pair.rejected) for pair in version.pairs)
    answers = store.find(Response, {answer for pair in gold for answer in pair})
    ratings = _ratings(store, "j.response IN (SELECT unnest($key::VARCHAR[]))", list(answers))
    return Labelled(version.id, version.fingerprint, _ordered(answers), gold, ratings)


def _by_scores(lab: Lab, model: Model, known: Labelled) -> list[Judged]:
    with _whatever_is_readable(lab):
        pool = scored_by(lab, model, known.answers)
    settings, step = lab.recipe.judge, lab.steps[-1]
    rubric = None if settings.method == "reward" else load_rubric(settings.rubric)
    of = {scored.response.id: scored.score for pool_of in pool.candidates.values() for scored in pool_of}
    common: dict[str, Json] = {
        "set": known.id,
        "fingerprint": known.fingerprint,
        "method": settings.method,
        "rubric": rubric.id if rubric else None,
        "draws": step.total // len(known.answers),
        "sampling": settings.sampling.as_json(),
        "seed": lab.recipe.seed,
    }
    unread = None if pool.planned else 1 - step.stats.get("scored", 0) / step.total
    found = [*_of_gold(known, of), _share("unreadable", unread, 0 if pool.planned else step.total)]
    prompts = {answer.id: answer.prompt for answer in known.answers}
    found += _of_points(list(of.values()), [prompts[answer] for answer in of], rubric.scale) if rubric else ()
    made = [_judged(model, number, common) for number in found]
    for rater, ratings in known.ratings.items():
        beside = {**common, "rater": rater, "ratings": _fingerprint(ratings)}
        made += [_judged(model, number, beside) for number in _of_ratings(known, of, ratings)]
    return made


def _by_comparisons(lab: Lab, model: Model, known: Labelled) -> list[Judged]:
    if not known.gold:
        raise InputError(f"{known.id} have no gold pairs to compare", remedy="name a pair set, or leave out --pairwise")
    answers = {answer.id: answer for answer in known.answers}
    comparisons = compare(lab, model, [(answers[chosen], answers[rejected]) for chosen, rejected in known.gold])
    common: dict[str, Json] = {
        "set": known.id,
        "fingerprint": known.fingerprint,
        "method": "pairwise",
        "rubric": comparisons[0].rubric,
        "draws": 1,
        "sampling": comparisons[0].sampling.as_json(),
        "seed": lab.recipe.seed,
    }
    found = _of_comparisons(known, [one for one in comparisons if one.status])
    return [_judged(model, number, common) for number in found]


def _judged(model: Model, number: Number, settings: Mapping[str, Json]) -> Judged:
    metric, value, n, span = number
    return Score(model.id, TASK, metric, settings, value, n), span


def _of_gold(known: Labelled, of: Mapping[str, float]) -> Numbers:
    if known.gold:
        prompts = {answer.id: answer.prompt for answer in known.answers}
        both = [(a, b) for a, b in known.gold if a in of and b in of]
        won, groups = [_won(of[a], of[b]) for a, b in both], [prompts[a] for a, _ in both]
        yield _mean("accuracy", won, groups)
        yield _mean("ties", [float(one == 0.5) for one in won], groups)


def _of_ratings(known: Labelled, of: Mapping[str, float], ratings: Mapping[str, float]) -> Numbers:
    both = [answer for answer in known.answers if answer.id in of and answer.id in ratings]
    scores, rated = [of[one.id] for one in both], [ratings[one.id] for one in both]
    varied = len(set(scores)) > 1 and len(set(rated)) > 1
    tau, rho = _correlations(scores, rated) if varied else (None, None)
    spans = _resampled_correlations(scores, rated, [one.prompt for one in both]) if varied else (None, None)
    yield "kendall", tau, len(both), spans[0] and replace(spans[0], value=tau or 0.0)
    yield "spearman", rho, len(both), spans[1] and replace(spans[1], value=rho or 0.0)
    prompts: dict[str, list[str]] = {}
    for answer in both:
        prompts.setdefault(answer.prompt, []).append(answer.id)
    beside = [pair for answers in prompts.values() for pair in combinations(answers, 2)]
    ahead = [(a, b) if ratings[a] > ratings[b] else (b, a) for a, b in beside if ratings[a] != ratings[b]]
    prompt_of = {one.id: one.prompt for one in both}
    yield _mean("ordered_alike", [_won(of[a], of[b]) for a, b in ahead], [prompt_of[a] for a, _ in ahead])


def _of_points(scores: Sequence[float], groups: Sequence[str], scale: tuple[int, int]) -> Numbers:
    """Halves round up, so that 4.5 is at the top of five."""
    points = [math.floor(score + 0.5) for score in scores]
    for point in range(scale[0], scale[1] + 1):
        yield _mean(f"points_{point}", [float(one == point) for one in points], groups)
    yield _mean("saturation", [float(one == scale[1]) for one in points], groups)


def _of_comparisons(known: Labelled, comparisons: Sequence[Comparison]) -> Numbers:
    chosen = {frozenset(pair): pair[0] for pair in known.gold}
    readable = [one for one in comparisons if one.status in ("decided", "tie")]
    won = [float(one.winner == chosen[frozenset((one.first, one.second))]) if one.winner else 0.5 for one in readable]
    prompts = {answer.id: answer.prompt for answer in known.answers}
    groups = [prompts[one.first] for one in readable]
    yield _mean("accuracy", won, groups)
    yield _mean("ties", [float(one.winner is None) for one in readable], groups)
    unread = [float(one.status not in ("decided", "tie")) for one in comparisons]
    yield _mean("unreadable", unread, [prompts[one.first] for one in comparisons])
    both = swap(comparisons)
    yield _share("consistency", both.consistency, len(both.outcomes) - both.count("undecided"))
    yield _share("first_chosen", both.first_chosen, both.decided)


def _correlations(scores: Sequence[float], ratings: Sequence[float]) -> tuple[float, float]:
    from scipy.stats import kendalltau, spearmanr

    return float(kendalltau(scores, ratings).statistic), float(spearmanr(scores, ratings).statistic)


def _won(ahead: float, behind: float) -> float:
    return 0.5 if ahead == behind else float(ahead > behind)


def _mean(metric: str, values: Sequence[float], groups: Sequence[str]) -> Number:
    """The mean of all values; the interval takes those of one group as one item."""
    if not values:
        return metric, None, 0, None
    grouped: dict[str, list[float]] = {}
    for value, group in zip(values, groups, strict=True):
        grouped.setdefault(group, []).append(value)
    mean, span = fmean(values), interval([fmean(one) for one in grouped.values()], (0.0, 1.0))
    low, high = (None if end is None else pick(end, mean) for end, pick in ((span.low, min), (span.high, max)))
    return metric, mean, len(values), replace(span, value=mean, low=low, high=high, n=len(grouped))


def _share(metric: str, value: float | None, n: int) -> Number:
    """A share of n verdicts or pairs, taken as independent."""
    if value is None or not n:
        return metric, value, n, None
    right = round(value * n)
    return metric, value, n, interval([1.0] * right + [0.0] * (n - right))


def _resampled_correlations(
    scores: Sequence[float], ratings: Sequence[float], prompts: Sequence[str]
) -> tuple[Interval, Interval]:
    """Intervals of tau-b and of Spearman's coefficient, prompts drawn with replacement."""
    import numpy as np

    names = list(dict.fromkeys(prompts))
    if len(names) < FEWEST:
        none = Interval(0.0, None, None, len(names), f"{NO_INTERVAL}fewer than {FEWEST} prompts")
        return none, none
    x, y, rows = np.asarray(scores), np.asarray(ratings), {name: list[int]() for name in names}
    for index, prompt in enumerate(prompts):
        rows[prompt].append(index)
    generator, drawn = np.random.default_rng(SEED), list[tuple[float, float]]()
    for _ in range(CORRELATION_RESAMPLES):
        chosen = [i for place in generator.integers(0, len(names), len(names)) for i in rows[names[place]]]
        if len(set(x[chosen])) > 1 and len(set(y[chosen])) > 1:
            drawn.append(_correlations(list(x[chosen]), list(y[chosen])))
    if len(drawn) < CORRELATION_RESAMPLES / 2:
        none = Interval(0.0, None, None, len(names), f"{NO_INTERVAL}most resamples have one score or rating alone")
        return none, none
    ends = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    method = f"bootstrap of {CORRELATION_RESAMPLES} by prompt, seed {SEED}"
    tau, rho = (Interval(0.0, float(ends[0][i]), float(ends[1][i]), len(names), method) for i in (0, 1))
    return tau, rho


def _rater(store: Store, name: str) -> str | None:
    sql = (
        "SELECT id FROM model WHERE $name IN (name, id) AND id IN "
        "(SELECT judge FROM judgment WHERE method = 'given' AND isfinite(score))"
    )
    rows = store.query(sql, {"name": name})
    return rows[0]["id"] if rows else None


def _ratings(store: Store, where: str, key: object) -> dict[str, dict[str, float]]:
    sql = (
        "SELECT j.judge, j.response, round(avg(j.score), 9) AS score FROM judgment j "
        f"WHERE j.method = 'given' AND isfinite(j.score) AND {where} GROUP BY ALL ORDER BY ALL"
    )
    ratings: dict[str, dict[str, float]] = {}
    for row in store.query(sql, {"key": key}):
        ratings.setdefault(row["judge"], {})[row["response"]] = row["score"]
    return ratings


def _ordered(answers: Mapping[str, Response]) -> tuple[Response, ...]:
    return tuple(answers[identifier] for identifier in sorted(answers))


def _fingerprint(ratings: Mapping[str, float]) -> str:
    return fingerprint(content_id("Rating", [answer, round(score, 9)]) for answer, score in ratings.items())


@contextmanager
def _whatever_is_readable(lab: Lab) -> Iterator[None]:
    """A judge that cannot be read is a finding here and no reason to stop."""
    kept = lab.recipe
    lab.recipe = kept.model_copy(update={"judge": kept.judge.model_copy(update={"max_unreadable": 1.0})})
    try:
        yield
    finally:
        lab.recipe = kept
