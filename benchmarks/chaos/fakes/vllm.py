"""Takes the place of vLLM in the engine's child: answers as the scripted engine does, with faults on demand.

CHAOS_ENGINE=FAULT:N lets the child fail at its N-th answer: `killed` (what the kernel does to a process where memory
ends), `raises`, `hangs`, `torn` (half an answer, then death); `start:0` fails before the first, `swap:0` is killed
where it should take the next checkpoint's weights.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from toolkit.config import Engine
from toolkit.engines.protocol import Request
from toolkit.engines.scripted import ScriptedEngine
from toolkit.records import Sampling

CHILD: Any = sys.modules["__main__"]
FAULT, _, AT = os.environ.get("CHAOS_ENGINE", "").partition(":")


class LLM:
    """As much of vllm.LLM as the child uses."""

    def __init__(self, **arguments: Any) -> None:
        if FAULT == "start":
            raise RuntimeError("no memory for the weights, says the fake")
        if FAULT == "swap":
            CHILD.swapped = lambda *_: die()
        CHILD.parameters = lambda request, _: request  # SamplingParams would leave out what the answer depends on
        self.llm_engine = LLMEngine(Path(arguments["model"]))


class LLMEngine:
    """One answer a step."""

    def __init__(self, path: Path) -> None:
        self.engine = ScriptedEngine(path, Engine(kind="scripted"))
        self.waiting: list[Request] = []
        self.answered = 0

    def add_request(self, name: str, prompt: Any, asked: dict[str, Any]) -> None:
        sampling = Sampling(asked["temperature"], asked["top_p"], asked["max_tokens"])
        self.waiting.append(
            Request(name, tuple(asked["tokens"]), sampling, asked["seed"], tuple(asked["score_tokens"]))
        )

    def has_unfinished_requests(self) -> bool:
        return bool(self.waiting)

    def step(self) -> list[Any]:
        self.answered += 1
        if FAULT and self.answered == int(AT):
            fail()
        (done,) = self.engine.complete([self.waiting.pop()])
        logprobs = {token: SimpleNamespace(logprob=value) for token, value in (done.logprobs or {}).items()}
        made = SimpleNamespace(
            text=done.text, token_ids=[0] * done.tokens, finish_reason=done.finish, logprobs=[logprobs]
        )
        return [SimpleNamespace(finished=True, request_id=done.id, num_cached_tokens=0, outputs=[made])]


def fail() -> None:
    if FAULT == "raises":
        raise RuntimeError("CUDA error: an illegal memory access, says the fake")
    if FAULT == "hangs":
        time.sleep(600)
    if FAULT == "torn":
        CHILD.say = torn
    else:
        die()


def torn(out: Any, message: dict[str, Any]) -> None:
    out.write(json.dumps(message)[:20])
    out.flush()
    die()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
