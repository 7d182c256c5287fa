"""What a lab says and keeps of the dtypes it computes in."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from toolkit.config import Recipe
from toolkit.engines import checkpoint
from toolkit.lab import Lab
from toolkit.provenance import capture
from toolkit.recipes.run import announce, compare_dtype
from toolkit.recipes.self_rewarding import self_rewarding
from toolkit.store.database import Store

Build = Callable[..., Recipe]


def launched(recipe: Recipe, path: Path) -> Lab:
    """The lab of a run that has ended."""
    announce(recipe)
    with Lab(recipe, Store(path), capture("run", recipe.resolved())) as lab:
        compare_dtype(lab)
        self_rewarding(lab, recipe)
    return lab


def test_a_launch_keeps_both_dtypes_and_the_instruction_sets(scripted_recipe: Build, tmp_path: Path) -> None:
    recipe = scripted_recipe(iterations=1, trainer={"dtype": "float32"}, engine={"dtype": "bfloat16"})
    launched(recipe, tmp_path / "s.duckdb")
    with Store(tmp_path / "s.duckdb", read_only=True) as store:
        (row,) = store.query("SELECT hardware, recipe FROM launch")
    assert json.loads(row["hardware"])["dtype"] == {"trainer": "float32"}, "the scripted engine has none"
    assert isinstance(json.loads(row["hardware"])["instruction_sets"], list)
    assert json.loads(row["recipe"])["trainer"]["dtype"] == "float32"


def test_a_training_in_another_dtype_is_another_training_and_the_run_says_so(
    scripted_recipe: Build, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, trainings = tmp_path / "s.duckdb", []
    for dtype in ("bfloat16", "bfloat16", "float32", "bfloat16"):
        launched(scripted_recipe(iterations=1, trainer={"dtype": dtype}), path)
        warned = "run run was trained in" in capsys.readouterr().err
        with Store(path, read_only=True) as store:
            trainings.append((store.query("SELECT count(*) AS n FROM training")[0]["n"], warned))
    assert trainings == [(1, False), (1, False), (2, True), (2, False)]


def test_a_training_in_bfloat16_keeps_the_id_it_had_before_there_was_a_dtype(scripted_recipe: Build) -> None:
    from toolkit.records import Model
    from toolkit.training.making import Task

    parent = Model("M_0", "M_0", "weights", "template")
    recipe = scripted_recipe(
        trainer={"dtype": "bfloat16"},
        training={"learning_rate": {"bfloat16": 1e-5, "float32": 1e-6}, "min_lr_ratio": 0.1},
    )
    request = Task("M_1", parent, parent, "set", "fingerprint", recipe.training, list).request(recipe)
    assert "dtype" not in request.settings and request.settings["learning_rate"] == 1e-5
    assert request.id == "b1060a89292374d46ea3d670"


def test_an_engine_that_rounds_the_weights_of_a_training_warns(
    scripted_recipe: Build, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "trained"
    shutil.copytree(tiny_model, folder)
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | {"dtype": "float32"}))
    for trained, dtype in ((False, "bfloat16"), (True, "bfloat16"), (True, "float32")):
        if trained:
            (folder / checkpoint.OUTCOME).write_text("{}")
        recipe = scripted_recipe(engine={"kind": "transformers", "dtype": dtype, "device": "cpu"})
        with Lab(recipe, Store(None), capture("run", {})) as lab:
            lab.engines.get = lambda key, path: None  # type: ignore[assignment,method-assign,return-value]
            capsys.readouterr()
            lab.engine(lab.model(str(folder)))
        said = capsys.readouterr().err
        assert f"starting transformers with trained in {dtype}" in said
        assert ("rounds the float32 weights of trained to bfloat16" in said) is (trained and dtype == "bfloat16")


def test_an_engine_of_no_arithmetic_is_started_without_a_dtype(
    scripted_recipe: Build, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    launched(scripted_recipe(iterations=1), tmp_path / "s.duckdb")
    said = capsys.readouterr().err
    assert "dtype: trainer float32 (named)" in said and "starting scripted with M_0\n" in said
