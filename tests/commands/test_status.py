"""toolkit status: of a run that goes on, one that was killed, and one that ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.recipes.test_run import fields
from toolkit.config import Recipe
from toolkit.lab import Lab
from toolkit.precision import fast_bfloat16
from toolkit.provenance import capture
from toolkit.recipes.temporal import temporal
from toolkit.reporting.run_status import runs, status_of
from toolkit.store.database import Store

Build = Callable[..., Recipe]
REQUESTS = 216  # of the whole scripted run: 2 iterations, 6 prompts, 3 answers, 3 pools, each judged once


@pytest.fixture
def line(scripted_recipe: Build, tmp_path: Path) -> list[str]:
    """The scripted recipe as typed, in this folder."""
    recipe = scripted_recipe(prompts={"source": "starter"}, seed=1).resolved()  # a file would not be read for a plan
    model = recipe.pop("model")
    start = [sys.executable, "-m", "toolkit.recipes.temporal", "--model", model, "--run", "mine"]
    return [*start, "--store", str(tmp_path / "runs" / "s.duckdb"), *fields(recipe)]


def typed(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "toolkit", "status", *words, "--store", str(tmp_path / "runs" / "s.duckdb")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def asked(tmp_path: Path, *words: str) -> dict[str, Any]:
    done = typed(tmp_path, *words, "--json")
    assert done.returncode == 0, done.stderr
    row: dict[str, Any] = json.loads(done.stdout)
    return row


@pytest.fixture
def slow(line: list[str], tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A run that takes long, at the moment when it has said something."""
    process = subprocess.Popen([*line, '--set=engine.options={"delay": 0.5}'], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        done = typed(tmp_path, "--json")
        if done.returncode == 0 and json.loads(done.stdout)["done"]["answers"]:
            break
        time.sleep(0.2)
    yield process
    process.kill()
    process.wait()


def test_a_run_is_told_while_it_goes_on_and_after_a_kill_and_after_its_end(
    slow: subprocess.Popen[bytes], line: list[str], tmp_path: Path
) -> None:
    going = asked(tmp_path)
    assert (going["run"], going["state"], going["process"], going["launches"]) == ("mine", "running", slow.pid, 1)
    assert 0 < going["done"]["answers"] < 108
    assert going["left"]["trainings"] == 4
    assert f"running in process {slow.pid}" in typed(tmp_path).stdout
    slow.send_signal(signal.SIGKILL)
    slow.wait()
    killed = asked(tmp_path)
    assert (killed["state"], killed["process"]) == ("stopped", None)
    assert killed["done"]["answers"] >= going["done"]["answers"]
    stored = killed["done"]["answers"] + killed["done"]["verdicts"]
    assert stored + killed["left"]["requests"] == REQUESTS
    assert "go on:     python -m toolkit.recipes.temporal" in typed(tmp_path).stdout
    again = [sys.executable, *line[1:]]
    assert subprocess.run(again, capture_output=True, check=False).returncode == 0
    ended = asked(tmp_path, "mine")
    assert (ended["state"], ended["launches"]) == ("finished", 2)
    assert ended["left"] == {"requests": 0, "new_tokens": 0, "trainings": 0}
    assert ended["done"] == {"answers": 108, "verdicts": 108, "pair_sets": 4, "trainings": 4}
    assert "go on" not in typed(tmp_path).stdout


def test_the_command_that_status_names_goes_on_where_the_run_was_killed(
    slow: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    slow.send_signal(signal.SIGKILL)
    slow.wait()
    command = asked(tmp_path)["command"].replace("python", sys.executable, 1)
    fast = f"{command} '--set=engine.options={{}}'"
    done = subprocess.run(fast, shell=True, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert asked(tmp_path)["state"] == "finished"


def test_a_command_that_writes_is_no_run_and_does_not_make_one_look_alive(
    scripted_recipe: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, path = scripted_recipe(), tmp_path / "runs" / "s.duckdb"
    with Lab(recipe, Store(path), capture("mine", recipe.resolved())) as lab:
        temporal(lab, recipe)
    monkeypatch.setattr(sys, "argv", ["/some/where/toolkit/__main__.py", "rescore"])
    with Lab(recipe, Store(path), capture("rescore", recipe.resolved())) as lab:
        assert runs(lab.store) == ["mine"]
        row = asked(tmp_path)
        assert (row["run"], row["process"]) == ("mine", None)


def test_a_recipe_outside_the_package_is_told_without_a_plan(
    scripted_recipe: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = scripted_recipe()
    monkeypatch.setattr(sys, "argv", ["own.py", "--config", "my file.toml"])
    with Lab(recipe, Store(tmp_path / "runs" / "s.duckdb"), capture("own", recipe.resolved())):
        pass
    row = asked(tmp_path)
    assert (row["state"], row["left"]) == ("not running", None)
    assert row["command"] == "python own.py --config 'my file.toml'"
    assert "--plan" in row["no_plan"]


def test_a_store_without_the_run_or_any_run_is_an_error_that_says_what_there_is(
    scripted_recipe: Build, tmp_path: Path
) -> None:
    path = tmp_path / "runs" / "s.duckdb"
    with Store(path):
        pass
    done = typed(tmp_path)
    assert (done.returncode, "start one" in done.stderr) == (3, True)
    recipe = scripted_recipe()
    with Lab(recipe, Store(path), capture("mine", recipe.resolved())) as lab:
        assert status_of(lab.store).in_flight == {"answers": 0, "verdicts": 0}
    done = typed(tmp_path, "yours")
    assert (done.returncode, "one of mine" in done.stderr) == (3, True)


def test_a_run_whose_prompts_are_a_file_is_finished_by_its_rows_alone(scripted_recipe: Build, tmp_path: Path) -> None:
    recipe, path = scripted_recipe(), tmp_path / "runs" / "s.duckdb"
    script = Path(sys.modules["toolkit.recipes.temporal"].__file__ or "")
    launch = capture("mine", recipe.resolved())
    with Lab(recipe, Store(path), type(launch)(**{**vars(launch), "arguments": (str(script),)})) as lab:
        temporal(lab, recipe)
    row = asked(tmp_path)
    assert (row["state"], row["left"]) == ("finished", None)
    assert "prompts.source" in row["no_plan"] and "model =" not in row["no_plan"], "M_0 is planned from its row"


def test_a_plan_that_cannot_be_made_is_told_with_its_reason(scripted_recipe: Build, tmp_path: Path) -> None:
    recipe, path = scripted_recipe(), tmp_path / "runs" / "s.duckdb"
    script = Path(sys.modules["toolkit.recipes.temporal"].__file__ or "")
    launch = capture("mine", recipe.resolved())
    with Lab(recipe, Store(path), type(launch)(**{**vars(launch), "arguments": (str(script),)})):
        pass
    os.remove(tmp_path / "prompts.txt")
    row = asked(tmp_path)
    assert (row["state"], row["left"]) == ("not running", None)
    assert "prompts.txt'" in row["no_plan"] and "--plan" in row["no_plan"]


def test_a_finished_run_stays_finished_on_a_processor_that_computes_in_another_dtype(
    line: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = ["--set", "iterations=1", "--set", "trainer.dtype=auto"]
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    subprocess.run([*line, *changes], check=True, capture_output=True)
    assert asked(tmp_path)["state"] == "finished"
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA")
    assert asked(tmp_path)["state"] == "finished"
    said = typed(tmp_path).stdout
    assert ("--set trainer.dtype=float32" in said) is fast_bfloat16()
