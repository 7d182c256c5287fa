"""measure(): how good a judge is on a labelled set, stored as scores of the judging model (task "judge").

A labelled set is a stored pair set whose chosen sides are known to be better (import gold pairs), or the answers that a
judge known by name alone has rated (import-scores). Scores come from `judge`, comparisons from `compare`, so measuring
again makes nothing. `MEANING` says what each metric is. The settings of a score name the set, its fingerprint and how
was judged; method "pairwise" are the comparisons. A metric that nothing could be measured by has no value and is not
stored: it is never 0. Left out: confidence intervals.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

from toolkit.errors import InputError
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
Numbers = Iterable[tuple[str, float | None, int]]  # metric, value, of how many


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
    known = labelled(lab.store, reference)
    scores = _by_scores(lab, model, known)
    if pairwise:
        scores += _by_comparisons(lab, model, known)
    if not lab.planning:
        lab.store.add([score for score in scores if score.value is not None], launch=lab.launch.id)
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


def _by_scores(lab: Lab, model: Model, known: Labelled) -> list[Score]:
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
    found = [*_of_gold(known, of), ("unreadable", unread, 0 if pool.planned else step.total)]
    found += _of_points(list(of.values()), rubric.scale) if rubric else ()
    made = [Score(model.id, TASK, *_named(number, common)) for number in found]
    for rater, ratings in known.ratings.items():
        beside = {**common, "rater": rater, "ratings": _fingerprint(ratings)}
        made += [Score(model.id, TASK, *_named(number, beside)) for number in _of_ratings(known, of, ratings)]
    return made


def _by_comparisons(lab: Lab, model: Model, known: Labelled) -> list[Score]:
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
    return [Score(model.id, TASK, *_named(number, common)) for number in found]


def _named(
    number: tuple[str, float | None, int], settings: Mapping[str, Json]
) -> tuple[str, Mapping[str, Json], float | None, int]:
    metric, value, n = number
    return metric, settings, value, n


def _of_gold(known: Labelled, of: Mapping[str, float]) -> Numbers:
    if known.gold:
        won = [_won(of[a], of[b]) for a, b in known.gold if a in of and b in of]
        yield _mean("accuracy", won)
        yield _mean("ties", [float(one == 0.5) for one in won])


def _of_ratings(known: Labelled, of: Mapping[str, float], ratings: Mapping[str, float]) -> Numbers:
    both = [answer for answer in known.answers if answer.id in of and answer.id in ratings]
    scores, rated = [of[one.id] for one in both], [ratings[one.id] for one in both]
    varied = len(set(scores)) > 1 and len(set(rated)) > 1
    tau, rho = _correlations(scores, rated) if varied else (None, None)
    yield "kendall", tau, len(both)
    yield "spearman", rho, len(both)
    prompts: dict[str, list[str]] = {}
    for answer in both:
        prompts.setdefault(answer.prompt, []).append(answer.id)
    beside = [pair for answers in prompts.values() for pair in combinations(answers, 2)]
    ahead = [(a, b) if ratings[a] > ratings[b] else (b, a) for a, b in beside if ratings[a] != ratings[b]]
    yield _mean("ordered_alike", [_won(of[a], of[b]) for a, b in ahead])


def _of_points(scores: Sequence[float], scale: tuple[int, int]) -> Numbers:
    """Halves round up, so that 4.5 is at the top of five."""
    points = [math.floor(score + 0.5) for score in scores]
    for point in range(scale[0], scale[1] + 1):
        yield _mean(f"points_{point}", [float(one == point) for one in points])
    yield _mean("saturation", [float(one == scale[1]) for one in points])


def _of_comparisons(known: Labelled, comparisons: Sequence[Comparison]) -> Numbers:
    chosen = {frozenset(pair): pair[0] for pair in known.gold}
    readable = [one for one in comparisons if one.status in ("decided", "tie")]
    won = [float(one.winner == chosen[frozenset((one.first, one.second))]) if one.winner else 0.5 for one in readable]
    yield _mean("accuracy", won)
    yield _mean("ties", [float(one.winner is None) for one in readable])
    yield _mean("unreadable", [float(one.status not in ("decided", "tie")) for one in comparisons])
    both = swap(comparisons)
    yield "consistency", both.consistency, len(both.outcomes) - both.count("undecided")
    yield "first_chosen", both.first_chosen, both.decided


def _correlations(scores: Sequence[float], ratings: Sequence[float]) -> tuple[float, float]:
    from scipy.stats import kendalltau, spearmanr

    return float(kendalltau(scores, ratings).statistic), float(spearmanr(scores, ratings).statistic)


def _won(ahead: float, behind: float) -> float:
    return 0.5 if ahead == behind else float(ahead > behind)


def _mean(metric: str, values: Sequence[float]) -> tuple[str, float | None, int]:
    return metric, fmean(values) if values else None, len(values)


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
