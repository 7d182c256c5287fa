"""Suites: what a TOML may say, what is refused, and a recipe that evaluates every model it keeps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from toolkit.config import Recipe
from toolkit.errors import RecipeError
from toolkit.evaluation.suite import SHIPPED, load_suite
from toolkit.lab import Lab, Step
from toolkit.provenance import capture
from toolkit.recipes.self_rewarding import self_rewarding
from toolkit.store.database import Store

Build = Callable[..., Recipe]
QUESTIONS = """{"question": "What is 1 + 1?", "answer": "1 + 1 = 2 #### 2"}
{"question": "What is 2 + 1?", "answer": "2 + 1 = 3 #### 3"}
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", sorted(SHIPPED[0].glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_suite_loads_and_says_what_it_needs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLKIT_DATA", "/")
    tests = load_suite(Path(path.stem))
    assert {test.kind for test in tests} == {"lm_eval", "human_eval", "alpaca_eval"}
    assert all(word in path.read_text() for word in ("# Needs:", "# Machine:", "# Command:"))
    assert all(test.settings.limit == 3 for test in load_suite(path, limit=3))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[x]\nkind = 'mmlu'", "kind = 'mmlu'"),
        ("x = 3", "kind = 'none'"),
        ("[x]\nkind = 'human_eval'\nlimmit = 3", "unknown key 'limmit'"),
        ("[x]\nkind = 'lm_eval'\nfew_shot = 'five'", "few_shot = 'five'"),
        ("[x]\nkind = 'lm_eval'\ndata = '$NO_SUCH_VARIABLE/x'", "NO_SUCH_VARIABLE is not set"),
        ("[x", "not valid TOML"),
    ],
)
def test_a_suite_that_cannot_be_meant_is_refused_with_its_place(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(RecipeError, match=problem.replace("$", r"\$")):
        load_suite(write(tmp_path / "suite.toml", text))


def test_a_suite_that_is_not_there_names_the_shipped_ones(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no suite") as caught:
        load_suite(tmp_path / "nothing.toml")
    assert "quick" in caught.value.remedy


def launch(recipe: Recipe, path: Path) -> list[Step]:
    with Lab(recipe, Store(path), capture("test", recipe.resolved())) as lab:
        self_rewarding(lab, recipe)
        return lab.steps


def test_a_recipe_measures_m_0_and_every_model_it_keeps_once(scripted_recipe: Build, tmp_path: Path) -> None:
    questions = write(tmp_path / "test.jsonl", QUESTIONS)
    suite = write(
        tmp_path / "suite.toml",
        f"[maths]\nkind = 'lm_eval'\ntask = 'gsm8k'\nfew_shot = 0\nmax_tokens = 16\ndata = '{questions}'\n"
        "[code]\nkind = 'human_eval'\nlimit = 2\nmax_tokens = 16\n",
    )
    path = tmp_path / "s.duckdb"
    launch(scripted_recipe(suite=str(suite)), path)
    with Store(path, read_only=True) as store:
        found = store.query(
            "SELECT DISTINCT n.name, s.task FROM score s JOIN model_names n ON n.model = s.model ORDER BY ALL"
        )
        items = store.query("SELECT count(*) AS n FROM item WHERE metric IN ('strict-match', 'pass@1')")
    tasks = ("code", "maths")  # the tests' own names
    assert [(row["name"], row["task"]) for row in found] == [(n, t) for n in ("M_0", "M_1", "M_2") for t in tasks]
    assert items == [{"n": 3 * 2 * 2}]
    again = launch(scripted_recipe(suite=str(suite), engine={"options": {"die_after": 0}}), path)
    assert all(step.cached == step.total for step in again)
