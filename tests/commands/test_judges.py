"""rescore and judge-quality, as typed: a fixed judge beside the recipe's own, and a judge against labels."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.judgments.speaking import answered
from toolkit.__main__ import app
from toolkit.commands.judges import find_model
from toolkit.config import Recipe
from toolkit.errors import InputError
from toolkit.evaluation.judge_quality import MEANING
from toolkit.lab import Lab
from toolkit.provenance import capture
from toolkit.recipes.temporal import temporal
from toolkit.records import Judgment, Model, Sampling
from toolkit.store.database import Store

Run = Callable[..., Result]
Build = Callable[..., Recipe]


@pytest.fixture
def store(tmp_path: Path, scripted_recipe: Build) -> Path:
    path, recipe = tmp_path / "s.duckdb", scripted_recipe()
    with Lab(recipe, Store(path), capture("test", recipe.resolved())) as lab:
        temporal(lab, recipe)
    return path


@pytest.fixture
def run(tmp_path: Path, tiny_model: Path) -> Run:
    """Runs `python -m toolkit` with a scripted judge on a store of this folder."""
    config = tmp_path / "scripted.toml"
    config.write_text(
        f'model = "{tiny_model}"\n[judge]\nmethod = "expected"\n[engine]\nkind = "scripted"\n', encoding="utf-8"
    )

    def command(*words: str) -> Result:
        judging = [] if words[0] == "import" else ["--config", str(config)]
        return CliRunner().invoke(app, [*words, *judging, "--store", str(tmp_path / "s.duckdb")])

    return command


def rows(done: Result) -> list[dict[str, object]]:
    assert done.exit_code == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def gold(tmp_path: Path) -> Path:
    file = tmp_path / "gold.jsonl"
    lines = [{"prompt": f"question {i}?", "chosen": f"good {i}", "rejected": f"poor {i}"} for i in range(6)]
    file.write_text("\n".join(json.dumps(line) for line in lines))
    return file


def test_a_fixed_judges_gap_stands_beside_the_recipes_own(store: Path, run: Run) -> None:
    found = rows(run("rescore", "guided-1", "--judge", "M_0", "--json"))
    assert [(row["judge"], row["own_judge"]) for row in found] == [("M_1", True), ("M_0", False)]
    assert found[0]["gap"] == pytest.approx(found[0]["own_gap"])
    assert found[0]["own_gap"] == pytest.approx(found[1]["own_gap"])
    assert found[0]["pairs"] == found[1]["pairs"]
    assert found[0]["ordered_alike"] == 1.0
    assert found[1]["gap"] != pytest.approx(found[0]["gap"])
    with Store(store, read_only=True) as opened:
        assert {row["set"] for row in opened.named("judge_gaps")} >= {"guided@2", "guided@1", "anchored@1"}
        sql = "SELECT avg(gap) AS gap, count(*) AS n FROM pairs WHERE pair_set = 'guided@2'"
        assert opened.query(sql) == [{"gap": pytest.approx(found[0]["gap"]), "n": found[0]["pairs"]}]


def test_rescoring_again_judges_nothing_and_says_the_same(store: Path, run: Run) -> None:
    first = run("rescore", "guided-1", "--judge", "M_0")
    again = run("rescore", "guided-1", "--judge", "M_0")
    assert first.stdout == again.stdout
    assert "guided@2: " in first.stdout
    assert "nothing to do" in again.stderr and "nothing to do" not in first.stderr
    with Store(store, read_only=True) as opened:
        steps = opened.query("SELECT s.cached, s.total FROM steps s WHERE run = 'rescore' ORDER BY s.launch")
    assert [row["cached"] == row["total"] for row in steps].count(True) == 1


def test_methods_and_rubrics_of_one_judge_are_never_averaged(tmp_path: Path, store: Path) -> None:
    with Store(store) as opened:
        pair = opened.query("SELECT chosen, rejected, judge FROM pairs WHERE pair_set = 'guided@2' ORDER BY id")[0]
        sampling = Sampling(1, 1, 9)
        written = [
            Judgment(pair[side], pair["judge"], rubric, "generated", sampling, 0, 0, "", "scored", "", score)
            for rubric in ("r1", "r2")
            for side, score in (("chosen", 1.0), ("rejected", 4.0))
        ]
        opened.add(written, launch="test")
        found = [row for row in opened.named("judge_gaps") if row["set"] == "guided@2"]
    assert [(row["judge"], row["method"]) for row in found] == [("M_1", "expected")] + [("M_1", "generated")] * 2
    assert [row["gap"] for row in found[1:]] == [-3.0, -3.0]
    assert [row["pairs"] for row in found[1:]] == [1, 1]
    assert [row["ordered_alike"] for row in found[1:]] == [0.0, 0.0]


def test_samplings_of_one_judge_are_never_averaged_and_unequal_draws_are_counted(tmp_path: Path, store: Path) -> None:
    """4 against 2 at temperature 1 and 1 against 3 at 0.2 were a gap of 0.0."""
    with Store(store) as opened:
        pair = opened.query("SELECT chosen, rejected, judge FROM pairs WHERE pair_set = 'guided@2' ORDER BY id")[0]
        drawn = [
            (1.0, "chosen", (4.0, 4.0)),
            (1.0, "rejected", (2.0,)),
            (0.2, "chosen", (1.0,)),
            (0.2, "rejected", (3.0,)),
        ]
        written = [
            Judgment(pair[side], pair["judge"], "r", "generated", Sampling(t, 1, 9), i, 0, "", "scored", "", score)
            for t, side, scores in drawn
            for i, score in enumerate(scores)
        ]
        opened.add(written, launch="test")
        found = [row for row in opened.named("judge_gaps") if row["set"] == "guided@2" and row["method"] == "generated"]
        metrics = opened.query(
            "SELECT metric, value FROM pair_values WHERE pair_set = 'guided@2' AND control = '' "
            "AND metric LIKE 'gap/%generated%' ORDER BY metric"
        )
    by_sampling = {json.loads(row["sampling"])["temperature"]: row for row in found}
    assert {t: row["gap"] for t, row in by_sampling.items()} == {1.0: 2.0, 0.2: -2.0}
    assert {t: row["unequal_draws"] for t, row in by_sampling.items()} == {1.0: 1, 0.2: 0}
    assert [(row["metric"].split("/T")[1], row["value"]) for row in metrics] == [
        ("0.2/p1.0/9", -2.0),
        ("1.0/p1.0/9", 2.0),
    ]


def test_a_judge_is_measured_on_imported_gold_pairs_and_can_be_asked_for(
    tmp_path: Path, run: Run, tiny_model: Path
) -> None:
    assert run("import", str(gold(tmp_path)), "gold").exit_code == 0
    found = rows(run("judge-quality", "gold", "--judge", str(tiny_model), "--json"))
    by_metric = {row["metric"]: row for row in found}
    assert by_metric["accuracy"]["n"] == 6
    assert 0 <= float(str(by_metric["accuracy"]["value"])) <= 1
    assert by_metric["unreadable"]["value"] == 0
    for metric in ("accuracy", "ties", "unreadable", "saturation"):
        low, value, high = (float(str(by_metric[metric][name])) for name in ("low", "value", "high"))
        assert low <= value <= high and low < high, "no judge of six pairs is known without doubt"
    shown = run("judge-quality", "gold", "--judge", "M_0", "--pairwise").stdout
    assert MEANING["accuracy"] in shown
    assert "not stored: pairwise accuracy, pairwise ties, pairwise consistency, pairwise first_chosen" in shown
    with Store(tmp_path / "s.duckdb", read_only=True) as opened:
        asked = opened.named("judge_quality")
        models = opened.query("SELECT name FROM model WHERE path <> ''")
    assert [(row["judge"], row["method"]) for row in asked] == [("M_0", "expected"), ("M_0", "pairwise")]
    assert asked[0]["accuracy"] == by_metric["accuracy"]["value"]
    assert (asked[1]["unreadable"], asked[1]["accuracy"]) == (1.0, None)
    assert models == [{"name": "M_0"}], "the recipe's own model is M_0, as a later run will call it"


def test_judges_of_a_run_stand_in_one_table_with_their_iteration(tmp_path: Path, store: Path, run: Run) -> None:
    assert run("import", str(gold(tmp_path)), "gold").exit_code == 0
    for name in ("M_0", "M_1", "M_2"):
        assert run("judge-quality", "gold", "--judge", name).exit_code == 0
    with Store(store, read_only=True) as opened:
        found = opened.named("judge_quality")
        assert opened.named("law") == []
        recounted = opened.query(
            "SELECT m.name, avg((c.score > r.score)::INT) AS accuracy FROM pairs x "
            "JOIN judgment c ON c.response = x.chosen JOIN judgment r ON r.response = x.rejected AND r.judge = c.judge "
            "JOIN model m ON m.id = c.judge "
            "WHERE x.pair_set = 'gold@1' GROUP BY m.name ORDER BY m.name"
        )
    assert [(row["judge"], row["iteration"]) for row in found] == [("M_0", None), ("M_1", 0), ("M_2", 1)]
    assert [(row["accuracy"], row["pairs"], row["answers"]) for row in found] == [
        (row["accuracy"], 6, 12) for row in recounted
    ]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["rescore", "gold", "--judge", "nobody"], 3, "no model 'nobody'"),
        (["rescore", "gold", "--judge", "author"], 3, "known by name alone"),
        (["rescore", "nothing", "--judge", "MODEL"], 3, "no pair set 'nothing'"),
        (["judge-quality", "nothing", "--judge", "MODEL"], 3, "no pair set 'nothing'"),
        (["judge-quality", "gold", "--judge", "MODEL", "--set", "judge.draw=2"], 2, "judge.draws"),
        (["rescore", "gold", "--judge", "MODEL", "--set", "judge.rubric=pairwise"], 3, "no rubric for scores"),
    ],
)
def test_a_wrong_judge_or_set_is_one_clear_error(
    tmp_path: Path, run: Run, scripted_recipe: Build, words: list[str], code: int, told: str
) -> None:
    recipe = scripted_recipe()
    assert run("import", str(gold(tmp_path)), "gold").exit_code == 0
    with Lab(recipe, Store(tmp_path / "s.duckdb"), capture("test", {})) as lab:
        answered(lab, {"a?": ["x"]})
    done = run(*(recipe.model if word == "MODEL" else word for word in words))
    assert done.exit_code == code, done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_models_are_found_by_name_by_id_and_not_by_a_name_that_two_bear(store: Path, scripted_recipe: Build) -> None:
    recipe = scripted_recipe()
    with Lab(recipe, Store(store), capture("test", recipe.resolved())) as lab:
        first = find_model(lab, "M_1")
        assert find_model(lab, first.id) == first
        assert find_model(lab, recipe.model).name == "M_0"
        lab.store.add([Model("M_1", "models/x", "w", "t")], launch="test")
        with pytest.raises(InputError, match="2 models are called 'M_1'"):
            find_model(lab, "M_1")
        assert find_model(lab, first.id) == first


def test_a_judge_that_is_not_the_recipes_model_is_called_by_its_own_name(
    scripted_recipe: Build, tmp_path: Path, tiny_model: Path
) -> None:
    recipe = scripted_recipe(model="smollm2-135m-instruct")
    with Lab(recipe, Store(tmp_path / "s.duckdb"), capture("test", recipe.resolved())) as lab:
        assert find_model(lab, str(tiny_model)).name == "tiny-model"
        assert lab.past is None
