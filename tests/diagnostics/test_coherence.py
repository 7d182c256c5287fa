"""Coherence against float64 autograd, a pair at a time; what it is by chance; tensors and memory of a checkpoint."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from safetensors.torch import load_file, save_file

from tests.diagnostics.networks import network, some_pairs
from tests.diagnostics.test_gradient import FAMILIES, PAIRS, logprob
from tests.diagnostics.test_gradient import network as of_family
from toolkit.diagnostics.gradient import directional_gradients, uncovered
from toolkit.diagnostics.gradient_sum import Total
from toolkit.diagnostics.measure import Measuring
from toolkit.diagnostics.memory import need_of
from toolkit.diagnostics.sequences import Sides
from toolkit.engines.network import check_tensors, load_network
from toolkit.errors import InputError


def brute(model: Any, pairs: list[Sides], last_block: bool = False) -> tuple[float, float]:
    """(coherence, the same if sides were swapped at random) in float64, from whole gradients."""
    model = model.double()
    chosen = [p for name, p in model.named_parameters() if not last_block or ".layers.2." in name]
    for parameter in chosen:
        parameter.requires_grad_(True)
    rows = []
    for pair in pairs:
        difference = logprob(model, pair.prompt, pair.chosen) - logprob(model, pair.prompt, pair.rejected)
        grads = torch.autograd.grad(difference, chosen, allow_unused=True, materialize_grads=True)
        rows.append(torch.cat([grad.flatten() for grad in grads]))
    model.requires_grad_(False).float()
    norms = torch.stack([row.norm() for row in rows])
    whole = torch.stack(rows).mean(0).norm() / norms.mean()
    return float(whole), float(norms.square().sum().sqrt() / norms.sum())


def total_of(model: Any, pairs: list[Sides], **more: Any) -> Total:
    total = Total()
    assert len(dict(directional_gradients(model, pairs, total=total, **more))) == len(pairs)
    total.settle()
    return total


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("budget", [1, 130, 10_000])
def test_coherence_is_that_of_whole_gradients(family: str, budget: int) -> None:
    model = of_family(FAMILIES[family]())
    assert uncovered(model, PAIRS) == ""
    total, (value, swapped) = total_of(model, PAIRS, budget=budget), brute(model, PAIRS)
    assert total.value == pytest.approx(value, rel=1e-4)
    assert total.if_swapped == pytest.approx(swapped, rel=1e-4)


def test_coherence_of_a_model_without_a_batched_form() -> None:
    model, pairs = network("gemma2"), some_pairs(4)
    assert uncovered(model, pairs)
    assert total_of(model, pairs).value == pytest.approx(brute(model, pairs)[0], rel=1e-4)


def test_coherence_of_the_last_block_alone() -> None:
    model = of_family(FAMILIES["llama, tied"]())
    assert total_of(model, PAIRS, last_blocks=1).value == pytest.approx(
        brute(model, PAIRS, last_block=True)[0], rel=1e-4
    )


def test_one_pair_is_coherent_a_pair_and_its_reverse_are_not_and_equal_answers_have_none() -> None:
    model, pair = of_family(FAMILIES["llama, tied"]()), PAIRS[0]
    assert total_of(model, [pair, pair]).value == pytest.approx(1, rel=1e-4)
    opposed = total_of(model, [pair, Sides(pair.prompt, pair.rejected, pair.chosen)])
    assert opposed.value == pytest.approx(0, abs=1e-5)
    assert opposed.if_swapped == pytest.approx(1 / math.sqrt(2), rel=1e-4), "1/sqrt(n) where norms are equal"
    assert total_of(model, [Sides(pair.prompt, pair.chosen, pair.chosen)]).value is None


def test_the_norms_do_not_depend_on_the_sum_being_kept() -> None:
    model = of_family(FAMILIES["llama, tied"]())
    kept = dict(directional_gradients(model, PAIRS, total=Total()))
    assert kept == dict(directional_gradients(model, PAIRS))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    network("llama").save_pretrained(tmp_path)
    return tmp_path


def change(path: Path, remove: str = "", **added: Any) -> None:
    file = path / "model.safetensors"
    tensors = {name: tensor for name, tensor in load_file(file).items() if name != remove}
    save_file({**tensors, **added}, file, metadata={"format": "pt"})


def test_a_complete_checkpoint_with_or_without_its_tied_head_loads(saved: Path) -> None:
    check_tensors(saved)
    tensors = load_file(saved / "model.safetensors")
    assert "lm_head.weight" not in tensors
    change(saved, **{"lm_head.weight": tensors["model.embed_tokens.weight"].clone()})
    assert load_network(saved).config.model_type == "llama"


def test_a_missing_tensor_is_refused_by_name(saved: Path) -> None:
    change(saved, "model.layers.1.mlp.up_proj.weight")
    with pytest.raises(InputError, match=r"missing: model\.layers\.1\.mlp\.up_proj\.weight"):
        load_network(saved)


def test_an_unexpected_tensor_is_refused_by_name(saved: Path) -> None:
    change(saved, **{"model.layers.1.adapter.weight": torch.ones(2)})
    with pytest.raises(InputError, match=r"unexpected: model\.layers\.1\.adapter\.weight"):
        load_network(saved)


def test_a_tensor_of_another_shape_is_refused_by_name(saved: Path) -> None:
    change(saved, **{"model.norm.weight": torch.ones(5)})
    with pytest.raises(InputError, match=r"of another shape: model\.norm\.weight"):
        load_network(saved)


def test_nothing_is_loaded_before_the_tensors_are_checked(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoModelForCausalLM

    devices: list[object] = []
    real = AutoModelForCausalLM.from_pretrained

    def watched(*args: Any, **named: Any) -> Any:
        devices.append(named.get("device_map"))
        return real(*args, **named)

    change(saved, "model.norm.weight")
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", watched)
    with pytest.raises(InputError, match="missing"):
        load_network(saved)
    assert devices == ["meta"]


def test_the_scripted_model_is_refused_in_words(tiny_model: Path) -> None:
    with pytest.raises(InputError, match="is a scripted model"):
        load_network(tiny_model)


def test_the_memory_need_counts_weights_the_sum_of_gradients_and_a_batch(saved: Path) -> None:
    parameters = sum(tensor.numel() for tensor in load_file(saved / "model.safetensors").values())
    need = need_of(saved, Measuring(), gradients=True)
    assert (need.weights, need.coherence) == (4 * parameters, 4 * parameters)
    assert need.batch == 3 * (9 * 32 + 4 * 48) * 4096 * 4
    half = need_of(saved, Measuring(dtype="bfloat16", coherence=False), gradients=True)
    assert (half.weights, half.coherence, half.batch) == (2 * parameters, 0, need.batch // 2)
    assert need_of(saved, Measuring(), gradients=False).total == 4 * parameters
    assert "sum of gradients" in need.words() and "sum of gradients" not in half.words()
