"""lm-eval through our engines: its prompts, its grades, our store; and the official labels of published solutions."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import needs
from tests.judgments.speaking import speaking_lab
from toolkit.config import Recipe
from toolkit.engines import embedded
from toolkit.engines.chat import Chat
from toolkit.errors import EngineError, InputError, RecipeError
from toolkit.evaluation import intervals
from toolkit.evaluation.answers import Graded, mean_score
from toolkit.evaluation.lm_eval.harness import INVALID, encoded, graded
from toolkit.evaluation.lm_eval.lm_eval import Settings, lm_eval_task, replay
from toolkit.lab import Lab
from toolkit.provenance import capture
from toolkit.records import Item, Prompt, Response, Sampling
from toolkit.store.database import Store

Build = Callable[..., Recipe]
NAMES = ("Ada", "Bo", "Cem", "Dia", "Eli", "Fay")


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test here runs without lm-eval's own environment and fails where anything looks for a host."""
    needs("lm_eval")

    def refuse(*wanted: Any, **_: Any) -> Any:
        raise AssertionError(f"the network was asked for {wanted[:2]}")

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)


@pytest.fixture
def sums(tmp_path: Path) -> Path:
    """A folder in GSM8K's shape: six questions to answer, eight to show."""
    folder = tmp_path / "sums"
    folder.mkdir()
    for split, count, start in (("test", 6, 2), ("train", 8, 20)):
        rows = [sum_row(NAMES[i % 6], start + i, 3) for i in range(count)]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def sum_row(name: str, first: int, second: int) -> dict[str, str]:
    question = f"{name} has {first} pears and buys {second} more. How many pears does {name} have?"
    return {"question": question, "answer": f"{name} has {first} + {second} pears.\n#### {first + second}"}


@pytest.fixture
def science(tmp_path: Path) -> Path:
    """Six questions in ARC's shape, the answer being the fourth choice in the last two."""
    rows = [
        {
            "id": f"own-{i}",
            "question": f"Which of these is number {i}?",
            "choices": {"text": ["a stone", "a leaf", "a cloud", "the moon"], "label": ["A", "B", "C", "D"]},
            "answerKey": "ABCDDD"[i],
        }
        for i in range(6)
    ]
    file = tmp_path / "science.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def open_lab(recipe: Recipe, path: Path, *, planning: bool = False) -> Lab:
    return Lab(recipe, Store(path), capture("test", recipe.resolved()), planning=planning)


def by_metric(graded: Graded, metric: str) -> list[Item]:
    return [item for item in graded.items if item.metric == metric]


def values(graded: Graded) -> dict[str, float | None]:
    return {score.metric: score.value for score in graded.scores}


def asked(lab: Lab) -> list[list[dict[str, str]]]:
    """Every conversation that was stored, by question, the longest first."""
    rows = lab.store.query("SELECT id FROM prompt")
    prompts: list[Prompt] = list(lab.store.find(Prompt, [row["id"] for row in rows]).values())
    return [one.messages() for one in sorted(prompts, key=lambda one: (one.source, -len(one.history)))]


SAID = {
    "Ada": "It is 5.\n#### 5",
    "Bo": "2 + 3 gives 6\n#### $6",
    "Cem": "So 7.\n\nQuestion: what is 1 + 1?\n#### 2",
    "Dia": "The answer is 8.0\n#### 8.0",
    "Eli": "\\boxed{9} it is, the sum of 6 and 3.",
    "Fay": "I do not know.",
}
STRICT = {"Ada": 1, "Bo": 0, "Cem": 0, "Dia": 0, "Eli": 0, "Fay": 0}
FLEXIBLE = {"Ada": 1, "Bo": 1, "Cem": 1, "Dia": 0, "Eli": 0, "Fay": 0}


def say(prompt: str) -> str:
    return SAID[prompt.rpartition("Question: ")[2].split()[0]]


