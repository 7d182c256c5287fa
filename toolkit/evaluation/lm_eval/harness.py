"""What a harness asks, answered by the same engine as generation, and what it found, as items and scores. lm_eval.py
drives the harness; nothing of it is here.

A request is the harness' `Instance`: `args` is (context, options) or (context, continuation), `doc_id` the number of
the question. A context is a conversation as JSON, rendered by `engines/chat.py` alone, or plain text without a chat.

Answers come from `answers()`: they are Responses, stored under the model's id, and asking again generates nothing. The
engine knows no stop strings, so an answer is cut here, after it was made.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from toolkit.engines.chat import Chat
from toolkit.engines.protocol import Likelihood, Request
from toolkit.errors import EngineError, InputError
from toolkit.evaluation.aggregation import AGGREGATIONS
from toolkit.evaluation.answers import Graded, Questions, answers
from toolkit.lab import Lab, Step
from toolkit.progress import Progress
from toolkit.records import Item, Model, Prompt, Sampling, Score

Pair = tuple[tuple[int, ...], tuple[int, ...]]  # tokens of a context, tokens of its continuation
NOTHING = Sampling(0.0, 1.0, 1)
INVALID = "[invalid]"  # what the harness' regex filters say where they found nothing


class Answerer:
    """One model's answers to a task. `answered`: number of a question -> id of its first Response."""

    def __init__(self, lab: Lab, model: Model, task: str, max_tokens: int, chatting: bool) -> None:
        self.lab, self.model, self.task = lab, model, task
        self.max_tokens, self.chatting = max_tokens, chatting
        self.answered: dict[int, str] = {}

    def generate(self, requests: list[Any]) -> list[str]:
        """An answer to every request up to its stop strings; asked several times, a question gets several draws."""
        times: Counter[int] = Counter()
        groups: defaultdict[Sampling, list[tuple[int, Prompt, int]]] = defaultdict(list)
        for place, request in enumerate(requests):
            groups[_sampling(request.args[1], self.max_tokens)].append((place, _prompt(request), times[request.doc_id]))
            times[request.doc_id] += 1
        texts = [""] * len(requests)
        for sampling, group in groups.items():
            prompts = tuple({prompt.id: prompt for _, prompt, _ in group}.values())
            draws = 1 + max(draw for _, _, draw in group)
            made = answers(self.lab, self.model, Questions(self.task, prompts, sampling, draws))
            found = {(response.prompt, response.draw): response for response in made}
            for place, prompt, draw in group:
                response = found[prompt.id, draw]
                self.answered.setdefault(requests[place].doc_id, response.id)
                texts[place] = cut(response.text or "", requests[place])
        return texts

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        """Of every continuation, with whether it is the greedy one. A plan computes nothing."""
        lab, label = self.lab, f"{self.task} log-likelihoods of {self.model.name}"
        if lab.recipe.engine.kind == "openai":
            raise EngineError(
                f"{self.task} needs log-likelihoods of given text, which an OpenAI-compatible server does not tell",
                where="engine.kind = 'openai'",
                remedy="set engine.kind = 'vllm' or 'transformers', or leave the task out",
            )
        progress = Progress(f"{lab.iteration} {label}", len(requests))
        found = [(0.0, False)] * len(requests) if lab.planning else self._measured(requests, progress)
        seconds = 0.0 if lab.planning else progress.seconds
        lab.note(Step(lab.iteration, "evaluate", label, self.model.id, len(requests), 0, seconds))
        return found

    def _measured(self, requests: list[Any], progress: Progress) -> list[tuple[float, bool]]:
        chat = self.lab.chat(self.model)
        pairs = [encoded(chat, request.args[0], request.args[1], self.chatting) for request in requests]
        names = {pair: str(number) for number, pair in enumerate(dict.fromkeys(pairs))}
        asked = [Request(name, before, NOTHING, 0, continuation=after) for (before, after), name in names.items()]
        found: dict[str, Likelihood] = {}
        progress.total = len(asked)
        for done in self.lab.complete(self.model, asked):
            if done.likelihood is None:
                raise EngineError(
                    "the engine told no log-likelihood", where=self.task, remedy="use engine.kind = 'vllm'"
                )
            found[done.id] = done.likelihood
            progress.advance()
        progress.finish()
        return [(found[names[pair]].logprob, found[names[pair]].greedy) for pair in pairs]


