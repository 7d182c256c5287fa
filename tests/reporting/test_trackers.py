"""A run in TensorBoard and Weights & Biases: what is given, what comes back, and what stays here."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import needs
from toolkit.config import Recipe
from toolkit.errors import InputError
from toolkit.lab import Lab
from toolkit.provenance import capture
from toolkit.recipes.temporal import temporal
from toolkit.records import Score
from toolkit.reporting.run_numbers import RunNumbers, run_numbers
from toolkit.reporting.trackers import send
from toolkit.store.database import Store

KEY = "0123456789abcdef0123456789abcdef01234567"
NOTHING = RunNumbers("mine", "launch", {}, ())


@pytest.fixture
def numbers(tmp_path: Path, scripted_recipe: Callable[..., Recipe]) -> RunNumbers:
    """Of a run of two iterations, one exam by two protocols."""
    recipe = scripted_recipe()
    with Lab(recipe, Store(tmp_path / "s.duckdb"), capture("mine", recipe.resolved())) as lab:
        last = temporal(lab, recipe)
        scores = [Score(last.id, "exam", "right", {"shots": shots}, 0.5 + shots / 10, 8) for shots in (0, 1)]
        lab.store.add(scores, launch=lab.launch.id)
        return run_numbers(lab.store, "mine")


def test_a_run_is_its_trainings_by_step_its_sets_by_iteration_and_its_scores_by_protocol(
    numbers: RunNumbers, tmp_path: Path
) -> None:
    with Store(tmp_path / "s.duckdb", read_only=True) as store:
        curve = store.named("run_curve", launch=numbers.launch)
        sets = store.named("run_iterations", launch=numbers.launch)
    given = {(one.name, one.step): one.value for one in numbers.numbers}
    assert {(f"train/{row['model']}/loss", row["step"]): row["loss"] for row in curve}.items() <= given.items()
    assert {(f"sets/{row['pairs of']}/gap", row["iteration"]): row["gap"] for row in sets}.items() <= given.items()
    assert {one.name.split("/")[1] for one in numbers.numbers if one.name.startswith("train/")} == {
        "M_f0", "M_1", "M_f1", "M_2"
    }  # fmt: skip
    scores = {one.name: (one.step, one.value) for one in numbers.numbers if one.name.startswith("scores/")}
    assert scores == {"scores/exam right (shots 0)": (2, 0.5), "scores/exam right (shots 1)": (2, 0.6)}
    assert list(numbers.by_step()) == sorted({one.step for one in numbers.numbers})
    assert all(math.isfinite(one.value) for one in numbers.numbers)


def test_tensorboard_holds_the_run_once_however_often_it_is_logged(numbers: RunNumbers, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for _ in range(2):
        assert str(tmp_path) in send(numbers, "tensorboard", "any", tmp_path)
    found = EventAccumulator(str(tmp_path / "tensorboard" / "mine")).Reload()
    back = {(name, point.step): point.value for name in found.Tags()["scalars"] for point in found.Scalars(name)}
    wanted = {(one.name, one.step): pytest.approx(one.value) for one in numbers.numbers}
    assert back == wanted


def test_wandb_takes_the_run_offline_and_its_key_stays_in_the_environment(
    numbers: RunNumbers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    needs("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    import wandb

    look = send(numbers, "wandb", "project", tmp_path)
    wandb.teardown()  # as at the end of a command: what its own process holds is then in the file
    assert capfd.readouterr().out == ""
    folder = Path(look.removeprefix("wandb sync "))
    (written,) = folder.glob("*.wandb")
    assert b"train/M_1/loss" in written.read_bytes()
    assert all(KEY.encode() not in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())


def test_a_tracker_that_refuses_is_one_error_without_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)

    def refuses(*_: object) -> str:
        raise RuntimeError(f"401: key {KEY} is not known")

    monkeypatch.setattr("toolkit.reporting.trackers.TRACKERS", {"tensorboard": refuses})
    with pytest.raises(InputError, match="key \\*\\*\\* is not known") as caught:
        send(NOTHING, "tensorboard", "project", tmp_path)
    assert caught.value.__cause__ is None


def test_a_tracker_that_is_not_installed_is_named_with_its_install_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="needs mlflow, which is not installed") as caught:
        send(NOTHING, "mlflow", "project", tmp_path)
    assert caught.value.remedy == "pip install mlflow"