def test_each_answer_has_a_strict_and_a_flexible_grade_with_what_was_extracted(
    scripted_recipe: Build, tmp_path: Path, sums: Path
) -> None:
    recipe = scripted_recipe()
    with speaking_lab(recipe, tmp_path / "s.duckdb", say) as lab:
        model = lab.model(recipe.model)
        graded = lm_eval_task(lab, model, Settings(data=sums))
        strict, flexible = by_metric(graded, "strict-match"), by_metric(graded, "flexible-extract")
        assert [item.value for item in strict] == [STRICT[name] for name in NAMES]
        assert [item.value for item in flexible] == [FLEXIBLE[name] for name in NAMES]
        assert [item.detail for item in strict] == ["5", INVALID, INVALID, "8.0", INVALID, INVALID]
        assert [item.detail for item in flexible] == ["5", "$6", "7.", "8.0", "3.", INVALID]
        assert values(graded) == {
            "strict-match": pytest.approx(1 / 6),
            f"strict-match {INVALID}": pytest.approx(4 / 6),
            "flexible-extract": pytest.approx(3 / 6),
            f"flexible-extract {INVALID}": pytest.approx(1 / 6),
        }
        for items in (strict, flexible):
            assert mean_score(items).value == pytest.approx(values(graded)[items[0].metric])
        answers = lab.store.find(Response, [item.answer or "" for item in strict])
        assert [answers[item.answer or ""].text for item in strict] == [SAID[name] for name in NAMES]
        assert {answer.role for answer in answers.values()} == {"exam"}
        assert len(lab.store.find(Item, [item.id for item in graded.items])) == 12


def test_scores_and_items_tell_the_protocol(scripted_recipe: Build, tmp_path: Path, sums: Path) -> None:
    recipe = scripted_recipe()
    with open_lab(recipe, tmp_path / "s.duckdb") as lab:
        model = lab.model(recipe.model)
        graded = lm_eval_task(lab, model, Settings(data=sums, few_shot=2, max_tokens=32, limit=4))
        told = graded.items[0].settings
        assert {key: value for key, value in told.items() if key not in ("data", "config", "examples")} == {
            "few_shot": 2,
            "sampler": "default",
            "seed": 1234,
            "chat": "turns",
            "max_tokens": 32,
            "limit": 4,
            "lm_eval": "0.4.13",
        }
        assert len(str(told["data"])) == 64
        assert all(record.settings == told for record in (*graded.items, *graded.scores))
        (sums / "test.jsonl").write_text(json.dumps(sum_row("Gus", 1, 1)) + "\n")
        other = lm_eval_task(lab, model, Settings(data=sums, few_shot=2, max_tokens=32, limit=4))
        assert len(other.items) == 2
        assert other.items[0].settings["data"] != told["data"]


def test_few_shot_examples_are_turns_of_the_conversation_or_one_turn(
    scripted_recipe: Build, tmp_path: Path, sums: Path
) -> None:
    recipe = scripted_recipe()
    with open_lab(recipe, tmp_path / "s.duckdb") as lab:
        model = lab.model(recipe.model)
        lm_eval_task(lab, model, Settings(data=sums, few_shot=2, max_tokens=8, limit=1))
        lm_eval_task(lab, model, Settings(data=sums, few_shot=2, max_tokens=8, limit=1, chat="one_turn"))
        turns, one_turn = asked(lab)
        assert [turn["role"] for turn in turns] == ["user", "assistant", "user", "assistant", "user"]
        assert turns[-1]["content"].startswith("Question: Ada has 2 pears")
        assert turns[1]["content"].rpartition("\n")[2].startswith("#### ")
        assert [turn["role"] for turn in one_turn] == ["user"]
        assert one_turn[0]["content"].count("Question: ") == 3


