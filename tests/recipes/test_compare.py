"""A comparison: one TOML, several recipes in one store, equal budgets, a report side by side."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer

from toolkit.config import Recipe
from toolkit.errors import RecipeError
from toolkit.provenance import Launch, capture
from toolkit.recipes.compare import compare, run_comparison
from toolkit.recipes.comparison import Comparison, Entry, load_comparison
from toolkit.recipes.comparison_plan import WHOLE, budget, check_equal, planned, priced, shared
from toolkit.reporting.comparison import gaps
from toolkit.reporting.cost.rates import Hardware
from toolkit.store.database import Store
from toolkit.training.supervise import start

Build = Callable[..., Recipe]
ROOT = Path(__file__).parents[2]


def toml(data: dict[str, Any], prefix: str = "") -> str:
    """Plain data as TOML: values first, tables after them."""
    values = [f"{key} = {json.dumps(value)}" for key, value in data.items() if not isinstance(value, dict)]
    tables = [(key, value) for key, value in data.items() if isinstance(value, dict)]
    return "\n".join(values) + "".join(f"\n[{prefix}{key}]\n{toml(value, f'{prefix}{key}.')}" for key, value in tables)


@pytest.fixture
def write(scripted_recipe: Build, tmp_path: Path) -> Callable[..., Path]:
    """A comparison file on the scripted engine with these tables."""
    common = scripted_recipe().model_dump(mode="json", exclude={"name", "iterations"}, exclude_unset=True)

    def build(**tables: object) -> Path:
        path = tmp_path / "compare.toml"
        path.write_text(toml({"common": common, **tables}))
        return path

    return build


FOUR = {
    "temporal": {"iterations": 2},
    "self_rewarding": {"iterations": 4},
    "anchored_only": {"iterations": 4},
    "future_only": {"iterations": 2},
}


def test_four_recipes_in_one_store_have_equal_trainings_and_one_report(
    write: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    distinct = {name: table | {"seed": 2} for name, table in FOUR.items()}  # a seed by which no two make equal pairs
    comparison, foreseen = load_comparison(write(equal="trainings", **distinct)), set[str]()
    store = tmp_path / "s.duckdb"
    plans = {entry.name: planned(entry, store, foreseen) for entry in comparison.entries}
    budgets = {entry.name: budget(entry, plans[entry.name]) for entry in comparison.entries}
    check_equal(comparison, budgets)
    assert {name: found["trainings"] for name, found in budgets.items()} == dict.fromkeys(FOUR, 4)
    report = run_comparison(comparison, store).read_text()
    with Store(store, read_only=True) as opened:
        assert opened.named("law") == []
        launches = [row["id"] for row in opened.query("SELECT id FROM launch ORDER BY started")]
        totals = opened.named("compare_totals", launches=",".join(launches))
    assert [row["recipe"] for row in totals] == list(FOUR)
    assert [row["trainings"] for row in totals] == [4, 4, 4, 4]
    assert [row["answers"] for row in totals] == [found["answers"] for found in budgets.values()]
    for row in totals:
        found = {what: row[f"{what} shared"] for what in ("trainings", "answers", "verdicts")}
        assert found == shared(plans[row["recipe"]]), "as the plan foresaw"
    assert [row["trainings shared"] for row in totals] == [0, 0, 1, 1]
    assert totals[1]["answers shared"] >= 18, "M_0's own answers were temporal's"
    assert totals[2]["answers shared"] >= 36, "M_0's answers of both roles, and as the past of iteration 1"
    for name in FOUR:
        assert name in report and (tmp_path / "reports" / f"{name}.md").exists()
    printed = capsys.readouterr().out
    assert "Side by side" in printed
    for told in (report, printed):
        mark = told.index("Made-up numbers: scripted engine")
        assert mark < told.index("Side by side") < told.index("Recipes against each other")
    assert "Made-up numbers" in (tmp_path / "reports" / "temporal.md").read_text()
    with Store(store, read_only=True) as opened:
        by_judge, tests = gaps_of(opened)
    assert {row["judge"] for row in tests if row["iteration"] == 0} == {"M_0/expected"}, "who judges both"
    assert {(row["first"], row["second"]) for row in tests if row["iteration"] == 0} <= set(
        combinations(sorted(FOUR), 2)
    )
    assert tests and all(row["p (Holm)"] >= 0 and row["prompts"] >= 1 for row in tests)
    assert {row["recipe"] for row in by_judge} == set(FOUR)
    assert f"{len(tests)} paired tests, p corrected" in report


def gaps_of(store: Store) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    rows = store.query("SELECT id FROM launch ORDER BY started")
    return gaps(store, [SimpleNamespace(id=row["id"]) for row in rows])  # type: ignore[misc]


def test_a_second_comparison_makes_nothing(write: Callable[..., Path], tmp_path: Path) -> None:
    comparison = load_comparison(write(temporal={"iterations": 1}, self_rewarding={"iterations": 1}))
    for _ in range(2):
        run_comparison(comparison, tmp_path / "s.duckdb")
    steps = [step for entry in comparison.entries for step in planned(entry, tmp_path / "s.duckdb")]
    assert all(step.cached == step.total for step in steps)


def test_a_comparison_in_json_is_a_line_a_step_and_a_line_a_recipe(
    write: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, store = write(temporal={"iterations": 1}, self_rewarding={"iterations": 1}), tmp_path / "s.duckdb"
    with pytest.raises(typer.Exit) as ended:
        compare(config=path, store=store, as_json=True)
    assert ended.value.exit_code == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    steps, told = [row for row in rows if "run" in row], [row for row in rows if "comparison" in row]
    assert rows == [*steps, *told], "every line is one of them, the recipes last"
    entries = load_comparison(path).entries
    asked = {entry.name: [(step.stage, step.total) for step in planned(entry, store)] for entry in entries}
    ran = [row for row in steps if row["stage"] != "gate"]  # which no plan foresees
    assert {name: [(row["stage"], row["total"]) for row in ran if row["run"] == name] for name in asked} == asked
    assert [(row["recipe"], row["trainings"], row["answers shared"]) for row in told] == [
        ("temporal", 2, 0), ("self_rewarding", 1, 18),
    ]  # fmt: skip
    assert (tmp_path / "reports" / "compare.md").stat().st_size > 1000


def test_a_reader_that_comes_between_two_recipes_ends_no_comparison(
    scripted_recipe: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that asks for the state every few seconds would hold the store for reading just when the next begins."""
    path, readers = tmp_path / "s.duckdb", list[subprocess.Popen[bytes]]()
    hold = f"held = duckdb.connect({str(path)!r}, read_only=True); print(1, flush=True); time.sleep(60)"

    def looked_at(name: str, recipe: dict[str, Any]) -> Launch:
        reader = subprocess.Popen([sys.executable, "-c", f"import duckdb, time; {hold}"], stdout=subprocess.PIPE)
        readers.append(reader)
        assert reader.stdout
        reader.stdout.readline()  # it is in, or was refused
        return capture(name, recipe)

    monkeypatch.setattr("toolkit.recipes.compare.capture", looked_at)
    entries = [Entry(name, start, scripted_recipe(name=name)) for name in ("one", "two")]
    try:
        run_comparison(Comparison("both", (), tuple(entries)), path)
    finally:
        for reader in readers:
            reader.kill()
            reader.communicate()
    assert len(readers) == 2


