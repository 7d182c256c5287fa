"""Controls of a run, the numbers that a set and the trained loss add, and what is said of a run without a network."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.conftest import needs
from tests.diagnostics.networks import network, some_pairs
from tests.diagnostics.planted import Turn, plant
from toolkit.__main__ import app
from toolkit.config import Recipe
from toolkit.diagnostics.diagnose import diagnose
from toolkit.diagnostics.measure import Measuring
from toolkit.diagnostics.run_sets import recipe_of
from toolkit.errors import InputError
from toolkit.lab import Lab
from toolkit.provenance import capture
from toolkit.recipes.self_rewarding import self_rewarding
from toolkit.recipes.temporal import temporal
from toolkit.records import Metric
from toolkit.reporting.advice import NO_NETWORK
from toolkit.reporting.page.as_html import as_html
from toolkit.reporting.page.run_page import run_page
from toolkit.store.database import Store

Build = Callable[..., Recipe]
ROLES = {
    "present_past": ("present", "past"),
    "future_past": ("future", "past"),
    "future_present": ("future", "present"),
}


def launched(run: Any, recipe: Recipe, path: Path, name: str = "tiny") -> Path:
    with Lab(recipe, Store(path), capture(name, recipe.resolved())) as lab:
        run(lab, recipe)
    return path


def diagnosed(path: Path, how: Measuring | None = None, run: str = "tiny") -> int:
    """How many measurements were new."""
    with Store(path) as store:
        recipe = recipe_of(store, run)
    with Lab(recipe, Store(path), capture("diagnose", recipe.resolved())) as lab:
        diagnose(lab, run, how or Measuring())
        return sum(step.total - step.cached for step in lab.steps)


def query(path: Path, sql: str) -> list[dict[str, Any]]:
    with Store(path, read_only=True) as store:
        return store.query(sql)


@pytest.fixture
def path(scripted_recipe: Build, network_model: Path, tmp_path: Path) -> Path:
    return launched(temporal, scripted_recipe(model=str(network_model)), tmp_path / "s.duckdb")


def test_controls_have_the_roles_their_names_say_and_are_measured_like_pairs(path: Path) -> None:
    diagnosed(path)
    rows = query(
        path,
        "SELECT c.pair_set, s.phase, c.control, c.prompt, w.role AS chosen, l.role AS rejected, w.text AS a, "
        "l.text AS b, w.prompt AS p, l.prompt AS q FROM control c "
        "JOIN run_sets s ON s.pair_set = c.pair_set AND s.run = 'tiny' "
        "JOIN response w ON w.id = c.chosen JOIN response l ON l.id = c.rejected",
    )
    controls = {(row["phase"], row["control"]) for row in rows}
    assert controls == {
        ("anchored", "draws"), ("anchored", "present_past"), ("guided", "draws"), ("guided", "present_past"),
        ("guided", "future_past"), ("guided", "future_present"),
    }  # fmt: skip
    for row in rows:
        assert (row["chosen"], row["rejected"]) == ROLES.get(row["control"], ("present", "present"))
        assert row["a"] != row["b"] and row["p"] == row["q"] == row["prompt"]
    pairs = query(path, "SELECT pair_set, control, count(*) AS n FROM compared GROUP BY ALL")
    sizes = {(row["pair_set"], row["control"]): row["n"] for row in pairs}
    norms = query(
        path, "SELECT pair_set, control, n FROM summaries WHERE metric = 'gradient.norm' AND under = 'parent'"
    )
    assert {(row["pair_set"], row["control"]): row["n"] for row in norms} == sizes


def test_an_answer_of_a_control_is_chosen_without_its_score(path: Path) -> None:
    """The best, the middle and the worst answer are all taken, and other scores choose the same ones."""
    diagnosed(path)
    sql = "SELECT * EXCLUDE (launch, chosen_score, rejected_score) FROM control WHERE control <> 'draws' ORDER BY ALL"
    before = query(path, sql)
    draws = query(
        path,
        "SELECT DISTINCT r.draw FROM control c JOIN response r ON r.id = c.chosen WHERE control = 'present_past'",
    )
    assert len(draws) == 3, "K is 3"
    gaps = query(
        path, "SELECT value FROM pair_values WHERE metric = 'gap' AND control = 'present_past' AND run = 'tiny'"
    )
    with Store(path) as store:
        store.query("DELETE FROM control")
        store.query("UPDATE judgment SET score = 5 - score")
    diagnosed(path)
    assert query(path, sql) == before
    assert {row["value"] > 0 for row in gaps} == {True, False}, "unselected: gaps of both signs"


def test_a_run_has_only_the_controls_of_its_own_roles(path: Path, scripted_recipe: Build, network_model: Path) -> None:
    """temporal asked M_0 for the past's answers to the same prompts, in the same store."""
    launched(self_rewarding, scripted_recipe(model=str(network_model)), path, "plain")
    diagnosed(path, run="plain")
    rows = query(path, "SELECT DISTINCT control FROM control JOIN run_sets USING (pair_set) WHERE run = 'plain'")
    assert [row["control"] for row in rows] == ["draws"]


