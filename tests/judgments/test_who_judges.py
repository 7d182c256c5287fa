"""Who judges: the present, the past, another model, a served one, a reward function. Scores never cross judges."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from toolkit.config import Prompts, Recipe
from toolkit.engines.protocol import Completion, Request
from toolkit.engines.scripted import ScriptedEngine
from toolkit.errors import GateError, InputError, JudgeError, RecipeError
from toolkit.judgments.judge import judging
from toolkit.judgments.reward import reward_model
from toolkit.lab import Lab
from toolkit.provenance import capture
from toolkit.recipes.self_rewarding import self_rewarding
from toolkit.records import Model
from toolkit.store.database import Store

Build = Callable[..., Recipe]
REWARDS = """
def length(prompt, answer, label):
    return len(answer)

def broken(prompt, answer, label):
    return {"a": 1 / 0, "b": None}[answer] if answer in "ab" else float("nan")

def labelled(prompt, answer, label):
    return None if label is None else float(len(label))
"""


def run(recipe: Recipe, path: Path) -> None:
    with Lab(recipe, Store(path), capture("test", recipe.resolved())) as lab:
        self_rewarding(lab, recipe)


def rows(path: Path, sql: str) -> list[dict[str, object]]:
    with Store(path, read_only=True) as store:
        assert store.named("law") == []
        return store.query(sql)


def rewards(folder: Path, function: str) -> dict[str, str]:
    (folder / "rewards.py").write_text(REWARDS)
    return {"method": "reward", "reward": f"{folder / 'rewards.py'}:{function}"}


def test_a_frozen_judge_is_m_0_in_every_iteration(scripted_recipe: Build, tmp_path: Path) -> None:
    run(scripted_recipe(judge={"by": "past"}), tmp_path / "s.duckdb")
    judges = rows(tmp_path / "s.duckdb", "SELECT DISTINCT judge_name AS j FROM judgments")
    assert judges == [{"j": "M_0"}]


def test_equal_answers_to_one_prompt_are_scored_by_one_computation(
    scripted_recipe: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[Request] = []
    whole = ScriptedEngine.complete

    def complete(self: ScriptedEngine, requests: Sequence[Request]) -> Iterator[Completion]:
        scored.extend(request for request in requests if request.score_tokens)
        for done in whole(self, requests):
            yield done if done.logprobs else replace(done, text=f"answer {done.text[:1] < 'm'}", reused=2)

    monkeypatch.setattr(ScriptedEngine, "complete", complete)
    recipe = scripted_recipe(iterations=1, answers={"k": 4, "max_tokens": 16}, judge={"method": "expected"})
    run(recipe, tmp_path / "s.duckdb")
    found = rows(
        tmp_path / "s.duckdb",
        "SELECT count(*) AS judged, count(DISTINCT (r.prompt, r.text)) AS texts, "
        "count(DISTINCT (r.prompt, r.text, j.score)) AS scores FROM judgment j JOIN response r ON r.id = j.response",
    )[0]
    assert len(scored) == found["texts"] == found["scores"]
    assert found["judged"] == 4 * recipe.prompts.part_size > len(scored)
    told = "SELECT stage, stats->>'prompt_tokens_reused' AS reused FROM step WHERE stats->>'prompt_tokens' > '0'"
    assert {str(step["stage"]): step["reused"] for step in rows(tmp_path / "s.duckdb", told)} == {
        "generate": str(2 * 4 * recipe.prompts.part_size), "judge": "0",
    }  # fmt: skip


def test_another_model_judges_and_its_scores_are_not_those_of_the_present(
    scripted_recipe: Build, tmp_path: Path, tiny_model: Path
) -> None:
    other = tmp_path / "other-judge"
    shutil.copytree(tiny_model, other)
    weights = bytearray((other / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (other / "model.safetensors").write_bytes(weights)
    (other / "scripted.json").write_text(json.dumps({"salt": "another"}))
    path = tmp_path / "s.duckdb"
    run(scripted_recipe(iterations=1), path)
    run(scripted_recipe(iterations=1, judge={"by": str(other)}), path)
    found = rows(
        path,
        "SELECT count(*) AS n, count(*) FILTER (a.score <> b.score) AS differ FROM judgments a JOIN judgments b "
        "USING (response) WHERE a.judge_name = 'M_0' AND b.judge_name = 'other-judge'",
    )[0]
    assert found["n"] == 18 and found["differ"] == 18


def test_a_reward_function_scores_answers_and_a_changed_file_is_another_judge(
    scripted_recipe: Build, tmp_path: Path
) -> None:
    path = tmp_path / "s.duckdb"
    run(scripted_recipe(iterations=1, judge=rewards(tmp_path, "length")), path)
    wrong = rows(path, "SELECT count(*) AS n FROM judgments j JOIN response r ON r.id = j.response "
                       "WHERE j.score <> length(r.text) OR j.method <> 'reward'")  # fmt: skip
    assert wrong == [{"n": 0}]
    (tmp_path / "rewards.py").write_text(REWARDS.replace("len(answer)", "-len(answer)"))
    settings = {"method": "reward", "reward": f"{tmp_path / 'rewards.py'}:length"}
    run(scripted_recipe(iterations=1, judge=settings), path)
    sets = rows(path, "SELECT judge, bool_and(chosen_characters > rejected_characters) AS longer FROM pairs GROUP BY 1")
    assert sorted(row["longer"] for row in sets) == [False, True]  # type: ignore[type-var]


def test_a_reward_that_fails_is_unreadable_with_its_reason_and_stops_the_run(
    scripted_recipe: Build, tmp_path: Path
) -> None:
    with pytest.raises(JudgeError, match=r"18 of 18 verdicts are unreadable .*returned nan"):
        run(scripted_recipe(iterations=1, judge=rewards(tmp_path, "broken")), tmp_path / "s.duckdb")


def test_a_reward_gets_the_reference_answer_of_a_prompt(scripted_recipe: Build, tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    judge = {**rewards(tmp_path, "labelled"), "max_unreadable": 0.0}
    recipe = scripted_recipe(
        iterations=1, judge=judge, prompts={"source": "ift", "part_size": 4}, pairs={"max_tied": 1.0}
    )
    with pytest.raises(GateError):  # every answer of a prompt has one score: nothing to learn, but scored they are
        run(recipe, path)
    with Store(path, read_only=True) as store:
        scored = store.query("SELECT count(*) AS n, count(score) AS scored FROM judgment")[0]
    assert scored["n"] == scored["scored"] == 12


def test_with_other_labels_a_reward_function_is_another_judge(tmp_path: Path) -> None:
    """Its scores are kept: those by the old labels must not be found again for the new ones."""
    settings, prompts = rewards(tmp_path, "labelled"), tmp_path / "p.jsonl"

    def judge(label: str) -> str:
        prompts.write_text(json.dumps({"prompt": "2 + 2?", "answer": label}) + "\n")
        return reward_model(settings["reward"], Prompts(source=str(prompts), field="prompt")).id

    assert judge("4") == judge("4") != judge("5")


@pytest.mark.parametrize(
    ("reward", "problem"),
    [
        ("rewards.txt:length", "judge.reward = 'rewards.txt:length'"),
        ("nowhere.py:length", "no reward file nowhere.py"),
        ("{folder}/rewards.py:missing", "no function 'missing'"),
        ("{folder}/bad.py:f", "bad.py does not load: SyntaxError"),
    ],
)
def test_a_reward_that_is_not_there_is_refused_before_anything_is_asked(
    scripted_recipe: Build, tmp_path: Path, reward: str, problem: str
) -> None:
    (tmp_path / "rewards.py").write_text(REWARDS)
    (tmp_path / "bad.py").write_text("def f(:\n")
    judge = {"method": "reward", "reward": reward.replace("{folder}", str(tmp_path))}
    with pytest.raises(InputError, match=problem.replace("(", r"\(")):
        run(scripted_recipe(iterations=1, judge=judge), tmp_path / "s.duckdb")


@pytest.mark.parametrize("judge", [{"method": "reward"}, {"reward": "a.py:f"}, {"base_url": "http://x/v1"}])
def test_settings_of_a_judge_that_need_each_other_are_refused_apart(
    scripted_recipe: Build, judge: dict[str, str]
) -> None:
    with pytest.raises(RecipeError, match="need"):
        scripted_recipe(judge=judge)


@pytest.fixture
def server() -> Iterator[tuple[str, list[dict[str, object]]]]:
    """A chat server that always says four points, and what it was asked."""
    asked: list[dict[str, object]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(body | {"key": self.headers["Authorization"]})
            text = f"Fine.\nScore: {len(body['messages'][-1]['content']) % 6}"
            choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
            usage = {"prompt_tokens": 1, "completion_tokens": 5, "total_tokens": 6}
            reply = {
                "id": "x",
                "object": "chat.completion",
                "created": 1,
                "model": "m",
                "choices": [choice],
                "usage": usage,
            }
            data = json.dumps(reply).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None: ...

    http = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{http.server_port}/v1", asked
    http.shutdown()


def test_a_served_judge_is_sent_the_conversation_and_its_key_is_kept_out_of_the_store(
    scripted_recipe: Build, tmp_path: Path, server: tuple[str, list[dict[str, object]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, asked = server
    monkeypatch.setenv("JUDGE_KEY", "very-secret")
    judge = {"by": "big-judge", "base_url": url, "method": "generated", "key_variable": "JUDGE_KEY"}
    path = tmp_path / "s.duckdb"
    run(scripted_recipe(iterations=1, judge=judge), path)
    found = rows(path, "SELECT DISTINCT judge_name AS j, method AS m, status AS s FROM judgments")
    assert found == [{"j": "big-judge", "m": "generated", "s": "scored"}]
    assert len(asked) == 18 and asked[0]["model"] == "big-judge" and asked[0]["key"] == "Bearer very-secret"
    assert [message["role"] for message in asked[0]["messages"]] == ["system", "user"]  # type: ignore[attr-defined]
    assert b"very-secret" not in path.read_bytes()


def test_the_address_of_a_served_judge_is_stored_without_its_password(scripted_recipe: Build) -> None:
    judge = {"by": "big-judge", "base_url": "http://me:my-password@judge/v1", "method": "generated"}
    with Lab(scripted_recipe(judge=judge), Store(None), capture("test", {})) as lab:
        judging(lab, Model.external("present"))
        assert lab.store.query("SELECT path FROM model") == [{"path": "http://***@judge/v1"}]


def test_expected_scores_below_the_minimum_mass_are_unreadable_with_their_reason_and_asked_anew_under_another(
    scripted_recipe: Build, tmp_path: Path
) -> None:
    """The scripted judge puts 0.8 of its probability on the score tokens."""
    strict, lenient = ({"method": "expected", "min_mass": least} for least in (0.81, 0.79))
    with pytest.raises(JudgeError, match=r"the labels have probability 0\.8000, judge\.min_mass is 0\.81"):
        run(scripted_recipe(iterations=1, judge=strict), tmp_path / "s.duckdb")
    count = "SELECT status, count(*)::INT AS n, count(score)::INT AS scores FROM judgment GROUP BY status ORDER BY ALL"
    before = rows(tmp_path / "s.duckdb", count)
    assert [(row["status"], row["scores"]) for row in before] == [("unreadable", 0)]
    run(scripted_recipe(iterations=1, judge=lenient), tmp_path / "s.duckdb")
    after = rows(tmp_path / "s.duckdb", count)
    assert {row["status"]: row["scores"] for row in after} == {"scored": before[0]["n"], "unreadable": 0}