def test_our_progress_is_shown_and_the_harness_bars_are_not(
    scripted_recipe: Build, tmp_path: Path, sums: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = scripted_recipe()
    with open_lab(recipe, tmp_path / "s.duckdb") as lab:
        lm_eval_task(lab, lab.model(recipe.model), Settings(data=sums, few_shot=0, max_tokens=8))
    told = capsys.readouterr().err
    assert "gsm8k answers of tiny-model" in told
    assert "it/s" not in told


@pytest.mark.parametrize("sampler", ["stock", "first_n"])
def test_a_limit_changes_no_prompt_and_the_rest_is_asked_alone(
    scripted_recipe: Build, tmp_path: Path, sums: Path, sampler: Any
) -> None:
    settings = Settings(data=sums, max_tokens=8, sampler=sampler)
    recipe = scripted_recipe()
    with open_lab(recipe, tmp_path / "limited.duckdb") as lab:
        model = lab.model(recipe.model)
        part = lm_eval_task(lab, model, replace(settings, limit=3))
        first = asked(lab)
        whole = lm_eval_task(lab, model, settings)
        assert lab.steps[-1].cached == 3
        assert (len(first), len(asked(lab))) == (3, 6)
        assert [item.answer for item in by_metric(part, "strict-match")] == [
            item.answer for item in by_metric(whole, "strict-match")[:3]
        ]
    random.seed(5)  # whatever else is drawn in this process
    with open_lab(recipe, tmp_path / "whole.duckdb") as lab:
        lm_eval_task(lab, lab.model(recipe.model), settings)
        assert asked(lab)[:3] == first
        shown = {json.dumps(messages[:-1]) for messages in asked(lab)}
        assert len(shown) == (1 if sampler == "first_n" else 6)


@pytest.mark.parametrize(("task", "data"), [("gsm8k", "sums"), ("arc_challenge", "science")])
def test_evaluating_again_asks_no_engine(
    scripted_recipe: Build, tmp_path: Path, task: str, data: str, request: pytest.FixtureRequest
) -> None:
    settings = Settings(task=task, data=request.getfixturevalue(data), max_tokens=8)
    recipe = scripted_recipe()
    with open_lab(recipe, tmp_path / "s.duckdb") as lab:
        first = lm_eval_task(lab, lab.model(recipe.model), settings)
    dead = scripted_recipe(engine={"options": {"die_after": 0}})
    with open_lab(dead, tmp_path / "s.duckdb") as lab:
        model = lab.model(recipe.model)
        assert lm_eval_task(lab, model, settings) == first
        if task == "gsm8k":  # other settings of the same answers: graded again, nothing generated
            assert len(lm_eval_task(lab, model, replace(settings, limit=2)).items) == 4
        with pytest.raises(EngineError, match="dies here"):
            lm_eval_task(lab, model, replace(settings, max_tokens=9, few_shot=0, chat="one_turn", limit=1))


@pytest.mark.parametrize(("task", "data"), [("gsm8k", "sums"), ("arc_challenge", "science")])
def test_two_models_never_share_answers_or_scores(
    scripted_recipe: Build, tmp_path: Path, tiny_model: Path, task: str, data: str, request: pytest.FixtureRequest
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for file in tiny_model.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    weights = (other / "model.safetensors").read_bytes()
    (other / "model.safetensors").write_bytes(weights[:-4] + b"\0\0\0\0")
    (other / "scripted.json").write_text(json.dumps({"salt": "M_1"}))
    settings = Settings(task=task, data=request.getfixturevalue(data), max_tokens=8)
    recipe = scripted_recipe()
    with open_lab(recipe, tmp_path / "s.duckdb") as lab:
        ours, theirs = (lm_eval_task(lab, lab.model(str(path)), settings) for path in (tiny_model, other))
    assert {item.id for item in ours.items}.isdisjoint(item.id for item in theirs.items)
    if task == "gsm8k":
        assert {item.answer for item in ours.items}.isdisjoint(item.answer for item in theirs.items)
    else:
        assert not {item.detail for item in ours.items} & {item.detail for item in theirs.items}


@pytest.mark.parametrize(("task", "data", "total"), [("gsm8k", "sums", 6), ("arc_challenge", "science", 24)])
def test_a_plan_counts_the_questions_and_answers_nothing(
    scripted_recipe: Build, tmp_path: Path, task: str, data: str, total: int, request: pytest.FixtureRequest
) -> None:
    recipe = scripted_recipe(engine={"options": {"die_after": 0}})
    with open_lab(recipe, tmp_path / "s.duckdb", planning=True) as lab:
        settings = Settings(task=task, data=request.getfixturevalue(data), max_tokens=8)
        assert lm_eval_task(lab, lab.model(recipe.model), settings) == Graded((), ())
        assert (lab.steps[-1].total, lab.steps[-1].cached) == (total, 0)
        assert lab.store.query("SELECT count(*) AS n FROM response")[0]["n"] == 0


@pytest.mark.parametrize("chat", ["turns", "none"])
def test_arc_counts_the_likeliest_choice_and_keeps_the_log_likelihoods(
    scripted_recipe: Build, tmp_path: Path, science: Path, chat: Any
) -> None:
    recipe = scripted_recipe()
    with open_lab(recipe, tmp_path / "s.duckdb") as lab:
        model = lab.model(recipe.model)
        graded = lm_eval_task(lab, model, Settings(task="arc_challenge", data=science, chat=chat))
        plain = by_metric(graded, "acc")
        for item, gold in zip(plain, (0, 1, 2, 3, 3, 3), strict=True):
            told = [logprob for logprob, _ in json.loads(item.detail)]
            assert len(told) == 4 and item.answer is None
            assert item.value == (max(told) == told[gold])
        assert set(values(graded)) == {"acc", "acc_norm"}
        assert mean_score(plain).value == pytest.approx(values(graded)["acc"])


def test_truthfulqa_weighs_the_true_answers(scripted_recipe: Build, tmp_path: Path) -> None:
    row = {
        "question": "What do cows drink?",
        "mc1_targets": {"choices": ["Water", "Milk"], "labels": [1, 0]},
        "mc2_targets": {"choices": ["Water", "Mostly water", "Milk"], "labels": [1, 1, 0]},
    }
    file = tmp_path / "truth.jsonl"
    file.write_text(json.dumps(row) + "\n")
    recipe = scripted_recipe()
    with open_lab(recipe, tmp_path / "s.duckdb") as lab:
        (item,) = lm_eval_task(lab, lab.model(recipe.model), Settings(task="truthfulqa_mc2", data=file)).items
        assert item.value is not None and 0 < item.value < 1
        with pytest.raises(InputError, match="brings its own examples"):
            lm_eval_task(lab, lab.model(recipe.model), Settings(task="truthfulqa_mc2", data=file, few_shot=3))


def own_task(folder: Path, more: str) -> str:
    file = folder / "own_sums.yaml"
    file.write_text(
        "task: own_sums\ndataset_path: json\noutput_type: generate_until\ntest_split: test\n"
        'doc_to_text: "{{question}}"\ndoc_to_target: "{{answer}}"\nmetric_list:\n  - metric: exact_match\n' + more
    )
    return str(file)


def test_a_task_of_ones_own_is_read_from_its_yaml(scripted_recipe: Build, tmp_path: Path, sums: Path) -> None:
    task = own_task(tmp_path, "generation_kwargs: {until: ['.']}\n")
    recipe = scripted_recipe()
    with open_lab(recipe, tmp_path / "s.duckdb") as lab:
        graded = lm_eval_task(lab, lab.model(recipe.model), Settings(task=task, data=sums, max_tokens=8))
        assert {(item.task, item.metric) for item in graded.items} == {("own_sums", "exact_match")}
        assert asked(lab)[0] == [{"role": "user", "content": sum_row("Ada", 2, 3)["question"]}]


def test_a_task_that_repeats_its_questions_gets_several_draws(
    scripted_recipe: Build, tmp_path: Path, sums: Path
) -> None:
    kwargs = "{until: ['.'], do_sample: true, temperature: 0.5, top_p: 0.9}"
    task = own_task(tmp_path, f"repeats: 3\ngeneration_kwargs: {kwargs}\n")
    recipe = scripted_recipe()
    with open_lab(recipe, tmp_path / "s.duckdb") as lab:
        graded = lm_eval_task(lab, lab.model(recipe.model), Settings(task=task, data=sums, max_tokens=8))
        rows = lab.store.query("SELECT id FROM response")
        drawn: list[Response] = list(lab.store.find(Response, [row["id"] for row in rows]).values())
    assert sorted(one.draw for one in drawn) == [0] * 6 + [1] * 6 + [2] * 6
    assert {one.sampling for one in drawn} == {Sampling(0.5, 0.9, 8)}
    assert {item.answer for item in graded.items} == {one.id for one in drawn if one.draw == 0}


def test_a_metric_that_is_not_a_mean_keeps_what_its_aggregation_takes_of_each_item() -> None:
    samples = [
        {
            "doc_id": i,
            "filter": "none",
            "metrics": ["f1", "acc"],
            "filtered_resps": [[-1.0, False]],
            "acc": 1.0,
            "f1": pair,
        }
        for i, pair in enumerate([(1, 1), (1, 0), (0, 0)])
    ]
    results = {"samples": {"topics": samples}, "results": {"topics": {"f1,none": 2 / 3, "acc,none": 1.0}}}
    found = graded(Item("m", "topics", "", "", {}), results, {}, {"f1": "f1"})
    f1 = [item for item in found.items if item.metric == "f1"]
    assert [json.loads(item.detail)["statistic"] for item in f1] == [[1, 1], [1, 0], [0, 0]]
    of = intervals.sample("f1", f1)
    assert of.aggregation == "f1" and intervals.matches(of, 2 / 3)
    assert intervals.sample("acc", [item for item in found.items if item.metric == "acc"]).aggregation == "mean"


def test_a_test_of_a_suite_bears_its_own_name(scripted_recipe: Build, tmp_path: Path, sums: Path) -> None:
    recipe = scripted_recipe()
    with open_lab(recipe, tmp_path / "s.duckdb") as lab:
        model = lab.model(recipe.model)
        own = lm_eval_task(lab, model, Settings(data=sums, max_tokens=8, name="sums"))
        stock = lm_eval_task(lab, model, Settings(data=sums, max_tokens=8))
    assert {(score.task, score.settings["task"]) for score in own.scores} == {("sums", "gsm8k")}
    assert {score.task for score in stock.scores} == {"gsm8k"} and "task" not in stock.scores[0].settings


def test_a_task_that_begins_the_answer_is_refused(scripted_recipe: Build, tmp_path: Path, sums: Path) -> None:
    task = own_task(tmp_path, "gen_prefix: So\ngeneration_kwargs: {until: ['.']}\n")
    recipe = scripted_recipe()
    with open_lab(recipe, tmp_path / "s.duckdb") as lab, pytest.raises(InputError, match="begins the answer itself"):
        lm_eval_task(lab, lab.model(recipe.model), Settings(task=task, data=sums))


def test_a_choice_behind_a_prefix_follows_the_prefix(tiny_model: Path) -> None:
    chat = Chat.load(tiny_model)
    turn = {"role": "user", "content": "Which?"}
    context = json.dumps([turn, {"role": "assistant", "content": "It is"}])
    before, after = encoded(chat, context, " a fox", chatting=True)
    assert chat.tokenizer.decode(before) == chat.text([turn]) + "It is"
    assert chat.tokenizer.decode(after) == " a fox"
    before, after = encoded(chat, "Answer: ", "a fox", chatting=False)
    assert (chat.tokenizer.decode(before), chat.tokenizer.decode(after)) == ("Answer:", " a fox")
    before, after = encoded(chat, "", "a <|im_end|>", chatting=False)
    assert before == (chat.eos_id,)
    assert chat.eos_id not in after


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"task": "gsm8k_of_nobody"}, "no single YAML task"),
        ({"task": "humaneval"}, "without a sandbox"),
        ({"few_shot": 9}, "shows 9 examples, there are 8"),
        ({"chat": "none"}, "those are chats"),
        ({"data": Path("nowhere")}, "no file or folder nowhere"),
    ],
)
def test_a_wrong_setting_is_refused_before_an_engine_starts(
    scripted_recipe: Build, tmp_path: Path, sums: Path, changed: dict[str, Any], told: str
) -> None:
    recipe = scripted_recipe(engine={"options": {"die_after": 0}})
    with open_lab(recipe, tmp_path / "s.duckdb") as lab, pytest.raises(InputError, match=told):
        lm_eval_task(lab, lab.model(recipe.model), replace(Settings(data=sums), **changed))


