"""A run's diagnosis on a tiny network: everything is measured, once, and says what the texts and weights say."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
from typer.testing import CliRunner

from toolkit.__main__ import app
from toolkit.config import Recipe
from toolkit.diagnostics.collapse import Verdict, verdict
from toolkit.diagnostics.diagnose import diagnose
from toolkit.diagnostics.measure import Measuring, finite
from toolkit.diagnostics.run_sets import recipe_of
from toolkit.errors import InputError
from toolkit.lab import Lab, Step
from toolkit.provenance import capture
from toolkit.recipes.self_rewarding import self_rewarding
from toolkit.recipes.temporal import temporal
from toolkit.records import Metric
from toolkit.reporting.json_lines import json_line
from toolkit.store.database import Store

Build = Callable[..., Recipe]


def run(recipe: Recipe, path: Path) -> None:
    with Lab(recipe, Store(path), capture("tiny", recipe.resolved())) as lab:
        temporal(lab, recipe)


def diagnosed(path: Path, **more: bool) -> tuple[Verdict, list[Step]]:
    with Store(path) as store:
        recipe = recipe_of(store, "tiny")
    with Lab(recipe, Store(path), capture("diagnose", recipe.resolved())) as lab:
        return diagnose(lab, "tiny", Measuring(), **more), lab.steps


@pytest.fixture
def path(scripted_recipe: Build, network_model: Path, tmp_path: Path) -> Path:
    run(scripted_recipe(model=str(network_model)), tmp_path / "s.duckdb")
    return tmp_path / "s.duckdb"


def test_every_pair_and_its_control_are_measured_once(path: Path) -> None:
    first, steps = diagnosed(path)
    again, later = diagnosed(path)
    assert sum(step.total - step.cached for step in steps) > 0
    assert sum(step.total - step.cached for step in later) == 0
    assert first == again
    with Store(path, read_only=True) as store:
        assert store.query("FROM metric WHERE reason <> ''") == []
        sets = store.query(
            "SELECT pair_set, control, metric, under, count(value) AS n FROM pair_values "
            "WHERE run = 'tiny' AND metric IN ('gradient.norm', 'forward.cosine_mean') GROUP BY ALL"
        )
        pairs = store.query("SELECT pair_set, control, count(*) AS n FROM compared GROUP BY ALL")
    counted = {(row["pair_set"], row["control"]): row["n"] for row in pairs}
    assert len(counted) == 4 + 2 * 2 + 2 * 4, "four sets, two controls of the anchored ones, four of the guided ones"
    assert all(row["n"] == counted[row["pair_set"], row["control"]] for row in sets)
    assert {(row["metric"], row["under"]) for row in sets} >= {
        ("gradient.norm", "parent"), ("forward.cosine_mean", "parent"), ("forward.cosine_mean", "result"),
        ("forward.cosine_mean", "base"),
    }  # fmt: skip


def test_margin_weight_and_displacement_follow_from_the_likelihoods(path: Path) -> None:
    diagnosed(path)
    with Store(path, read_only=True) as store:
        rows = store.query("FROM trained_pairs WHERE run = 'tiny'")
        gradients = store.query("FROM pair_values WHERE metric = 'dpo_gradient' AND under = 'parent' AND control = ''")
        norms = store.query("FROM pair_values WHERE metric = 'gradient.norm' AND under = 'parent' AND control = ''")
    assert rows
    for row in rows:
        margin = row["beta"] * (
            row["chosen_after"] - row["chosen_reference"] - row["rejected_after"] + row["rejected_reference"]
        )
        assert row["margin"] == pytest.approx(margin)
        assert row["weight"] == pytest.approx(1 / (1 + math.exp(margin)))
        assert row["margin_before"] == 0, "policy and reference are one model before training"
        fell = row["chosen_after"] < row["chosen_before"] and row["rejected_after"] < row["rejected_before"]
        assert row["displaced"] == fell
    by_pair = {(row["pair_set"], row["chosen"]): row["value"] for row in norms}
    for row in gradients:
        assert row["value"] == pytest.approx(0.1 * 0.5 * by_pair[row["pair_set"], row["chosen"]])


def test_gradients_after_training_are_measured_where_asked(path: Path) -> None:
    diagnosed(path, after=True)
    with Store(path, read_only=True) as store:
        rows = store.query("FROM summaries WHERE metric = 'gradient.norm' AND under = 'result' AND control = ''")
    assert len(rows) == 4
    assert all(row["n"] and row["mean"] > 0 for row in rows)


def test_what_another_recipe_asked_for_changes_no_number_of_a_run(
    path: Path, scripted_recipe: Build, network_model: Path
) -> None:
    """Both ask M_0 for the same answers, and its verdicts on temporal's past are in the store before the baseline's; a
    third, of another seed, asks it for other answers to the same prompts."""
    diagnosed(path)
    numbers = "FROM pair_values WHERE run = 'tiny' ORDER BY ALL"
    with Store(path, read_only=True) as store:
        before = store.query(numbers)
    for name, own in (("other", {"answers": {"k": 5}}), ("seeded", {"seed": 1})):
        recipe = scripted_recipe(model=str(network_model), iterations=1, **own)
        with Lab(recipe, Store(path), capture(name, recipe.resolved())) as lab:
            self_rewarding(lab, recipe)
    with Store(path, read_only=True) as store:
        assert [row for row in before if row["metric"] == "rank_gap"]
        assert store.query(numbers) == before
        alone = store.query("SELECT n FROM ranks WHERE run = 'other'")
    assert {row["n"] for row in alone} == {5}, "the past's answers, which M_0 judged too, are no candidates here"


def test_the_command_prints_the_verdict_as_one_json_object(path: Path) -> None:
    done = CliRunner().invoke(app, ["diagnose", "tiny", "--no-gradients", "--store", str(path), "--json"])
    assert done.exit_code == 0, (done.output, done.exception)
    told = json.loads(done.stdout)
    known, _ = diagnosed(path, gradients=False)
    assert told == json.loads(json_line(asdict(known)))
    assert (told["run"], len(told["findings"])) == ("tiny", len(known.findings))


def test_a_run_that_is_not_there_is_named_with_those_that_are(path: Path) -> None:
    with Store(path, read_only=True) as store, pytest.raises(InputError, match=r"no run 'other'.*\n.*\n.*tiny"):
        recipe_of(store, "other")


def test_a_run_without_a_diagnosis_has_no_verdict(path: Path) -> None:
    with Store(path, read_only=True) as store:
        assert verdict(store, "tiny").verdict == "not enough data"


def test_a_changed_checkpoint_is_refused(path: Path) -> None:
    with Store(path, read_only=True) as store:
        folder = path.parent / store.query("SELECT path FROM model WHERE name = 'M_1'")[0]["path"]
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-8] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    with pytest.raises(InputError, match="changed since"):
        diagnosed(path)


def test_a_number_that_is_not_finite_is_null_with_a_reason() -> None:
    found = finite(Metric("a", "b", "m", "gradient", {}), {"norm": math.nan, "cosine": 0.5})
    assert found.found == {"norm": None, "cosine": 0.5}
    assert found.reason == "not finite: norm"
