"""toolkit init: what it writes is a recipe, fits the model and the prompts, and runs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from toolkit.__main__ import app
from toolkit.config import Recipe, load, parse
from toolkit.recipes.commented import commented
from toolkit.recipes.run import find_config


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.txt").write_text("".join(f"question number {i}?\n" for i in range(24)))
    return tmp_path


def init(*words: str) -> Result:
    return CliRunner().invoke(app, ["init", *words])


@pytest.mark.parametrize("shipped", ["quick", "temporal", "sft"])
def test_a_commented_recipe_is_that_recipe_with_and_without_its_comment_marks(shipped: str, tmp_path: Path) -> None:
    recipe = load(find_config(Path(shipped)))
    text = commented(recipe, ["first line"])
    assert parse(tomllib.loads(text)) == recipe
    every = re.sub(r"^#(\w+ = )", r"\1", text, flags=re.M)
    assert every != text
    assert parse(tomllib.loads(every)) == recipe


def test_every_field_of_a_recipe_is_named_in_its_commented_form() -> None:
    text = commented(Recipe(), [])
    for section, data in Recipe().resolved().items():
        for name in data if isinstance(data, dict) and section in text else [section]:
            assert re.search(rf"^# ?{name}(:| =)|^\[{section}\]", text, re.M), (section, name)


def test_a_section_within_a_section_is_a_table_of_its_own_with_every_field() -> None:
    recipe = parse({"judge": {"draws": 3, "audit": {"reward": "toolkit:noise"}}, "engine": {"cluster": {"workers": 2}}})
    text = commented(recipe, [])
    assert parse(tomllib.loads(text)) == recipe
    audit = text.partition("[judge.audit]")[2].partition("\n[")[0]
    assert 'reward = "toolkit:noise"' in audit and "# method: none where it is left out" in audit
    assert 'one of "generated", "expected", "reward"' in " ".join(audit.replace("#", "").split())
    assert "as in [judge]" in text.partition("[judge.audit]")[0].rpartition("\n\n")[2]
    assert "workers = 2" in text.partition("[engine.cluster]")[2] and "# select_draws: none" in text


def test_text_that_toml_must_quote_comes_back_as_it_was() -> None:
    odd = 'a "quoted" \\ name\twith\x7f ends\n, ümläute and 漢字'
    recipe = Recipe(name=odd, prompts={"source": "x.txt"}, engine={"options": {"a.b": True, "c": 1.5}})  # type: ignore[arg-type]
    assert parse(tomllib.loads(commented(recipe, []))) == recipe


def test_parts_fit_the_prompts_and_the_batch_the_parts(folder: Path, tiny_model: Path) -> None:
    done = init("my.toml", "--model", str(tiny_model), "--prompts", "mine.txt", "--iters", "3", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    recipe = load(Path("my.toml"))
    assert (recipe.name, recipe.iterations, recipe.prompts.part_size) == ("my", 3, 8)
    assert (recipe.training.batch_size, recipe.training.small_sets) == (32, "shrink")
    assert any("24 found, 8 an iteration" in note for note in told["notes"])
    assert told["command"].endswith("--config my.toml")


def test_a_hub_id_is_taken_at_its_word_and_said_to_be(folder: Path) -> None:
    done = init("--model", "someone/model", "--prompts", "someone/prompts")
    assert done.exit_code == 0, done.output
    assert done.stdout.count("not looked up") == 2
    assert load(Path("recipe.toml")).prompts.part_size == load(find_config(Path("temporal"))).prompts.part_size


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["there.toml"], 2, "there.toml is there already"),
        (["no/folder.toml"], 3, "No such file or directory"),
        (["--model", "nowhere"], 3, "no model 'nowhere'"),
        (["--prompts", "mine.text.txt"], 3, "did you mean 'mine.txt'"),
        (["--prompts", "mine.txt", "--iters", "25"], 3, "24 prompts are too few for 25 iterations"),
        (["--like", "quik"], 2, "no recipe file quik"),
        (["--set", "answer.k=3"], 2, "did you mean"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(
    folder: Path, tiny_model: Path, words: list[str], code: int, told: str
) -> None:
    (folder / "there.toml").write_text("name = 'kept'\n")
    before = sorted(folder.iterdir())
    model = [] if "--model" in words else ["--model", str(tiny_model)]
    done = init(*words, *model)
    assert done.exit_code == code, done.output
    assert told in done.stderr
    assert "remedy" in done.stderr
    assert sorted(folder.iterdir()) == before
    assert (folder / "there.toml").read_text() == "name = 'kept'\n"


def test_a_model_without_a_chat_template_is_refused_before_anything_is_written(folder: Path, tiny_model: Path) -> None:
    bare = folder / "bare"
    bare.mkdir()
    for file in tiny_model.iterdir():
        (bare / file.name).write_bytes(file.read_bytes())
    settings = json.loads((bare / "tokenizer_config.json").read_text())
    del settings["chat_template"]
    (bare / "tokenizer_config.json").write_text(json.dumps(settings))
    done = init("my.toml", "--model", "bare", "--prompts", "mine.txt")
    assert done.exit_code == 3
    assert "no chat template" in done.stderr
    assert not Path("my.toml").exists()


def test_what_init_writes_plans_and_runs_by_the_command_that_it_names(
    folder: Path, tiny_model: Path, fake_python: Path
) -> None:
    fields = {
        "answers.k": "3", "answers.max_tokens": "16", "judge.method": "expected", "gate.max_dropped": "0.5",
        "engine.kind": "scripted", "trainer.python": str(fake_python), "trainer.device": "cpu",
    }  # fmt: skip
    changes = [f"--set={key}={value}" for key, value in fields.items()]
    done = init("my.toml", "--model", str(tiny_model), "--prompts", "mine.txt", *changes, "--json")
    assert done.exit_code == 0, done.output
    command = [sys.executable, *json.loads(done.stdout)["command"].split()[1:]]
    plan = subprocess.run([*command, "--plan", "--json"], capture_output=True, text=True, check=True)
    steps = [json.loads(line) for line in plan.stdout.splitlines()]
    assert sum(step["stage"] == "train" for step in steps) == 4
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "report:  runs/reports/my.md" in ran.stdout
