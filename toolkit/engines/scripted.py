"""The engine of tests and `toolkit demo`: answers by hashing, the same everywhere, in any order; faults on demand.

What it says depends on the request and on the checkpoint's `scripted.json`, so trained models differ. Settings
under `engine.options`: delay (seconds before each completion), die_after (completions until it fails).
"""

from __future__ import annotations

import hashlib
import math
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from toolkit.config import Engine as Settings
from toolkit.engines.protocol import Completion, Likelihood, Request
from toolkit.errors import EngineError

MADE_UP = "scripted: answers and scores are made up, no model said them"  # for whoever reads a report of such a run
_SYLLABLES = ("ka", "lo", "mi", "ru", "ten", "so", "va", "pel", "dor", "ni")


class ScriptedEngine:
    """Deterministic in (checkpoint, tokens, seed); completes in an order that is not the order of the requests."""

    def __init__(self, path: Path, settings: Settings) -> None:
        script = path / "scripted.json"
        self._salt = script.read_text(encoding="utf-8") if script.exists() else path.name
        self._delay = float(settings.options.get("delay", 0.0))
        self._left = int(settings.options["die_after"]) if "die_after" in settings.options else None

    def complete(self, requests: Sequence[Request]) -> Iterator[Completion]:
        for request in sorted(requests, key=lambda request: _digest(f"{self._salt}|order|{request.id}")):
            if self._delay:
                time.sleep(self._delay)
            if self._left == 0:
                told = "the scripted engine dies here, as told"
                raise EngineError(told, where="engine.options.die_after", remedy="leave die_after out")
            self._left = None if self._left is None else self._left - 1
            yield self._answer(request)

    def close(self) -> None:
        """Nothing is held."""

    def _answer(self, request: Request) -> Completion:
        if request.continuation:
            return self._likelihood(request)
        return self._scores(request) if request.score_tokens else self._text(request)

    def _likelihood(self, request: Request) -> Completion:
        rng = random.Random(self._hash(request, f"likelihood {request.continuation}"))
        logprob = sum(math.log(1.0 - rng.random()) for _ in request.continuation)
        return Completion(request.id, tokens=1, likelihood=Likelihood(logprob, rng.random() < 0.5))

    def _text(self, request: Request) -> Completion:
        rng = random.Random(self._hash(request, "text"))
        words = ["".join(rng.choices(_SYLLABLES, k=rng.randint(1, 3))) for _ in range(rng.randint(1, 20))]
        most = request.sampling.max_tokens
        cut = len(words) >= most
        return Completion(request.id, " ".join(words[:most]), min(len(words) + 1, most), "length" if cut else "stop")

    def _scores(self, request: Request) -> Completion:
        rng = random.Random(self._hash(request, "scores"))
        weights = [rng.random() + 1e-6 for _ in request.score_tokens]
        total = sum(weights) * 1.25  # a fifth of the probability lies on other tokens
        logprobs = {t: math.log(w / total) for t, w in zip(request.score_tokens, weights, strict=True)}
        return Completion(request.id, tokens=1, logprobs=logprobs)

    def _hash(self, request: Request, purpose: str) -> int:
        drawn = "" if request.score_tokens else f"{request.seed}|{request.sampling}"  # a score is no draw
        return _digest(f"{self._salt}|{purpose}|{request.tokens}|{drawn}")


def _digest(told: str) -> int:
    return int.from_bytes(hashlib.sha256(told.encode()).digest()[:8], "big")
