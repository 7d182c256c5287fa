"""What an attacker tried after the first fixes: each input here got through before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from toolkit import config
from toolkit.config import Recipe
from toolkit.errors import InputError, RecipeError
from toolkit.evaluation.suite import load_suite
from toolkit.lab import Lab
from toolkit.pairs.audit import audit
from toolkit.prompts.source import load_prompts
from toolkit.provenance import capture
from toolkit.recipes.self_rewarding import self_rewarding
from toolkit.store.database import Store
from toolkit.training.settings import of_machine
from toolkit.trust import consent


@pytest.mark.parametrize(
    "fields",
    [
        {"trainer": {"options": {"ckpt.path=/tmp/x": True}}},
        {"engine": {"options": {"model=/tmp/x": True}}},
        {"lora": {"rank": 4, "target_modules": ["q_proj", "--data.dataset=/tmp/x"]}},
    ],
)
def test_no_name_of_a_recipe_becomes_another_flag(fields: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=r"options|target_modules"):
        config.parse(fields)


@pytest.mark.parametrize("option", ["ckpt.load_enable", "ckpt.save_steps", "data.max_samples", "logger.wandb.key"])
def test_options_that_name_folders_data_or_accounts_need_consent_whatever_their_value(option: str) -> None:
    data = {"trainer": {"options": {option: 1}}}
    with pytest.raises(RecipeError, match="names code or a server"):
        consent.check_recipe(data, (), "", trusted=False)
    consent.check_recipe(data, (f"trainer.options.{option}=1",), "", trusted=False)
    consent.check_recipe(data, (), "", trusted=True)


def test_what_decides_an_adapter_is_part_of_a_trainings_id() -> None:
    assert [of_machine(flag) for flag in ("ds.lora.rank", "ds.load_in_4bit", "ds.adam_offload")] == [False, False, True]


def test_a_dtype_by_its_own_word_needs_no_consent() -> None:
    options = {"engine": {"options": {"dtype": "float32"}}, "trainer": {"options": {"ds.param_dtype": "fp16"}}}
    assert consent.named(options) == []


@pytest.mark.parametrize("address", ["http://0.0.0.0:8000/v1", "http://127.0.1.1/v1", "http://[::1]:8000", ""])
def test_addresses_of_this_machine_need_no_consent(address: str) -> None:
    assert consent.named({"engine": {"base_url": address}}) == []
    assert consent.named({"engine": {"base_url": "http://example.org/v1"}}) == ["engine.base_url"]


@pytest.mark.parametrize(
    "change",
    [
        'judge={"method":"reward","reward":"/tmp/e.py:f"}',
        "engine.options.worker_cls=e.W",
        "trainer.options.ckpt.path=/x",
    ],
)
def test_a_stored_command_line_that_would_be_consent_is_named(change: str) -> None:
    script = "/site-packages/toolkit/recipes/temporal.py"
    assert consent.in_arguments([script, "--set", change]) == [change]
    assert consent.in_arguments([script, "--set", "answers.k=4"]) == []
    assert consent.in_arguments(["/tmp/evil.py"]) == ["the script /tmp/evil.py"]


def test_a_folder_of_prompts_is_refused_since_its_readme_may_name_files_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("---\nconfigs:\n- config_name: default\n  data_files: ../*.txt\n---\n")
    with pytest.raises(InputError, match="is a folder"):
        load_prompts(config.parse({"prompts": {"source": str(tmp_path)}}).prompts)


def test_a_suite_names_a_paid_judge_only_with_consent(tmp_path: Path) -> None:
    suite = tmp_path / "suite.toml"
    suite.write_text('[a]\nkind = "alpaca_eval"\ninstructions = "i"\nreferences = "r"\njudge = "claude"\n')
    with pytest.raises(RecipeError, match="judge = 'claude'"):
        load_suite(suite)
    assert load_suite(suite, trusted=True)[0].settings.judge == "claude"


@pytest.mark.parametrize("score", ["nan", "inf"])
def test_one_number_that_is_none_hides_no_other_finding(
    score: str, scripted_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = scripted_recipe(iterations=1)
    with Lab(recipe, Store(tmp_path / "s.duckdb"), capture("run", recipe.resolved())) as lab:
        self_rewarding(lab, recipe)
    with Store(tmp_path / "s.duckdb") as store:
        pairs = [row["id"] for row in store.query("SELECT id FROM pair ORDER BY id")]
        store.query("UPDATE pair SET chosen_score = ?::DOUBLE WHERE id = ?", [score, pairs[0]])
        store.query("UPDATE pair SET content = 'x' WHERE id = ?", [pairs[1]])
        found = {finding.id for finding in audit(store).findings if finding.table == "pair"}
    assert set(pairs[:2]) <= found
