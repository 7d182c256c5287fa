"""Two runs that ask for one training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from toolkit.config import Recipe
from toolkit.errors import TrainerError
from toolkit.lab import Lab
from toolkit.provenance import capture
from toolkit.recipes.self_rewarding import self_rewarding
from toolkit.records import Model
from toolkit.reporting.notebooks.frames import Reader
from toolkit.reporting.notebooks.pair_browser import Wanted, pair_rows
from toolkit.reporting.page.pairs import yields
from toolkit.store.database import Store
from toolkit.training.making import Task
from toolkit.training.process import run_trainer


def launch(recipe: Recipe, path: Path, run: str = "test") -> Model:
    with Lab(recipe, Store(path), capture(run, recipe.resolved())) as lab:
        return self_rewarding(lab, recipe)


def test_what_a_run_beside_this_one_is_training_is_not_trained_over_it_and_later_taken_in(
    scripted_recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever finds the store taken is told to give the run another file; in one folder both make the same training."""
    recipe, calls = scripted_recipe(iterations=1, answers={"k": 2}), list[Any]()

    def crossed(*asked: Any) -> Any:
        calls.append(asked)
        if len(calls) == 1:
            with pytest.raises(TrainerError, match="another process"):
                launch(recipe, tmp_path / "other.duckdb")
        return run_trainer(*asked)

    monkeypatch.setattr("toolkit.training.making.run_trainer", crossed)
    made = launch(recipe, tmp_path / "s.duckdb")
    assert launch(recipe, tmp_path / "other.duckdb") == made
    assert len(calls) == 1


def test_an_option_that_changes_what_is_learned_is_another_training_and_one_of_the_machine_is_not(
    scripted_recipe: Callable[..., Recipe],
) -> None:
    parent = Model("M_0", "M_0", "weights", "template")

    def known(**options: Any) -> str:
        recipe = scripted_recipe(trainer={"options": options})
        return Task("M_1", parent, parent, "set", "fingerprint", recipe.training, list).request(recipe).id

    assert known() == known(**{"ds.adam_offload": True}) == known(**{"logger.wandb.key": "x"})
    assert len({known(), known(**{"model.ipo_enable": True}), known(**{"model.label_smoothing": 0.1})}) == 3


def test_what_the_gate_drops_is_of_one_training_and_not_of_its_set(
    scripted_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    """Two runs train on one set; the first leaves out cut answers, of which the second drops none."""
    path, trained_on = tmp_path / "s.duckdb", list[int]()
    for run, settings in (("drops", "drop"), ("keeps", "keep")):
        recipe = scripted_recipe(iterations=1, gate={"cut_answers": settings, "max_dropped": 0.9})
        launch(recipe, path, run)
        trained_on.append(len(pair_rows(Reader(path), Wanted("self_rewarding@1", state="trained on")).frame))
    with Store(path, read_only=True) as store:
        launches = {row["run"]: row["id"] for row in store.query("FROM launch")}
        rows = {
            row["run"]: row["row_count"]
            for row in store.query("SELECT * FROM run_sets s JOIN training t ON t.id = s.training")
        }
        ((size, dropped),) = {(row["size"], row["dropped_at_gate"]) for row in store.query("FROM pair_sets")}
        cut = {
            run: sum(row["count"] for row in store.named("run_drops", launch=launches[run]) if row["stage"] == "gate")
            for run in rows
        }
    tables = {run: Reader(path).section(yields, run).asked[0].table for run in rows}
    told = {run: int(table.rows[0][table.columns.index("dropped at the gate")]) for run, table in tables.items()}
    assert rows["drops"] < rows["keeps"] == size
    assert told == cut == {run: size - count for run, count in rows.items()}
    assert dropped == cut["drops"]
    assert trained_on == [rows["drops"], size], "the run that keeps them trained on every pair"
