"""Any OpenAI-compatible server: completions with token-id prompts, so the template is still rendered by us.

A server holds one checkpoint and a recipe asks for several, so each is looked up among the served models, by the
directory the server loaded (vLLM's `root`); `engine.served_model` is taken at its word for the base model alone.
Where the checkpoint is not served the run stops and says so; the same command goes on once it is.

The key is read from OPENAI_API_KEY and goes nowhere else. Rate limits and server errors are retried by the client
with growing waits. Scoring needs a server that returns enough top log-probabilities (vLLM: --max-logprobs); a score
token outside them is an error, never a zero.

`complete_chats` asks a model that is only served, a judge: there the server renders the conversation.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from toolkit.config import Engine as Settings
from toolkit.engines.checkpoint import is_trained
from toolkit.engines.protocol import Completion, Request
from toolkit.errors import EngineError, RecipeError
from toolkit.records import Finish, Sampling
from toolkit.redaction import MASK, SHORTEST, hidden
from toolkit.trust.consent import announce

Message = Mapping[str, str]
TOP_LOGPROBS = 20  # the most that servers give by default
CONNECTIONS = 64
RETRIES = 6
Asked = TypeVar("Asked")


@dataclass(frozen=True)
class ChatRequest:
    """One conversation to go on with, where the server has the template."""

    id: str
    messages: tuple[Message, ...]
    sampling: Sampling
    seed: int


class OpenAIEngine:
    """One served checkpoint, up to `settings.max_num_seqs` requests at a time. Raises EngineError."""

    def __init__(self, path: Path, settings: Settings) -> None:
        if not settings.base_url:
            raise RecipeError(
                "engine.kind = 'openai' needs engine.base_url",
                remedy="for example --set engine.base_url=http://localhost:8000/v1",
            )
        self._client = _client(settings, "OPENAI_API_KEY")
        self._settings = settings
        self._model = self._served(path)

    def complete(self, requests: Sequence[Request]) -> Iterator[Completion]:
        return _side_by_side(self._one, requests, self._settings.max_num_seqs)

    def close(self) -> None:
        self._client.close()

    def _served(self, path: Path) -> str:
        with _boundary(self._settings, "did not list its models"):
            served: dict[str, str] = {
                model.id: str(getattr(model, "root", None) or model.id) for model in self._client.models.list()
            }
        for name, root in served.items():
            if Path(root).expanduser().absolute() == path.absolute():
                return name
        named = self._settings.served_model
        if named in served and not is_trained(path):
            return named
        raise EngineError(
            f"the server does not serve {path}; it serves {', '.join(sorted(served)) or 'nothing'}",
            where=self._settings.base_url,
            remedy=f"serve it (python -m vllm.entrypoints.openai.api_server --model {path}) and run the same command "
            "again; for a base model the server may know it by engine.served_model",
        )

    def _one(self, request: Request) -> Completion:
        if request.continuation:
            raise EngineError(
                "log-likelihoods of given text are not to be had from a server",
                where=self._settings.base_url,
                remedy="evaluate such tasks with engine.kind = 'vllm' or 'transformers'",
            )
        sampling = request.sampling
        asked: dict[str, Any] = {
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
        }
        if request.score_tokens:
            asked = {"max_tokens": 1, "temperature": 0.0, "logprobs": TOP_LOGPROBS}
            asked["extra_body"] = {"return_tokens_as_token_ids": True}
        with _boundary(self._settings, "did not complete a request"):
            reply = self._client.completions.create(
                model=self._model, prompt=list(request.tokens), seed=request.seed, **asked
            )
            return _scores(request, reply) if request.score_tokens else _text(request, reply, self._client.api_key)


def complete_chats(
    model: str, settings: Settings, key_variable: str, requests: Sequence[ChatRequest]
) -> Iterator[Completion]:
    """The served model's reply to every conversation, as they finish. Raises EngineError."""
    client = _client(settings, key_variable)
    key = client.api_key

    def one(request: ChatRequest) -> Completion:
        sampling = request.sampling
        with _boundary(settings, "did not answer a conversation"):
            reply = client.chat.completions.create(
                model=model,
                messages=list(request.messages),
                seed=request.seed,
                max_tokens=sampling.max_tokens,
                temperature=sampling.temperature,
                top_p=sampling.top_p,
            )
            choice = reply.choices[0]
            finish: Finish = "length" if choice.finish_reason == "length" else "stop"
            text = _without(key, choice.message.content or "")  # a server may repeat the key that it was sent
            return Completion(request.id, text, int(reply.usage.completion_tokens), finish)

    yield from _side_by_side(one, requests, settings.max_num_seqs)
    client.close()


def _client(settings: Settings, key_variable: str) -> Any:
    from openai import OpenAI

    announce(settings.base_url, key_variable)
    key = os.environ.get(key_variable, "EMPTY")
    try:
        return OpenAI(base_url=settings.base_url, api_key=key, timeout=settings.timeout, max_retries=RETRIES)
    except Exception as error:  # of the HTTP library, which the client changes from one version to the next
        raise RecipeError(
            f"base_url is no address: {error}", where=settings.base_url, remedy="write it as http://localhost:8000/v1"
        ) from error


def _side_by_side(one: Callable[[Asked], Completion], requests: Sequence[Asked], most: int) -> Iterator[Completion]:
    with ThreadPoolExecutor(min(most, CONNECTIONS)) as workers:
        waiting = [workers.submit(one, request) for request in requests]
        try:
            for done in as_completed(waiting):
                yield done.result()
        finally:
            for future in waiting:
                future.cancel()


@contextmanager
def _boundary(settings: Settings, what: str) -> Iterator[None]:
    """The client's errors, and those of reading a reply that is no completion, renamed to ours."""
    import openai

    try:
        yield
    except (openai.OpenAIError, IndexError, TypeError, AttributeError, KeyError, ValueError) as error:
        raise EngineError(
            f"the server {what}: {type(error).__name__}: {hidden(str(error))[:300]}",  # a key that is cut is not found
            where=settings.base_url,
            remedy="check the server's log and its address; finished answers are stored, so run again",
        ) from error


def _without(key: str, text: str) -> str:
    """What a server wrote, which may repeat the key that it was sent."""
    return text.replace(key, MASK) if len(key) >= SHORTEST else text


def _text(request: Request, reply: Any, key: str) -> Completion:
    choice = reply.choices[0]
    finish: Finish = "length" if choice.finish_reason == "length" else "stop"
    return Completion(request.id, _without(key, str(choice.text)), int(reply.usage.completion_tokens), finish)


def _scores(request: Request, reply: Any) -> Completion:
    first = reply.choices[0].logprobs.top_logprobs[0]
    top = {int(name.removeprefix("token_id:")): value for name, value in first.items()}
    if missing := [token for token in request.score_tokens if token not in top]:
        raise ValueError(f"score tokens {missing} are not among the server's top {len(top)} log-probabilities")
    return Completion(request.id, tokens=1, logprobs={token: top[token] for token in request.score_tokens})
