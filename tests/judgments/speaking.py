"""An engine that says what a function makes of the prompt's text: judges with a known opinion."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from toolkit.config import Recipe
from toolkit.engines.pool import EnginePool
from toolkit.engines.protocol import Completion, Request
from toolkit.lab import Lab
from toolkit.provenance import capture
from toolkit.records import Model, Prompt, Response
from toolkit.store.database import Store

Say = Callable[[str], str]


class SpeakingEngine:
    """`say` gets the rendered prompt; where scores are expected its last digit gets all probability."""

    def __init__(self, path: Path, say: Say) -> None:
        from transformers import AutoTokenizer

        self._tokenizer, self._say = AutoTokenizer.from_pretrained(path), say

    def complete(self, requests: Sequence[Request]) -> Iterator[Completion]:
        for request in reversed(requests):
            said = self._say(self._tokenizer.decode(request.tokens))
            if request.score_tokens:
                sure = {token: math.log(1e-9) for token in request.score_tokens}
                yield Completion(request.id, tokens=1, logprobs={**sure, request.score_tokens[int(said[-1])]: 0.0})
            else:
                yield Completion(request.id, said, len(said.split()) + 1)

    def close(self) -> None:
        """Nothing is held."""


def speaking_lab(recipe: Recipe, path: Path, say: Say, *, planning: bool = False) -> Lab:
    """A lab whose every model says this."""
    lab = Lab(recipe, Store(path), capture("test", recipe.resolved()), planning=planning)
    lab.engines = EnginePool(recipe.engine, opener=lambda at, settings, trust: SpeakingEngine(at, say))
    return lab


def answered(lab: Lab, texts: dict[str, list[str]]) -> list[Response]:
    """Stored answers by an author known by name: prompt text -> answers."""
    author = Model.external("author")
    prompts = [Prompt(text) for text in texts]
    answers = [
        Response(prompt.id, author.id, "unknown", 0, None, None, text=text)
        for prompt in prompts
        for text in texts[prompt.text]
    ]
    for records in ([author], prompts, answers):
        lab.store.add(records, launch=lab.launch.id)  # type: ignore[arg-type]
    return answers
