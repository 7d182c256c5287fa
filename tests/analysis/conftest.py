"""A small store of two runs, and the same store with plausible diagnostics in it: what the notebooks are shown.

The runs are real (scripted engine and trainer); the numbers of the diagnostics are drawn, so that every summary can
be computed again from its rows. One answer says `<script>`, one names a picture on another machine.
"""

from __future__ import annotations

import json
import math
import random
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest

from toolkit.config import Recipe, parse
from toolkit.exchange.importing import import_pairs
from toolkit.lab import Lab
from toolkit.provenance import capture
from toolkit.recipes.self_rewarding import self_rewarding
from toolkit.recipes.temporal import temporal
from toolkit.records import Change, Item, Metric, Score, Summary
from toolkit.store.database import Store
from toolkit.store.launches import begin

EVIL = "<script>window.pwned=1</script> <img src=x onerror=window.pwned=1> http://example.invalid/planted.png"
LAYERS = ("embedding", "0", "1", "norm")
GROUPS = ("q_proj", "v_proj", "down_proj")


@dataclass(frozen=True)
class Sides:
    """Two answers of a set; control is "" for a pair of it and "draws" for two draws."""

    control: str
    chosen: str
    rejected: str
    gap: float | None
    length_gap: int


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, fake_python: Path) -> Path:
    """A store of temporal and self_rewarding, two iterations each, and nothing measured."""
    folder = tmp_path_factory.mktemp("analysis")
    recipe = recipe_of_tests(folder, tiny_model, fake_python)
    for run in (temporal, self_rewarding):
        with Lab(recipe, Store(folder / "s.duckdb"), capture(run.__name__, recipe.resolved())) as lab:
            run(lab, recipe)
    with Store(folder / "s.duckdb") as store:
        store.query("UPDATE response SET text = ? WHERE id = (SELECT chosen FROM pair ORDER BY id LIMIT 1)", [EVIL])
    return folder / "s.duckdb"


@pytest.fixture(scope="session")
def diagnosed(plain: Path) -> Path:
    """The same with metrics, controls, summaries and changes."""
    path = plain.with_name("diagnosed.duckdb")
    shutil.copy(plain, path)
    launch, chance = capture("diagnose", {}), random.Random(7)
    with Store(path) as store:
        begin(store, replace(launch, arguments=()))
        for place in store.query("FROM run_sets ORDER BY run, iteration, phase"):
            _draws(store, place, launch.id)
            _measure(store, place, launch.id, chance)
            _summarise(store, place, launch.id)
        _changes(store, launch.id)
        _scores(store, launch.id)
    return path


def recipe_of_tests(folder: Path, model: Path, python: Path) -> Recipe:
    prompts = folder / "prompts.txt"
    prompts.write_text("".join(f"question number {i}?\n" for i in range(24)))
    return parse(
        {
            "model": str(model),
            "prompts": {"source": str(prompts), "part_size": 8},
            "answers": {"k": 3, "max_tokens": 16},
            "judge": {"method": "expected"},
            "training": {"batch_size": 4, "small_sets": "shrink", "learning_rate": 1e-5},
            "gate": {"max_dropped": 0.5},
            "engine": {"kind": "scripted"},
            "trainer": {"python": str(python), "device": "cpu", "dtype": "float32"},
        }
    )


def _draws(store: Store, place: Mapping[str, Any], launch: str) -> None:
    """Two draws of the present model for every prompt of the set, the better one first."""
    rows = store.query(
        "SELECT r.prompt, r.id, j.score FROM response r JOIN judgment j ON j.response = r.id AND j.judge = $parent "
        "WHERE r.model = $parent AND r.role = 'present' AND r.draw < 2 "
        "AND r.prompt IN (SELECT prompt FROM pairs WHERE pair_set = $set) ORDER BY r.prompt, j.score DESC, r.id",
        {"parent": place["parent"], "set": place["pair_set"]},
    )
    controls = [
        {
            "pair_set": place["pair_set"], "prompt": a["prompt"], "chosen": a["id"], "rejected": b["id"],
            "chosen_score": a["score"], "rejected_score": b["score"], "launch": launch,
        }
        for a, b in zip(rows[::2], rows[1::2], strict=True)
    ]  # fmt: skip
    store.insert("control", controls)


def _sides(store: Store, pair_set: str) -> list[Sides]:
    rows = store.query(
        "SELECT control, chosen, rejected, gap, (SELECT length(text) FROM response WHERE id = chosen) "
        "- (SELECT length(text) FROM response WHERE id = rejected) AS length_gap "
        "FROM compared WHERE pair_set = ? ORDER BY ALL",
        [pair_set],
    )
    return [Sides(**row) for row in rows]


def _measure(store: Store, place: Mapping[str, Any], launch: str, chance: random.Random) -> None:
    metrics: list[Metric] = []
    for sides in _sides(store, place["pair_set"]):
        two = (sides.chosen, sides.rejected)
        text = {"length_gap": float(sides.length_gap), "edit_distance": chance.random(), "rouge_l": chance.random()}
        metrics.append(Metric(*two, None, "text", {}, text))
        metrics += [
            Metric(*two, model, "forward", {"depths": [8]}, _forward(place["iteration"], chance))
            for model in {place["parent"], place["result"]}
        ]
        metrics.append(Metric(*two, place["parent"], "gradient", {}, _gradient(sides, place["iteration"], chance)))
    store.add(metrics, launch=launch)