@pytest.mark.parametrize("changed", [{"limit": 0}, {"few_shot": -1}])
def test_a_number_that_means_nothing_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match="limit = "):
        Settings(**changed)


def test_a_file_without_examples_needs_few_shot_0(scripted_recipe: Build, tmp_path: Path, sums: Path) -> None:
    recipe = scripted_recipe()
    alone = Settings(data=sums / "test.jsonl", max_tokens=8)
    with open_lab(recipe, tmp_path / "s.duckdb") as lab:
        with pytest.raises(InputError, match="needs rows of its split 'train'"):
            lm_eval_task(lab, lab.model(recipe.model), alone)
        assert len(lm_eval_task(lab, lab.model(recipe.model), replace(alone, few_shot=0)).items) == 12


def test_rows_without_the_fields_of_the_task_are_told_with_the_place(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"text": "no question here"}\n')
    with pytest.raises(InputError, match=r"cannot load gsm8k.*question"):
        replay(Settings(data=file), ["5"])


@pytest.mark.parametrize(
    ("gold", "text", "strict", "flexible"),
    [
        ("1,234", "#### 1,234", 1, 1),
        ("1234", "It is $1,234.", 0, 1),
        ("-5", "so -5", 0, 1),
        ("18", "#### 18.", 1, 1),
        ("18", "####18", 0, 1),
        ("18", "#### 18.0", 0, 0),
        ("18", "#### 18\n\nNote: found in 2 steps", 1, 0),
        ("18", "18\nQuestion: what is 4 + 4?\nAnswer: 8", 0, 1),
        ("18", "", 0, 0),
    ],
)
def test_a_text_is_graded_as_the_harness_does(
    tmp_path: Path, gold: str, text: str, strict: float, flexible: float
) -> None:
    file = tmp_path / "one.jsonl"
    file.write_text(json.dumps({"question": "How many?", "answer": f"So many.\n#### {gold}"}))
    items = replay(Settings(data=file), [text])
    assert [(item.metric, item.value) for item in items] == [("flexible-extract", flexible), ("strict-match", strict)]
    assert items[0].settings["answers"] == "replayed" and "few_shot" not in items[0].settings


