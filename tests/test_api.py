"""The Python API: frames of a store in three forms, a verb and a metric by hand, and a recipe of one's own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

import toolkit
from tests.conftest import needs
from tests.recipes.test_run import fields
from toolkit.api import (
    Measuring,
    Stored,
    best,
    diagnose,
    generate,
    judge,
    load_prompts,
    open_lab,
    open_store,
    pair,
    worst,
)
from toolkit.config import Recipe
from toolkit.errors import InputError, StoreError
from toolkit.lab import Lab
from toolkit.provenance import capture
from toolkit.recipes.temporal import temporal
from toolkit.store.database import Store

Build = Callable[..., Recipe]
ROOT = Path(__file__).parents[1]


@pytest.fixture
def path(tmp_path: Path, scripted_recipe: Build) -> Path:
    """A store of a scripted run."""
    recipe = scripted_recipe(iterations=1)
    with Lab(recipe, Store(tmp_path / "s.duckdb"), capture("mine", recipe.resolved())) as lab:
        temporal(lab, recipe)
    return tmp_path / "s.duckdb"


def changes(recipe: Recipe) -> list[str]:
    """Every field as a `key=value` change."""
    return [line.removeprefix("--set=") for line in fields(recipe.resolved())]


def test_pairs_come_in_three_forms_with_the_same_rows_and_show_a_table_without_the_models_markup(path: Path) -> None:
    stored = toolkit.open_store(path)
    frame = stored.pairs("guided@1")
    assert len(frame) == frame.arrow().num_rows == len(frame.pandas()) == len(frame.dataset()) > 0
    assert set(frame.pandas()["pair_set"]) == {"guided@1"}
    assert frame.dataset()["chosen_text"][0] == frame.pandas()["chosen_text"][0]
    assert (frame.pandas()["gap"] > 0).all()
    assert len(stored.pairs()) == len(stored.pairs("guided")) + len(stored.pairs("anchored-0"))
    assert frame.arrow()["id"].to_pylist() == sorted(frame.arrow()["id"].to_pylist()), "the same order every time"
    shown = stored.sql("SELECT '<b>' AS text FROM responses")
    assert repr(shown) == "54 rows of text: .pandas(), .arrow() or .dataset()"
    assert shown._repr_html_().count("&lt;b&gt;") == 10


def test_answers_and_verdicts_of_a_version_are_those_of_its_pairs(path: Path) -> None:
    stored = open_store(path)
    pairs = stored.pairs("guided@1").pandas()
    sides = {*pairs["chosen"], *pairs["rejected"]}
    assert set(stored.responses("guided@1").pandas()["id"]) == sides
    assert set(stored.judgments("guided@1").pandas()["response"]) == sides
    assert len(stored.judgments()) == len(stored.responses()) == 54


def test_sql_takes_parameters_and_refuses_to_write(path: Path) -> None:
    stored = open_store(path)
    found = stored.sql("SELECT count(*) AS n FROM responses WHERE role = $role", role="past").pandas()
    assert found["n"][0] == 18
    with pytest.raises(StoreError, match="only one reading statement"):
        stored.sql("DELETE FROM prompt")


def test_what_is_not_there_is_an_error_of_ours(path: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no store"):
        open_store(tmp_path / "none.duckdb")
    with pytest.raises(InputError, match="no version"):
        open_store(path).pairs("guided@9")


def test_an_open_store_lets_a_run_write_and_sees_what_it_writes(path: Path, scripted_recipe: Build) -> None:
    stored = open_store(path)
    before = len(stored.sql("FROM launches"))
    with open_lab(path, changes=changes(scripted_recipe())):
        assert len(stored.sql("FROM launches")) == before + 1


def test_verbs_work_by_hand_and_what_a_run_stored_is_not_made_again(path: Path, scripted_recipe: Build) -> None:
    recipe = scripted_recipe(iterations=1)
    with open_lab(path, changes=changes(recipe)) as lab:
        m_0 = lab.model(lab.recipe.model, "M_0")
        prompts = load_prompts(lab.recipe.prompts)
        lab.store.add(prompts, launch=lab.launch.id)
        pool = judge(lab, m_0, generate(lab, m_0, prompts))
        made = pair(lab, "by_hand", best(pool), worst(pool))
        generated, judged = (step for step in lab.steps if step.stage in ("generate", "judge"))
    assert (generated.total, generated.cached, judged.cached) == (72, 18, 18)
    assert len(open_store(path).pairs("by_hand")) == len(made.pairs) > 0


def test_a_metric_is_computed_and_read_back(tmp_path: Path, scripted_recipe: Build, network_model: Path) -> None:
    needs("torch")
    path, own = tmp_path / "m.duckdb", changes(scripted_recipe(model=str(network_model), iterations=1))
    with open_lab(path, changes=own, run="tiny") as lab:
        temporal(lab, lab.recipe)
    with open_lab(path, changes=own, run="measured") as lab:
        found = diagnose(lab, "tiny", Measuring(), gradients=False)
    assert found.run == "tiny"
    metrics = open_store(path).metrics("guided@1").pandas()
    assert {"text.length_gap", "forward.cosine_mean"} <= set(metrics["metric"])


def test_the_package_loads_nothing_until_it_is_asked_and_has_no_other_names() -> None:
    code = "import sys, toolkit; print('duckdb' in sys.modules, 'torch' in sys.modules); toolkit.open_store; "
    code += "print('duckdb' in sys.modules, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == ["False", "False", "True", "False"]
    with pytest.raises(AttributeError):
        toolkit.nothing  # noqa: B018


def test_the_package_is_typed_for_whoever_installs_it() -> None:
    assert (ROOT / "toolkit" / "py.typed").is_file()
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["packages"] == ["toolkit"]
    assert Stored.pairs.__annotations__["return"] == "Frame"


def test_a_recipe_of_ones_own_runs_from_another_folder_with_every_command(
    tmp_path: Path, scripted_recipe: Build
) -> None:
    shutil.copy(ROOT / "recipes" / "examples" / "always_past.py", tmp_path / "mine.py")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def typed(*words: str) -> str:
        line = [sys.executable, *words]
        done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    own = ["mine.py", "--run", "mine", *fields(scripted_recipe().resolved())]
    assert "2 trainings" in typed(*own, "--plan")
    assert "always_past@2" in typed(*own)
    assert "everything was stored already" in typed(*own)
    assert "Example: python always_past.py" in typed("mine.py", "--help")
    rows = [json.loads(line) for line in typed("-m", "toolkit", "sets", "--json").splitlines()]
    assert [(row["set"], row["run"]) for row in rows] == [("always_past@1", "mine"), ("always_past@2", "mine")]
    roles = open_store(tmp_path / "runs" / "store.duckdb").sql("SELECT DISTINCT chosen_role, rejected_role FROM pairs")
    assert roles.arrow().to_pylist() == [{"chosen_role": "present", "rejected_role": "past"}]
    told = typed("-m", "toolkit", "status", "mine")
    assert "2 in all" in told
    assert "python mine.py --run mine" in told
