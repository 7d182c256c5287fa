"""Every recipe on the scripted engine: its law by SQL, its trainings, and what recipes share in one store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from toolkit.config import Recipe
from toolkit.lab import Lab, Step
from toolkit.provenance import capture
from toolkit.recipes.anchored_only import anchored_only
from toolkit.recipes.future_only import future_only
from toolkit.recipes.rejection_sampling_sft import rejection_sampling_sft
from toolkit.recipes.run import RecipeFunction
from toolkit.recipes.self_rewarding import self_rewarding
from toolkit.recipes.spin import spin
from toolkit.recipes.spin_fair import spin_fair
from toolkit.recipes.temporal import temporal
from toolkit.reporting.run_report import report_run
from toolkit.store.database import Store
from toolkit.store.lineage import lineage

Build = Callable[..., Recipe]
RECIPES = (temporal, self_rewarding, anchored_only, future_only, rejection_sampling_sft, spin, spin_fair)
LABELLED = (spin, spin_fair)
ROLES = {  # what the sides of each recipe's sets may be
    "self_rewarding": ({"present"}, {"present"}),
    "anchored_only": ({"present"}, {"past", "present"}),
    "unanchored": ({"present"}, {"present"}),
    "future_only": ({"future", "present"}, {"present"}),
    "spin": ({"label"}, {"present"}),
    "spin_fair": ({"label"}, {"present"}),
}
SFT = {"batch_size": 4, "small_sets": "shrink", "max_length": 2048, "epochs": 1}


def launch(function: RecipeFunction, recipe: Recipe, path: Path, *, planning: bool = False) -> list[Step]:
    store = Store(path, read_only=True) if planning and path.exists() else Store(None if planning else path)
    launched = capture(function.__name__, recipe.resolved())
    with Lab(recipe, store, launched, planning=planning) as lab:
        function(lab, recipe)
        if not planning:
            report_run(lab.store, launched, path.parent / "reports")
        return lab.steps


def sized(build: Build, function: RecipeFunction, **more: object) -> Recipe:
    prompts = {"prompts": {"source": "ift", "part_size": 6}} if function in LABELLED else {}
    return build(**{"sft": SFT, **prompts, **more})


@pytest.mark.parametrize("function", RECIPES, ids=lambda function: function.__name__)
def test_the_law_of_every_recipe_holds_by_sql(scripted_recipe: Build, tmp_path: Path, function: RecipeFunction) -> None:
    recipe = sized(scripted_recipe, function)
    launch(function, recipe, tmp_path / "s.duckdb")
    with Store(tmp_path / "s.duckdb", read_only=True) as store:
        assert store.named("law") == []
        sets = store.query(
            "SELECT phase, list(DISTINCT chosen_role) AS c, list(DISTINCT rejected_role) AS r FROM pairs GROUP BY phase"
        )
    found = {row["phase"]: (set(row["c"]), set(row["r"])) for row in sets if row["phase"] in ROLES}
    assert found == {phase: ROLES[phase] for phase in found}
    assert found or function in (temporal, rejection_sampling_sft)


@pytest.mark.parametrize("function", RECIPES, ids=lambda function: function.__name__)
def test_a_rerun_of_any_recipe_does_nothing_and_a_plan_says_so(
    scripted_recipe: Build, tmp_path: Path, function: RecipeFunction
) -> None:
    recipe, path = sized(scripted_recipe, function), tmp_path / "s.duckdb"
    first = [step.stage for step in launch(function, recipe, path, planning=True)]
    launch(function, recipe, path)
    again = launch(function, sized(scripted_recipe, function, engine={"options": {"die_after": 0}}), path)
    planned = launch(function, recipe, path, planning=True)
    assert all(step.cached == step.total for step in [*again, *planned])
    assert [step.stage for step in again] == [step.stage for step in planned] == first


@pytest.mark.parametrize(
    ("damage", "violation"),
    [
        ("UPDATE pair SET rejected_role = 'past'", "a rejected answer is of another role"),
        ("UPDATE pair SET judge = chosen", "the judge is not the one"),
        ("UPDATE pair SET chosen_score = NULL", "does not score above"),
    ],
)
def test_the_law_sees_damage_in_a_baseline(scripted_recipe: Build, tmp_path: Path, damage: str, violation: str) -> None:
    launch(self_rewarding, scripted_recipe(), tmp_path / "s.duckdb")
    with Store(tmp_path / "s.duckdb") as store:
        store.query(damage)
        assert any(violation in row["violation"] for row in store.named("law"))


def test_a_demonstration_of_another_model_breaks_the_law(scripted_recipe: Build, tmp_path: Path) -> None:
    launch(rejection_sampling_sft, sized(scripted_recipe, rejection_sampling_sft), tmp_path / "s.duckdb")
    with Store(tmp_path / "s.duckdb") as store:
        store.query("UPDATE response SET model = 'x' WHERE id IN (SELECT response FROM demonstration)")
        assert any("demonstrated" in row["violation"] for row in store.named("law"))


def test_recipes_in_one_store_share_the_answers_verdicts_and_trainings_they_both_ask_for(
    scripted_recipe: Build, tmp_path: Path
) -> None:
    path = tmp_path / "s.duckdb"
    recipe = scripted_recipe()
    launch(temporal, recipe, path)
    steps = launch(self_rewarding, recipe, path)
    first = [step for step in steps if step.iteration == 0 and step.stage in ("generate", "judge")]
    assert all(step.cached == step.total > 0 for step in first), "M_0's own answers and verdicts are temporal's"
    launch(future_only, recipe, path)
    with Store(path, read_only=True) as store:
        assert store.named("law") == []
        shared = store.query(
            "SELECT subject FROM step WHERE stage = 'train' GROUP BY subject HAVING count(DISTINCT launch) > 1"
        )
    assert len(shared) >= 1, "future_only's temporary future is self_rewarding's next model"


def test_a_model_is_traced_by_its_name_in_a_run_and_through_sft(scripted_recipe: Build, tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    recipe = sized(scripted_recipe, rejection_sampling_sft)
    launch(rejection_sampling_sft, recipe, path)
    launch(self_rewarding, recipe, path)
    with Store(path, read_only=True) as store:
        learned = lineage(store, "rejection_sampling_sft/M_2")
        assert {row["side"] for row in learned} == {"demonstrated"} and len(learned) == 12
        assert all(row["judged_by"] and row["reply"] for row in learned)
        paired = lineage(store, "self_rewarding/M_2")
        assert {row["side"] for row in paired} == {"chosen", "rejected"}
        assert {row["pair_set"] for row in paired} == {"self_rewarding@1", "self_rewarding@2"}


def test_m_0_by_sft_learns_instructions_and_judgements_and_keeps_rated_answers_aside(
    scripted_recipe: Build, tmp_path: Path
) -> None:
    path = tmp_path / "s.duckdb"
    recipe = scripted_recipe(sft={**SFT, "data": ["ift", "eft"]}, engine={"max_model_len": 8192})
    launch(self_rewarding, recipe, path)
    with Store(path, read_only=True) as store:
        assert store.named("law") == []
        learned = store.query("SELECT count(*) AS n, count(DISTINCT prompt_text) AS prompts FROM demonstrations")[0]
        aside = store.query("SELECT size FROM pair_set WHERE name = 'held_out'")
        sft = store.query("SELECT * FROM training WHERE demonstration_set IS NOT NULL")
        names = store.query("SELECT name FROM model WHERE id IN (SELECT parent FROM training)")
        both = store.query(
            "SELECT count(*) AS n FROM demonstrations d JOIN pairs x ON x.phase = 'held_out' "
            "AND contains(d.prompt_text, x.chosen_text)"
        )
    assert learned["n"] == learned["prompts"] > 72 + 40
    assert aside[0]["size"] == 4 and both == [{"n": 0}], "nothing held out is learned"
    assert len(sft) == 1 and sft[0]["reference"] is None
    assert {row["name"] for row in names} >= {"base", "M_0"}
