"""Any OpenAI-compatible server, played by a small HTTP server on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from toolkit import config
from toolkit.engines.checkpoint import OUTCOME
from toolkit.engines.openai import OpenAIEngine
from toolkit.engines.protocol import Request
from toolkit.errors import EngineError, RecipeError
from toolkit.records import Sampling

SAMPLING = Sampling(0.7, 0.9, 16)
Reply = Callable[[dict[str, Any]], tuple[int, Any]]


def complete(asked: dict[str, Any]) -> tuple[int, Any]:
    choice: dict[str, Any] = {"index": 0, "text": f"seed {asked['seed']}", "finish_reason": "length"}
    if asked.get("logprobs"):
        choice["logprobs"] = {"top_logprobs": [{"token_id:5": -0.5, "token_id:6": -1.5}]}
    usage = {"completion_tokens": 3, "prompt_tokens": len(asked["prompt"]), "total_tokens": 3}
    return 200, {
        "id": "x",
        "object": "text_completion",
        "created": 0,
        "model": "m",
        "choices": [choice],
        "usage": usage,
    }


class Server:
    """Serves `models` and answers completions by `reply`, which a test may replace; keeps what it was asked."""

    def __init__(self) -> None:
        self.models: list[dict[str, str]] = []
        self.reply: Reply = complete
        self.asked: list[dict[str, Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.say(200, {"object": "list", "data": outer.models})

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.asked.append(asked)
                self.say(*outer.reply(asked))

            def say(self, code: int, body: Any) -> None:
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Retry-After-Ms", "1")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None: ...

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_port}/v1"


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.http.shutdown()


def serve(server: Server, path: Path, **settings: object) -> OpenAIEngine:
    return OpenAIEngine(path, config.Engine.model_validate({"kind": "openai", "base_url": server.url, **settings}))


def request(name: str = "r", **more: Any) -> Request:
    return Request(name, (1, 2, 3), SAMPLING, 7, **more)


@pytest.fixture
def engine(server: Server, tmp_path: Path) -> OpenAIEngine:
    server.models = [{"id": "served-name", "root": str(tmp_path), "object": "model"}]
    return serve(server, tmp_path)


def test_token_ids_seed_and_sampling_reach_the_server_and_the_answer_comes_back(
    server: Server, engine: OpenAIEngine
) -> None:
    (done,) = engine.complete([request()])
    assert (done.id, done.text, done.tokens, done.finish) == ("r", "seed 7", 3, "length")
    (asked,) = server.asked
    assert asked["prompt"] == [1, 2, 3]
    assert (asked["model"], asked["seed"], asked["temperature"], asked["top_p"], asked["max_tokens"]) == (
        "served-name", 7, 0.7, 0.9, 16,
    )  # fmt: skip


def test_every_request_is_answered_once(engine: OpenAIEngine) -> None:
    names = [f"r{i}" for i in range(50)]
    assert sorted(done.id for done in engine.complete([request(name) for name in names])) == sorted(names)


def test_scores_are_the_servers_log_probabilities_of_the_labels(engine: OpenAIEngine) -> None:
    (done,) = engine.complete([request(score_tokens=(5, 6))])
    assert done.logprobs == {5: -0.5, 6: -1.5}


def test_a_label_outside_the_top_log_probabilities_is_an_error_not_a_zero(engine: OpenAIEngine) -> None:
    with pytest.raises(EngineError, match=r"score tokens \[9\] are not among"):
        list(engine.complete([request(score_tokens=(5, 9))]))


def test_a_rate_limit_is_waited_out(server: Server, engine: OpenAIEngine) -> None:
    refusals = iter([(429, {"error": {"message": "slow down"}}), (503, {"error": {"message": "busy"}})])
    server.reply = lambda asked: next(refusals, None) or complete(asked)
    assert [done.text for done in engine.complete([request()])] == ["seed 7"]
    assert len(server.asked) == 3


@pytest.mark.parametrize("body", [b"<html>oops</html>", b'{"choices": []}', b'{"choices": [{"text": "x"}]}', b"[1]"])
def test_a_reply_that_is_no_completion_is_an_engine_error(server: Server, engine: OpenAIEngine, body: bytes) -> None:
    server.reply = lambda asked: (200, body)
    with pytest.raises(EngineError, match="did not complete a request"):
        list(engine.complete([request()]))


def test_a_checkpoint_that_is_not_served_is_refused_with_what_is(server: Server, tmp_path: Path) -> None:
    server.models = [{"id": "another", "root": "/models/another", "object": "model"}]
    with pytest.raises(EngineError, match="it serves another") as caught:
        serve(server, tmp_path)
    assert str(tmp_path) in caught.value.remedy


def test_a_name_is_believed_for_a_base_model_and_not_for_a_trained_one(server: Server, tmp_path: Path) -> None:
    server.models = [{"id": "org/base", "object": "model"}]
    (done,) = serve(server, tmp_path, served_model="org/base").complete([request()])
    assert done.text == "seed 7"
    (tmp_path / OUTCOME).write_text("{}")
    with pytest.raises(EngineError, match="does not serve"):
        serve(server, tmp_path, served_model="org/base")


def test_a_server_that_is_not_there_is_named_without_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret-0123456789")
    monkeypatch.setattr("toolkit.engines.openai.RETRIES", 0)
    settings = config.Engine(kind="openai", base_url="http://127.0.0.1:9/v1")
    with pytest.raises(EngineError, match="did not list its models") as caught:
        OpenAIEngine(tmp_path, settings)
    assert "very-secret" not in str(caught.value)


def test_a_recipe_without_an_address_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"engine\.base_url"):
        OpenAIEngine(tmp_path, config.Engine(kind="openai"))
    with pytest.raises(RecipeError, match="base_url is no address"):
        OpenAIEngine(tmp_path, config.Engine(kind="openai", base_url="http://local\0host/v1"))


def test_a_key_that_a_server_repeats_is_hidden_also_where_its_words_are_cut(
    server: Server, engine: OpenAIEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_KEY", "very-secret-of-no-known-form")
    server.reply = lambda asked: (401, {"error": {"message": "x" * 230 + "very-secret-of-no-known-form"}})
    with pytest.raises(EngineError, match="xxx") as caught:
        list(engine.complete([request()]))
    assert "very" not in str(caught.value)
