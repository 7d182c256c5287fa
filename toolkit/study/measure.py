"""measure_arm(): every number of a study for the models that an arm kept, measured when the arm has finished.

    score, spread, tokens, judge_accuracy   the probe's own (evaluation/probe.py)
    coherence   of the probe pairs in the fixed judge's order (best against worst answer to each judged prompt, ties
                left out), under the model that wrote them: with gradients g of n pairs, the mean cosine of two pairs
                weighted by their norms, (|sum g|^2 - sum |g|^2) / ((sum |g|)^2 - sum |g|^2). It is 0 by chance for any
                n, which the ratio |sum g| / sum |g| is not: fewer usable pairs raise that
    cosine      between the sum of those gradients and the sum over the own judge's pairs of the same answers; left out
                where the own judge is the fixed judge
    kl          mean of log pi(y) - log pi_0(y) over the model's answers y to the judged prompts, in nats; without the
                end of an answer that max_tokens cut, which the model did not write. 0 for M_0. Left out unless
                answers are sampled at temperature 1 and top_p 1: else they are not draws of pi
    yield, audit_gap   of the pair set that trained the model, from the store

Gradients and likelihoods are in float32. Each is stored as a score of the test "probe", so measuring again measures
nothing. Scripted models have no network: only the probe's own numbers are measured.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from toolkit.diagnostics.forward import Answer, logprobs
from toolkit.diagnostics.measure import Measuring, Meter
from toolkit.diagnostics.run_sets import Answers
from toolkit.diagnostics.sides import sides
from toolkit.engines.network import load_network
from toolkit.evaluation.answers import Graded, keep
from toolkit.evaluation.probe import TASK, Probed, ask_probe, own_protocol, protocol, same_judge, stored_scores
from toolkit.identity import Json
from toolkit.lab import Lab, Step
from toolkit.records import Model, Response, Score
from toolkit.study.summary import Value

if TYPE_CHECKING:
    from toolkit.diagnostics.gradient_sum import Total

_KEPT = re.compile(r"M_\d+")
_YIELD = "SELECT pairs, prompts, gap FROM selection WHERE pair_set = ? ORDER BY launch DESC, content LIMIT 1"
_AUDIT = "SELECT gap, pairs FROM audit_gaps WHERE pair_set = ? AND kind = 'audit' AND newest ORDER BY ALL LIMIT 1"
_HOW = Measuring(dtype="float32")


@dataclass(frozen=True)
class Kept:
    """A model that an arm kept. trainings: since M_0, with those of temporary models. pair_set: what trained it."""

    name: str
    model: str
    trainings: int
    pair_set: str


def measure_arm(lab: Lab, arm: str) -> list[Value]:
    """The values of every kept model, M_0 first. The recipe has run in this lab, whose engines are closed here."""
    kept = kept_models(lab.steps)
    models = lab.store.find(Model, [entry.model for entry in kept])
    lab.engines.close()
    values = []
    for entry in kept:
        model = models[entry.model]
        scores = stored_scores(lab, model)
        if lab.recipe.probe.judged and not _scripted(lab):
            scores += network_scores(lab, model, models[kept[0].model])
        numbers = {score.metric: (score.value, score.n or 0) for score in scores} | _of_set(lab, entry.pair_set)
        values += [Value(arm, entry.trainings, entry.name, name, value, n) for name, (value, n) in numbers.items()]
    return values


def kept_models(steps: Sequence[Step]) -> list[Kept]:
    """M_0, M_1 ... of a finished recipe by its steps; trainings before M_0 (SFT) do not count."""
    kept: list[Kept] = []
    trainings, pair_set = 0, ""
    for step in steps:
        if step.stage == "start":
            kept, trainings = [Kept("M_0", step.subject, 0, "")], 0
        elif step.stage == "pair":
            pair_set = step.subject
        elif step.stage == "train":
            trainings += 1
            if kept and _KEPT.fullmatch(step.stats["name"]):
                kept.append(Kept(step.stats["name"], step.subject, trainings, pair_set))
            pair_set = ""
    return kept


def network_scores(lab: Lab, model: Model, base: Model) -> list[Score]:
    """Coherence, cosine and KL of this model on its own probe answers; stored ones are reused."""
    recipe = lab.recipe
    measured: dict[str, Json] = {
        "judged": recipe.probe.judged, "dtype": _HOW.dtype, "max_length": recipe.training.max_length,
    }  # fmt: skip
    settings = protocol(lab, model) | measured
    own = {} if same_judge(lab.recipe) else own_protocol(lab, model) | measured
    keys = [Score(model.id, TASK, "coherence", settings)]
    plain = (recipe.answers.temperature, recipe.answers.top_p) == (1.0, 1.0)
    keys += [Score(model.id, TASK, "kl", {**settings, "base": base.id})] if plain else []
    keys += [Score(model.id, TASK, "cosine", own)] if own else []
    stored = lab.store.find(Score, [key.id for key in keys])
    if len(stored) < len(keys):
        probed = ask_probe(lab, model)
        print(f"{lab.iteration} gradients and likelihoods of {model.name} on its probe answers", file=sys.stderr)
        scores = _gradients(lab, model, probed, settings, own)
        scores += [_kl(lab, model, base, probed, keys[1].settings)] if plain else []
        keep(lab, Graded(tuple(scores), ()))
        return scores
    return [stored[key.id] for key in keys]


def extremes(probed: Probed, scores: Mapping[str, float], count: int) -> list[Answers]:
    """Best against worst answer to each of the first `count` prompts, by these scores; the first draw keeps a tie.

    Prompts with fewer than two scores, or with all scores equal, are left out.
    """
    pairs = []
    for prompt in probed.prompts[:count]:
        answers = [answer for answer in probed.answers[prompt.id] if answer.id in scores]
        best = max(answers, key=lambda answer: scores[answer.id], default=None)
        worst = min(answers, key=lambda answer: scores[answer.id], default=None)
        if best and worst and scores[best.id] > scores[worst.id]:
            pairs.append(Answers(prompt, best, worst))
    return pairs


def _gradients(
    lab: Lab, model: Model, probed: Probed, settings: Mapping[str, Json], own: Mapping[str, Json]
) -> list[Score]:
    meter, count = Meter(lab, _HOW), lab.recipe.probe.judged
    total = _total(meter, model, extremes(probed, probed.fixed, count))
    scores = []
    if own:
        other = _total(meter, model, extremes(probed, probed.own, count))
        pairs = min(len(total.norms), len(other.norms))
        scores.append(Score(model.id, TASK, "cosine", own, total.cosine(other), pairs))
    total.settle()
    return [Score(model.id, TASK, "coherence", settings, mean_cosine(total), len(total.norms)), *scores]


def mean_cosine(total: Total) -> float | None:
    """The mean cosine between two of the summed gradients, weighted by norms. None for fewer than two above zero."""
    if total.value is None or total.if_swapped is None or total.if_swapped > 1 - 1e-12:
        return None
    return (total.value**2 - total.if_swapped**2) / (1 - total.if_swapped**2)


def _total(meter: Meter, model: Model, pairs: Sequence[Answers]) -> Total:
    from toolkit.diagnostics.gradient_sum import Total

    total = Total()
    if pairs:
        meter.measure("gradient", model, pairs, total)
    return total


def _kl(lab: Lab, model: Model, base: Model, probed: Probed, settings: Mapping[str, Json]) -> Score:
    answers = [answer for prompt in probed.prompts[: lab.recipe.probe.judged] for answer in probed.answers[prompt.id]]
    started = time.monotonic()
    if model.id == base.id:
        return Score(model.id, TASK, "kl", settings, 0.0, len(answers))
    prompts = {prompt.id: prompt for prompt in probed.prompts}
    chat, limit = lab.chat(model), lab.recipe.training.max_length
    tokens = (_tokens(chat, prompts[answer.prompt], answer, limit) for answer in answers)
    rows = [row for row in tokens if row is not None]
    own, reference = (_logprobs(lab, which, rows) for which in (model, base))
    differences = [mine - theirs for mine, theirs in zip(own, reference, strict=True)]
    label, seconds = f"likelihoods of probe answers of {model.name}", time.monotonic() - started
    lab.note(Step(lab.iteration, "diagnose", label, model.id, len(rows), 0, seconds))
    return Score(model.id, TASK, "kl", settings, fmean(differences) if differences else None, len(differences))


def _tokens(chat: Any, prompt: Any, answer: Response, limit: int) -> Answer | None:
    """The answer as the trainer sees it, without the end that a cut answer never had; None where it has no tokens."""
    both = sides(chat, prompt, (answer, answer), limit)
    if isinstance(both, str):
        return None
    tokens = both.chosen[:-1] if answer.finish == "length" else both.chosen
    return (both.prompt, tokens) if len(tokens) > both.prompt else None


def _logprobs(lab: Lab, model: Model, rows: Sequence[Answer]) -> list[float]:
    trust = lab.recipe.trust_remote_code
    return logprobs(load_network(lab.unchanged(model), _HOW.dtype, trust_remote_code=trust), rows)


def _of_set(lab: Lab, pair_set: str) -> dict[str, tuple[float | None, int]]:
    if not pair_set:
        return {}
    numbers: dict[str, tuple[float | None, int]] = {}
    for row in lab.store.query(_YIELD, [pair_set]):
        numbers["yield"] = (row["pairs"] / row["prompts"] if row["prompts"] else None, row["prompts"])
        if same_judge(lab.recipe):
            numbers["audit_gap"] = (row["gap"], row["pairs"])
    for row in lab.store.query(_AUDIT, [pair_set]):
        numbers["audit_gap"] = (row["gap"], row["pairs"])
    return numbers


def _scripted(lab: Lab) -> bool:
    return "scripted" in (lab.recipe.engine.kind, lab.recipe.trainer.python)
