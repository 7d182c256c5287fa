"""judge(): a model scores answers by a rubric, n draws each; an answer's score is their mean.

The recipe passes the present model, as the paper has it; `judge.by` puts another in its place: the past, any model,
a served one (`judge.base_url`) or a reward function. Verdicts are keyed by the judge and never reused across judges.
With `judge.select_draws` only the first so many draws make the score; the others measure (view `audit_pairs`).

An answer without a readable verdict has no score: it is never a number among numbers. Only the judge's
own reply is parsed. Draws differ by seed; the expected-score method is exact and takes one draw.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from toolkit.config import Judge
from toolkit.engines.openai import ChatRequest, complete_chats
from toolkit.engines.protocol import Completion, Request
from toolkit.errors import InputError, JudgeError
from toolkit.identity import content_id, derive_seed, fingerprint
from toolkit.judgments.expected import expected_score
from toolkit.judgments.reward import reward, reward_model
from toolkit.judgments.rubric import Rubric, load_rubric
from toolkit.judgments.verdict import parse_verdict
from toolkit.lab import Lab, Step
from toolkit.records import MIN_MASS, Judgment, Model, Prompt, Response
from toolkit.redaction import hidden

Case = tuple[Judgment, list[dict[str, str]]]  # a request and its conversation
SCORE_DIGITS = 9  # scores closer than 1e-9 are equal


@dataclass(frozen=True)
class Scored:
    """A response and its mean score over readable verdicts."""

    response: Response
    score: float


@dataclass(frozen=True)
class Pool:
    """The scored answers of one model to a part of prompts, by prompt id, in draw order.

    A prompt is barred where an answer has no score and the recipe says `judge.unreadable = "drop_prompt"`.
    `ties` is the recipe's rule inside the pool, `rho` its length control, `rejected` its rule for the rejected side,
    and `seed` its seed, by which the rule "random" draws. A planned pool has no scores yet, and `asked` tells what they
    will be scores of.
    """

    judge: str
    candidates: Mapping[str, tuple[Scored, ...]]
    barred: frozenset[str] = frozenset()
    ties: str = "first"
    planned: bool = False
    rho: float | None = None
    asked: str = ""
    rejected: str = "worst"
    seed: int = 0


def judge(lab: Lab, model: Model, responses: Sequence[Response]) -> Pool:
    """Every response scored by `model`. Raises JudgeError when too many verdicts are unreadable."""
    settings = lab.recipe.judge
    model = judging(lab, model)
    roles = "/".join(sorted({response.role for response in responses}))
    records = verdicts(lab, settings, model, responses, Step(lab.iteration, "judge", f"on {roles} answers", "", 0, 0))
    planned = any(judgment.status is None for judgment in records)
    if not planned:
        _stop_rule(records, settings.max_unreadable, settings.method)
    selecting = [judgment for judgment in records if judgment.draw < (settings.select_draws or settings.draws)]
    candidates, unscored = _candidates(responses, selecting)
    barred = frozenset(unscored if settings.unreadable == "drop_prompt" else ())
    rules = lab.recipe.pairs
    digest = _digest(lab, selecting) if lab.planning else ""
    return Pool(
        model.id, candidates, barred, rules.ties, planned, rules.length_control, digest, rules.rejected, lab.recipe.seed
    )


def verdicts(lab: Lab, settings: Judge, model: Model, responses: Sequence[Response], step: Step) -> list[Judgment]:
    """Every verdict of this judge on the responses: stored ones as they are, missing ones made; in a plan unanswered.

    step: the stage to note them under, the end of its label ("on present answers") and further stats.
    """
    rubric = load_rubric(settings.rubric)
    if settings.method == "expected" and not rubric.single_digit:
        raise InputError(
            f"rubric {rubric.name!r} has the scale {rubric.scale}, the expected score needs single digits",
            remedy="set judge.method = 'generated', or a scale within 0-9",
        )
    requests = ask(lab, settings, model, responses, rubric)
    by_id = {response.id: response for response in responses}
    label = f"verdicts of {model.name} {step.label}"
    fetched = lab.fulfil(
        label,
        requests,
        lambda missing: _judge(lab, settings, model, rubric, [(j, by_id[j.response]) for j in missing]),
    )
    counts: dict[str, int] = Counter(judgment.status for judgment in fetched.records if judgment.status)
    most = (len(requests) - fetched.cached) * settings.sampling.max_tokens
    step = replace(step, label=label, subject=model.id, total=len(requests), cached=fetched.cached)
    lab.note(replace(step, seconds=fetched.seconds, new_tokens=most, stats={**step.stats, **counts}))
    return fetched.records


def _digest(lab: Lab, asked: Sequence[Judgment]) -> str:
    """What decides, once the verdicts are there, who is picked: they and the rules."""
    rules = lab.recipe.pairs
    verdicts = fingerprint(judgment.id for judgment in asked)
    return content_id("pool", [verdicts, lab.recipe.judge.unreadable, rules.ties, rules.length_control])


def judging(lab: Lab, present: Model, settings: Judge | None = None) -> Model:
    """The judge that these settings, or the recipe's own, mean, stored."""
    settings = settings or lab.recipe.judge
    if settings.method == "reward":
        model = reward_model(settings.reward, lab.recipe.prompts)
    elif settings.base_url:
        model = Model(settings.by, hidden(settings.base_url), f"served:{settings.by}", "served")
    elif settings.by == "present":
        return present
    elif settings.by == "past":
        assert lab.past is not None  # the present came from the lab
        return lab.past
    else:
        return lab.model(settings.by)
    if not lab.planning:
        lab.store.add([model], launch=lab.launch.id)
    return model


