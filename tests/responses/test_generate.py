"""Answers against the requests they belong to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from toolkit import config
from toolkit.config import Recipe
from toolkit.engines.chat import Chat
from toolkit.engines.pool import EnginePool
from toolkit.engines.protocol import Request
from toolkit.engines.scripted import ScriptedEngine
from toolkit.lab import Lab
from toolkit.provenance import capture
from toolkit.records import Prompt
from toolkit.responses.generate import generate
from toolkit.store.database import Store


def test_an_answer_belongs_to_its_prompt_and_draw_in_whatever_order_it_comes(
    scripted_recipe: Callable[..., Recipe], tiny_model: Path
) -> None:
    recipe = scripted_recipe(answers={"k": 12})
    prompts = [Prompt(f"question {number}?") for number in range(11)]
    with Lab(recipe, Store(None), capture("test", {})) as lab:
        model = lab.model(recipe.model, "M_0")
        answers = generate(lab, model, prompts)
        tokens = {prompt.id: lab.chat(model).tokens(prompt.messages()) for prompt in prompts}
    assert [(a.prompt, a.draw) for a in answers] == [(p.id, draw) for p in prompts for draw in range(12)]
    alone = ScriptedEngine(tiny_model, recipe.engine)
    for answer in answers:
        assert answer.sampling is not None
        (done,) = alone.complete([Request("alone", tokens[answer.prompt], answer.sampling, answer.seed or 0)])
        assert answer.text == done.text
    assert len({answer.seed for answer in answers}) == len(answers)
    assert len({(answer.prompt, answer.text) for answer in answers}) == len(answers)


def test_a_models_name_acts_on_no_terminal(
    scripted_recipe: Callable[..., Recipe], capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = scripted_recipe()
    with Lab(recipe, Store(None), capture("test", {})) as lab:
        generate(lab, lab.model(recipe.model, "\x1b[2Jmine\r"), [Prompt("a question?")])
    told = capsys.readouterr().err
    assert told.count("mine") > 1 and told.replace("\n", "").isprintable()


def test_the_tokenizer_is_loaded_while_the_engine_starts(
    scripted_recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[str] = []

    class SlowEngine(ScriptedEngine):
        def ready(self) -> None:
            happened.append("waited for")

    def start(path: Path, settings: config.Engine, trust_remote_code: bool) -> SlowEngine:
        happened.append("started")
        return SlowEngine(path, settings)

    def load(path: Path, trust_remote_code: bool) -> Chat:
        happened.append("tokenizer")
        return Chat(AutoTokenizer.from_pretrained(path), path)

    monkeypatch.setattr(Chat, "load", load)
    with Lab(scripted_recipe(), Store(None), capture("test", {})) as lab:
        lab.engines = EnginePool(lab.recipe.engine, opener=start)
        generate(lab, lab.model(lab.recipe.model, "M_0"), [Prompt("question?")])
        (step,) = [step for step in lab.steps if step.stage == "generate"]
    assert happened == ["started", "tokenizer", "waited for"]
    assert step.stats["start_seconds"] > 0
    assert "tokenizer_seconds" not in step.stats, "it cost nothing beside the start"


def test_whoever_lets_a_model_bring_code_is_told_so_each_time(
    scripted_recipe: Callable[..., Recipe], capsys: pytest.CaptureFixture[str]
) -> None:
    for trusting in (True, False):
        recipe = scripted_recipe(trust_remote_code=trusting)
        with Lab(recipe, Store(None), capture("test", {}), planning=True):
            assert ("runs as you" in capsys.readouterr().err) is trusting
