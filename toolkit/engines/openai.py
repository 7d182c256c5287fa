"""Any OpenAI-compatible server: completions with token-id prompts, so the template is still rendered by us.

The key is read from OPENAI_API_KEY and goes nowhere else. Rate limits and server errors are retried by the client
with growing waits. Scoring needs a server that returns enough top log-probabilities (vLLM: --max-logprobs); a score
token outside them is an error, never a zero.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

from toolkit.config import Engine as Settings
from toolkit.engines.protocol import Completion, Request
from toolkit.errors import EngineError, RecipeError
from toolkit.records import Finish

TOP_LOGPROBS = 20  # the most that servers give by default


class OpenAIEngine:
    """One served model, `settings.max_num_seqs` requests at a time."""

    def __init__(self, settings: Settings) -> None:
        from openai import OpenAI

        if not settings.base_url or not settings.served_model:
            raise RecipeError(
                "engine.kind = 'openai' needs engine.base_url and engine.served_model",
                remedy="for example --set engine.base_url=http://localhost:8000/v1 --set engine.served_model=NAME",
            )
        self._settings = settings
        key = os.environ.get("OPENAI_API_KEY", "EMPTY")
        self._client = OpenAI(base_url=settings.base_url, api_key=key, timeout=settings.timeout, max_retries=6)

    def complete(self, requests: Sequence[Request]) -> Iterator[Completion]:
        with ThreadPoolExecutor(min(self._settings.max_num_seqs, 64)) as workers:
            waiting = [workers.submit(self._one, request) for request in requests]
            try:
                for done in as_completed(waiting):
                    yield done.result()
            finally:
                for future in waiting:
                    future.cancel()

    def close(self) -> None:
        self._client.close()

    def _one(self, request: Request) -> Completion:
        import openai

        sampling = request.sampling
        asked: dict[str, Any] = {
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
        }
        if request.score_tokens:
            asked = {"max_tokens": 1, "temperature": 0.0, "logprobs": TOP_LOGPROBS}
            asked["extra_body"] = {"return_tokens_as_token_ids": True}
        try:
            reply = self._client.completions.create(
                model=self._settings.served_model, prompt=list(request.tokens), seed=request.seed, **asked
            )
            return _scores(request, reply) if request.score_tokens else _text(request, reply)
        except (openai.OpenAIError, IndexError, TypeError, AttributeError, ValueError) as error:
            raise EngineError(
                f"the server did not complete a request: {type(error).__name__}: {str(error)[:300]}",
                where=self._settings.base_url,
                remedy="check the server's log and engine.served_model; finished answers are stored, so run again",
            ) from error


def _text(request: Request, reply: Any) -> Completion:
    choice = reply.choices[0]
    finish: Finish = "length" if choice.finish_reason == "length" else "stop"
    return Completion(request.id, choice.text, reply.usage.completion_tokens, finish)


def _scores(request: Request, reply: Any) -> Completion:
    top = {
        int(name.removeprefix("token_id:")): value for name, value in reply.choices[0].logprobs.top_logprobs[0].items()
    }
    if missing := [token for token in request.score_tokens if token not in top]:
        raise ValueError(f"score tokens {missing} are not among the server's top {len(top)} log-probabilities")
    return Completion(request.id, tokens=1, logprobs={token: top[token] for token in request.score_tokens})
