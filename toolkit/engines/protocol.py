"""The one seam between the toolkit and whatever runs a model.

An engine takes requests in token space and yields completions as they finish, in any order.
It is closed with `close()`, which gives its memory back. Everything above it, the chat template
included, is the same for every engine; `scripted.py` is the engine of the tests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from toolkit.records import Finish, Sampling


@dataclass(frozen=True)
class Request:
    """One completion to make.

    tokens: the rendered prompt, special tokens included. seed: of this request alone.
    score_tokens: where not empty, nothing is generated; the answer is the log-probability (natural,
    normalised over the whole vocabulary, at temperature 1) of each of these tokens as the next token.
    continuation: where not empty, nothing is generated either; the answer is how likely these tokens are after
    `tokens`. A request has one of the two at most; not every engine can do the second (openai.py cannot).
    """

    id: str
    tokens: tuple[int, ...]
    sampling: Sampling
    seed: int
    score_tokens: tuple[int, ...] = ()
    continuation: tuple[int, ...] = ()

    @property
    def new_tokens(self) -> int:
        """The most tokens that the model has to hold beside the prompt; scoring makes one that nobody reads."""
        if self.continuation:
            return len(self.continuation) + 1
        return 1 if self.score_tokens else self.sampling.max_tokens


@dataclass(frozen=True)
class Likelihood:
    """Of a continuation: the sum of its tokens' log-probabilities, and whether each was the most probable one."""

    logprob: float
    greedy: bool


@dataclass(frozen=True)
class Completion:
    """The answer to the request of the same id.

    text: without special tokens; tokens: how many were generated, the end token included; reused: tokens of the
    prompt that were not computed, since the engine knew them from another request; logprobs: token id ->
    log-probability, for a request with score_tokens; likelihood: for one with a continuation.
    """

    id: str
    text: str = ""
    tokens: int = 0
    finish: Finish = "stop"
    logprobs: Mapping[int, float] | None = None
    likelihood: Likelihood | None = None
    reused: int = 0


class Engine(Protocol):
    """Serves one checkpoint. Raises EngineError with the engine's own last words."""

    def complete(self, requests: Sequence[Request]) -> Iterator[Completion]: ...

    def close(self) -> None: ...


@runtime_checkable
class Starting(Engine, Protocol):
    """An engine that starts beside other work."""

    def ready(self) -> None:
        """Return once it serves, at once where it does. Raises EngineError where it cannot."""
        ...


@runtime_checkable
class Swapping(Engine, Protocol):
    """An engine that may take another checkpoint's weights while it runs."""

    def swap(self, path: Path) -> bool:
        """True where it serves `path` from now on, exactly as one that was started with it; else it must be closed."""
        ...
