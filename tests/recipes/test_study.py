"""A study: arms, seeds and conditions from one TOML; a seed finishes on its own, and a killed study goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.recipes.test_compare import toml
from toolkit.config import Recipe
from toolkit.errors import InputError, RecipeError
from toolkit.lab import Step
from toolkit.recipes.compare import compare, main
from toolkit.recipes.comparison import load_comparison, parse_seeds
from toolkit.recipes.comparison_plan import budget, check_equal, plan_all, planned
from toolkit.store.database import Store
from toolkit.study.summary import read_summaries

Build = Callable[..., Recipe]
Write = Callable[..., Path]
ROOT = Path(__file__).parents[2]
ARMS = {
    "temporal": {"iterations": 1},
    "plain": {"recipe": "self_rewarding", "iterations": 2},
    "plain_2k": {"recipe": "self_rewarding", "iterations": 2, "answers": {"k": 6}},
}
STUDY = {"treatment": "temporal", "control": "plain_2k", "equal": ["trainings", "candidates"], "endpoints": ["quality"]}


@pytest.fixture
def write(scripted_recipe: Build, tmp_path: Path) -> Write:
    """A study file on the scripted engine: two seeds, three arms; keywords replace top-level keys, None removes one."""
    probe = {"prompts": 5, "answers": 3, "judged": 3}
    recipe = scripted_recipe(probe=probe, prompts={"part_size": 4}, judge={"audit": {"reward": "toolkit:noise"}})
    common = recipe.model_dump(mode="json", exclude={"name", "iterations"}, exclude_unset=True)

    def build(**keys: object) -> Path:
        data = {"name": "small", "seeds": 2, "equal": "trainings", "study": STUDY, "common": common, **ARMS, **keys}
        path = tmp_path / "small.toml"
        path.write_text(toml({key: value for key, value in data.items() if value is not None}))
        return path

    return build


def run(path: Path, store: Path, **options: Any) -> int:
    with pytest.raises(typer.Exit) as ended:
        main(config=path, store=store, **options)
    return ended.value.exit_code


def launches(store: Path) -> list[str]:
    with Store(store, read_only=True) as opened:
        return [row["run"] for row in opened.query("SELECT run FROM launch ORDER BY position")]


def made(store: Path) -> list[dict[str, Any]]:
    """What steps made, of any stage."""
    sql = "SELECT stage, label, total - cached AS n FROM step WHERE cached < total AND stage <> 'pair' ORDER BY ALL"
    with Store(store, read_only=True) as opened:
        return opened.query(sql)


def test_two_seeds_run_end_in_a_report_and_are_not_begun_again(write: Write, tmp_path: Path) -> None:
    path, store = write(), tmp_path / "s.duckdb"
    assert run(path, store) == 0
    names = [f"{arm}-s{seed}" for seed in (1, 2) for arm in ARMS]
    assert launches(store) == names, "seed by seed"
    folder = tmp_path / "studies" / "small"
    summaries = read_summaries([folder])
    assert [summary.seed for summary in summaries] == [1, 2]
    for summary in summaries:
        trainings = {arm: {v.trainings for v in summary.values if v.arm == arm} for arm in ARMS}
        assert trainings == {"temporal": {0, 2}, "plain": {0, 1, 2}, "plain_2k": {0, 1, 2}}
        assert {value.metric for value in summary.values} == {
            "score", "spread", "tokens", "judge_accuracy", "yield", "audit_gap",
        }  # fmt: skip
        assert all(1 <= row["trainings"] <= 2 for row in summary.cost), "an equal set of two phases is trained on once"
    one, two = ({(v.arm, v.trainings, v.metric): v.value for v in summary.values} for summary in summaries)
    assert one != two, "another seed is another run"
    m_0 = {one[arm, 0, "score"] for arm in ARMS}
    assert len(m_0) == 1, "the arms of a seed share M_0's answers"
    before = [(path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(folder.iterdir())]
    assert run(path, store) == 0
    assert launches(store) == names, "nothing was begun"
    assert before == [(path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(folder.iterdir())]
    reports = {path.name for path in (tmp_path / "reports").iterdir()}
    assert {"small.html", "small.md", "small.json", "small-values.csv"} <= reports


def test_a_seed_without_its_summary_goes_on_and_makes_nothing_twice(write: Write, tmp_path: Path) -> None:
    path, store = write(), tmp_path / "s.duckdb"
    run(path, store)
    summary = tmp_path / "studies" / "small" / "seed-2.json"
    values, before = json.loads(summary.read_text())["values"], made(store)
    summary.unlink()
    run(path, store)
    assert made(store) == before and json.loads(summary.read_text())["values"] == values
    assert launches(store)[6:] == [f"{arm}-s2" for arm in ARMS]


def test_a_seed_that_fails_leaves_no_summary_and_the_others_stand(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    comparison, store = load_comparison(write()), tmp_path / "s.duckdb"
    broken = comparison.entries[4]

    def fail(lab: Any, recipe: Recipe) -> Any:
        raise InputError("broken arm", remedy="none")

    object.__setattr__(broken, "function", fail)
    with pytest.raises(InputError, match="broken arm"):
        compare(comparison, store)
    assert [path.name for path in (tmp_path / "studies" / "small").glob("seed*")] == ["seed-1.json"]


def test_seeds_of_two_machines_make_one_study(write: Write, tmp_path: Path) -> None:
    path = write()
    folders = []
    for seed in ("1", "2"):
        folder = tmp_path / f"machine{seed}"
        folder.mkdir()
        assert run(path, folder / "s.duckdb", seeds=seed) == 0
        folders.append(folder)
    together = tmp_path / "together"
    together.mkdir()
    assert run(path, together / "s.duckdb") == 0
    apart = read_summaries([folder / "studies" / "small" for folder in folders])
    assert [s.values for s in apart] == [s.values for s in read_summaries([together / "studies" / "small"])]
    assert all(summary.declaration.seeds == (1, 2) for summary in apart)


def test_conditions_run_every_arm_and_share_the_first_model(write: Write, tmp_path: Path) -> None:
    noise = {"judge": {"method": "reward", "reward": "toolkit:noise", "audit": {"reward": ""}}}
    study = {**STUDY, "negative": "noise", "claim": ["self"]}
    path = write(seeds=[7], conditions={"self": {}, "noise": noise}, study=study)
    assert run(path, tmp_path / "s.duckdb") == 0
    assert launches(tmp_path / "s.duckdb") == [f"{c}-{arm}-s7" for c in ("self", "noise") for arm in ARMS]
    summaries = read_summaries([tmp_path / "studies" / "small"])
    assert [(summary.condition, summary.seed) for summary in summaries] == [("noise", 7), ("self", 7)]
    m_0 = {v.value for s in summaries for v in s.values if v.trainings == 0 and v.metric == "score"}
    assert len(m_0) == 1
    accuracy = {s.condition: {v.metric for v in s.values} & {"judge_accuracy"} for s in summaries}
    assert accuracy == {"self": {"judge_accuracy"}, "noise": set()}, "noise is the fixed judge here"


def test_a_declaration_that_changed_is_reported_before_the_study_goes_on(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(write(), tmp_path / "s.duckdb", seeds="1")
    assert "declared differently" not in capsys.readouterr().err
    run(write(study={**STUDY, "endpoints": ["quality", "signal"]}), tmp_path / "s.duckdb")
    assert "declared differently at launch" in (told := capsys.readouterr().err)
    assert "endpoints was ['quality'], is ['quality', 'signal']" in told
    with Store(tmp_path / "s.duckdb", read_only=True) as store:
        rows = store.query("SELECT DISTINCT seed, digest FROM study_run ORDER BY seed")
    assert len({row["digest"] for row in rows}) == 2, "each launch keeps what was declared before it"


def test_another_recipe_of_an_arm_is_not_taken_for_the_finished_one(write: Write, tmp_path: Path) -> None:
    run(write(seeds=1), tmp_path / "s.duckdb")
    first = read_summaries([tmp_path / "studies" / "small"])[0]
    run(write(seeds=1, temporal={"iterations": 1, "pairs": {"ties": "longest"}}), tmp_path / "s.duckdb")
    second = read_summaries([tmp_path / "studies" / "small"])[0]
    assert first.recipes["temporal"]["pairs"] != second.recipes["temporal"]["pairs"]


def test_a_plan_shows_arms_seeds_and_power_and_writes_nothing(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "runs" / "s.duckdb"
    assert run(write(), store, plan=True, hardware="2xcpu") == 0
    shown = capsys.readouterr().out
    assert "small: arms over 2 seeds" in shown and "plain_2k" in shown and "hours" in shown
    assert "2 seeds cannot reach p < 0.05" in shown and "6 seeds" in shown
    assert not store.parent.exists()


def test_the_shipped_study_is_equal_in_trainings_and_its_test_in_candidates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    comparison = load_comparison(ROOT / "recipes" / "study.toml", seeds=[1])
    budgets = {entry.name: budget(entry, planned(entry, tmp_path / "s.duckdb")) for entry in comparison.entries}
    check_equal(comparison, budgets)
    assert {row["trainings"] for row in budgets.values()} == {4}
    candidates = {entry.arm: budgets[entry.name]["candidates"] for entry in comparison.entries}
    assert candidates == {"temporal": "8/8", "self_rewarding": "4/4", "self_rewarding_2k": "8/8"}
    for entry in comparison.entries:
        assert entry.condition in ("constraints", "noise", "self")
        assert (entry.recipe.seed, entry.recipe.prompts.seed, entry.recipe.training.seed) == (1, 1, 43)
    assert comparison.declaration and len(comparison.declaration.seeds) == 8


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"seeds": 0}, "seeds = 0"),
        ({"seeds": [1, 1]}, r"seeds = \[1, 1\]"),
        ({"seeds": [1, -2]}, "seeds ="),
        ({"seeds": True}, "seeds = True"),
        ({"seeds": None}, "without seeds"),
        ({"study": {**STUDY, "treatment": "temporl"}}, "treatment = 'temporl'"),
        ({"study": {**STUDY, "control": "temporal"}}, "treatment = 'temporal' and control = 'temporal'"),
        ({"study": {**STUDY, "endpoints": ["luck"]}}, "endpoints has 'luck'"),
        ({"study": {**STUDY, "endpoint": ["quality"]}}, "unknown key 'endpoint'"),
        ({"study": {**STUDY, "claim": ["self"]}}, "claim has 'self'"),
        ({"study": {**STUDY, "equal": "luck"}}, "equal = 'luck'"),
        ({"plain": {"recipe": "self_rewarding", "iterations": 2, "seed": 3}}, "seed is set"),
        ({"plain": {"recipe": "self_rewarding", "iterations": 2, "training": {"seed": 3}}}, "training.seed is set"),
        ({"study": 3}, "study = 3"),
        ({"conditions": {"_": 3}}, "conditions._ = 3"),
        ({"conditions": {"-a": {}}}, "cannot be the name of a condition"),
    ],
)
def test_a_study_that_cannot_be_meant_is_refused(write: Write, keys: dict[str, Any], problem: str) -> None:
    with pytest.raises(RecipeError, match=problem):
        load_comparison(write(**keys))


def test_arms_that_are_not_equal_as_declared_are_refused_by_what_they_have(write: Write, tmp_path: Path) -> None:
    narrow = {"plain_2k": {"recipe": "self_rewarding", "iterations": 2}}
    comparison = load_comparison(write(**narrow))
    budgets = {entry.name: budget(entry, planned(entry, tmp_path / "s.duckdb")) for entry in comparison.entries}
    with pytest.raises(
        RecipeError, match="treatment and control are not equal in candidates: temporal 6/6, plain_2k 3/3"
    ):
        check_equal(comparison, budgets)


def test_a_seed_or_condition_that_was_not_declared_is_refused(write: Write) -> None:
    with pytest.raises(RecipeError, match="seeds 3 is not declared"):
        load_comparison(write(), seeds=[3])
    with pytest.raises(RecipeError, match="condition 'noise' is not declared"):
        load_comparison(write(), conditions=["noise"])


def test_seeds_on_the_command_line() -> None:
    assert parse_seeds("") == () and parse_seeds("3") == (3,) and parse_seeds("1-3,7") == (1, 2, 3, 7)
    for text in ("a", "3-1", "1-", "-1", "1-99999"):
        with pytest.raises(RecipeError, match="--seeds"):
            parse_seeds(text)


def test_a_plan_copies_seeds_that_nothing_is_stored_for_and_counts_the_others_as_they_are(
    write: Write, tmp_path: Path
) -> None:
    path, store = write(seeds=3), tmp_path / "s.duckdb"

    def left_over(plans: dict[str, list[Step]]) -> dict[str, int]:
        return {name: sum(step.total - step.cached for step in steps) for name, steps in plans.items()}

    empty = left_over(plan_all(load_comparison(path), store))
    ids = set[str]()
    exact = {entry.name: planned(entry, store, ids) for entry in load_comparison(path).entries}
    assert empty == left_over(exact)
    run(path, store, seeds="2")
    after = left_over(plan_all(load_comparison(path), store))
    assert {name: count for name, count in after.items() if name.endswith("s2")} == {f"{arm}-s2": 0 for arm in ARMS}
    assert all(after[name] == empty[name] for name in empty if not name.endswith("s2"))
    (tmp_path / "studies" / "small" / "seed-2.json").unlink()
    unfinished = left_over(plan_all(load_comparison(path), store))
    assert unfinished == after, "planned from the store"
