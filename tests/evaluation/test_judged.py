"""MT-Bench- and Arena-Hard-shaped question files under one of our judges."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from toolkit.config import Recipe
from toolkit.errors import InputError
from toolkit.evaluation.answers import Graded
from toolkit.evaluation.judged import Judged, judged
from toolkit.judgments.rubric import SHIPPED
from toolkit.lab import Lab
from toolkit.provenance import capture
from toolkit.records import Score
from toolkit.store.database import Store

Build = Callable[..., Recipe]
BENCH = [
    {"question_id": 81, "category": "writing", "turns": ["Write a line.", "Now shorter."]},
    {"question_id": 82, "turns": ["Name a colour."]},
]
ARENA = [{"uid": "a", "prompt": "Sort a list."}, {"uid": "b", "turns": [{"content": "Reverse a text."}]}]
TOLD = [{"role": "user", "content": "x"}, {"role": "assistant", "content": {"answer": "sorted(x)"}}]
BASELINE = [{"uid": "a", "messages": TOLD}, {"uid": "b", "choices": [{"turns": [{"content": "x[::-1]"}]}]}]


def write(path: Path, rows: list[dict[str, object]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def run(recipe: Recipe, path: Path, settings: Judged, planning: bool = False) -> tuple[Graded, Lab]:
    with Lab(recipe, Store(None if planning else path), capture("t", recipe.resolved()), planning=planning) as lab:
        model = lab.model(recipe.model, "M_0")
        return judged(lab, model, settings), lab


def test_every_turn_is_answered_after_the_one_before_and_scored(
    scripted_recipe: Build, tmp_path: Path, tiny_model: Path
) -> None:
    settings = Judged(write(tmp_path / "q.jsonl", BENCH), str(tiny_model), "mt_bench", max_tokens=16)
    path = tmp_path / "s.duckdb"
    graded, _ = run(scripted_recipe(), path, settings)
    assert [item.question for item in graded.items] == ["81", "82"]
    assert [score.metric for score in graded.scores] == ["score"] and 0 < (graded.scores[0].value or 0) < 5
    with Store(path, read_only=True) as store:
        later = store.query("SELECT history::VARCHAR AS h FROM prompt WHERE text = 'Now shorter.'")[0]["h"]
        first = store.query(
            "SELECT r.text FROM response r JOIN prompt p ON p.id = r.prompt WHERE p.text = 'Write a line.'"
        )
        assert store.query("SELECT count(*) AS n FROM response WHERE role = 'exam'") == [{"n": 3}]
    assert json.loads(later) == [["user", "Write a line."], ["assistant", first[0]["text"]]]


def test_answers_are_compared_with_the_baselines_in_both_orders(
    scripted_recipe: Build, tmp_path: Path, tiny_model: Path
) -> None:
    baseline = write(tmp_path / "b.jsonl", BASELINE)
    settings = Judged(write(tmp_path / "q.jsonl", ARENA), str(tiny_model), "arena", baseline, max_tokens=16)
    graded, lab = run(scripted_recipe(), tmp_path / "s.duckdb", settings)
    assert [item.metric for item in graded.items] == ["win", "win"]
    assert all(len(json.loads(item.detail)) == 2 for item in graded.items), "one grade for each order"
    assert all(item.value is None for item in graded.items) and not graded.scores, (
        "the scripted judge is never readable"
    )
    assert [step.total for step in lab.steps if step.stage == "compare"] == [4]


def test_a_rerun_asks_and_judges_nothing_and_a_plan_neither(
    scripted_recipe: Build, tmp_path: Path, tiny_model: Path
) -> None:
    settings = Judged(write(tmp_path / "q.jsonl", BENCH), str(tiny_model), "mt_bench", max_tokens=16)
    first, _ = run(scripted_recipe(), tmp_path / "s.duckdb", settings)
    again, lab = run(scripted_recipe(engine={"options": {"die_after": 0}}), tmp_path / "s.duckdb", settings)
    assert again == first and all(step.cached == step.total for step in lab.steps)
    assert run(scripted_recipe(), tmp_path / "s.duckdb", settings, planning=True)[0] == Graded((), ())


def test_another_rubric_under_the_same_name_or_another_seed_is_another_score(
    scripted_recipe: Build, tmp_path: Path, tiny_model: Path
) -> None:
    settings, path = Judged(write(tmp_path / "q.jsonl", BENCH), str(tiny_model), "bench", max_tokens=16), tmp_path / "x"
    shipped, own = (SHIPPED / "additive.txt").read_text(), tmp_path / "own.txt"
    for rubric, seed in ((shipped, 0), (shipped.replace("scale: 0-5", "scale: 0-9"), 0), (shipped, 1)):
        own.write_text(rubric)
        graded, _ = run(scripted_recipe(judge={"rubric": str(own)}, seed=seed), path, settings)
        with Store(path, read_only=True) as store:
            assert store.find(Score, [graded.scores[0].id]) == {graded.scores[0].id: graded.scores[0]}
    with Store(path, read_only=True) as store:
        assert store.query("SELECT count(*) AS n FROM score") == [{"n": 3}]


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([], "no questions"),
        ([{"turns": ["x"]}], "no id under"),
        ([{"id": 1, "turns": ["x"]}, {"id": 1, "prompt": "y"}], "two questions have one id"),
        ([{"id": 1, "turns": [{"text": "x"}]}], "where a text belongs"),
    ],
)
def test_a_question_file_that_cannot_be_meant_is_refused(
    scripted_recipe: Build, tmp_path: Path, tiny_model: Path, rows: list[dict[str, object]], problem: str
) -> None:
    with pytest.raises(InputError, match=problem):
        run(scripted_recipe(), tmp_path / "s.duckdb", Judged(write(tmp_path / "q.jsonl", rows), str(tiny_model)))


def test_a_baseline_that_lacks_a_question_is_refused_by_its_id(
    scripted_recipe: Build, tmp_path: Path, tiny_model: Path
) -> None:
    baseline = write(tmp_path / "b.jsonl", BASELINE[:1])
    settings = Judged(write(tmp_path / "q.jsonl", ARENA), str(tiny_model), "arena", baseline, max_tokens=16)
    with pytest.raises(InputError, match="no answer to question 'b'"):
        run(scripted_recipe(), tmp_path / "s.duckdb", settings)
