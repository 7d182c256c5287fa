"""Every made-up secret on every path that a text takes: into rows, logs, errors, output, reports, exports, trackers."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.trust.secrets_corpus import Secret, secrets
from tests.trust.test_redaction import flag, recall
from toolkit import config, provenance
from toolkit.__main__ import app
from toolkit.config import Recipe, load
from toolkit.console import guarded
from toolkit.engines.vllm import VllmEngine
from toolkit.errors import EngineError, RecipeError, ToolkitError, TrainerError
from toolkit.exchange.exporting import export_pairs
from toolkit.lab import Lab, Step
from toolkit.pairs.versions import freeze
from toolkit.provenance import capture
from toolkit.recipes.run import write_report
from toolkit.recipes.temporal import temporal
from toolkit.records import Model, PairSet
from toolkit.reporting.model_card import model_card
from toolkit.reporting.page.as_html import as_html
from toolkit.reporting.page.as_markdown import as_markdown
from toolkit.reporting.page.run_page import run_page
from toolkit.reporting.run_numbers import run_numbers
from toolkit.reporting.trackers import _flat
from toolkit.store.database import Store
from toolkit.training.process import run_trainer
from toolkit.training.settings import TrainerJob, arguments

ALL = secrets()
TEXT = "\n".join(secret.text for secret in ALL)
OPTIONS = {f"{secret.name}_{number}": secret.value for number, secret in enumerate(ALL)}
Build = Callable[..., Recipe]


def none_leaks(output: str, among: Iterable[Secret] = ALL) -> None:
    leaked = [secret for secret in among if secret.leaks(output)]
    assert not leaked, recall(leaked)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A launch without a look at the machine, the packages and git."""
    monkeypatch.setattr(provenance, "hardware", dict)
    monkeypatch.setattr(provenance, "_versions", dict)
    monkeypatch.setattr(provenance, "_commit", lambda: None)


@pytest.fixture
def run(scripted_recipe: Build, tmp_path: Path) -> Path:
    """The store of a small run."""
    recipe, path = scripted_recipe(iterations=1), tmp_path / "store.duckdb"
    with Lab(recipe, Store(path), capture("temporal", recipe.resolved())) as lab:
        temporal(lab, recipe)
    return path


@pytest.fixture
def stranger(run: Path) -> Path:
    """The same store as somebody sends it who never hid a secret."""
    with Store(run) as store:
        (row,) = store.query("SELECT id, recipe FROM launch")
        recipe = json.loads(row["recipe"])
        recipe["engine"]["options"], recipe["trainer"]["options"] = OPTIONS, OPTIONS
        recipe["prompts"]["source"] = TEXT
        words = ["toolkit/recipes/temporal.py"]
        for name, value in OPTIONS.items():
            words += ["--set", f"engine.options.{name}={value}", f"--{name}", value]
        store.query("UPDATE launch SET recipe = ?, arguments = ?", [json.dumps(recipe), json.dumps(words)])
        store.query("UPDATE pair_set SET message = ?", [TEXT])
        store.query("UPDATE training SET settings = ?", [json.dumps({"options": OPTIONS, "note": TEXT})])
    return run


