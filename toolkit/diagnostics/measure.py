"""Meter: the numbers of two answers, for many of them, under one model or of the texts alone.

    text       lengths, edit distance, ROUGE-L                                       texts.py
    forward    log-probabilities, cosines, CHES                                      forward.py
    gradient   the exact norm of grad log pi(chosen) - grad log pi(rejected)         gradient.py

A measurement is keyed by the two answers, the model and what decides the numbers: whichever pair or control they stand
in shares it, and measuring again measures nothing. A number that is not finite is stored as null, with the reason.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from toolkit.diagnostics.forward import forward
from toolkit.diagnostics.gradient import directional_gradients
from toolkit.diagnostics.run_sets import Answers
from toolkit.diagnostics.sequences import Sides
from toolkit.diagnostics.sides import sides
from toolkit.diagnostics.texts import text_metrics
from toolkit.engines.network import load_network
from toolkit.identity import Json
from toolkit.lab import Lab, Step
from toolkit.records import Metric, MetricKind, Model


@dataclass(frozen=True)
class Measuring:
    """How numbers are taken. blocks: gradients of the last so many blocks alone, None for all parameters.

    depths: after which blocks the cosines are taken too, as shares of the depth. budget: tokens of one batch.
    """

    dtype: str = "float32"
    blocks: int | None = None
    depths: tuple[float, ...] = (0.25, 0.5, 0.75)
    budget: int = 4096

    def settings(self, kind: MetricKind, max_length: int) -> dict[str, Json]:
        """What decides the numbers of this kind."""
        if kind == "text":
            return {}
        own: dict[str, Json] = {"depths": list(self.depths)} if kind == "forward" else {"blocks": self.blocks}
        return own | {"dtype": self.dtype, "max_length": max_length}


class Meter:
    """Measures under one model at a time: its network is loaded when it is first needed, and gone with the next."""

    def __init__(self, lab: Lab, how: Measuring) -> None:
        self._lab, self._how = lab, how
        self._loaded: tuple[str, Any] = ("", None)

    def measure(self, kind: MetricKind, model: Model | None, answers: Sequence[Answers]) -> list[Metric]:
        """One measurement for each two answers, in order; stored ones are reused."""
        lab, settings = self._lab, self._how.settings(kind, self._lab.recipe.training.max_length)
        asked = [Metric(a.chosen.id, a.rejected.id, model.id if model else None, kind, settings) for a in answers]
        by_id = {request.id: both for request, both in zip(asked, answers, strict=True)}

        def work(missing: list[Metric]) -> Iterator[Metric]:
            todo = [(request, by_id[request.id]) for request in missing]
            return self._under(model, todo) if model else (finite(request, _texts(both)) for request, both in todo)

        label = f"{kind} numbers" + (f" under {model.name}" if model else "")
        made = lab.fulfil(label, list({request.id: request for request in asked}.values()), work)
        subject = model.id if model else ""
        lab.note(Step(lab.iteration, "diagnose", label, subject, len(made.records), made.cached, made.seconds))
        found = {metric.id: metric for metric in made.records}
        return [found[request.id] for request in asked]

    def _under(self, model: Model, todo: Sequence[tuple[Metric, Answers]]) -> Iterator[Metric]:
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
            for place, found in self._numbers(requests[0].kind, model, sequences):
                yield finite(requests[place], found)

    def _numbers(
        self, kind: MetricKind, model: Model, sequences: Sequence[Sides]
    ) -> Iterator[tuple[int, dict[str, float]]]:
        network, how = self._network(model), self._how
        if kind == "gradient":
            return directional_gradients(network, sequences, last_blocks=how.blocks, budget=how.budget)
        blocks = network.config.num_hidden_layers
        return forward(network, sequences, sorted({max(1, round(d * blocks)) for d in how.depths}), budget=how.budget)

    def _network(self, model: Model) -> Any:
        if self._loaded[0] != model.id:
            self._loaded = ("", None)  # the memory of the one before is free first
            path = self._lab.unchanged(model)
            trust = self._lab.recipe.trust_remote_code
            self._loaded = (model.id, load_network(path, self._how.dtype, trust_remote_code=trust))
        return self._loaded[1]


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
