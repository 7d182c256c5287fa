"""The cost of a plan: what was measured is taken over and said so, what was not is arithmetic and said so."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.documents import ROOT, blocks, called, read
from toolkit.config import Recipe
from toolkit.errors import InputError, RecipeError
from toolkit.lab import Lab
from toolkit.precision import resolve_dtype
from toolkit.provenance import capture
from toolkit.recipes.temporal import temporal
from toolkit.reporting.cost.cost import Cost, cost_text, costs
from toolkit.reporting.cost.rates import Hardware, hardware, measured, saved, table
from toolkit.store.database import Store

Build = Callable[..., Recipe]


@pytest.fixture
def build(scripted_recipe: Build) -> Build:
    """The scripted recipe, one iteration, with trainings of two steps: between them lies what one takes."""
    own = {"iterations": 1, "training": {"epochs": 2}, "trainer": {"dtype": "auto"}}
    return lambda **sections: scripted_recipe(**own | sections)


@pytest.fixture
def path(build: Build, tmp_path: Path) -> Path:
    """The store of a finished run."""
    recipe = build(engine={"options": {"delay": 0.002}})
    with Lab(recipe, Store(tmp_path / "s.duckdb"), capture("first", recipe.resolved())) as lab:
        temporal(lab, recipe)
    return tmp_path / "s.duckdb"


def planned(recipe: Recipe, path: Path | None, machine: Hardware) -> dict[str, Cost]:
    with Lab(recipe, Store(path, read_only=path is not None), capture("plan", {}), planning=True) as lab:
        temporal(lab, recipe)
        return {cost.stage: cost for cost in costs(recipe, lab.steps, machine, measured(lab.store))}


def here(path: Path) -> Hardware:
    with Store(path, read_only=True) as store:
        return measured(store)[0].hardware


def test_a_plan_foresees_the_tokens_that_its_run_reads_and_takes_the_rates_of_the_run_before(
    build: Build, path: Path
) -> None:
    recipe, machine = build(seed=1), here(path)
    found = planned(recipe, path, machine)
    with Store(path, read_only=True) as store:
        own = [row for row in measured(store) if row.source == "this store"]
        before = {f"{row.stage} {row.method}".strip(): row for row in own}
    with Lab(recipe, Store(path), launch := capture("second", recipe.resolved())) as lab:
        temporal(lab, recipe)
        told = "SELECT sum((stats->>'prompt_tokens')::INT) AS n FROM step WHERE stage = 'generate' AND launch = ?"
        read = lab.store.query(told, [launch.id])[0]["n"]
    assert found["generate"].read == read
    assert {stage: cost.rate for stage, cost in found.items()} == dict.fromkeys(
        ("generate", "judge expected", "train DPO"), "measured"
    )
    assert all("this store" in cost.source and "guessed" not in cost.source for cost in found.values())
    for stage in ("generate", "judge expected"):
        spent = before[stage].seconds + before[stage].start_seconds
        assert found[stage].seconds == pytest.approx(spent, abs=0.06), "as much work takes as long"


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_a_rate_counts_for_the_dtype_it_was_measured_in_and_the_table_has_rows_of_both(
    build: Build, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toolkit.reporting.cost.cost.kind", lambda dtype: dtype)  # a CPU that computes both fast
    named = {"engine": {"kind": "vllm", "dtype": dtype}, "trainer": {"dtype": dtype}}
    recipe = build(model="smollm2-135m-instruct", answers={"max_tokens": 64}, judge={"max_tokens": 1024}, **named)
    found = planned(recipe, None, Hardware(2, "cpu"))
    assert {cost.rate for cost in found.values()} == {"measured"}
    assert all(f"in {dtype} on 2xcpu" in cost.source for cost in found.values())
    bytes_of = {"bfloat16": 2, "float32": 4}
    assert found["train DPO"].disk == 2 * bytes_of[dtype] * saved("smollm2-135m-instruct")
    known = {**table(), "measured": [row for row in table()["measured"] if row["dtype"] != dtype]}
    monkeypatch.setattr("toolkit.reporting.cost.rates.table", lambda: known)
    assert {cost.rate for cost in planned(recipe, None, Hardware(2, "cpu")).values()} == {"arithmetic"}


def test_other_devices_and_sizes_are_scaled_and_told_so(build: Build, path: Path, tiny_model: Path) -> None:
    machine = here(path)
    twice = planned(build(seed=1), path, Hardware(2 * machine.count, "cpu"))["train DPO"]
    assert twice.rate == "scaled" and twice.source.startswith("scaled by devices: 0.5 times 2 steps of")
    larger = planned(build(model="other-2b"), path, machine)["train DPO"]
    assert larger.rate == "scaled", "the tiny model has one parameter"
    assert larger.source.startswith("scaled by parameters: 2e+09 times 2 steps of")
    assert "guessed" in larger.source, "another model's answers have another length"


def test_what_was_not_measured_is_arithmetic_of_parameters_and_hardware(build: Build, path: Path) -> None:
    machine = hardware("8xh100")
    for known in (path, None):  # a store of a CPU's rates knows nothing of GPUs
        found = planned(build(model="llama-8b", seed=1), known, machine)
        assert {cost.rate for cost in found.values()} == {"arithmetic"}
        assert all(cost.source.startswith("not measured: ") for cost in found.values())
    answers, training = found["generate"], found["train DPO"]
    assert answers.seconds == round(2 * 8e9 * (answers.read / 0.4 + answers.written / 0.15) / 989e12, 1)
    assert answers.device_hours == pytest.approx(8 * answers.seconds / 3600, rel=0.1), "seven GPUs wait meanwhile"
    assert "by the recipe 1 of 8 devices work" in answers.source
    assert training.device_hours == pytest.approx(10 * 8e9 * training.read / 0.35 / 989e12 / 3600, rel=0.01)
    assert training.disk == 2 * 16e9
    double = planned(build(model="llama-16b"), None, machine)["train DPO"]
    assert double.device_hours == pytest.approx(2 * training.device_hours)


def test_a_row_of_the_table_counts_where_the_store_has_none_and_its_source_is_told(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"hardware": "1xH100", "engine": "vllm", "stage": "generate", "model": "llama-8b", "method": "", "most": 16}
    row |= {"steps": 2, "requests": 100, "read": 900, "reused": 100, "written": 1200, "seconds": 50.0}
    known = {**table(), "measured": [{**row, "start_seconds": 60.0, "source": "our run of May"}]}
    monkeypatch.setattr("toolkit.reporting.cost.rates.table", lambda: known)
    found = planned(build(model="llama-8b", engine={"kind": "vllm"}), None, Hardware(1, "H100"))["generate"]
    assert (found.rate, found.read, found.written) == ("measured", 54 * 9, 54 * 12)
    assert found.seconds == pytest.approx(54 * 20 / 2000 * 50 + 3 * 30, abs=0.1), "by tokens computed, and three starts"
    assert "(our run of May)" in found.source


@pytest.mark.parametrize(
    ("model", "cores", "factor", "told"),
    [
        ("small-100m", 2, 1, ""),
        ("large-1b", 2, 10, "scaled by parameters: 10 times "),
        ("large-1b", 8, 2.5, "scaled by devices and parameters: 2.5 times "),
    ],
)
def test_a_row_of_another_model_s_size_is_scaled_by_its_parameters(
    build: Build, monkeypatch: pytest.MonkeyPatch, model: str, cores: int, factor: float, told: str
) -> None:
    row = {"hardware": "2xcpu", "engine": "openrlhf", "stage": "train", "method": "DPO", "model": "small-100m"}
    row |= {"steps": 4, "requests": 64, "read": 8000, "reused": 0, "written": 0, "seconds": 20.0, "start_seconds": 40.0}
    empty = {**row, "engine": "scripted", "stage": "generate", "method": "", "most": 16, "requests": 0}
    here = {"dtype": resolve_dtype("auto", "cpu"), "source": "our run of May"}
    known = {**table(), "measured": [each | here for each in (empty, row)]}
    monkeypatch.setattr("toolkit.reporting.cost.rates.table", lambda: known)
    found = planned(build(model=model), None, Hardware(cores, "cpu"))
    training = found["train DPO"]
    assert training.seconds == pytest.approx(training.read * factor * 20 / 8000 + 2 * 10, abs=0.1)
    assert training.rate == ("scaled" if told else "measured")
    assert training.source.startswith(f"{told}4 steps of small-100m in {here['dtype']} on 2xcpu (our run of May)")
    assert found["generate"].rate == "arithmetic", "a row that asked for nothing measured nothing"


def test_a_store_s_rates_become_rows_of_the_table_as_the_page_says(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = read(ROOT / "docs" / "howto" / "store.md")
    (tmp_path / "as_toml.py").write_text(next(block.text for block in blocks(page) if block.title == "as_toml.py"))
    capsys.readouterr()
    assert called(["-m", "toolkit", "query", "stage_rates", "--json", "--store", str(path)]) == 0
    script, rows = [sys.executable, str(tmp_path / "as_toml.py")], capsys.readouterr().out
    made = subprocess.run(script, input=rows, capture_output=True, text=True, check=True).stdout
    known = {**table(), **tomllib.loads(made)}
    with Store(path, read_only=True) as store:
        own = [row for row in measured(store) if row.source == "this store"]
    monkeypatch.setattr("toolkit.reporting.cost.rates.table", lambda: known)
    with Store(None) as store:
        found = measured(store)
    assert len(found) == 3
    assert found == [replace(row, hardware=Hardware(2, "cpu"), source="our run of May") for row in own]


def test_one_engine_s_rates_are_not_another_s(build: Build, path: Path) -> None:
    found = planned(build(seed=1, engine={"kind": "vllm"}), path, here(path))
    assert {stage: "this store" in cost.source for stage, cost in found.items()} == {
        "generate": False, "judge expected": False, "train DPO": True,
    }, "the store knows the scripted engine; trainings are OpenRLHF's whatever the engine"  # fmt: skip


def test_a_reward_function_costs_no_engine(build: Build, tmp_path: Path) -> None:
    (tmp_path / "r.py").write_text("def one(prompt, answer):\n    return 1.0\n")
    recipe = build(judge={"method": "reward", "reward": f"{tmp_path / 'r.py'}:one"})
    judging = planned(recipe, None, Hardware(2, "cpu"))["judge reward"]
    assert (judging.seconds, judging.read, judging.rate) == (0, 0, "-")


def test_every_line_of_the_table_says_where_its_rate_is_from(build: Build) -> None:
    recipe = build()
    with Lab(recipe, Store(None), capture("plan", {}), planning=True) as lab:
        temporal(lab, recipe)
        machine = hardware("4xA100")
        text = cost_text(costs(recipe, lab.steps, machine, ()), machine)
    for stage in ("generate", "judge expected", "train DPO"):
        assert f"\n{stage}: not measured: " in text
    assert "Cost on 4xA100" in text and "GPU hours" in text


@pytest.mark.parametrize("wrong", ["8xTPU", "H100", "0xcpu", "x", "8x"])
def test_hardware_that_nobody_knows_is_refused(wrong: str) -> None:
    with pytest.raises(RecipeError, match="H100, H200"):
        hardware(wrong)


def test_a_model_whose_size_nothing_tells_is_refused(build: Build) -> None:
    with pytest.raises(InputError, match="nothing tells the size of 'some-model'"):
        planned(build(model="some-model"), None, Hardware(1, "H100"))


def test_a_stage_s_seconds_are_the_engine_s_its_starts_and_the_toolkit_s_own(path: Path) -> None:
    with Store(path, read_only=True) as store:
        launch = store.query("SELECT id FROM launch")[0]["id"]
        stages = {row["stage"]: row for row in store.named("run_overhead", launch=launch)}
        whole = store.query("SELECT sum(seconds) AS n FROM step WHERE stage <> 'gate'")[0]["n"]
    assert set(stages) == {"generate", "judge", "pair", "gate", "train"}
    assert stages["generate"]["engine or trainer"] >= 54 * 0.002
    assert stages["train"]["engine or trainer"] > 0 and stages["train"]["checking weights"] > 0
    for row in stages.values():
        parts = ("engine or trainer", "starts", "checking weights", "loading the tokenizer", "the rest")
        assert row["wall"] == pytest.approx(sum(row[part] for part in parts), abs=0.02)
    assert sum(row["wall"] for row in stages.values()) == pytest.approx(whole), "a gate's seconds count once"