def test_norms_are_given_per_square_root_of_token_too(path: Path) -> None:
    diagnosed(path)
    rows = query(
        path,
        "SELECT n.value AS norm, p.value AS scaled, w.value + l.value AS tokens FROM pair_values n "
        "JOIN pair_values p USING (run, pair_set, control, chosen, rejected, under) "
        "JOIN pair_values w USING (run, pair_set, control, chosen, rejected, under) "
        "JOIN pair_values l USING (run, pair_set, control, chosen, rejected, under) "
        "WHERE n.metric = 'gradient.norm' AND p.metric = 'gradient.norm_per_sqrt_token' "
        "AND w.metric = 'forward.chosen_tokens' AND l.metric = 'forward.rejected_tokens'",
    )
    assert rows
    for row in rows:
        assert row["scaled"] == pytest.approx(row["norm"] / math.sqrt(row["tokens"]))
    summed = query(path, "SELECT DISTINCT control FROM summaries WHERE metric = 'gradient.norm_per_sqrt_token'")
    assert {row["control"] for row in summed} == {"", "draws", *ROLES}


def test_every_set_and_control_has_its_coherence_once(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert diagnosed(path) > 0
    assert "measuring M_" in (said := capsys.readouterr().err) and "sum of gradients" in said
    assert said.index("measuring M_") < said.index("forward numbers"), "the need is stated first"
    rows = query(path, "FROM coherence ORDER BY ALL")
    sizes = query(path, "SELECT pair_set, control, count(*) AS n FROM compared GROUP BY ALL")
    assert {(r["pair_set"], r["control"], r["n"]) for r in rows} == {tuple(r.values()) for r in sizes}
    for row in rows:
        assert row["under"] == "parent" and 0 < row["coherence"] <= 1
        assert row["chance"] == pytest.approx(1 / math.sqrt(row["n"])) and row["swapped"] >= row["chance"] - 1e-12
    assert diagnosed(path) == 0
    assert query(path, "FROM coherence ORDER BY ALL") == rows


def test_coherence_may_be_left_out_and_taken_later(path: Path) -> None:
    diagnosed(path, Measuring(coherence=False))
    assert query(path, "FROM coherence") == []
    norms = query(path, "FROM metric WHERE kind = 'gradient' ORDER BY id")
    assert diagnosed(path) == 0, "norms are stored"
    assert query(path, "FROM coherence") and query(path, "FROM metric WHERE kind = 'gradient' ORDER BY id") == norms


def test_a_checkpoint_without_a_tensor_is_refused_before_anything_is_measured(path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = path.parent / query(path, "SELECT path FROM model WHERE name = 'M_1'")[0]["path"]
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.2.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"missing: model\.layers\.2\.mlp\.up_proj\.weight"):
        diagnosed(path)
    assert query(path, "FROM metric") == []


# the loss that was trained

CASES: tuple[Mapping[str, Any], ...] = (
    {},
    {"model.label_smoothing": 0.2},
    {"model.ipo_enable": True},
    {"model.ipo_enable": True, "model.label_smoothing": 0.3},
    {"model.nll_loss_coef": 0.7},
    {"model.ipo_enable": True, "model.nll_loss_coef": 2.0},
)


def trained_loss(policy: Any, reference: Any, beta: float, tokens: float, options: Mapping[str, Any]) -> Any:
    """DPOLoss of openrlhf 0.11.2 (models/loss.py) with the NLL term of its trainer, for one pair."""
    from torch.nn.functional import logsigmoid

    logits = (policy[0] - policy[1]) - (reference[0] - reference[1])
    smoothing = options.get("model.label_smoothing", 0.0)
    if options.get("model.ipo_enable"):
        loss = (logits - 1 / (2 * beta)) ** 2
    else:
        loss = -logsigmoid(beta * logits) * (1 - smoothing) - logsigmoid(-beta * logits) * smoothing
    return loss - options.get("model.nll_loss_coef", 0.0) * policy[0] / tokens


def measured(store: Store, options: Mapping[str, Any], beta: float) -> tuple[Any, Any, float, dict[str, Any], float]:
    """A planted pair with the numbers of two tiny networks: both sides' log-probabilities, tokens, row, gradient."""
    from tests.diagnostics.test_gradient import logprob
    from toolkit.diagnostics.forward import forward
    from toolkit.diagnostics.gradient import directional_gradients

    lab = plant(store, [Turn([None], [1.0])])
    pair = next(pair for pair in some_pairs() if pair.chosen != pair.rejected)
    settings = {"beta": beta, **({"options": dict(options)} if options else {})}
    store.query("UPDATE training SET settings = ?", [json.dumps(settings)])
    row = store.query("SELECT s.parent, s.result, p.chosen, p.rejected FROM run_sets s JOIN pairs p USING (pair_set)")[
        0
    ]
    networks = network(seed=0), network(seed=1)
    for model, id in zip(networks, (row["parent"], row["result"]), strict=True):
        sides = row["chosen"], row["rejected"]
        numbers = dict(forward(model, [pair]))[0], dict(directional_gradients(model, [pair]))[0]
        kinds = zip(("forward", "gradient"), numbers, strict=True)
        store.add([Metric(*sides, id, kind, {"own": 1}, found) for kind, found in kinds], launch=lab.launch.id)  # type: ignore[arg-type]
    policy = networks[1].requires_grad_(True)
    own = logprob(policy, pair.prompt, pair.chosen), logprob(policy, pair.prompt, pair.rejected)
    fixed = [float(logprob(networks[0], pair.prompt, side)) for side in (pair.chosen, pair.rejected)]
    import torch

    tokens = float(len(pair.chosen) - pair.prompt)
    grads = torch.autograd.grad(trained_loss(own, fixed, beta, tokens, options), list(policy.parameters()))
    norm = math.sqrt(sum(float(grad.double().square().sum()) for grad in grads))
    return [float(value.detach()) for value in own], fixed, tokens, store.query("FROM trained_pairs")[0], norm


@pytest.mark.parametrize("options", CASES, ids=str)
def test_weight_and_gradient_are_those_of_the_loss_that_was_trained(options: Mapping[str, Any]) -> None:
    needs("torch")
    import torch

    beta = 0.02
    with Store(None) as store:
        own, fixed, tokens, row, norm = measured(store, options, beta)
        sql = "SELECT value FROM pair_values WHERE metric = 'dpo_gradient' AND under = 'result' AND control = ''"
        assert store.query(sql)[0]["value"] == pytest.approx(norm, rel=1e-3)
    rejected = torch.tensor(own[1], dtype=torch.float64, requires_grad=True)
    chosen = torch.tensor(own[0], dtype=torch.float64)
    trained_loss((chosen, rejected), fixed, beta, tokens, options).backward()
    assert row["refused"] == ""
    assert row["weight"] == pytest.approx(float(rejected.grad) / beta, rel=1e-3), (
        "what the loss does to the rejected side"
    )  # type: ignore[arg-type]


def test_the_weight_of_ipo_is_negative_past_its_margin() -> None:
    """DPO's weight at the same margin is positive: the two differ in sign."""
    with Store(None) as store:
        lab = plant(store, [Turn([1.0], [1.0])])
        row = store.query(
            "SELECT s.parent, s.result, p.chosen, p.rejected FROM run_sets s JOIN pairs p USING (pair_set)"
        )[0]
        for model, logprob in (("parent", 0.0), ("result", 10.0)):
            found = {"chosen_logprob": logprob, "rejected_logprob": 0.0}
            store.add([Metric(row["chosen"], row["rejected"], row[model], "forward", {}, found)], launch=lab.launch.id)
        weights = []
        for options in ({}, {"options": {"model.ipo_enable": True}}):
            store.query("UPDATE training SET settings = ?", [json.dumps({"beta": 0.1, **options})])
            weights.append(store.query("SELECT margin, weight FROM trained_pairs")[0])
    assert [entry["margin"] for entry in weights] == [pytest.approx(1.0)] * 2
    assert weights[0]["weight"] == pytest.approx(1 / (1 + math.e)) and weights[1]["weight"] == pytest.approx(-100)


@pytest.mark.parametrize(
    "options", [{"model.aux_loss_coef": 0.1}, {"model.label_smoothing": "much"}, {"model.ipo_enable": "1"}], ids=str
)
def test_a_loss_that_is_not_computed_has_no_weight_but_a_reason(options: Mapping[str, Any]) -> None:
    with Store(None) as store:
        plant(store, [Turn([1.0], [1.0])])
        store.query("UPDATE training SET settings = ?", [json.dumps({"beta": 0.1, "options": options})])
        row = store.query("SELECT pair_set, weight, weight_before, refused FROM trained_pairs")[0]
        text = as_html(run_page(store, "planted"))
    assert row["weight"] is None and row["weight_before"] is None
    assert next(iter(options)) in row["refused"]
    assert f"DPO weight and gradient of {row['pair_set']} are not computed: {next(iter(options))}" in text


def test_the_page_names_the_loss_where_it_is_not_plain_dpo() -> None:
    with Store(None) as store:
        plant(store, [Turn([1.0], [1.0])])
        assert "those of its loss" not in as_html(run_page(store, "planted"))
        store.query("UPDATE training SET settings = ?", ['{"beta": 0.1, "options": {"model.ipo_enable": true}}'])
        assert "Weight and gradient of self_rewarding@1 are those of its loss, with IPO." in as_html(
            run_page(store, "planted")
        )


# a demo


@pytest.fixture
def demo(scripted_recipe: Build, tmp_path: Path) -> Path:
    return launched(temporal, scripted_recipe(), tmp_path / "demo.duckdb", "demo")


def test_no_page_of_a_scripted_run_advises_what_its_models_refuse(demo: Path) -> None:
    with Store(demo, read_only=True) as store:
        text = as_html(run_page(store, "demo"))
    assert "toolkit diagnose" not in text and "toolkit evaluate" not in text
    assert text.count(NO_NETWORK) >= 3


@pytest.mark.parametrize("line", [["diagnose"], ["diagnose", "demo"], ["evaluate", "demo/M_1"], ["evaluate", "M_0"]])
def test_a_demo_is_refused_in_words_before_torch_is_needed(
    demo: Path, line: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toolkit.commands.diagnose.need", lambda *_: pytest.fail("torch was asked for first"))
    before = demo.read_bytes()
    done = CliRunner().invoke(app, [*line, "--store", str(demo)])
    assert done.exit_code == InputError.exit_code
    assert "is a scripted model: its answers and scores are made up" in done.output
    assert demo.read_bytes() == before
