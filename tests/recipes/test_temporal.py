"""The whole loop on the scripted engine and trainer: Algorithm 1, resume, kill, plan, report."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from toolkit.config import Recipe
from toolkit.errors import GateError, InputError, JudgeError, ToolkitError, TrainerError
from toolkit.lab import Lab, Step
from toolkit.provenance import capture
from toolkit.recipes.temporal import temporal
from toolkit.store.database import Store
from toolkit.store.lineage import lineage

Build = Callable[..., Recipe]
TABLES = ("prompt", "model", "response", "judgment", "pair", "pair_set_change", "training", "training_step", "dropped")


def launch(recipe: Recipe, path: Path, *, planning: bool = False) -> list[Step]:
    store = Store(path) if not planning else Store(path, read_only=True) if path.exists() else Store(None)
    with Lab(recipe, store, capture("test", recipe.resolved()), planning=planning) as lab:
        temporal(lab, recipe)
        return lab.steps


def content(path: Path, aside: tuple[str, ...] = ("seconds", "created")) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every record table without its provenance, sorted. aside: columns that are left out."""
    with Store(path, read_only=True) as store:
        found = {}
        for table in TABLES:
            rows = store.query(f"SELECT * EXCLUDE (launch) FROM {table}" if _has_launch(table) else f"FROM {table}")
            found[table] = sorted(tuple(str(v) for k, v in row.items() if k not in aside) for row in rows)
        return found


def _has_launch(table: str) -> bool:
    return table not in {"pair_set_change", "training_step", "dropped"}


def test_the_law_of_algorithm_1_holds_by_sql(scripted_recipe: Build, tmp_path: Path) -> None:
    steps = launch(scripted_recipe(), tmp_path / "s.duckdb")
    with Store(tmp_path / "s.duckdb", read_only=True) as store:
        assert store.named("law") == []
        counts = store.query("SELECT count(*) AS n, count(DISTINCT pair_set) AS sets FROM training")
        roles = store.query("SELECT DISTINCT chosen_role AS c, rejected_role AS r FROM pair")
        assert lineage(store, "M_2")
    assert counts == [{"n": 4, "sets": 4}]
    assert {row["c"] for row in roles} == {"present", "future"}
    assert {row["r"] for row in roles} == {"present", "past"}
    assert [step.stage for step in steps if step.stage not in ("gate", "start")] == [
        "generate", "judge", "generate", "judge", "pair", "train", "generate", "judge", "pair", "train",
    ] * 2  # fmt: skip


