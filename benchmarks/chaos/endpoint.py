"""An OpenAI-compatible server on loopback that answers as the scripted engine does, and badly on demand.

It serves the base model and every checkpoint under the store's `models/`, by directory as vLLM does. `answers` is how
many requests it answers well before its fault begins, `lasts` how many the fault lasts.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from toolkit.config import Engine
from toolkit.engines.protocol import Request
from toolkit.engines.scripted import ScriptedEngine
from toolkit.records import Sampling

SCORING = Sampling(1.0, 1.0, 1)
FOREVER = 10**9


@dataclass
class Endpoint:
    """base: the model that is always served; models: the folder of trained ones; fault: one of FAULTS, or ""."""

    base: Path
    models: Path
    fault: str = ""
    answers: int = 0
    lasts: int = FOREVER
    asked: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        vocabulary = json.loads((self.base / "tokenizer.json").read_text())["model"]["vocab"]
        self.labels = tuple(vocabulary[str(digit)] for digit in range(6))
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"endpoint": self}))
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_port}/v1"

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()

    def served(self) -> list[dict[str, str]]:
        folders = [self.base, *self.models.glob("*")]
        return [{"id": folder.name, "root": str(folder), "object": "model"} for folder in folders]

    def fails_now(self) -> bool:
        with self._lock:
            self.asked += 1
            return bool(self.fault) and 0 < self.asked - self.answers <= self.lasts

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        path = self.base if asked["model"] == self.base.name else self.models / asked["model"]
        scored = self.labels if asked.get("logprobs") else ()
        sampling = SCORING if scored else Sampling(asked["temperature"], asked["top_p"], asked["max_tokens"])
        request = Request("r", tuple(asked["prompt"]), sampling, asked["seed"], scored)
        (done,) = ScriptedEngine(path, Engine(kind="scripted")).complete([request])
        choice: dict[str, Any] = {"index": 0, "text": done.text, "finish_reason": done.finish}
        if done.logprobs:
            choice["logprobs"] = {"top_logprobs": [{f"token_id:{t}": value for t, value in done.logprobs.items()}]}
        usage = {"completion_tokens": done.tokens, "prompt_tokens": 1, "total_tokens": 1}
        about = {"id": "x", "object": "text_completion", "created": 0, "model": asked["model"]}
        return {**about, "choices": [choice], "usage": usage}


class Handler(BaseHTTPRequestHandler):
    """One connection. `endpoint` is set by the class that the endpoint makes of it."""

    endpoint: Endpoint

    def do_GET(self) -> None:
        self.say(200, json.dumps({"object": "list", "data": self.endpoint.served()}).encode())

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.endpoint.fails_now():
            FAULTS[self.endpoint.fault](self)
        else:
            self.say(200, json.dumps(self.endpoint.answer(asked)).encode())

    def say(self, code: int, body: bytes, length: int | None = None) -> None:
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Retry-After-Ms", "1")
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


def nothing(handler: Handler) -> None:
    """The connection is closed without a word."""
    handler.close_connection = True


def silence(handler: Handler) -> None:
    """The connection stays open without a word, longer than the client waits."""
    time.sleep(3)


FAULTS = {
    "429": lambda handler: handler.say(429, b'{"error": {"message": "slow down"}}'),
    "500": lambda handler: handler.say(500, b'{"error": {"message": "out of order"}}'),
    "401": lambda handler: handler.say(401, b'{"error": {"message": "wrong key"}}'),
    "garbage": lambda handler: handler.say(200, b"<html>It works!</html>"),
    "half": lambda handler: handler.say(200, b'{"id": "x", "choi', 400),
    "no choice": lambda handler: handler.say(200, b'{"id": "x", "object": "text_completion", "choices": []}'),
    "nothing": nothing,
    "silence": silence,
}