def ask(lab: Lab, settings: Judge, model: Model, responses: Sequence[Response], rubric: Rubric) -> list[Judgment]:
    """The requests: `draws` per response; one where the method is exact."""
    if settings.method == "reward":
        return [Judgment(response.id, model.id, None, "reward", None, 0, None) for response in responses]
    return [
        Judgment(
            response=response.id,
            judge=model.id,
            rubric=rubric.id,
            method=settings.method,
            sampling=settings.sampling,
            draw=draw,
            seed=derive_seed(lab.recipe.seed, response.id, model.id, rubric.id, draw),
        )
        for response in responses
        for draw in range(1 if settings.exact else settings.draws)
    ]


def _judge(
    lab: Lab, settings: Judge, model: Model, rubric: Rubric, missing: list[tuple[Judgment, Response]]
) -> Iterator[Judgment]:
    if settings.method == "reward":
        yield from reward(lab, settings.reward, missing)
        return
    lab.store.insert("rubric", [{"id": rubric.id, "name": rubric.name, "body": rubric.body(), "launch": lab.launch.id}])
    prompts = lab.store.find(Prompt, {response.prompt for _, response in missing})
    cases = {
        judgment.id: (judgment, rubric.messages(prompts[response.prompt].as_text(), response.text or ""))
        for judgment, response in missing
    }
    if settings.base_url:
        yield from _served(lab, settings, rubric, cases)
    else:
        yield from _scored(lab, settings, model, rubric, cases)


def _served(lab: Lab, settings: Judge, rubric: Rubric, cases: Mapping[str, Case]) -> Iterator[Judgment]:
    """Verdicts of a chat server, which renders the conversations itself."""
    engine = lab.recipe.engine.model_copy(update={"base_url": settings.base_url})
    requests = [ChatRequest(id, tuple(m), settings.sampling, j.seed or 0) for id, (j, m) in cases.items()]
    for done in complete_chats(settings.by, engine, settings.key_variable, requests):
        yield _verdict(cases[done.id][0], done, rubric, {})


