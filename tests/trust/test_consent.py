"""Where consent is asked for, what a suite may expand, how children start, and what a checkpoint's digest counts."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.conftest import needs
from toolkit import child_process, config
from toolkit.config import Engine, Recipe
from toolkit.engines import checkpoint, openai, ray, vllm
from toolkit.errors import InputError, RecipeError
from toolkit.evaluation.alpaca_eval import alpaca_eval
from toolkit.evaluation.alpaca_eval.judges import Judge
from toolkit.evaluation.alpaca_eval.process import environment as alpaca_environment
from toolkit.evaluation.lm_eval import lm_eval
from toolkit.evaluation.suite import load_suite
from toolkit.judgments.rubric import load_rubric
from toolkit.lab import Lab
from toolkit.prompts.source import load_prompts
from toolkit.provenance import capture
from toolkit.recipes.temporal import temporal
from toolkit.store.database import Store
from toolkit.training import settings as trainer_settings
from toolkit.trust import consent

ROOT = Path(__file__).parents[2] / "toolkit"
WITHOUT_PYTHON = (
    "hardware.py",
    "provenance.py",
    "evaluation/sandbox/check.py",
)  # nvidia-smi, git; an environment of its own
SCRIPTED = ROOT / "training" / "scripted.py"
SECRET = "sk-0123456789abcdefghij"


def suite(folder: Path, text: str) -> Path:
    file = folder / "suite.toml"
    file.write_text(text)
    return file


# what a file may name


@pytest.mark.parametrize(
    "change",
    [
        "trainer.options={'ds.adam_offload' = true}", "engine.options={gpu_memory_utilization = 0.9}",
        "judge.base_url='http://localhost:8000/v1'", "trainer.python='scripted'", "engine.cluster.address='auto'",
        "trainer.attention='flash_attention_2'", "trust_remote_code=false",
        "judge.reward='toolkit:noise'", "judge.audit.reward='toolkit:constraints'", "judge.audit.by='a/model'",
        "judge.audit.base_url='http://localhost:8000/v1'", "judge.audit.key_variable='OPENAI_API_KEY'",
    ],
)  # fmt: skip
def test_what_only_tunes_a_run_needs_no_consent(change: str, tmp_path: Path) -> None:
    key, _, value = change.partition("=")
    table, _, leaf = key.rpartition(".")
    file = tmp_path / "recipe.toml"
    file.write_text((f"[{table}]\n" if table else "") + f"{leaf} = {value}\n")
    consent.check_recipe(config.read_toml(file), (), file, trusted=False)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("judge.audit.reward", "own.py:f"), ("judge.audit.reward", "toolkit:noise.py:f"),
        ("judge.audit.base_url", "https://evil.example/v1"), ("judge.audit.key_variable", "GITHUB_TOKEN"),
        ("judge.reward", "toolkit:other"),
    ],
)  # fmt: skip
def test_a_second_judge_obeys_the_rules_of_the_first(key: str, value: str) -> None:
    *names, leaf = key.split(".")
    data: dict[str, object] = {leaf: value}
    for name in reversed(names):
        data = {name: data}
    with pytest.raises(RecipeError, match=key):
        consent.check_recipe(data, (), "recipe.toml", trusted=False)
    with pytest.raises(RecipeError, match=f"temporal.{key}"):
        consent.check_recipe({"temporal": data}, (), "compare.toml", trusted=False)
    consent.check_recipe(data, (), "recipe.toml", trusted=True)
    consent.check_recipe(data, [f"{key}={value}"], "recipe.toml", trusted=False)
    assert consent.in_arguments(["toolkit/recipes/temporal.py", "--set", f"{key}={value}"]) == [f"{key}={value}"]


@pytest.mark.parametrize("option", ["trust_remote_code = true", "hf_overrides = 'x'", "load_format = 'pt'"])
def test_an_option_that_loads_code_or_pickles_is_named(option: str, tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text(f"[engine.options]\n{option}\n")
    with pytest.raises(RecipeError, match=r"engine\.options"):
        config.load(file)


@pytest.mark.parametrize(
    ("table", "named"),
    [
        ("kind = 'lm_eval'\ntask = 'own.yaml'", "task = 'own.yaml'"),
        ("kind = 'lm_eval'\ntask = 'own.YML'", "task = 'own.YML'"),
        ("kind = 'alpaca_eval'\nbase_url = 'https://evil.example/v1'", "base_url = 'https://evil.example/v1'"),
        ("kind = 'alpaca_eval'\nbase_url = '//evil.example'", "base_url"),
        ("kind = 'alpaca_eval'\nkey_variable = 'GITHUB_TOKEN'", "key_variable = 'GITHUB_TOKEN'"),
    ],
)
def test_a_suite_that_names_code_or_a_server_needs_consent(table: str, named: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as refused:
        load_suite(suite(tmp_path, f"[x]\n{table}\n"))
    assert named in refused.value.problem and "--trust" in refused.value.remedy


@pytest.mark.parametrize("name", ["../../../tmp/evil", "/tmp/evil", "gsm8k*", "a\\b"])
def test_the_name_of_a_harness_task_is_not_a_path(name: str) -> None:
    assert lm_eval._yaml(name) is None


def test_a_metric_of_the_current_folder_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate = pytest.importorskip("evaluate")
    (tmp_path / "rouge").mkdir()
    (tmp_path / "rouge" / "rouge.py").write_text(f"open({str(tmp_path / 'RAN')!r}, 'w').close()\n")
    monkeypatch.chdir(tmp_path)
    with lm_eval._metrics_of_packages(), pytest.raises(InputError, match="in place of the metric"):
        evaluate.load("rouge")
    assert not (tmp_path / "RAN").exists()


@pytest.mark.parametrize("name", ["/tmp/evil", "../evil", ".", ".."])
def test_the_name_of_an_annotator_is_not_a_path(
    name: str, scripted_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = scripted_recipe()
    with (
        Lab(recipe, Store(tmp_path / "s.duckdb"), capture("test", {})) as lab,
        pytest.raises(RecipeError, match="name"),
    ):
        alpaca_eval.find_judge(lab, alpaca_eval.Settings("i.jsonl", "r.jsonl", judge=name))


# what a suite expands


@pytest.mark.parametrize("spelled", ["$OPENAI_API_KEY", "${OPENAI_API_KEY}", "$MY_FOLDER"])
def test_a_variable_is_expanded_in_paths_alone(spelled: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setenv("MY_FOLDER", str(tmp_path))
    for key in ("base_url", "judge_model", "judge"):
        text = f"[x]\nkind = 'alpaca_eval'\ninstructions = 'i'\nreferences = 'r'\n{key} = 'https://{spelled}.example'\n"
        (test,) = load_suite(suite(tmp_path, text), trusted=True)
        assert getattr(test.settings, key) == f"https://{spelled}.example"


@pytest.mark.parametrize("variable", ["OPENAI_API_KEY", "HF_TOKEN", "SOMETHING"])
def test_a_path_never_holds_what_is_no_file_of_the_users(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, SECRET)
    for key in ("questions", "baseline"):
        text = f"[x]\nkind = 'judged'\nquestions = 'q'\njudge_model = 'm'\n{key} = '${variable}/x'\n".replace(
            "questions = 'q'\n", "", key == "questions"
        )
        with pytest.raises(RecipeError, match=rf"\${variable} is not the path") as refused:
            load_suite(suite(tmp_path, text))
        assert SECRET not in str(refused.value)


def test_a_variable_that_names_a_folder_is_expanded_in_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_FOLDER", str(tmp_path))
    (test,) = load_suite(suite(tmp_path, "[x]\nkind = 'lm_eval'\ndata = '${MY_FOLDER}/gsm8k'\n"))
    assert test.settings.data == tmp_path / "gsm8k"


def test_host_and_key_variable_are_printed_before_the_first_request(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openai")
    monkeypatch.setenv("MY_KEY", SECRET)
    consent.announce.cache_clear()
    settings = Engine(base_url="http://me:pw@judge.example:8000/v1")  # type: ignore[call-arg]
    openai._client(settings, "MY_KEY").close()
    Judge("official", key_variable="MY_KEY").variables()
    told = capsys.readouterr().err
    assert "requests go to judge.example:8000 with the key in MY_KEY" in told
    assert "requests go to api.openai.com with the key in MY_KEY" in told
    assert SECRET not in told and "pw" not in told


# how children start


def calls(path: Path) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("subprocess.run", "subprocess.Popen"):
            yield node


def test_every_child_gets_an_environment_that_keeps_the_current_folder_out() -> None:
    seen = 0
    for path in sorted(ROOT.rglob("*.py")):
        if str(path.relative_to(ROOT)) in WITHOUT_PYTHON:
            continue
        for call in calls(path):
            seen += 1
            assert any(keyword.arg == "env" for keyword in call.keywords), f"{path}:{call.lineno}"
    assert seen >= 7


def test_the_environments_of_children_are_safe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", ".", "relative", str(tmp_path)]))
    for variables in (
        child_process.environment(),
        child_process.outside(),
        alpaca_environment(tmp_path, {}),
        vllm.environment(Engine(), "gpu"),  # type: ignore[call-arg]
    ):
        assert variables["PYTHONSAFEPATH"] == "1"
        assert all(os.path.isabs(folder) for folder in variables["PYTHONPATH"].split(os.pathsep))


def test_looking_for_the_trainers_version_imports_nothing_of_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("csv", "email", "zipfile", "pathlib"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'RAN')!r}, 'w').close()\n")
    monkeypatch.chdir(tmp_path)
    trainer_settings._installed(sys.executable)
    assert not (tmp_path / "RAN").exists()


def test_the_vllm_child_finds_its_own_files_and_none_of_the_current_folder(tmp_path: Path) -> None:
    for name in ("drawing", "weights", "sampling", "vllm", "json"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('ran')\n")
    line = "import runpy, sys; m = runpy.run_path(sys.argv[1]); print(sys.path[0])"
    child = ROOT / "engines" / "vllm_child" / "serving.py"
    done = subprocess.run(
        [sys.executable, "-c", line, str(child)], cwd=tmp_path, env=child_process.outside(), capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() != str(tmp_path)


def test_ray_is_started_where_its_workers_can_import_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toolkit.py").touch()
    monkeypatch.chdir(tmp_path)
    seen: list[list[str]] = []
    fake = SimpleNamespace(is_initialized=lambda: False, init=lambda **_: seen.append(os.listdir()))
    monkeypatch.setitem(sys.modules, "ray", fake)
    ray.connect(Engine())  # type: ignore[call-arg]
    assert seen == [[]] and Path.cwd() == tmp_path


def test_the_current_folder_does_not_name_the_server_that_gets_the_key_of_wandb(tmp_path: Path) -> None:
    needs("wandb")
    (tmp_path / "wandb").mkdir()
    (tmp_path / "wandb" / "settings").write_text("[default]\nbase_url = https://evil.example\n")
    line = "import wandb; from toolkit.reporting import trackers; trackers._read_own_settings(wandb); "
    line += "print(wandb.setup().settings.base_url)"
    command = [*child_process.PYTHON, "-c", line]
    done = subprocess.run(command, cwd=tmp_path, env=child_process.environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "evil" not in done.stdout and done.stdout.startswith("https://")


def test_the_child_of_alpaca_eval_reads_no_env_file(tmp_path: Path) -> None:
    assert alpaca_environment(tmp_path, {})["PYTHON_DOTENV_DISABLED"] == "1"


def test_the_trainer_works_in_an_empty_folder_with_absolute_paths(
    scripted_recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in interpreter says where it runs; the store is named by a relative path, as by default."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "where").write_text(f'#!/bin/sh\nls -a > {tmp_path}/seen\nexec {sys.executable} {SCRIPTED} "$@"\n')
    (tmp_path / "where").chmod(0o755)
    recipe = scripted_recipe(iterations=1, trainer={"python": "./where"})
    with Lab(recipe, Store(Path("runs/s.duckdb")), capture("test", recipe.resolved())) as lab:
        temporal(lab, recipe)
    assert (tmp_path / "seen").read_text().split() == [".", ".."]


# checkpoints


@pytest.fixture
def own_code(tiny_model: Path, tmp_path: Path) -> Path:
    """A checkpoint with code of its own."""
    model = tmp_path / "model"
    shutil.copytree(tiny_model, model)
    (model / "modeling.py").write_text("a = 1\n")
    name_code(model, {"AutoModel": "modeling.Model"})
    return model


def name_code(model: Path, auto_map: object, key: str = "auto_map") -> None:
    settings = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**settings, key: auto_map}))


def test_the_digest_counts_the_code_that_a_checkpoint_brings(own_code: Path, tiny_model: Path) -> None:
    digests = [checkpoint.template_digest(tiny_model), checkpoint.template_digest(own_code)]
    (own_code / "modeling.py").write_text("from .helper import b\na = 2\n")
    digests.append(checkpoint.template_digest(own_code))
    (own_code / "helper.py").write_text("b = 1\n")
    digests.append(checkpoint.template_digest(own_code))
    name_code(own_code, {"AutoModel": "modeling.Other"})
    digests.append(checkpoint.template_digest(own_code))
    assert len(set(digests)) == len(digests)


def test_code_of_another_repository_is_refused_even_where_the_user_trusts(own_code: Path) -> None:
    name_code(own_code, {"AutoTokenizer": ["stranger/repo--tokenizing.Slow", None]})
    with pytest.raises(InputError, match="another repository"):
        checkpoint.verify(own_code, trust_remote_code=True)


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation", "text_config"])
def test_a_kernel_of_the_hub_in_a_configuration_is_refused(key: str, own_code: Path) -> None:
    value: object = "stranger/kernel"
    name_code(own_code, {"attn_implementation": value} if key == "text_config" else value, key)
    with pytest.raises(InputError, match="attention kernel"):
        checkpoint.verify(own_code, trust_remote_code=True)


def test_the_error_says_how_to_consent(own_code: Path) -> None:
    with pytest.raises(InputError) as refused:
        checkpoint.verify(own_code)
    assert "--set trust_remote_code=true" in refused.value.remedy and "--trust" in refused.value.remedy


# what is no file, and what is no rubric


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ["pipe.txt", "pipe.jsonl"])
def test_a_pipe_in_place_of_prompts_is_refused_at_once(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match=r"n(o|ot an) ordinary file"):
        load_prompts(config.Prompts(source=str(tmp_path / name)))  # type: ignore[call-arg]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "chat_template.jinja"])
def test_a_pipe_in_a_checkpoint_is_refused_at_once(name: str, own_code: Path) -> None:
    (own_code / name).unlink(missing_ok=True)
    os.mkfifo(own_code / name)
    with pytest.raises(InputError, match=r"n(o|ot an) ordinary file"):
        checkpoint.verify(own_code, trust_remote_code=True)


@pytest.mark.parametrize("text", ["", "root:x:0:0:root:/root:/bin/bash\n", "scale: my secret\n", "\x00\x01"])
def test_a_file_that_is_no_rubric_is_named_and_not_quoted(text: str, tmp_path: Path) -> None:
    file = tmp_path / "strange.txt"
    file.write_text(text)
    with pytest.raises(InputError, match="the file is not a rubric") as refused:
        load_rubric(str(file))
    assert refused.value.remedy and "root" not in refused.value.problem and "secret" not in str(refused.value)


def test_a_file_of_this_folder_does_not_stand_in_for_a_shipped_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from toolkit.evaluation.suite import load_suite
    from toolkit.judgments.rubric import load_rubric
    from toolkit.recipes.run import find_config

    monkeypatch.chdir(tmp_path)
    for name in ("quick", "temporal", "compare", "additive"):
        (tmp_path / name).write_text("model = 'other'\n")
    assert find_config(Path("quick")).parent != Path() and find_config(Path("temporal")).suffix == ".toml"
    assert load_rubric("additive").scale == (0, 5)
    monkeypatch.setenv("TOOLKIT_DATA", str(tmp_path))
    for folder in ("gsm8k", "alpaca_eval"):
        (tmp_path / folder).mkdir()
    assert load_suite(Path("quick"))
    (tmp_path / "own.toml").touch()
    assert find_config(Path("own.toml")) == Path("own.toml"), "a file by its own name is the user's word"


@pytest.mark.parametrize("name", ["pipe", "pipe.txt", "pipe.csv", "pipe.jsonl", "pipe.parquet"])
def test_a_pipe_is_named_as_such_wherever_a_file_is_read(name: str, tmp_path: Path) -> None:
    from toolkit.judgments.rubric import load_pair_rubric, load_rubric
    from toolkit.reading import read_lines

    os.mkfifo(path := tmp_path / name)
    for read in (load_rubric, load_pair_rubric, lambda place: next(read_lines(place))):
        with pytest.raises(InputError, match="is not an ordinary file"):
            read(str(path))
    with pytest.raises(InputError, match="is not an ordinary file"):
        load_prompts(config.Prompts(source=str(path)))