def test_no_secret_of_a_recipe_or_command_line_or_environment_is_in_a_launch(
    quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOOLKIT_AUTHOR", TEXT)
    leaked = []
    for secret in ALL:
        name = f"HELD_{secret.name.replace('.', '_').replace('-', '_')}"
        monkeypatch.setenv(name, secret.value)
        recipe = {"model": secret.text, "engine": {"base_url": secret.text, "options": {secret.name: secret.value}}}
        setting = f"engine.options.{secret.name}={secret.value}"
        monkeypatch.setattr(sys, "argv", ["run", "--set", setting, flag(secret), secret.value, secret.text])
        row = json.dumps(vars(capture(secret.text, recipe)))
        leaked += [secret] if secret.leaks(row) else []
        monkeypatch.delenv(name)
    assert not leaked, recall(leaked)


def test_no_secret_is_in_any_row_that_a_run_writes(scripted_recipe: Build, tmp_path: Path) -> None:
    recipe, path = scripted_recipe(), tmp_path / "store.duckdb"
    with Lab(recipe, Store(path), capture(TEXT, {**recipe.resolved(), "options": OPTIONS})) as lab:
        lab.note(Step(0, "start", TEXT, TEXT, 1, 1, stats={**OPTIONS, "note": TEXT}))
        freeze(lab.store, PairSet("guided", 0, None, (), message=TEXT), lab.launch.id)
        none_leaks(json.dumps([vars(step) for step in lab.steps]))
        tables = [row["name"] for row in lab.store.query("SELECT table_name AS name FROM duckdb_tables()")]
        rows = [row for table in tables for row in lab.store.query(f'SELECT * FROM "{table}"')]
    assert len(rows) >= 3
    none_leaks(json.dumps(rows, default=str))
    none_leaks(path.read_bytes().decode("latin-1"))


@pytest.mark.parametrize("kind", [ToolkitError, *ToolkitError.__subclasses__()], ids=lambda kind: kind.__name__)
def test_no_secret_is_in_an_error(kind: type[ToolkitError], capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise kind(TEXT, where=TEXT, remedy=TEXT)

    assert guarded(fail) == kind.exit_code
    error = kind(TEXT, where=TEXT, remedy=TEXT)
    none_leaks("".join((capsys.readouterr().err, str(error), error.problem, error.where, error.remedy)))


def test_no_secret_is_in_the_traceback_of_a_fault(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)

    def fail() -> None:
        raise LookupError(TEXT)

    with pytest.raises(LookupError) as caught:
        guarded(fail)
    sys.excepthook(caught.type, caught.value, caught.tb)
    told = capsys.readouterr().err
    assert "LookupError" in told and "Traceback" in told
    none_leaks(told)


@pytest.mark.parametrize("section", ["trainer", "engine"])
def test_a_secret_among_options_is_refused_before_anything_starts(section: str, tmp_path: Path) -> None:
    (recipe := tmp_path / "recipe.toml").write_text("")
    taken, told = [], ""
    for secret in ALL:
        try:
            load(recipe, [f"{section}.options={json.dumps({secret.name: secret.value})}"])
            taken.append(secret)
        except RecipeError as error:
            told += str(error)
    assert not taken, recall(taken)
    none_leaks(told)


@pytest.mark.parametrize(
    ("change", "variable"),
    [
        ("trainer.options.use_wandb={}", "WANDB_API_KEY"),
        ('trainer.options={{"logger.wandb.key": "{}"}}', "WANDB_API_KEY"),
        ("engine.options.hf_token={}", "HF_TOKEN"),
        ("engine.options.api_key={}", "VLLM_API_KEY"),
        ("trainer.options.comet_api_key={}", "COMET_API_KEY"),
        ('trainer.launcher=["--api_key", "{}"]', "VLLM_API_KEY"),
        ('trainer.launcher=["--wandb_token={}"]', "WANDB_API_KEY"),
        ("engine.cluster.address=ray://me:{}@head:10001", "RAY_ADDRESS"),
        ("training.scheduler=http://me:{}@host", "variable"),
    ],
)
def test_the_refusal_names_the_variable_to_use_instead(change: str, variable: str, tmp_path: Path) -> None:
    (recipe := tmp_path / "recipe.toml").write_text("")
    value = next(secret.value for secret in ALL if secret.kind == "wandb")
    with pytest.raises(RecipeError, match="a secret: every user of this machine") as caught:
        load(recipe, [change.format(value)])
    assert variable in caught.value.remedy and value not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        'trainer.options={"logger.wandb.key": "true"}', "trainer.options.use_wandb=true",
        "engine.options.hf_token=true",
        'trainer.options={"data.prompt_key": "prompt", "ds.adam_offload": true, "logger.wandb.project": "temporal"}',
        "engine.options.max_num_batched_tokens=4096", 'trainer.launcher=["--include=a:0,1", "--master_port", "29500"]',
    ],
)  # fmt: skip
def test_what_is_no_secret_is_an_option(change: str, tmp_path: Path) -> None:
    (recipe := tmp_path / "recipe.toml").write_text("")
    assert load(recipe, [change])


def job_of(folder: Path, model: Path, python: Path, **trainer: object) -> TrainerJob:
    (folder / "pairs.jsonl").write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}\n' * 4)
    return TrainerJob(
        policy=model, reference=model, data=folder / "pairs.jsonl", output=folder / "checkpoint",
        log_dir=folder / "log", settings=config.Training(batch_size=4), device="cpu", batch_size=4,
        trainer=config.Trainer.model_validate({"python": str(python), **trainer}), lora=config.Lora(),
    )  # fmt: skip