def test_one_recipe_under_two_names_differs_only_by_its_table(write: Callable[..., Path], tmp_path: Path) -> None:
    short = {"recipe": "temporal", "iterations": 1, "pairs": {"length_control": 0.2}}
    comparison = load_comparison(write(temporal={"iterations": 1}, short=short))
    assert [entry.name for entry in comparison.entries] == ["temporal", "short"]
    assert comparison.entries[1].recipe.pairs.length_control == 0.2
    assert comparison.entries[1].recipe.answers == comparison.entries[0].recipe.answers
    run_comparison(comparison, tmp_path / "s.duckdb")
    with Store(tmp_path / "s.duckdb", read_only=True) as store:
        assert store.named("law") == []


def test_the_chosen_side_by_sft_and_the_rules_of_the_rejected_side_are_arms_beside_temporal(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    sft = {"batch_size": 4, "small_sets": "shrink", "max_length": 2048, "epochs": 1}
    arms: dict[str, dict[str, Any]] = {
        "temporal": {"iterations": 1},
        "chosen_sft": {"recipe": "rejection_sampling_sft", "iterations": 2, "sft": sft},
        "sweet_spot": {"recipe": "temporal", "iterations": 1, "pairs": {"rejected": "mean_minus_2sd"}},
        "random_rejected": {"recipe": "temporal", "iterations": 1, "pairs": {"rejected": "random"}},
    }
    comparison, store = load_comparison(write(equal="trainings", **arms)), tmp_path / "s.duckdb"
    budgets = {entry.name: budget(entry, planned(entry, store)) for entry in comparison.entries}
    check_equal(comparison, budgets)
    assert {name: counts["trainings"] for name, counts in budgets.items()} == dict.fromkeys(arms, 2)
    report = run_comparison(comparison, store).read_text()
    assert all(name in report for name in arms)
    with Store(store, read_only=True) as opened:
        launches = [row["id"] for row in opened.query("SELECT id FROM launch ORDER BY started")]
        totals = opened.named("compare_totals", launches=",".join(launches))
        kinds = opened.query(
            "SELECT count(*) FILTER (pair_set IS NOT NULL) AS dpo, "
            "count(*) FILTER (demonstration_set IS NOT NULL) AS sft FROM training WHERE launch = ?",
            [launches[1]],
        )
        law = opened.named("law")
    assert [(row["recipe"], row["trainings"]) for row in totals] == [(name, 2) for name in arms]
    assert totals[1]["answers shared"] >= 18, "M_0's own answers were temporal's"
    assert kinds == [{"dpo": 0, "sft": 2}]
    assert law and all(row["violation"].startswith("not checked: ") for row in law)


def test_unequal_budgets_are_refused_with_their_counts_before_anything_runs(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    for equal, told in (("trainings", "temporal 4, self_rewarding 2"), ("answers", "temporal 108, self_rewarding 36")):
        comparison = load_comparison(write(equal=equal, temporal={}, self_rewarding={}))
        budgets = {entry.name: budget(entry, planned(entry, tmp_path / "s.duckdb")) for entry in comparison.entries}
        with pytest.raises(RecipeError, match=told):
            check_equal(comparison, budgets)
    assert not (tmp_path / "s.duckdb").exists()


def test_equal_answers_and_equal_prompts_are_a_matter_of_settings(write: Callable[..., Path], tmp_path: Path) -> None:
    temporal = {"iterations": 2}
    variants = {
        "answers": {"iterations": 4, "prompts": {"part_size": 6}, "answers": {"k": 4}},
        "prompts": {"iterations": 4, "prompts": {"part_size": 3}},
    }
    for equal, own in variants.items():
        size = {"prompts": {"part_size": 6}, "answers": {"k": 3 if equal == "prompts" else 4}}
        if equal == "answers":
            own = {**own, "answers": {"k": 6}}
        comparison = load_comparison(write(equal=equal, temporal={**temporal, **size}, self_rewarding=own))
        check_equal(comparison, {e.name: budget(e, planned(e, tmp_path / "s.duckdb")) for e in comparison.entries})


@pytest.mark.parametrize(
    ("tables", "problem"),
    [
        ({"temporall": {}}, "'temporall' is not a recipe"),
        ({"equal": "luck", "temporal": {}}, "equal = 'luck'"),
        ({}, "no recipe to compare"),
        ({"temporal": {"answers": {"kk": 3}}}, "unknown key 'answers.kk'"),
    ],
)
def test_a_comparison_that_cannot_be_meant_is_refused(
    write: Callable[..., Path], tables: dict[str, Any], problem: str
) -> None:
    with pytest.raises(RecipeError, match=problem):
        load_comparison(write(**tables))


@pytest.mark.parametrize(
    ("recipe", "own", "times"),
    [
        ("temporal", {}, (1, 1, 1)),
        (
            "temporal",
            {"pairs": {"ties": "shortest"}},
            (1 + 3 / 6, 1 + 4 / 6, 2),
        ),  # other pairs: M_0's part is shared
        ("temporal", {"answers": {"temperature": 0.5}}, (2, 2, 2)),
        ("rejection_sampling_sft", {"pairs": {"ties": "shortest"}}, (1 + 1 / 2, 1 + 1 / 2, 2)),
    ],
)
def test_what_two_recipes_share_costs_once_in_the_whole(
    write: Callable[..., Path], tmp_path: Path, recipe: str, own: dict[str, Any], times: tuple[float, ...]
) -> None:
    comparison, foreseen = load_comparison(write(**{recipe: {}, "other": {"recipe": recipe, **own}})), set[str]()
    plans = {entry.name: planned(entry, tmp_path / "none", foreseen) for entry in comparison.entries}
    found = priced(comparison, plans, Hardware(1, "H100"), tmp_path / "none")
    for one, all_, count in zip(found[recipe], found[WHOLE], times, strict=True):
        assert all_.stage == one.stage
        assert all_.device_hours == pytest.approx(count * one.device_hours, rel=1e-6, abs=0)
        for name in ("requests", "read", "written", "disk"):
            assert getattr(all_, name) == pytest.approx(count * getattr(one, name), abs=1), name


def test_a_plan_on_some_hardware_prices_each_recipe_and_the_whole_and_makes_nothing(
    write: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, store = write(temporal={"iterations": 1}, self_rewarding={"iterations": 1}), tmp_path / "runs" / "s.duckdb"
    common = {"config": path, "store": store, "plan": True, "hardware": "8xH100"}
    for more, code in (({}, 0), ({"as_json": True}, 0), ({"plan": False}, 2), ({"hardware": "8xTPU"}, 2)):
        with pytest.raises(typer.Exit) as ended:
            compare(**{**common, **more})
        assert ended.value.exit_code == code
    tables, _, lines = capsys.readouterr().out.partition('{"run"')
    assert tables.count("Cost on 8xH100") == 3
    assert "of it the recipes above make: 0 trainings, 18 answers, 18 verdicts" in tables
    rows = [json.loads(row) for row in ('{"run"' + lines).splitlines()]
    kept = [row for row in rows if row.get("stage") == "generate" and "hardware" in row]
    assert [(row.get("run"), row.get("comparison"), row["requests"]) for row in kept] == [
        ("temporal", None, 54), ("self_rewarding", None, 18), (None, "compare", 54),
    ]  # fmt: skip
    assert not store.parent.exists()


def test_the_shipped_comparison_is_equal_in_trainings(tmp_path: Path) -> None:
    comparison = load_comparison(ROOT / "recipes" / "compare.toml")
    budgets = {entry.name: budget(entry, planned(entry, tmp_path / "s.duckdb")) for entry in comparison.entries}
    check_equal(comparison, budgets)
    assert {found["trainings"] for found in budgets.values()} == {4}
