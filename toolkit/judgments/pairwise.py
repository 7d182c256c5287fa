"""compare(): a judge says which of two answers to one prompt is better, each pair in both orders.

Judges favour a place as well as an answer, so one order alone says little: `swap` holds the two against each other.
One draw an order: `judge.draws` counts scores. An order without a readable choice has no winner.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from toolkit.engines.protocol import Completion, Request
from toolkit.errors import InputError
from toolkit.identity import derive_seed
from toolkit.judgments.choice import parse_choice
from toolkit.judgments.rubric import PairRubric, load_pair_rubric
from toolkit.lab import Lab, Step
from toolkit.records import Comparison, Model, Prompt, Response, Sampling


@dataclass(frozen=True)
class Outcome:
    """What both orders of one pair say together; `pair` is the sorted ids, a winner stands for "consistent" alone."""

    pair: tuple[str, str]
    status: Literal["consistent", "inconsistent", "undecided"]
    winner: str | None = None


@dataclass(frozen=True)
class Swap:
    """One outcome a pair. decided: orders with a winner; first: those of them won by the answer shown first."""

    outcomes: tuple[Outcome, ...]
    decided: int
    first: int

    def count(self, status: str) -> int:
        return sum(outcome.status == status for outcome in self.outcomes)

    @property
    def consistency(self) -> float | None:
        """Share of consistent pairs among those decided in both orders."""
        both = len(self.outcomes) - self.count("undecided")
        return self.count("consistent") / both if both else None

    @property
    def first_chosen(self) -> float | None:
        """Share of decided orders won by the answer shown first; 0.5 is no bias of position."""
        return self.first / self.decided if self.decided else None


def compare(
    lab: Lab, model: Model, pairs: Sequence[tuple[Response, Response]], rubric: str = "pairwise"
) -> list[Comparison]:
    """Both orders of every pair judged by `model`. Stored ones are reused; a plan returns them undecided."""
    chosen = load_pair_rubric(rubric)
    asked = ask(lab, model, pairs, chosen)
    answers = {response.id: response for pair in pairs for response in pair}
    label = f"comparisons by {model.name}"
    made = lab.fulfil(label, asked, lambda missing: _compare(lab, model, chosen, missing, answers))
    stats: dict[str, int] = Counter(comparison.status for comparison in made.records if comparison.status)
    most = (len(asked) - made.cached) * _sampling(lab).max_tokens
    lab.note(Step(lab.iteration, "compare", label, model.id, len(asked), made.cached, made.seconds, most, stats))
    return made.records


def ask(lab: Lab, model: Model, pairs: Sequence[tuple[Response, Response]], rubric: PairRubric) -> list[Comparison]:
    """The requests: two orders a pair, each once. Raises InputError where two answers cannot be compared."""
    for a, b in pairs:
        if a.prompt != b.prompt or a.id == b.id:
            raise InputError(
                f"responses {a.id} and {b.id} cannot be compared",
                remedy="pair two different answers to one prompt",
            )
    orders = [(first.id, second.id) for a, b in pairs for first, second in ((a, b), (b, a))]
    return [
        Comparison(
            first=first,
            second=second,
            judge=model.id,
            rubric=rubric.id,
            sampling=_sampling(lab),
            draw=0,
            seed=derive_seed(lab.recipe.seed, first, second, model.id, rubric.id, 0),
        )
        for first, second in dict.fromkeys(orders)
    ]


def swap(comparisons: Sequence[Comparison]) -> Swap:
    """What the two orders of each pair say together. Other judges, rubrics and samplings are pairs of their own."""
    groups: dict[tuple[object, ...], list[Comparison]] = {}
    for one in comparisons:
        key = (*sorted((one.first, one.second)), one.judge, one.rubric, one.sampling, one.draw)
        groups.setdefault(key, []).append(one)
    decided = [one for one in comparisons if one.winner]
    return Swap(
        tuple(_outcome(group) for group in groups.values()),
        len(decided),
        sum(one.winner == one.first for one in decided),
    )


def _outcome(orders: Sequence[Comparison]) -> Outcome:
    a, b = sorted((orders[0].first, orders[0].second))
    winners = {one.winner for one in orders}
    if len({one.first for one in orders}) < 2 or None in winners:
        return Outcome((a, b), "undecided")
    return Outcome((a, b), "consistent", winners.pop()) if len(winners) == 1 else Outcome((a, b), "inconsistent")


def _sampling(lab: Lab) -> Sampling:
    """A choice is always written, also where scores are expected."""
    settings = lab.recipe.judge
    return Sampling(settings.temperature, settings.top_p, settings.max_tokens)


def _compare(
    lab: Lab, model: Model, rubric: PairRubric, missing: list[Comparison], answers: Mapping[str, Response]
) -> Iterator[Comparison]:
    lab.store.insert("rubric", [{"id": rubric.id, "name": rubric.name, "body": rubric.body(), "launch": lab.launch.id}])
    prompts = lab.store.find(Prompt, {answers[one.first].prompt for one in missing})
    asked, requests = {}, []
    for one in missing:
        first, second = answers[one.first], answers[one.second]
        messages = rubric.messages(prompts[first.prompt].as_text(), first.text or "", second.text or "")
        request = Request(one.id, lab.chat(model).tokens(messages), one.sampling, one.seed)
        excess = len(request.tokens) + one.sampling.max_tokens - lab.recipe.engine.max_model_len
        if excess > 0:
            reason = f"the judge's prompt is {excess} tokens too long for engine.max_model_len"
            yield replace(one, reply="", status="unreadable", reason=reason)
            continue
        asked[one.id] = one
        requests.append(request)
    for done in lab.complete(model, requests):
        yield _chosen(asked[done.id], done, rubric)


def _chosen(asked: Comparison, done: Completion, rubric: PairRubric) -> Comparison:
    choice = parse_choice(done.text, done.finish, rubric.choices)
    winner = {"first": asked.first, "second": asked.second}[choice.side] if choice.side else None
    return replace(asked, reply=done.text, status=choice.status, reason=choice.reason, winner=winner)