def encoded(chat: Chat, context: str, after: str, chatting: bool) -> Pair:
    """Tokens of the context and of what comes after it, encoded together and parted by the context's own length.

    In a chat the answer starts where generation would start it. The harness' own models count the line break before it
    as a part of every answer. Without a chat the context's last spaces belong to what follows, as in the harness.
    """
    if chatting and context:
        messages = json.loads(context)
        start = messages.pop()["content"] if messages[-1]["role"] == "assistant" else ""
        head, whole = chat.tokens(messages, start), chat.tokens(messages, start + after)
    else:
        text = context.rstrip()
        head, whole = _plain(chat, text), _plain(chat, text + context[len(text) :] + after)
    if head:
        return head, whole[len(head) :]
    first = chat.tokenizer.bos_token_id
    return (chat.eos_id if first is None else first,), whole


def cut(text: str, request: Any) -> str:
    """The text before the first of the request's stop strings."""
    until = request.args[1].get("until", [])
    for stop in [until] if isinstance(until, str) else until:
        text = text.split(stop)[0] if stop else text
    return text


def graded(
    blank: Item,
    results: Mapping[str, Any],
    answered: Mapping[int, str],
    aggregations: Mapping[str, str] = MappingProxyType({}),
) -> Graded:
    """The harness' samples as items, and its own aggregates as scores.

    aggregations: of the metrics that are not means. Their items' detail is JSON: the aggregation's name, what it takes
    of this item where aggregation.py can resample it, and what was extracted.
    """
    (samples,) = results["samples"].values()
    (totals,) = results["results"].values()
    metrics = {(metric, sample["filter"]) for sample in samples for metric in sample["metrics"]}
    scores: list[Score] = []
    items: list[Item] = []
    for metric, of in sorted(metrics):
        name = metric if of == "none" else of if len({other for other, _ in metrics}) == 1 else f"{metric},{of}"
        own = [s for s in samples if s["filter"] == of]
        found = [_item(replace(blank, metric=name), s, metric, answered) for s in own]
        invalid = sum(item.detail == INVALID for item in found) / len(found)
        if aggregation := aggregations.get(metric):
            found = [_resampled(item, aggregation, s[metric]) for item, s in zip(found, own, strict=True)]
        score = Score(blank.model, blank.task, name, blank.settings, None, len(found))
        scores.append(replace(score, value=_number(totals.get(f"{metric},{of}"))))
        if of != "none":
            scores.append(replace(score, metric=f"{name} {INVALID}", value=invalid))
        items += found
    return ordered(scores, items)


def ordered(scores: Iterable[Score], items: Iterable[Item]) -> Graded:
    """By metric, then by question: the same from the store as from the harness."""
    told = sorted(scores, key=lambda score: score.metric)
    return Graded(tuple(told), tuple(sorted(items, key=lambda one: (one.metric, int(one.question.split("/")[-1])))))


def _item(blank: Item, sample: Mapping[str, Any], metric: str, answered: Mapping[int, str]) -> Item:
    """detail: the extracted text, or the log-likelihood of each choice and whether it is the greedy one."""
    found, number = sample["filtered_resps"], sample["doc_id"]
    detail = found[0] if isinstance(found[0], str) else json.dumps(found, default=str)
    question = f"{blank.task}/{number}"
    return replace(blank, question=question, answer=answered.get(number), value=_number(sample[metric]), detail=detail)


def _resampled(item: Item, aggregation: str, statistic: Any) -> Item:
    kept = {"statistic": statistic} if aggregation in AGGREGATIONS else {}
    detail = {"aggregation": aggregation, **kept, "found": item.detail}
    return replace(item, detail=json.dumps(detail, default=_plain_number))


def _plain_number(value: Any) -> Any:
    """numpy's numbers as Python's own; anything else as text."""
    return value.item() if hasattr(value, "item") else str(value)


def _number(value: Any) -> float | None:
    """None where a metric has no number for one question, or none at all: probabilities that all came out as 0."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _plain(chat: Chat, text: str) -> tuple[int, ...]:
    """Text without a template, after BOS where the tokenizer puts one."""
    return tuple(chat.tokenizer(text, split_special_tokens=True)["input_ids"])


def _prompt(request: Any) -> Prompt:
    *before, last = json.loads(request.args[0])
    source = f"{request.task_name}/{request.doc_id}"
    if last["role"] != "user":
        raise InputError(
            f"the task begins the answer itself: {last['content'][:60]!r}",
            where=source,
            remedy="take gen_prefix out of the task",
        )
    return Prompt(last["content"], source, tuple((turn["role"], turn["content"]) for turn in before))


def _sampling(told: Mapping[str, Any], max_tokens: int) -> Sampling:
    """Greedy unless the task says otherwise."""
    temperature = float(told.get("temperature", 0.0)) if told.get("do_sample", True) else 0.0
    return Sampling(temperature, float(told.get("top_p", 1.0)) if temperature else 1.0, max_tokens)
