"""Runs whose rejected side has another rule: resumed, checked by `law` and `doctor`, refused where no rule is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.recipes.test_baselines import launch as launch_recipe
from tests.recipes.test_temporal import content, launch
from toolkit.config import Recipe, parse
from toolkit.errors import RecipeError, ToolkitError
from toolkit.lab import Step
from toolkit.pairs.at_scale import Selection
from toolkit.pairs.audit import audit
from toolkit.pairs.partitions import write_parts
from toolkit.recipes.rejection_sampling_sft import rejection_sampling_sft
from toolkit.recipes.spin import spin
from toolkit.store.database import Store

Build = Callable[..., Recipe]
RULES = ("mean_minus_2sd", "random")
MANY = {"k": 8, "max_tokens": 16}  # with fewer candidates mean_minus_2sd is worst


def arm(build: Build, rule: str, **more: object) -> Recipe:
    return build(**{"pairs": {"rejected": rule}, "answers": MANY, "iterations": 1, **more})


def pairs_of(path: Path) -> list[tuple[str, str, str]]:
    with Store(path, read_only=True) as store:
        rows = store.query("SELECT pair_set, chosen, rejected FROM pairs ORDER BY ALL")
    return [(row["pair_set"], row["chosen"], row["rejected"]) for row in rows]


@pytest.mark.parametrize("rule", RULES)
def test_a_run_that_dies_and_is_resumed_has_the_pairs_of_one_that_does_not(
    scripted_recipe: Build, tmp_path: Path, rule: str
) -> None:
    launch(arm(scripted_recipe, rule), tmp_path / "whole" / "s.duckdb")
    path = tmp_path / "broken" / "s.duckdb"
    for _ in range(60):
        try:
            launch(arm(scripted_recipe, rule, engine={"options": {"die_after": 150}}), path)
            break
        except ToolkitError:
            continue
    assert pairs_of(path) == pairs_of(tmp_path / "whole" / "s.duckdb") != []
    before = content(path)
    again = launch(arm(scripted_recipe, rule, engine={"options": {"die_after": 0}}), path)
    assert all(step.cached == step.total for step in again)
    assert content(path) == before == content(tmp_path / "whole" / "s.duckdb")


def test_arms_in_one_store_share_answers_and_verdicts_and_reject_different_answers(
    scripted_recipe: Build, tmp_path: Path
) -> None:
    path = tmp_path / "s.duckdb"
    launch(arm(scripted_recipe, "worst"), path)
    steps = launch(arm(scripted_recipe, "random"), path)
    assert all(step.cached == step.total for step in steps[:5] if step.stage in ("generate", "judge"))
    with Store(path, read_only=True) as store:
        sets = store.query("SELECT pair_set, list(rejected ORDER BY prompt) AS r FROM pairs GROUP BY ALL ORDER BY ALL")
    assert [row["pair_set"] for row in sets] == ["anchored@1", "anchored@2", "guided@1", "guided@2"]
    assert sets[0]["r"] != sets[1]["r"]


@pytest.mark.parametrize("rule", RULES)
def test_law_lists_the_sets_of_another_rule_as_not_checked_for_it_and_finds_no_violation(
    scripted_recipe: Build, tmp_path: Path, rule: str
) -> None:
    path = tmp_path / "s.duckdb"
    launch(arm(scripted_recipe, rule), path)
    launch(arm(scripted_recipe, "worst", seed=1), path)
    with Store(path) as store:
        rows = store.named("law")
        message = f"not checked: that pairs.rejected = '{rule}' picked the rejected answers"
        assert [(row["violation"], row["pair_set"]) for row in rows] == [(message, "anchored@1"), (message, "guided@1")]
        assert not audit(store).findings
        store.query("UPDATE pair SET rejected_role = 'future'")
        assert any("a rejected answer is of another role" in row["violation"] for row in store.named("law"))


def test_law_lists_no_set_of_a_recipe_that_scores_no_rejected_side(scripted_recipe: Build, tmp_path: Path) -> None:
    recipe = arm(scripted_recipe, "random", prompts={"source": "ift", "part_size": 6})
    launch_recipe(spin, recipe, tmp_path / "s.duckdb")
    with Store(tmp_path / "s.duckdb", read_only=True) as store:
        assert store.named("law") == []


def test_a_set_of_another_rule_has_its_own_chance_values(scripted_recipe: Build, tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    for rule in ("worst", "random"):
        launch(arm(scripted_recipe, rule), path)
    with Store(path, read_only=True) as store:
        chances = store.query("SELECT pair_set, gap_chance, yield FROM selections ORDER BY pair_set")
    assert [row["pair_set"] for row in chances] == ["anchored@1", "anchored@2", "guided@1", "guided@2"]
    assert all(chances[n]["gap_chance"] > chances[n + 1]["gap_chance"] for n in (0, 2)), "the lowest is further below"
    assert all(0 < row["yield"] <= 1 for row in chances)


@pytest.mark.parametrize("rule", RULES)
def test_a_plan_shares_no_training_with_another_rule_but_all_with_its_own(
    scripted_recipe: Build, tmp_path: Path, rule: str
) -> None:
    def sets(rule: str) -> list[str]:
        steps: list[Step] = launch(arm(scripted_recipe, rule), tmp_path / "none.duckdb", planning=True)
        return [step.subject for step in steps if step.stage == "train"]

    assert sets(rule) == sets(rule)
    assert not set(sets(rule)) & set(sets("worst"))
    sft = {"sft": {"batch_size": 4, "small_sets": "shrink", "max_length": 2048, "epochs": 1}}
    recipes = [arm(scripted_recipe, each, **sft) for each in (rule, "worst")]
    path = tmp_path / "none.duckdb"
    plans = [launch_recipe(rejection_sampling_sft, recipe, path, planning=True) for recipe in recipes]
    chosen_side = [[step.subject for step in plan if step.stage == "train"] for plan in plans]
    assert chosen_side[0] == chosen_side[1] != []


@pytest.mark.parametrize("rule", RULES)
def test_length_control_with_another_rule_is_refused_as_the_recipe_is_loaded(rule: str) -> None:
    with pytest.raises(RecipeError, match=f"pairs.rejected = 'worst', not '{rule}'"):
        parse({"pairs": {"rejected": rule, "length_control": 0.0}})
    assert parse({"pairs": {"rejected": "worst", "length_control": 0.1}}).pairs.rejected == "worst"
    with pytest.raises(RecipeError, match="rejected = 'best'"):
        parse({"pairs": {"rejected": "best"}})


@pytest.mark.parametrize("rule", RULES)
def test_selection_in_sql_refuses_verdicts_that_only_another_rule_used(
    scripted_recipe: Build, tmp_path: Path, rule: str
) -> None:
    path = tmp_path / "s.duckdb"
    launch(arm(scripted_recipe, rule), path)
    with Store(path) as store:
        base = store.query("SELECT id FROM model WHERE name = 'M_0'")[0]["id"]
    selection = Selection("anchored", 0, base, {"present": base, "past": base})
    with Store(path) as store, pytest.raises(RecipeError, match=f"pairs.rejected = '{rule}'"):
        write_parts(store, selection, str(tmp_path / "parts"), 2)
    assert not (tmp_path / "parts").exists()
    launch(arm(scripted_recipe, "worst"), path)
    with Store(path) as store:
        write_parts(store, selection, str(tmp_path / "parts"), 2)
