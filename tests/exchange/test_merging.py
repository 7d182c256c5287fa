"""Stores of several workers become the store of one, or nothing at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.recipes.test_temporal import launch
from toolkit.config import Recipe
from toolkit.errors import StoreError
from toolkit.exchange import merging
from toolkit.exchange.merging import merge, missing_checkpoints
from toolkit.judgments.judge import judge
from toolkit.lab import Lab
from toolkit.pairs.pair import pair
from toolkit.pairs.selection import best, worst
from toolkit.pairs.versions import load
from toolkit.provenance import capture
from toolkit.records import Model, Prompt, Response, Sampling
from toolkit.responses.generate import generate
from toolkit.store.database import Store
from toolkit.store.launches import begin

Build = Callable[..., Recipe]
PROMPTS = [Prompt(f"question {number}?", "here") for number in range(12)]


def work(recipe: Recipe, path: Path, prompts: list[Prompt], *, pairing: bool = False) -> None:
    """What a worker does with its prompts: answer and judge, and pair where asked."""
    with Lab(recipe, Store(path), capture("worker", recipe.resolved())) as lab:
        lab.store.add(prompts, launch=lab.launch.id)
        model = lab.model(recipe.model, called="M_0")
        now = judge(lab, model, generate(lab, model, prompts))
        then = judge(lab, model, generate(lab, model, prompts, role="past"))
        if pairing:
            pair(lab, "anchored", best(now), worst(now, then))


def rows(path: Path, *, but: tuple[str, ...] = ()) -> dict[str, list[Any]]:
    """Every row of every table but these, sorted, without launches and times."""
    with Store(path, read_only=True) as store:
        names = [row["t"] for row in store.query("SELECT table_name AS t FROM duckdb_tables() ORDER BY t")]
        told = {name: store.query(f"FROM {name}") for name in names if name not in but}
    aside = {"launch", "created", "seconds"}
    return {
        name: sorted(str([v for k, v in row.items() if k not in aside]) for row in found)
        for name, found in told.items()
    }


def everything(path: Path) -> dict[str, list[str]]:
    """Every row of every table; a launch without its place among this store's own."""
    with Store(path, read_only=True) as store:
        names = [row["t"] for row in store.query("SELECT table_name AS t FROM duckdb_tables() ORDER BY t")]
        told = {
            name: [row | {"position": 0} if name == "launch" else row for row in store.query(f"FROM {name}")]
            for name in names
        }
        return {name: sorted(map(str, found)) for name, found in told.items()}


@pytest.mark.parametrize("size", [merging.SLICE, 7])
def test_workers_of_disjoint_prompts_merge_into_the_store_of_one(
    scripted_recipe: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(merging, "SLICE", size)
    a, b, both, one = (tmp_path / name / "s.duckdb" for name in ("a", "b", "both", "one"))
    recipe = scripted_recipe()
    work(recipe, a, PROMPTS[:5])
    work(recipe, b, PROMPTS[5:])
    work(recipe, one, PROMPTS)
    added = merge([a, b], both)
    assert added["prompt"] == 12 and added["response"] == added["judgment"] == 12 * 2 * 3
    launches = ("launch", "step")  # what each start did differs, and is all there
    assert rows(both, but=launches) == rows(one, but=launches)
    assert len(rows(both)["launch"]) == 2
    work(recipe, both, PROMPTS, pairing=True)
    work(recipe, one, PROMPTS, pairing=True)
    with Store(both, read_only=True) as merged, Store(one, read_only=True) as whole:
        assert load(merged, "anchored@1").fingerprint == load(whole, "anchored@1").fingerprint


def test_merging_again_changes_nothing_and_a_copy_of_a_run_is_the_run(scripted_recipe: Build, tmp_path: Path) -> None:
    run, copy = tmp_path / "run" / "s.duckdb", tmp_path / "copy" / "s.duckdb"
    launch(scripted_recipe(iterations=2), run)
    assert merge([run], copy)
    assert everything(copy) == everything(run)
    assert merge([run], copy) == {} == merge([run, run], copy)
    assert everything(copy) == everything(run)
    assert len(missing_checkpoints(copy)) == 4 and not missing_checkpoints(run)


def answer(text: str) -> Response:
    asked = Response(Prompt("q").id, Model.external("m").id, "past", 0, Sampling(1.0, 1.0, 8), 1)
    return replace(asked, text=text, tokens=1, prompt_tokens=1, finish="stop")


def test_two_answers_to_one_request_are_a_conflict_and_nothing_is_written(tmp_path: Path) -> None:
    a, b, both = (tmp_path / f"{name}.duckdb" for name in ("a", "b", "both"))
    for path, text in ((a, "one"), (b, "another")):
        with Store(path) as store:
            worker = capture("worker", {})
            begin(store, worker)
            for record in (Prompt("q"), Model.external("m"), answer(text)):
                store.add([record], launch=worker.id)
    with pytest.raises(StoreError, match=f"response {answer('').id} is known with another text; nothing") as told:
        merge([a, b], both)
    assert str(b) in told.value.where
    assert rows(both, but=("migration",)) == {name: [] for name in rows(both, but=("migration",))}


def test_sets_of_one_name_and_other_content_are_a_conflict(scripted_recipe: Build, tmp_path: Path) -> None:
    a, b = tmp_path / "a" / "s.duckdb", tmp_path / "b" / "s.duckdb"
    work(scripted_recipe(), a, PROMPTS[:6], pairing=True)
    work(scripted_recipe(), b, PROMPTS[6:], pairing=True)
    before = everything(a)
    with pytest.raises(StoreError, match="pair_set anchored@1 is known with another fingerprint") as told:
        merge([b], a)
    assert "pair, train and measure after merging" in told.value.remedy
    assert everything(a) == before


def test_a_set_deleted_in_one_store_does_not_come_back_from_another(scripted_recipe: Build, tmp_path: Path) -> None:
    from toolkit.pairs.versions import delete

    a, b = tmp_path / "a" / "s.duckdb", tmp_path / "b" / "s.duckdb"
    work(scripted_recipe(), a, PROMPTS, pairing=True)
    merge([a], b)
    with Store(b) as store:
        delete(store, "anchored@1", "L", reason="wrong prompts")
    with pytest.raises(StoreError, match="anchored@1 was deleted in one store"):
        merge([a], b)


def test_a_store_is_not_merged_into_itself(tmp_path: Path) -> None:
    Store(tmp_path / "a.duckdb").close()
    with pytest.raises(StoreError, match="into itself"):
        merge([tmp_path / "a.duckdb"], tmp_path / "a.duckdb")
