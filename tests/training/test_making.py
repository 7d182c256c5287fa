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
from toolkit.store.database import Store
from toolkit.training.making import Task
from toolkit.training.process import run_trainer


def launch(recipe: Recipe, path: Path) -> Model:
    with Lab(recipe, Store(path), capture("test", recipe.resolved())) as lab:
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