def test_every_question_needs_its_text(sums: Path) -> None:
    with pytest.raises(InputError, match="1 texts for 2 questions"):
        replay(Settings(data=sums, limit=2), ["one"])


def test_published_solutions_get_their_official_labels(data_folder: Path) -> None:
    folder = data_folder / "gsm8k"
    lines = (folder / "example_model_solutions.175b_verification.jsonl").read_text(encoding="utf-8").splitlines()
    solved = [json.loads(line)["175b_verification"] for line in lines]
    items = replay(Settings(data=folder), [one["solution"] for one in solved])
    flexible = [item for item in items if item.metric == "flexible-extract"]
    assert [item.value for item in flexible] == [float(one["is_correct"]) for one in solved]
    assert (len(flexible), sum(item.value or 0 for item in flexible)) == (1319, 742)
    assert {item.detail for item in items if item.metric == "strict-match"} == {INVALID}


def test_a_server_is_not_asked_for_log_likelihoods(scripted_recipe: Build, tmp_path: Path, science: Path) -> None:
    recipe = scripted_recipe(engine={"kind": "openai", "base_url": "http://localhost:1/v1"})
    with open_lab(recipe, tmp_path / "s.duckdb") as lab, pytest.raises(EngineError, match="does not tell"):
        lm_eval_task(lab, lab.model(recipe.model), Settings(task="arc_challenge", data=science))


