"""Meter: the numbers of two answers, for many of them, under one model or of the texts alone.

    text       lengths, edit distance, ROUGE-L                                       texts.py
    forward    log-probabilities, cosines, CHES                                      forward.py
    gradient   the exact norm of grad log pi(chosen) - grad log pi(rejected)         gradient.py

`gradients` takes the coherence of a set from the same backward passes: gradient_sum.py.

A measurement is keyed by the two answers, the model and what decides the numbers: whichever pair or control they stand
in shares it, and measuring again measures nothing. A number that is not finite is stored as null, with the reason.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from toolkit.diagnostics.forward import forward
from toolkit.diagnostics.gradient import directional_gradients
from toolkit.diagnostics.run_sets import Answers
from toolkit.diagnostics.sequences import Sides
from toolkit.diagnostics.sides import sides
from toolkit.diagnostics.texts import text_metrics
from toolkit.engines.network import load_network
from toolkit.identity import Json, content_id
from toolkit.lab import Lab, Step
from toolkit.records import Control, Metric, MetricKind, Model, Summary, Under

if TYPE_CHECKING:
    from toolkit.diagnostics.gradient_sum import Total


@dataclass(frozen=True)
class Measuring:
    """How numbers are taken. blocks: gradients of the last so many blocks alone, None for all parameters.

    coherence: of each set and control too, which takes a float32 buffer as large as the parameters, and a backward pass
    over all of a set's pairs. depths: after which blocks the cosines are taken too, as shares of the depth. budget:
    tokens of one batch.
    """

    dtype: str = "float32"
    blocks: int | None = None
    coherence: bool = True
    depths: tuple[float, ...] = (0.25, 0.5, 0.75)
    budget: int = 4096

    def settings(self, kind: MetricKind, max_length: int) -> dict[str, Json]:
        """What decides the numbers of this kind."""
        if kind == "text":
            return {}
        own: dict[str, Json] = {"depths": list(self.depths)} if kind == "forward" else {"blocks": self.blocks}
        return own | {"dtype": self.dtype, "max_length": max_length}


@dataclass(frozen=True)
class Group:
    """The pairs of a set, or of a control of it, with the side from which they are measured."""

    pair_set: str
    control: Control
    under: Under
    answers: Sequence[Answers]

    @property
    def content(self) -> str:
        """Digest of its pairs, whose order does not count."""
        return content_id("group", sorted([both.chosen.id, both.rejected.id] for both in self.answers))


class Meter:
    """Measures under one model at a time: its network is loaded when it is first needed, and gone with the next."""

    def __init__(self, lab: Lab, how: Measuring) -> None:
        self._lab, self._how = lab, how
        self._loaded: tuple[str, Any] = ("", None)
        self._coherent: dict[tuple[str, str], Total] = {}  # by model and content: sets may share a control

    def gradients(self, model: Model, groups: Sequence[Group]) -> None:
        """Norms of every pair of the groups, and of each group its coherence; stored ones are reused."""
        for group in groups:
            if self._how.coherence and group.answers:
                self._coherence(model, group)
            else:
                self.measure("gradient", model, group.answers)

    def _coherence(self, model: Model, group: Group) -> None:
        """One pass over all pairs of the group gives its coherence, and the norms that are not stored yet."""
        from toolkit.diagnostics.gradient_sum import Total

        lab, content = self._lab, group.content
        settings = self._how.settings("gradient", lab.recipe.training.max_length)
        keys = [
            Summary(group.pair_set, group.control, name, group.under, model.id, settings, content)
            for name in ("coherence", "coherence.swapped")
        ]
        known = self._coherent.get((model.id, content))
        if len(lab.store.find(Summary, [key.id for key in keys])) == len(keys) or known:
            self.measure("gradient", model, group.answers)
        else:
            known = Total()
            self.measure("gradient", model, group.answers, known)
            known.settle()
            self._coherent[model.id, content] = known
        if known:
            lab.store.add(_summaries(keys, known, len(group.answers)), launch=lab.launch.id)

    def measure(
        self, kind: MetricKind, model: Model | None, answers: Sequence[Answers], total: Total | None = None
    ) -> list[Metric]:
        """One measurement for each two answers, in order; stored ones are reused.

        total: the gradients of all of them are added to it, those that are stored being computed again.
        """
        lab, settings = self._lab, self._how.settings(kind, self._lab.recipe.training.max_length)
        asked = [Metric(a.chosen.id, a.rejected.id, model.id if model else None, kind, settings) for a in answers]
        by_id = {request.id: both for request, both in zip(asked, answers, strict=True)}

        distinct = list({request.id: request for request in asked}.values())

        def work(missing: list[Metric]) -> Iterator[Metric]:
            todo = [(request, by_id[request.id]) for request in missing]
            if model is None:
                return (finite(request, _texts(both)) for request, both in todo)
            if total is None:
                return self._under(model, todo)
            absent = {request.id for request in missing}
            every = self._under(model, [(request, by_id[request.id]) for request in distinct], total)
            return (metric for metric in every if metric.id in absent)

        label = f"{kind} numbers" + (f" under {model.name}" if model else "")
        made = lab.fulfil(label, distinct, work)
        if total is not None and made.cached == len(distinct):
            for _ in work([]):
                raise AssertionError("nothing was missing")
        subject = model.id if model else ""
        lab.note(Step(lab.iteration, "diagnose", label, subject, len(made.records), made.cached, made.seconds))
        found = {metric.id: metric for metric in made.records}
        return [found[request.id] for request in asked]

    def _under(
        self, model: Model, todo: Sequence[tuple[Metric, Answers]], total: Total | None = None
    ) -> Iterator[Metric]:
        """Those that cannot be measured at once, with the reason; the others as their batches finish."""
        requests: list[Metric] = []
        sequences: list[Sides] = []
        chat, limit = self._lab.chat(model), self._lab.recipe.training.max_length
        for request, both in todo:
            made = sides(chat, both.prompt, (both.chosen, both.rejected), limit)
            if isinstance(made, str):
                yield replace(request, found={}, reason=made)
            else:
                requests.append(request)
                sequences.append(made)
        if requests:
            for place, found in self._numbers(requests[0].kind, model, sequences, total):
                yield finite(requests[place], found)

    def _numbers(
        self, kind: MetricKind, model: Model, sequences: Sequence[Sides], total: Total | None
    ) -> Iterator[tuple[int, dict[str, float]]]:
        network, how = self._network(model), self._how
        if kind == "gradient":
            return directional_gradients(network, sequences, last_blocks=how.blocks, budget=how.budget, total=total)
        blocks = network.config.num_hidden_layers
        return forward(network, sequences, sorted({max(1, round(d * blocks)) for d in how.depths}), budget=how.budget)

    def _network(self, model: Model) -> Any:
        if self._loaded[0] != model.id:
            self._loaded = ("", None)  # the memory of the one before is free first
            path = self._lab.unchanged(model)
            trust = self._lab.recipe.trust_remote_code
            self._loaded = (model.id, load_network(path, self._how.dtype, trust_remote_code=trust))
        return self._loaded[1]


def _summaries(keys: Sequence[Summary], total: Total, pairs: int) -> list[Summary]:
    """Coherence, and what it would be with sides swapped at random; None where it is not finite, or norms are zero."""
    n = len(total.norms)
    values = (total.value, total.if_swapped)
    return [
        replace(key, n=n, missing=pairs - n, mean=value if value is not None and math.isfinite(value) else None)
        for key, value in zip(keys, values, strict=True)
    ]


def finite(request: Metric, found: Mapping[str, float | None]) -> Metric:
    """The request with its numbers; those that are not finite become null, with a reason."""
    bad = sorted(name for name, value in found.items() if value is not None and not math.isfinite(value))
    reason = f"not finite: {', '.join(bad)}" if bad else ""
    kept = {name: None if name in bad else value for name, value in found.items()}
    return replace(request, found=kept, reason=reason)


def _texts(both: Answers) -> dict[str, float | None]:
    tokens = (both.chosen.tokens, both.rejected.tokens)
    gap = None if tokens[0] is None or tokens[1] is None else float(tokens[0] - tokens[1])
    return {**text_metrics(both.chosen.text or "", both.rejected.text or ""), "token_gap": gap}