def program(folder: Path, body: str) -> Path:
    """Plays the interpreter of a trainer or an engine, and prints every secret."""
    (folder / "secrets.txt").write_text(TEXT + "\n")
    path = folder / "python"
    path.write_text(f'#!/bin/sh\nif [ "$1" = -c ]; then echo 0.11.2; exit; fi\n{body}\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_no_argument_of_a_trainer_holds_a_secret_whoever_made_the_recipe(tmp_path: Path, tiny_model: Path) -> None:
    job = job_of(tmp_path, tiny_model, tmp_path)
    for secret in ALL:
        options = {secret.name: secret.value}
        with pytest.raises(RecipeError):
            arguments(replace(job, trainer=job.trainer.model_copy(update={"options": options})))
    assert arguments(job)


@pytest.mark.parametrize("code", [0, 1])
def test_no_secret_stays_in_the_trainer_s_log_or_in_what_is_quoted_of_it(
    code: int, tmp_path: Path, tiny_model: Path
) -> None:
    python = program(tmp_path, f"cat {tmp_path}/secrets.txt; tail -n 9 {tmp_path}/secrets.txt >&2; exit {code}")
    job = job_of(tmp_path, tiny_model, python)
    with pytest.raises(TrainerError) as caught:
        run_trainer(job, lambda _: None)
    log = job.log_dir / "trainer.log"
    assert log.stat().st_mode & 0o777 == 0o600 and len(log.read_text().splitlines()) > 100
    assert [path.name for path in job.log_dir.iterdir()] == ["trainer.log"]
    none_leaks(log.read_text())
    none_leaks(str(caught.value))


def test_the_trainer_s_log_is_for_this_user_alone_while_it_runs(tmp_path: Path, tiny_model: Path) -> None:
    python = program(tmp_path, f"stat -c %a {tmp_path}/log/trainer.log > {tmp_path}/mode; exit 1")
    old = os.umask(0)
    try:
        with pytest.raises(TrainerError):
            run_trainer(job_of(tmp_path, tiny_model, python), lambda _: None)
    finally:
        os.umask(old)
    assert (tmp_path / "mode").read_text().strip() == "600"


def test_no_secret_stays_in_an_engine_s_log_or_in_what_is_quoted_of_it(tmp_path: Path) -> None:
    python = program(tmp_path, f"read settings; cat {tmp_path}/secrets.txt >&2; exit 1")
    engine = VllmEngine(tmp_path, config.Engine(python=str(python), device="cpu"))
    try:
        with pytest.raises(EngineError) as caught:
            engine.ready()
        engine.close()
        assert engine.log.stat().st_mode & 0o777 == 0o600
        none_leaks(engine.log.read_text() + str(caught.value))
    finally:
        engine.log.unlink()


def test_no_secret_of_a_strangers_store_is_shown_or_exported(stranger: Path, tmp_path: Path) -> None:
    with Store(stranger, read_only=True) as store:
        page = run_page(store, "temporal")
        numbers = run_numbers(store)
        model = store.query("SELECT model FROM training LIMIT 1")[0]["model"]
        card = model_card(store, store.find(Model, [model])[model], stranger.parent)
        export_pairs(store, "guided", tmp_path / "export", "trl")
    none_leaks(as_html(page))
    none_leaks(as_markdown(page))
    none_leaks(json.dumps(numbers.settings) + json.dumps(_flat(numbers.settings)))
    none_leaks(card)
    for file in ("README.md", "manifest.json"):
        none_leaks((tmp_path / "export" / file).read_text())


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_no_secret_of_a_strangers_store_is_printed(stranger: Path, options: list[str]) -> None:
    done = CliRunner().invoke(app, ["status", "--store", str(stranger), *options])
    assert done.exit_code == 0 and "temporal" in done.output
    none_leaks(done.output)


def test_the_run_s_report_holds_no_secret(run: Path, tmp_path: Path, quick: None) -> None:
    with Store(run, read_only=True) as store:
        newest = store.query("SELECT id, recipe FROM launch")[0]
        recipe = json.loads(newest["recipe"])
        recipe["model"], recipe["judge"]["by"], recipe["judge"]["rubric"] = TEXT, TEXT, TEXT
        launch = capture("temporal", recipe)
        launch = replace(launch, id=newest["id"], hardware={"cores": 1, "cpu": "one", "gpus": []})
        none_leaks(write_report(store, launch, tmp_path).read_text())


def test_a_recipe_that_cannot_be_parsed_is_refused_without_its_secrets(tmp_path: Path) -> None:
    (recipe := tmp_path / "recipe.toml").write_text("")
    told = ""
    for secret in ALL:
        for change in (
            f"answers.k={secret.text}", f"trainer.options={secret.text}", f"judge.{secret.name}={secret.value}",
            f"engine.options={json.dumps({secret.name: {'a': secret.value}})}", f"prompts={json.dumps([secret.text])}",
        ):  # fmt: skip
            with pytest.raises(RecipeError) as caught:
                load(recipe, [change])
            told += str(caught.value)
    none_leaks(told)