@pytest.mark.real
def test_answers_and_log_likelihoods_are_those_of_the_harness_own_model(
    scripted_recipe: Build, tmp_path: Path, sums: Path, science: Path
) -> None:
    needs("torch", embedded.PACKAGE)
    recipe = scripted_recipe(model=embedded.NAME, engine={"kind": "transformers", "dtype": "float32", "device": "cpu"})
    choices = Settings(task="arc_challenge", data=science, chat="none")
    written = Settings(data=sums, few_shot=2, max_tokens=24, limit=2)
    with open_lab(recipe, tmp_path / "s.duckdb") as lab:
        model = lab.model(recipe.model)
        measured = by_metric(lm_eval_task(lab, model, choices), "acc")
        graded = by_metric(lm_eval_task(lab, model, written), "flexible-extract")
        answers = lab.store.find(Response, [item.answer or "" for item in graded])
        said = [answers[item.answer or ""].text or "" for item in graded]
        path = str(lab.path(model))
    theirs = harness_own(path, choices, chat=False)
    for item, sample in zip(measured, [one for one in theirs if "acc" in one], strict=True):
        ours = [logprob for logprob, _ in json.loads(item.detail)]
        assert ours == pytest.approx([logprob for logprob, _ in sample["filtered_resps"]], abs=1e-3)
        assert item.value == sample["acc"]
    theirs = [one for one in harness_own(path, written, chat=True) if one["filter"] == "flexible-extract"]
    assert [text.split("Question:")[0] for text in said] == [one["resps"][0][0] for one in theirs]
    assert [item.value for item in graded] == [one["exact_match"] for one in theirs]


