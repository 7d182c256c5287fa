"""The probe: held-out prompts, every kept model, one fixed judge; compared by the leaderboard's own functions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.recipes.test_temporal import launch
from toolkit.config import Prompts, Recipe
from toolkit.errors import InputError
from toolkit.evaluation.probe import fixed_judge
from toolkit.prompts.split import held_out, parts
from toolkit.records import Prompt
from toolkit.reporting.board.leaderboard import leaderboard
from toolkit.store.database import Store

PROBED = 5


def prompts_of(path: Path) -> list[dict[str, Any]]:
    sql = (
        "SELECT n.name, i.question, i.value, i.metric FROM item i JOIN model_names n ON n.model = i.model "
        "WHERE i.task = 'probe' ORDER BY ALL"
    )
    with Store(path, read_only=True) as store:
        return store.query(sql)


@pytest.fixture
def probed(scripted_recipe: Callable[..., Recipe]) -> Recipe:
    recipe = scripted_recipe(iterations=2)
    return recipe.model_copy(update={"prompts": recipe.prompts.model_copy(update={"probe": PROBED})})


def test_every_kept_model_answers_the_same_held_out_prompts_once(probed: Recipe, tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    launch(probed, path)
    rows = prompts_of(path)
    assert {row["name"] for row in rows} == {"M_0", "M_1", "M_2"}
    questions = {
        name: {row["question"] for row in rows if row["name"] == name and row["metric"] == "score"}
        for name in ("M_0", "M_1", "M_2")
    }
    assert len(questions["M_0"]) == PROBED and len({frozenset(asked) for asked in questions.values()}) == 1
    with Store(path) as store:
        judges = store.query("SELECT DISTINCT settings->>'judge' AS judge FROM score WHERE task = 'probe'")
        trained = {row["prompt"] for row in store.query("SELECT DISTINCT prompt FROM pair")}
        first = store.query("SELECT model FROM model_names WHERE name = 'M_0'")[0]["model"]
        board = leaderboard([store], None)
    assert judges == [{"judge": first}], "M_0 judges every model"
    assert not trained & questions["M_0"]
    assert [column.metric for column in board.columns if column.task == "probe"] == ["score", "spread"]
    again = launch(probed, path)
    assert all(step.cached == step.total for step in again)
    assert prompts_of(path) == rows


def test_a_plan_lists_the_probe_and_writes_nothing(probed: Recipe, tmp_path: Path) -> None:
    steps = launch(probed, tmp_path / "s.duckdb", planning=True)
    answers = [step for step in steps if step.label.startswith("probe answers")]
    k = probed.answers.k
    assert [step.total for step in answers] == [PROBED * k] * 3
    assert not (tmp_path / "s.duckdb").exists()


def test_the_probe_is_disjoint_from_every_part_and_more_iterations_leave_it_as_it_was() -> None:
    prompts = [Prompt(f"prompt {number}", "") for number in range(50)]
    settings = Prompts(part_size=10, probe=10, seed=3)  # type: ignore[call-arg]
    probe = held_out(prompts, settings, 2)
    assert probe == held_out(prompts[::-1], settings, 4) and len(set(probe)) == 10
    assert not {prompt for part in parts(prompts, 10, 4, 3) for prompt in part} & set(probe)
    with pytest.raises(InputError, match="50 prompts are too few for 5 iterations of 10 and 10 more"):
        held_out(prompts, settings, 5)


def test_the_judge_of_a_probe_is_never_the_present_model(scripted_recipe: Callable[..., Recipe]) -> None:
    recipe = scripted_recipe()
    assert recipe.judge.by == "present" and fixed_judge(recipe).by == "past"
    reward = recipe.judge.audit.model_copy(update={"reward": "toolkit:noise", "method": "reward"})
    audited = recipe.model_copy(update={"judge": recipe.judge.model_copy(update={"audit": reward})})
    assert fixed_judge(audited).method == "reward"