def test_the_law_holds_for_several_recipes_in_one_store(scripted_recipe: Build, tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    for answers in ({"k": 3}, {"k": 4}, {"k": 3}):
        launch(scripted_recipe(answers={**answers, "max_tokens": 16}), path)
    launch(scripted_recipe(training={"beta": 0.5}), path)
    with Store(path, read_only=True) as store:
        assert store.named("law") == []
        assert store.query("SELECT count(DISTINCT launch) AS n FROM step") == [{"n": 4}]


@pytest.mark.parametrize(
    ("damage", "violation"),
    [
        ("UPDATE training SET parent = 'other'", "the judge is not the one the recipe names"),
        ("UPDATE response SET model = 'x' WHERE role = 'past'", "a rejected answer is of another role"),
        ("UPDATE judgment SET score = 0.123", "not the mean"),
        (
            "UPDATE pair SET chosen_role = 'future' WHERE chosen_role = 'present'",
            "a chosen answer is of another role",
        ),
    ],
)
def test_the_law_query_sees_a_broken_store(scripted_recipe: Build, tmp_path: Path, damage: str, violation: str) -> None:
    launch(scripted_recipe(), tmp_path / "s.duckdb")
    with Store(tmp_path / "s.duckdb") as store:
        store.query(damage)
        assert any(violation in row["violation"] for row in store.named("law"))


def test_a_second_run_does_nothing_and_changes_nothing(scripted_recipe: Build, tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    launch(scripted_recipe(), path)
    before = content(path)
    steps = launch(scripted_recipe(engine={"options": {"die_after": 0}}), path)
    assert all(step.cached == step.total for step in steps)
    assert content(path) == before


def test_two_stores_of_one_recipe_are_equal(scripted_recipe: Build, tmp_path: Path) -> None:
    for name in ("a", "b"):
        launch(scripted_recipe(), tmp_path / name / "s.duckdb")
    first, second = content(tmp_path / "a" / "s.duckdb"), content(tmp_path / "b" / "s.duckdb")
    assert first == second


UNDISTURBED: list[Any] = []  # what an undisturbed run stores: the same in every folder and at every speed


def undisturbed(recipe: Recipe, folder: Path) -> Any:
    """The content of an undisturbed run, made once for all tests of one process."""
    if not UNDISTURBED:
        launch(recipe, folder / "whole" / "s.duckdb")
        UNDISTURBED.append(content(folder / "whole" / "s.duckdb"))
    return UNDISTURBED[0]


@pytest.mark.parametrize("after", [1, 7, 25, 60, 100, 130])
def test_an_engine_that_dies_and_a_rerun_give_the_uninterrupted_result(
    scripted_recipe: Build, tmp_path: Path, after: int
) -> None:
    whole, path = undisturbed(scripted_recipe(), tmp_path), tmp_path / "broken" / "s.duckdb"
    for _ in range(15):
        try:
            launch(scripted_recipe(engine={"options": {"die_after": after}}), path)
            break
        except ToolkitError:
            continue
    else:
        launch(scripted_recipe(), path)
    assert content(path) == whole


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from toolkit.config import parse
from test_temporal import launch
import json
launch(parse(json.loads({recipe!r})), Path({store!r}))
"""


@pytest.mark.parametrize("seconds", [0.3, 0.7, 1.1, 1.6, 2.2])
def test_kill_9_at_any_moment_and_a_rerun_lose_and_double_nothing(
    scripted_recipe: Build, tmp_path: Path, seconds: float
) -> None:
    import json

    recipe = scripted_recipe(engine={"options": {"delay": 0.01}})
    whole = undisturbed(scripted_recipe(), tmp_path)
    path = tmp_path / "killed" / "s.duckdb"
    code = KILLED.format(tests=str(Path(__file__).parent), recipe=json.dumps(recipe.resolved()), store=str(path))
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    launch(scripted_recipe(), path)
    assert content(path) == whole


@pytest.mark.parametrize("fault", ["exit", "partial"])
def test_a_trainer_that_fails_leaves_no_model_and_a_rerun_completes(
    scripted_recipe: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    path = tmp_path / "s.duckdb"
    monkeypatch.setenv("SCRIPTED_TRAINER_FAIL", fault)
    with pytest.raises(ToolkitError) as told:
        launch(scripted_recipe(), path)
    assert isinstance(told.value, TrainerError) or "safetensors" in str(told.value)
    with Store(path, read_only=True) as store:
        assert store.query("SELECT count(*) AS n FROM training") == [{"n": 0}]
        assert store.query("SELECT count(*) AS n FROM model") == [{"n": 1}]
    monkeypatch.delenv("SCRIPTED_TRAINER_FAIL")
    launch(scripted_recipe(), path)
    with Store(path, read_only=True) as store:
        assert store.query("SELECT count(*) AS n FROM training") == [{"n": 4}]


def test_a_plan_writes_nothing_and_counts_what_a_run_then_does(scripted_recipe: Build, tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    plan = launch(scripted_recipe(), path, planning=True)
    assert not path.exists()
    done = [step for step in launch(scripted_recipe(), path) if step.stage != "gate"]
    assert [(s.stage, s.total) for s in plan if s.stage != "pair"] == [
        (s.stage, s.total) for s in done if s.stage != "pair"
    ]
    assert sum(s.stage == "train" and s.cached == 0 for s in plan) == 4
    again = launch(scripted_recipe(), path, planning=True)
    assert all(step.cached == step.total for step in again)


def test_a_changed_setting_reuses_what_it_does_not_touch(scripted_recipe: Build, tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    launch(scripted_recipe(iterations=1), path)
    steps = launch(scripted_recipe(iterations=1, training={"beta": 0.2}), path)
    whole = [step.cached == step.total for step in steps if step.stage in ("generate", "judge")]
    assert whole == [True, True, True, True, False, False], "the present's and the past's, but not the new future's"
    assert [step.cached for step in steps if step.stage == "train"] == [0, 0]


def test_the_reference_policy_is_a_recipe_field_and_part_of_the_training(
    scripted_recipe: Build, tmp_path: Path
) -> None:
    launch(scripted_recipe(training={"reference": "past"}), tmp_path / "s.duckdb")
    with Store(tmp_path / "s.duckdb", read_only=True) as store:
        rows = store.query("SELECT DISTINCT m.name FROM training t JOIN model m ON m.id = t.reference")
    assert rows == [{"name": "M_0"}]


def test_too_many_ties_stop_the_run_with_the_remedy(scripted_recipe: Build, tmp_path: Path) -> None:
    recipe = scripted_recipe(answers={"k": 1}, pairs={"max_tied": 0.0})
    with pytest.raises(JudgeError, match=r"pairs\.max_tied"):
        for seed in range(5):
            launch(recipe.model_copy(update={"seed": seed}), tmp_path / f"{seed}.duckdb")


def test_unreadable_verdicts_stop_the_run_and_stay_stored(scripted_recipe: Build, tmp_path: Path) -> None:
    recipe = scripted_recipe(judge={"method": "generated", "max_tokens": 8, "max_unreadable": 0.1})
    with pytest.raises(JudgeError, match="unreadable"):
        launch(recipe, tmp_path / "s.duckdb")
    with Store(tmp_path / "s.duckdb", read_only=True) as store:
        rows = store.query("SELECT count(*) AS n, count(reply) AS replies, count(score) AS scores FROM judgment")
    assert rows[0]["n"] == rows[0]["replies"] == 18
    assert rows[0]["scores"] < 18


def test_fewer_pairs_than_a_batch_are_refused_where_the_recipe_does_not_shrink(
    scripted_recipe: Build, tmp_path: Path
) -> None:
    with pytest.raises(GateError, match="batch"):
        launch(scripted_recipe(training={"batch_size": 64, "small_sets": "refuse"}), tmp_path / "s.duckdb")


def test_changed_weights_are_noticed_before_they_answer(scripted_recipe: Build, tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    launch(scripted_recipe(iterations=1), path)
    with Store(path) as store:
        model = store.query("SELECT path FROM model WHERE name = 'M_1'")[0]["path"]
    flip(tmp_path / model / "model.safetensors")
    with pytest.raises(ToolkitError, match=r"weights of M_1 .* changed since"):
        launch(scripted_recipe(iterations=2), path)


@pytest.mark.parametrize("file", ["tokenizer.json", "tokenizer_config.json", "generation_config.json"])
def test_a_changed_or_lost_tokenizer_is_noticed_before_it_renders(
    scripted_recipe: Build, tmp_path: Path, file: str
) -> None:
    path = tmp_path / "s.duckdb"
    launch(scripted_recipe(iterations=1), path)
    with Store(path) as store:
        model = store.query("SELECT path FROM model WHERE name = 'M_1'")[0]["path"]
    (tmp_path / model / file).unlink()
    with pytest.raises(InputError, match=r"tokenizer or template of M_1 .* changed since"):
        launch(scripted_recipe(iterations=2), path)


def test_a_checkpoint_damaged_before_the_store_knew_it_is_not_taken_in(
    scripted_recipe: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.duckdb"
    with monkeypatch.context() as killed:
        killed.setattr("toolkit.training.making._store", _die)
        with pytest.raises(KeyboardInterrupt):
            launch(scripted_recipe(), path)
    (weights,) = tmp_path.glob("models/*/model.safetensors")
    whole = weights.read_bytes()
    flip(weights)
    with pytest.raises(InputError, match="weights changed since the training left them"):
        launch(scripted_recipe(), path)
    weights.write_bytes(whole)
    outcome = weights.with_name("outcome.json").read_text()
    weights.with_name("outcome.json").write_text(outcome[:-9])
    with pytest.raises(InputError, match="no outcome of a training"):
        launch(scripted_recipe(), path)
    weights.with_name("outcome.json").write_text(outcome)
    monkeypatch.setattr("toolkit.training.making._make", _die)
    with pytest.raises(KeyboardInterrupt):
        launch(scripted_recipe(), path)
    with Store(path, read_only=True) as store:
        assert store.query("SELECT name FROM model ORDER BY name") == [{"name": "M_0"}, {"name": "M_f0"}]


def flip(weights: Path) -> None:
    changed = bytearray(weights.read_bytes())
    changed[-3] ^= 1
    weights.write_bytes(changed)


def _die(*_: object) -> None:
    raise KeyboardInterrupt