def _forward(iteration: int, chance: random.Random) -> dict[str, float | None]:
    mean = min(0.99, chance.gauss(0.7 + 0.1 * iteration, 0.03))
    return {
        "chosen_logprob": chance.gauss(-40, 5), "rejected_logprob": chance.gauss(-42, 5),
        "chosen_tokens": 16.0, "rejected_tokens": 16.0, "cosine_mean": mean, "cosine_last": mean - 0.1,
        "cosine_mean/8": mean + 0.05, "ches": chance.gauss(100, 10), "ches_normalized": chance.gauss(0.4, 0.1),
    }  # fmt: skip


def _gradient(sides: Sides, iteration: int, chance: random.Random) -> dict[str, float | None]:
    norm = chance.gauss((30 if sides.control else 60) - 15 * iteration, 4)
    layers = dict(zip((f"layer/{name}" for name in LAYERS), (0.1, 0.5, 0.3, 0.1), strict=True))
    groups = dict(zip((f"group/{name}" for name in GROUPS), (0.2, 0.3, 0.5), strict=True))
    return {"norm": norm, "chosen_norm": norm * 0.8, "rejected_norm": norm * 0.7, "cosine": 0.1, **layers, **groups}


def _summarise(store: Store, place: Mapping[str, Any], launch: str) -> None:
    """One summary of each metric, set and control, from the rows."""
    found = store.query(
        "SELECT control, metric, model, list(value ORDER BY value) AS values FROM metrics "
        "WHERE pair_set = ? GROUP BY ALL",
        [place["pair_set"]],
    )
    made = [_summary(place, row["control"], row["metric"], _under(place, row["model"]), row["values"]) for row in found]
    for control in ("", "draws"):
        gaps = [s.gap for s in _sides(store, place["pair_set"]) if s.control == control and s.gap is not None]
        made.append(_summary(place, control, "gap", ("", None), gaps))
        made.append(_summary(place, control, "rank_gap", ("", None), [round(10 * gap) for gap in gaps]))
        made.append(_summary(place, control, "gap/fixed", ("", None), [gap / 2 for gap in gaps]))
    trained = store.query(
        "FROM trained_pairs WHERE pair_set = ? AND control = '' AND run = ?", [place["pair_set"], place["run"]]
    )
    for metric in ("margin", "weight", "displaced"):
        made.append(_summary(place, "", metric, ("result", place["result"]), [float(row[metric]) for row in trained]))
    for under, column in (("parent", "ranked_before"), ("result", "ranked_after")):
        made.append(_summary(place, "", "ranked", (under, place[under]), [float(row[column]) for row in trained]))
    store.add(made, launch=launch)


def _under(place: Mapping[str, Any], model: str | None) -> tuple[str, str | None]:
    return ("", None) if model is None else ("parent" if model == place["parent"] else "result", model)


def _summary(
    place: Mapping[str, Any], control: str, metric: str, under: tuple[str, str | None], values: Sequence[float]
) -> Summary:
    mean, sd = fmean(values), stdev(values)
    half = 1.96 * sd / math.sqrt(len(values))
    counted = {"n": len(values), "missing": 0, "mean": mean, "sd": sd, "low": mean - half, "high": mean + half}
    return Summary(place["pair_set"], control, metric, under[0], under[1], {"seed": 1}, **counted)  # type: ignore[arg-type]


def _changes(store: Store, launch: str) -> None:
    sql = (
        "SELECT a.run, a.pair_set AS before, b.pair_set AS after FROM run_sets a "
        "JOIN run_sets b ON b.run = a.run AND b.phase = a.phase AND b.iteration = a.iteration + 1 ORDER BY ALL"
    )
    numbers = (0.75, 0.6, 0.9, 0.01, 0.5, 0.3, 0.8, 0.8, 40)
    store.add(
        [
            Change(row["run"], row["before"], row["after"], metric, under, {}, *numbers)
            for row in store.query(sql)
            for metric, under in (("gap", ""), ("forward.cosine_mean", "parent"), ("gradient.norm", "parent"))
        ],
        launch=launch,
    )


def _scores(store: Store, launch: str) -> None:
    """Each model of temporal on ten questions, one more right each iteration."""
    sql = "SELECT model, name FROM model_names WHERE run = 'temporal' AND name IN ('M_0', 'M_1', 'M_2') ORDER BY name"
    for right, row in enumerate(store.query(sql), 4):
        about = (row["model"], "maths", "accuracy")
        store.add([Item(*about, str(i), {}, value=float(i < right)) for i in range(10)], launch=launch)
        store.add([Score(*about, {}, right / 10, 10)], launch=launch)


@pytest.fixture(scope="session")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of imported preferences alone: no run, no model of ours, no score."""
    folder = tmp_path_factory.mktemp("imported")
    rows = [{"prompt": f"Why {i}?", "chosen": f"good {i} {EVIL}", "rejected": f"bad {i}"} for i in range(5)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    launch = capture("import", {})
    with Store(folder / "s.duckdb") as store:
        begin(store, replace(launch, arguments=()))
        import_pairs(store, folder / "rows.jsonl", "foreign", launch.id)
    return folder / "s.duckdb"
