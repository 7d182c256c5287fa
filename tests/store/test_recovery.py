"""The documented ways back, each walked: after it the same command gives the undisturbed rows."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.recipes.test_temporal import content, launch
from toolkit.__main__ import app
from toolkit.config import Recipe, parse
from toolkit.errors import InputError, StoreError
from toolkit.store.database import Store


@pytest.fixture(scope="module")
def recipe(tiny_model: Path, fake_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """One iteration of two trainings on six prompts."""
    prompts = tmp_path_factory.mktemp("prompts") / "prompts.txt"
    prompts.write_text("".join(f"question number {number}?\n" for number in range(6)))
    data = {
        "model": str(tiny_model),
        "iterations": 1,
        "prompts": {"source": str(prompts), "part_size": 6},
        "answers": {"k": 3, "max_tokens": 16},
        "judge": {"method": "expected"},
        "training": {"batch_size": 4, "small_sets": "shrink"},
        "gate": {"max_dropped": 0.5},
        "engine": {"kind": "scripted"},
        "trainer": {"python": str(fake_python), "device": "cpu", "dtype": "float32"},
    }
    return parse(data)


@pytest.fixture(scope="module")
def whole(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("whole")
    launch(recipe, folder / "s.duckdb")
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(whole, tmp_path / "runs"))


def no_trainer(recipe: Recipe) -> Recipe:
    """The recipe where a training could not start."""
    return recipe.model_copy(update={"trainer": recipe.trainer.model_copy(update={"python": "/no/python"})})


def same(recipe: Recipe, folder: Path, whole: Path) -> None:
    """The same command ends, and the store is that of the undisturbed run and whole."""
    launch(recipe, folder / "s.duckdb")
    assert content(folder / "s.duckdb") == content(whole / "s.duckdb")
    assert CliRunner().invoke(app, ["doctor", "--store", str(folder / "s.duckdb")]).exit_code == 0


KILLED = """
import json, os, signal, sys
from pathlib import Path
from tests.recipes.test_temporal import launch
from toolkit.config import parse
from toolkit.store.database import Store
Store.close = lambda store: os.kill(os.getpid(), signal.SIGKILL)  # nothing is moved from the log into the file
launch(parse(json.loads(sys.argv[1])), Path(sys.argv[2]))
"""


def test_what_a_deleted_log_held_is_made_again_by_the_same_command_and_nothing_is_trained_again(
    recipe: Recipe, whole: Path, tmp_path: Path
) -> None:
    line = [sys.executable, "-c", KILLED, json.dumps(recipe.resolved()), str(tmp_path / "s.duckdb")]
    done = subprocess.run(line, cwd=Path(__file__).parents[2], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL
    (tmp_path / "s.duckdb.wal").unlink()
    with Store(tmp_path / "s.duckdb") as store:
        assert store.query("SELECT id FROM response LIMIT 1") == []
    same(no_trainer(recipe), tmp_path, whole)


def cut_off(store: Path) -> None:
    os.truncate(store, store.stat().st_size // 2)


def overwrite(store: Path) -> None:
    with store.open("r+b") as file:
        file.seek(3 * 4096)  # after the headers
        file.write(b"?" * (store.stat().st_size - 3 * 4096))


@pytest.mark.parametrize("damage", [cut_off, overwrite])
def test_a_damaged_store_is_told_and_replaced_by_its_backup(
    recipe: Recipe, folder: Path, whole: Path, damage: Callable[[Path], None]
) -> None:
    store = folder / "s.duckdb"
    damage(store)
    with pytest.raises(StoreError, match="the store's file is damaged") as told:
        launch(recipe, store)
    assert "restore it from a backup" in told.value.remedy
    shutil.copy(whole / "s.duckdb", store)
    same(no_trainer(recipe), folder, whole)


def test_without_a_backup_a_new_store_takes_the_finished_checkpoints_in_and_trains_none_again(
    recipe: Recipe, folder: Path, whole: Path
) -> None:
    (folder / "s.duckdb").rename(folder / "damaged")
    same(no_trainer(recipe), folder, whole)


def test_a_lost_checkpoint_is_restored_or_in_a_new_store_trained_again_alone(
    recipe: Recipe, folder: Path, whole: Path
) -> None:
    with Store(folder / "s.duckdb") as store:
        lost = folder / store.query("SELECT path FROM model WHERE name = 'M_f0'")[0]["path"]
    shutil.rmtree(lost)
    told = CliRunner().invoke(app, ["doctor", "--store", str(folder / "s.duckdb")]).stdout
    assert "the checkpoint of M_f0: no checkpoint directory" in told
    with Store(folder / "s.duckdb") as store:
        store.query("DELETE FROM response WHERE role = 'future'")
        store.query("DELETE FROM judgment WHERE response NOT IN (SELECT id FROM response)")
    with pytest.raises(InputError, match="no checkpoint directory"):
        launch(recipe, folder / "s.duckdb")
    (folder / "s.duckdb").rename(folder / "before")
    kept = {path: path.stat().st_mtime_ns for path in folder.glob("models/*/model.safetensors")}
    same(recipe, folder, whole)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert lost.exists()