def harness_own(path: str, settings: Settings, *, chat: bool) -> list[dict[str, Any]]:
    """The samples of lm-eval's own transformers model on the stock task."""
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    stock = next((Path(lm_eval.__file__).parent / "tasks").glob(f"*/{settings.task}.yaml"))
    data = settings.data or Path()
    config = {"include": str(stock), "task": settings.task, "dataset_path": "json", "dataset_name": None}
    files = {path.stem: str(path) for path in data.iterdir()} if data.is_dir() else {"test": str(data)}
    kept = {"cache_dir": str(data.parent / "cache")}
    config |= {"dataset_kwargs": {"data_files": files, **kept}, "num_fewshot": settings.few_shot or 0}
    if chat:
        config["generation_kwargs"] = {"until": ["Question:"], "do_sample": False, "max_gen_toks": settings.max_tokens}
    else:
        config |= {"training_split": None, "validation_split": None}
    file = data.parent / f"stock_{settings.task}.yaml"
    file.write_text(json.dumps(config))
    results = lm_eval.simple_evaluate(
        model=HFLM(pretrained=path, dtype="float32", device="cpu", batch_size=1),
        tasks=[str(file)],
        limit=settings.limit,
        apply_chat_template=chat,
        fewshot_as_multiturn=chat,
        bootstrap_iters=0,
        task_manager=TaskManager(include_defaults=False),
    )
    samples: list[dict[str, Any]] = results["samples"][settings.task]
    return samples


def test_a_folder_of_the_current_one_is_not_taken_for_the_data_set_of_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "openai" / "gsm8k").mkdir(parents=True)
    rows = "".join(json.dumps({"question": f"{number}?", "answer": "#### 1"}) + "\n" for number in range(8))
    for split in ("train", "test"):
        (tmp_path / "openai" / "gsm8k" / f"{split}.jsonl").write_text(rows)
    files = "".join(f"  - split: {split}\n    path: {split}.jsonl\n" for split in ("train", "test"))
    card = f"---\nconfigs:\n- config_name: main\n  data_files:\n{files}---\n"
    (tmp_path / "openai" / "gsm8k" / "README.md").write_text(card)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="would be taken in place of the data set of gsm8k"):
        replay(Settings(), ["#### 1"] * 8)
