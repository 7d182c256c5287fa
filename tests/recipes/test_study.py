"""A study: arms, seeds and conditions from one TOML; a seed finishes on its own, and a killed study goes on."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.recipes.test_compare import toml
from toolkit.config import Recipe
from toolkit.errors import InputError, RecipeError
from toolkit.lab import Step
from toolkit.recipes import compare as compare_module
from toolkit.recipes.compare import compare, run_comparison
from toolkit.recipes.comparison import load_comparison, parse_seeds
from toolkit.recipes.comparison_plan import budget, check_equal, plan_all, planned
from toolkit.store.database import Store
from toolkit.study.runs import science
from toolkit.study.summary import read_summaries

Build = Callable[..., Recipe]
Write = Callable[..., Path]
ROOT = Path(__file__).parents[2]
NOISE = {"method": "reward", "reward": "toolkit:noise", "audit": {"reward": ""}}
ARMS = {
    "temporal": {"iterations": 1},
    "plain": {"recipe": "self_rewarding", "iterations": 2},
    "plain_2k": {"recipe": "self_rewarding", "iterations": 2, "answers": {"k": 6}},
}
STUDY = {"treatment": "temporal", "control": "plain_2k", "equal": ["trainings", "candidates"], "endpoints": ["quality"]}
RULED = {**STUDY, "claim": ["a"], "negative": "n"}


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
        compare(config=path, store=store, **options)
    return ended.value.exit_code


def launches(store: Path) -> list[str]:
    with Store(store, read_only=True) as opened:
        return [row["run"] for row in opened.query("SELECT run FROM launch ORDER BY position")]


def completed_steps(store: Path) -> list[dict[str, Any]]:
    """The steps of all launches that did something, with how much."""
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
    values, before = json.loads(summary.read_text())["values"], completed_steps(store)
    summary.unlink()
    run(path, store)
    assert completed_steps(store) == before and json.loads(summary.read_text())["values"] == values
    assert launches(store)[6:] == [f"{arm}-s2" for arm in ARMS]


def test_a_seed_that_fails_leaves_no_summary_and_the_others_stand(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    comparison, store = load_comparison(write(seeds=3)), tmp_path / "s.duckdb"
    broken = comparison.entries[4]

    def fail(lab: Any, recipe: Recipe) -> Any:
        raise InputError("broken arm", remedy="none")

    object.__setattr__(broken, "function", fail)
    with pytest.raises(InputError, match="broken arm"):
        run_comparison(comparison, store)
    written = sorted(path.name for path in (tmp_path / "studies" / "small").glob("seed*"))
    assert written == ["seed-1.json", "seed-3.json"]
    assert "seed 2 failed: broken arm" in capsys.readouterr().err
    assert "no summary" in (tmp_path / "reports" / "small.md").read_text()


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
    study = {**STUDY, "negative": "past", "claim": ["self"]}
    path = write(seeds=[7], conditions={"self": {}, "past": {"judge": {"by": "past"}}}, study=study)
    assert run(path, tmp_path / "s.duckdb") == 0
    assert launches(tmp_path / "s.duckdb") == [f"{c}-{arm}-s7" for c in ("self", "past") for arm in ARMS]
    summaries = read_summaries([tmp_path / "studies" / "small"])
    assert [(summary.condition, summary.seed) for summary in summaries] == [("past", 7), ("self", 7)]
    m_0 = {v.value for s in summaries for v in s.values if v.trainings == 0 and v.metric == "score"}
    assert len(m_0) == 1


def test_a_declaration_that_changed_is_reported_before_the_study_goes_on(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(write(), tmp_path / "s.duckdb", seeds="1")
    assert "declared differently" not in capsys.readouterr().err
    run(write(study={**STUDY, "endpoints": ["quality", "signal"]}), tmp_path / "s.duckdb")
    assert "declared differently at launch" in (printed := capsys.readouterr().err)
    assert "endpoints was ['quality'], is ['quality', 'signal']" in printed
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
    printed = capsys.readouterr().out
    assert "small: arms over 2 seeds" in printed and "plain_2k" in printed and "hours" in printed
    assert "2 seeds cannot reach p < 0.05" in printed and "6 seeds" in printed
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
        ({"study": {"equal": ["trainings"]}}, "equal without treatment"),
        ({"study": {**STUDY, "endpoints": [], "claim": ["a"]}, "conditions": {"a": {}}}, "claim without endpoints"),
        ({"study": {**STUDY, "claim": ["a"], "negative": "a"}, "conditions": {"a": {}}}, "is the negative control"),
        ({"conditions": {"a": {"answers": {"k": 2}}}}, r"answers\.k is set in \[conditions\.a\] and in \[plain_2k\]"),
        ({"conditions": {"a": {}, "a-b": {}}, "b-c": {"recipe": "spin"}, "c": {"recipe": "spin"}}, "'a-b-c-s1'"),
        ({"commom": {}}, "'commom' is not a recipe"),
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
    with pytest.raises(RecipeError, match="seed 3: not declared"):
        load_comparison(write(), seeds=[3])
    with pytest.raises(RecipeError, match="condition 'noise': not declared"):
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
    for seed in ("1", "2"):  # the first seed finished, then one in the middle
        run(path, store, seeds=seed)
        after = left_over(plan_all(load_comparison(path), store))
        assert {name: n for name, n in after.items() if name.endswith(f"s{seed}")} == {f"{a}-s{seed}": 0 for a in ARMS}
        assert all(after[name] == empty[name] for name in empty if name.endswith("s3"))
    assert run(path, store, plan=True, hardware="2xcpu") == 0, "finished seeds are priced too"
    (tmp_path / "studies" / "small" / "seed-2.json").unlink()
    unfinished = left_over(plan_all(load_comparison(path), store))
    assert unfinished == after, "planned from the store"
    alone = left_over(plan_all(load_comparison(path), tmp_path / "none.duckdb"))
    assert {name: n == 0 for name, n in alone.items()} == {name: name.endswith("s1") for name in alone}


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        (
            {"plain_2k": {**ARMS["plain_2k"], "probe": {"answers": 6}}},
            r"probe\.answers is 3 for temporal and 6 for plain_2k",
        ),
        ({"plain": {**ARMS["plain"], "answers": {"temperature": 0.5}}}, r"answers\.temperature is 1\.0 for temporal"),
        ({"plain": {**ARMS["plain"], "judge": {"audit": {"reward": "toolkit:constraints"}}}}, r"judge\.audit is"),
        ({"common.probe": {"prompts": 0, "judged": 0}}, r"and probe\.prompts is 0"),
        ({"common.probe": {"judged": 0}, "study": {**STUDY, "endpoints": ["coherence"]}}, r"probe\.judged is 0"),
        ({"common.probe": {"answers": 1}, "study": {**STUDY, "endpoints": ["signal"]}}, "a spread needs two answers"),
        (
            {"conditions": {"a": {"judge": NOISE}}, "study": {**STUDY, "endpoints": ["cosine"]}},
            "the own judge is the fixed judge",
        ),
        (
            {"conditions": {"a": {}, "n": {"judge": NOISE}}, "study": RULED},
            "the judge that selects also measures quality",
        ),
        (
            {"conditions": {"a": {}, "n": {"judge": {"audit": {"reward": "toolkit:constraints"}}}}, "study": RULED},
            "the fixed judge under a is not the one under n",
        ),
    ],
)
def test_what_could_not_be_compared_or_measured_is_refused_before_the_first_token(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str], keys: dict[str, Any], problem: str
) -> None:
    path = write(**{key: value for key, value in keys.items() if not key.startswith("common.")})
    changes = [
        f"{section}.{key}={value}"
        for section, fields in keys.items()
        if section.startswith("common.")
        for key, value in fields.items()
    ]
    assert run(path, tmp_path / "s.duckdb", set_=changes) == 2
    assert re.search(problem, capsys.readouterr().err)
    assert not (tmp_path / "s.duckdb").exists()


def test_a_summary_of_another_training_is_not_taken_for_this_one(write: Write, tmp_path: Path) -> None:
    (entry,) = load_comparison(write(), seeds=[1]).entries[:1]
    recipe = entry.recipe.resolved()
    same = [{"engine": {"max_num_seqs": 7}}, {"trainer": {"zero_stage": 1}}, {"prompts": {"seed": 9}}, {"seed": 9}]
    other = [
        {"trainer": {"dtype": "bfloat16"}}, {"trainer": {"options": {"simpo": True}}}, {"trainer": {"python": ""}},
        {"engine": {"kind": "vllm"}}, {"engine": {"dtype": "float16"}}, {"training": {"beta": 0.2}},
    ]  # fmt: skip
    for changes, alike in ((same, True), (other, False)):
        for change in changes:
            changed = {k: {**recipe[k], **v} if isinstance(v, dict) else v for k, v in {**recipe, **change}.items()}
            assert (science(changed) == science(recipe)) is alike, change


def test_cost_and_launches_are_of_this_study_and_this_recipe(write: Write, tmp_path: Path) -> None:
    store = tmp_path / "s.duckdb"
    run(write(seeds=1, temporal={"iterations": 1, "pairs": {"ties": "longest"}}), store)
    run(write(seeds=1), store)
    summary = read_summaries([tmp_path / "studies" / "small"])[0]
    with Store(store, read_only=True) as opened:
        ids = [row["id"] for row in opened.query("SELECT id FROM launch WHERE run = 'temporal-s1' ORDER BY position")]
    assert summary.launches["temporal"] == ids[1:]
    assert len(ids) == 2


def test_commit_and_versions_are_of_the_launches_that_made_something(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, store, capture = write(seeds=1), tmp_path / "s.duckdb", compare_module.capture

    def at(commit: str) -> None:
        monkeypatch.setattr(compare_module, "capture", lambda *a: replace(capture(*a), commit_hash=commit))
        run(path, store)

    at("old")
    (tmp_path / "studies" / "small" / "seed-1.json").unlink()
    at("new")
    assert read_summaries([tmp_path / "studies" / "small"])[0].commit == "old"


def test_a_secret_in_an_option_is_refused(write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secret = "hf_" + "aB3" * 12
    changes = [f'common.engine.options={{"hf_token" = "{secret}"}}']
    assert run(write(), tmp_path / "s.duckdb", set_=changes, trust=True) == 2
    assert secret not in capsys.readouterr().err
