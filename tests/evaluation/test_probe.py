"""The probe: held-out prompts, every kept model, one fixed judge; compared by the leaderboard's own functions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.recipes.test_temporal import launch
from toolkit.config import Probe, Prompts, Recipe
from toolkit.errors import InputError
from toolkit.evaluation.probe import accuracy, fixed_judge
from toolkit.prompts.split import held_out
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
    return recipe.model_copy(update={"probe": Probe(prompts=PROBED, judged=3)})


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
    assert [column.metric for column in board.columns if column.task == "probe"] == [
        "judge_accuracy",
        "score",
        "spread",
        "tokens",
    ]
    again = launch(probed, path)
    assert all(step.cached == step.total for step in again)
    assert prompts_of(path) == rows


def test_a_plan_lists_the_probe_and_writes_nothing(probed: Recipe, tmp_path: Path) -> None:
    steps = launch(probed, tmp_path / "s.duckdb", planning=True)
    answers = [step for step in steps if step.label.startswith("probe answers")]
    k = probed.answers.k
    assert [step.total for step in answers] == [PROBED * k] * 3
    assert not (tmp_path / "s.duckdb").exists()


def test_the_probe_is_disjoint_from_every_part_and_the_same_for_every_seed() -> None:
    prompts = [Prompt(f"prompt {number}", f"p:{number}") for number in range(50)]
    probe = held_out(prompts, 10)
    assert probe == held_out(prompts[::-1], 10) == held_out(prompts, 20)[:10] and len(set(probe)) == 10
    with pytest.raises(InputError, match="50 prompts are too few to hold out 51"):
        held_out(prompts, 51)


def test_parts_take_no_probe_prompt_whatever_the_seed(probed: Recipe, tmp_path: Path) -> None:
    trained = []
    for seed in (1, 2):
        recipe = Recipe(**{**probed.model_dump(exclude_unset=True), "seed": seed})
        path = tmp_path / f"{seed}.duckdb"
        launch(recipe, path)
        with Store(path, read_only=True) as store:
            held = {row["question"] for row in store.query("SELECT DISTINCT question FROM item WHERE task = 'probe'")}
            used = {row["prompt"] for row in store.query("SELECT DISTINCT prompt FROM response WHERE role <> 'exam'")}
        assert len(held) == PROBED and not held & used
        trained.append((held, used))
    assert trained[0][0] == trained[1][0] and trained[0][1] != trained[1][1]


def test_a_probe_prompt_that_occurs_in_training_is_refused(
    scripted_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    prompts = [f"Question {number}?" for number in range(12)]
    held = held_out([Prompt(text) for text in prompts], 4)
    path = tmp_path / "p.txt"
    path.write_text("\n".join([*prompts, held[0].text.upper().replace(" ", "   ")]))
    recipe = scripted_recipe(iterations=1)
    recipe = recipe.model_copy(
        update={"probe": Probe(prompts=4), "prompts": Prompts(source=str(path), part_size=9)}  # type: ignore[call-arg]
    )
    with pytest.raises(InputError, match=r"a probe prompt occurs in training.*p\.txt:13"):
        launch(recipe, tmp_path / "s.duckdb")


def test_a_probe_and_parts_that_need_more_prompts_than_there_are_name_both(probed: Recipe, tmp_path: Path) -> None:
    recipe = probed.model_copy(update={"probe": Probe(prompts=20)})  # type: ignore[call-arg]
    with pytest.raises(InputError, match=r"24 prompts are too few for 2 iterations of \d+ and a probe of 20"):
        launch(recipe, tmp_path / "s.duckdb")


def test_accuracy_counts_pairs_that_truly_differ_and_half_of_own_ties() -> None:
    assert accuracy([(1.0, 1.0), (2.0, 2.0), (3.0, 3.0)]) == 1.0
    assert accuracy([(3.0, 1.0), (2.0, 2.0), (1.0, 3.0)]) == 0.0
    assert accuracy([(1.0, 1.0), (1.0, 2.0), (0.0, 2.0)]) == pytest.approx((0.5 + 0.0) / 2)
    assert accuracy([(None, 1.0), (2.0, 2.0)]) is None and accuracy([(1.0, 2.0), (2.0, 2.0)]) is None


def test_the_own_judge_is_measured_on_the_judged_prompts_and_keyed_by_itself(probed: Recipe, tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    audit = probed.judge.audit.model_copy(update={"reward": "toolkit:noise", "method": "reward"})
    recipe = probed.model_copy(update={"judge": probed.judge.model_copy(update={"audit": audit})})
    launch(recipe, path)
    with Store(path, read_only=True) as store:
        rows = store.query(
            "SELECT model, settings->'own'->>'judge' AS own, count(*) AS n FROM item "
            "WHERE task = 'probe' AND metric = 'judge_accuracy' GROUP BY ALL"
        )
    assert len(rows) == 3 and all(row["own"] == "present" and row["n"] == 3 for row in rows), "each judges itself"


def test_the_judge_of_a_probe_is_never_the_present_model(scripted_recipe: Callable[..., Recipe]) -> None:
    recipe = scripted_recipe()
    assert recipe.judge.by == "present" and fixed_judge(recipe).by == "past"
    reward = recipe.judge.audit.model_copy(update={"reward": "toolkit:noise", "method": "reward"})
    audited = recipe.model_copy(update={"judge": recipe.judge.model_copy(update={"audit": reward})})
    assert fixed_judge(audited).method == "reward"