def _scored(lab: Lab, settings: Judge, model: Model, rubric: Rubric, cases: Mapping[str, Case]) -> Iterator[Judgment]:
    """Verdicts of a checkpoint. A judgement too long for the engine is unreadable, and not asked for.

    Equal texts in equal places have one expected score, so it is computed once.
    """
    requests: list[Request] = []
    alike: dict[object, list[str]] = {}
    asked, labels = _requests(lab, settings, model, rubric, list(cases.values()))
    for request in asked:
        excess = len(request.tokens) + request.sampling.max_tokens - lab.recipe.engine.max_model_len
        if excess > 0:
            reason = f"the judge's prompt is {excess} tokens too long for engine.max_model_len"
            yield replace(cases[request.id][0], reply="", status="unreadable", reason=reason)
            continue
        same = alike.setdefault(request.tokens if request.score_tokens else request.id, [])
        same.append(request.id)
        requests += [request] if len(same) == 1 else []
    sharing = {same[0]: same for same in alike.values()}
    for done in lab.complete(model, requests):
        for id in sharing[done.id]:
            yield _verdict(cases[id][0], done, rubric, labels)


def _requests(
    lab: Lab, settings: Judge, model: Model, rubric: Rubric, cases: Sequence[Case]
) -> tuple[list[Request], Mapping[str, int]]:
    """One for each case, in order, and the labels' tokens where scores are expected ones."""
    chat, sampling = lab.chat(model), settings.sampling
    conversations = [messages for _, messages in cases]
    prompts: Iterable[tuple[int, ...]]
    labels: Mapping[str, int]
    if settings.method == "generated":
        prompts, labels = chat.tokens_of(conversations), {}
    else:
        low, high = rubric.scale
        points = [str(score) for score in range(low, high + 1)]
        prompts, labels = chat.score_positions(conversations, rubric.lead, points)
    scored = tuple(labels.values())
    both = zip(cases, prompts, strict=True)
    return [Request(j.id, tokens, sampling, j.seed or 0, scored) for (j, _), tokens in both], labels


def _verdict(judgment: Judgment, done: Completion, rubric: Rubric, labels: Mapping[str, int]) -> Judgment:
    if judgment.method == "generated":
        verdict = parse_verdict(done.text, done.finish, rubric.scale, rubric.lead)
        return replace(judgment, reply=done.text, status=verdict.status, score=verdict.score, reason=verdict.reason)
    expected = expected_score(done.logprobs or {}, labels)
    limit = None if judgment.sampling is None else judgment.sampling.min_mass
    verdict = expected.verdict(MIN_MASS if limit is None else limit)
    return replace(
        judgment, reply=expected.as_reply(), status=verdict.status, score=verdict.score, reason=verdict.reason
    )


def _candidates(
    responses: Sequence[Response], judgments: Sequence[Judgment]
) -> tuple[dict[str, tuple[Scored, ...]], set[str]]:
    readable: dict[str, list[float]] = {}
    for judgment in judgments:
        if judgment.score is not None and math.isfinite(judgment.score):
            readable.setdefault(judgment.response, []).append(judgment.score)
    candidates: dict[str, tuple[Scored, ...]] = {response.prompt: () for response in responses}
    for response in responses:
        if scores := readable.get(response.id):
            candidates[response.prompt] += (Scored(response, round(fmean(scores), SCORE_DIGITS)),)
    return candidates, {response.prompt for response in responses if response.id not in readable}


def _stop_rule(judgments: Sequence[Judgment], most: float, method: str) -> None:
    bad = [judgment for judgment in judgments if judgment.status != "scored"]
    if judgments and len(bad) / len(judgments) > most:
        reasons = Counter(judgment.reason for judgment in bad).most_common(3)
        told = "; ".join(f"{count} x {reason}" for reason, count in reasons)
        raise JudgeError(
            f"{len(bad)} of {len(judgments)} verdicts are unreadable ({told}), judge.max_unreadable is {most:.0%}",
            where=f"judge.method = {method!r}; every reply is stored",
            remedy="set judge.method = 'expected', use a judge that follows the rubric, or raise judge.max_unreadable",
        )
