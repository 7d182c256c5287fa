"""The proof that an engine computes with a checkpoint's weights, on a network of packed layers made by hand."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.conftest import needs

needs("torch")

import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from toolkit.engines.vllm_child.weights import difference  # noqa: E402

Tensors = dict[str, torch.Tensor]


class Packed(torch.nn.Module):
    """A linear layer that computes with a copy of its weight, as vLLM's do on a CPU."""

    def __init__(self, weight: torch.Tensor, *, keeps_weight: bool = False) -> None:
        super().__init__()
        copy = weight.clone()
        self.weight = torch.nn.Parameter(weight if keeps_weight else torch.empty(0), requires_grad=False)
        self.params_dtype = weight.dtype
        self.cpu_linear = lambda x, _, bias: torch.nn.functional.linear(x, copy, bias)


def network(stored: Tensors, *, tied: bool = True) -> Any:
    """Embeddings, one block with fused attention weights, a norm and a head."""
    attention = [stored[f"model.layers.0.self_attn.{name}_proj.weight"] for name in "qkv"]
    model: Any = torch.nn.Module()
    model.packed_modules_mapping = {"qkv_proj": ["q_proj", "k_proj", "v_proj"]}
    model.config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(tie_word_embeddings=tied))
    model.model, block = torch.nn.Module(), torch.nn.Module()
    model.model.embed_tokens = torch.nn.Embedding.from_pretrained(stored["model.embed_tokens.weight"])
    block.self_attn = torch.nn.Module()
    block.self_attn.qkv_proj = Packed(torch.cat(attention))
    block.norm = torch.nn.Module()
    block.norm.weight = torch.nn.Parameter(stored["model.layers.0.norm.weight"], requires_grad=False)
    model.model.layers = torch.nn.ModuleList([block])
    head = stored["model.embed_tokens.weight" if tied else "lm_head.weight"]
    model.lm_head = Packed(torch.cat([head, torch.zeros(3, 8, dtype=head.dtype)]), keeps_weight=True)  # padded
    return model


@pytest.fixture
def stored() -> Tensors:
    torch.manual_seed(0)
    rows = {"q": 8, "k": 4, "v": 4}
    made = {f"model.layers.0.self_attn.{name}_proj.weight": torch.randn(size, 8) for name, size in rows.items()}
    made |= {"model.embed_tokens.weight": torch.randn(13, 8), "model.layers.0.norm.weight": torch.randn(8)}
    return {name: tensor.bfloat16() for name, tensor in (made | {"lm_head.weight": torch.randn(13, 8)}).items()}


def saved(folder: Path, tensors: Tensors) -> Path:
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("tied", [True, False])
def test_an_engine_with_the_checkpoints_weights_differs_in_nothing(stored: Tensors, tmp_path: Path, tied: bool) -> None:
    assert difference(saved(tmp_path, stored), network(stored, tied=tied)) == ""


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ("model.layers.0.self_attn.k_proj.weight", "model.layers.0.self_attn.qkv_proj.weight"),
        ("model.layers.0.norm.weight", "model.layers.0.norm.weight"),
        ("model.embed_tokens.weight", "model.embed_tokens.weight"),
    ],
)
def test_one_changed_row_anywhere_is_named(stored: Tensors, tmp_path: Path, changed: str, told: str) -> None:
    model = network(stored)
    stored[changed] = stored[changed].clone()
    stored[changed][-1] *= 1.01
    assert difference(saved(tmp_path, stored), model) == f"{told} is not what the checkpoint says"


def test_a_tied_head_that_kept_its_old_copy_is_seen(stored: Tensors, tmp_path: Path) -> None:
    model = network(stored)
    stored["model.embed_tokens.weight"] = stored["model.embed_tokens.weight"] * 1.01
    model.model.embed_tokens.weight.data = stored["model.embed_tokens.weight"]
    model.lm_head.weight.data[:13] = stored["model.embed_tokens.weight"]  # all but what it computes with
    assert difference(saved(tmp_path, stored), model) == "lm_head.weight is not what the checkpoint says"


def test_what_the_checkpoint_does_not_have_is_no_proof(stored: Tensors, tmp_path: Path) -> None:
    model = network(stored)
    del stored["model.layers.0.self_attn.v_proj.weight"]
    assert "no tensor model.layers.0.self_attn.v_proj.weight" in difference(saved(tmp_path, stored), model)
