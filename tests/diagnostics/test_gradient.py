"""Batched gradient products against plain autograd, on tiny random models of several families."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import needs

pytest.importorskip("torch")

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    GPT2Config,
    LlamaConfig,
    MixtralConfig,
    Qwen2Config,
    Qwen3Config,
)

from toolkit.diagnostics import gradient_forms, gradient_pass
from toolkit.diagnostics.gradient import directional_gradients, per_pair_gradients, uncovered
from toolkit.diagnostics.sequences import Sides
from toolkit.engines import embedded
from toolkit.engines.network import load_network
from toolkit.errors import InputError

VOCABULARY = 50
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GPT2 = {"n_embd": 32, "n_layer": 3, "n_head": 4, "vocab_size": VOCABULARY, "n_positions": 64}
FAMILIES: dict[str, Callable[[], Any]] = {
    "llama, tied": lambda: LlamaConfig(**SIZES, tie_word_embeddings=True),
    "llama, untied": lambda: LlamaConfig(**SIZES, tie_word_embeddings=False),
    "llama with biases": lambda: LlamaConfig(**SIZES, attention_bias=True, mlp_bias=True),
    "qwen2, biases of q, k and v": lambda: Qwen2Config(**SIZES, tie_word_embeddings=True),
    "qwen3, norms over heads": lambda: Qwen3Config(**SIZES, tie_word_embeddings=True),
    "gpt2, layer norms and learned positions": lambda: GPT2Config(**GPT2, bos_token_id=1, eos_token_id=2),
    "gemma, scale of 1 + w": lambda: GemmaConfig(**SIZES),
    "gemma3, scaled embeddings, norms after the transpose": lambda: Gemma3TextConfig(
        **SIZES, query_pre_attn_scalar=8, rope_parameters=None
    ),
}
SLOW: dict[str, tuple[Callable[[], Any], str]] = {
    "gemma2": (lambda: Gemma2Config(**SIZES, query_pre_attn_scalar=8), "logits are not"),
    "mixtral": (lambda: MixtralConfig(**SIZES, num_local_experts=2), "model.layers.0.mlp"),
}


def network(config: Any) -> Any:
    """A random model whose scales and biases are random too."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def sides(seed: int, prompt: int, chosen: int, rejected: int, vocabulary: int = VOCABULARY) -> Sides:
    draw = random.Random(seed)
    first = [draw.randrange(vocabulary) for _ in range(prompt)]
    answers = [[draw.randrange(vocabulary) for _ in range(length)] for length in (chosen, rejected)]
    return Sides(prompt, tuple(first + answers[0]), tuple(first + answers[1]))


PAIRS = [sides(1, 5, 10, 12), sides(2, 3, 30, 2), sides(3, 7, 8, 20), sides(4, 1, 4, 9), sides(5, 12, 12, 12)]


@pytest.fixture(scope="module")
def tied() -> Any:
    return network(FAMILIES["llama, tied"]())


def logprob(model: Any, prompt: int, tokens: tuple[int, ...]) -> Any:
    logits = model(torch.tensor([tokens])).logits[0].log_softmax(-1)
    return sum(logits[place - 1, tokens[place]] for place in range(prompt, len(tokens)))


def plain(model: Any, pair: Sides, names: Callable[[str], bool] = lambda name: True) -> dict[str, Any]:
    """Gradients of chosen minus rejected by name, straight from autograd."""
    chosen = {name: parameter for name, parameter in model.named_parameters() if names(name)}
    for parameter in chosen.values():
        parameter.requires_grad_(True)
    difference = logprob(model, pair.prompt, pair.chosen) - logprob(model, pair.prompt, pair.rejected)
    found = dict(zip(chosen, torch.autograd.grad(difference, list(chosen.values())), strict=True))
    model.requires_grad_(False)
    return found


def norm(gradients: dict[str, Any]) -> float:
    return float(sum(gradient.double().square().sum() for gradient in gradients.values()) ** 0.5)


def assert_same(found: dict[str, float], expected: dict[str, float]) -> None:
    """Norms to 1e-4; shares and the cosine, which are at most one, to 1e-5."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        near = (
            pytest.approx(value, rel=1e-4)
            if name.endswith("norm") and "/" not in name
            else pytest.approx(value, abs=1e-5)
        )
        assert found[name] == near, name


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("last_blocks", [None, 2])
def test_a_batch_gives_what_one_backward_pass_for_each_answer_gives(family: str, last_blocks: int | None) -> None:
    model = network(FAMILIES[family]())
    assert uncovered(model, PAIRS, last_blocks) == ""
    found = dict(directional_gradients(model, PAIRS, last_blocks=last_blocks, budget=130))
    expected = dict(per_pair_gradients(model, PAIRS, last_blocks=last_blocks))
    assert sorted(found) == list(range(len(PAIRS)))
    for place in expected:
        assert_same(found[place], expected[place])


@pytest.mark.parametrize("family", ["llama, tied", "gpt2, layer norms and learned positions"])
def test_the_norm_is_that_of_plain_autograd_over_all_parameters(family: str) -> None:
    model = network(FAMILIES[family]())
    found = dict(directional_gradients(model, PAIRS))
    for place, pair in enumerate(PAIRS):
        assert found[place]["norm"] == pytest.approx(norm(plain(model, pair)), rel=1e-4)


@pytest.mark.parametrize("explicit", [0.0, 1e9], ids=["explicit", "Gram"])
def test_both_forms_of_a_linear_layer_give_the_same(
    tied: Any, monkeypatch: pytest.MonkeyPatch, explicit: float
) -> None:
    monkeypatch.setattr(gradient_forms, "EXPLICIT", explicit)
    monkeypatch.setattr(gradient_forms, "ROOM", 700)  # a few rows at a time, the last time fewer
    found, expected = dict(directional_gradients(tied, PAIRS)), dict(per_pair_gradients(tied, PAIRS))
    for place in expected:
        assert_same(found[place], expected[place])


def test_the_gram_form_is_chosen_for_short_answers_and_the_explicit_one_for_long() -> None:
    assert gradient_forms.gram_is_cheaper((100, 100), 576, 1536)
    assert not gradient_forms.gram_is_cheaper((2000, 2000), 576, 1536)
    assert not gradient_forms.gram_is_cheaper((300, 300), 576, 192)
    assert gradient_forms.gram_is_cheaper((300, 300), 576, 192, users=3)


@pytest.mark.parametrize("together", [1, 2, 5])
def test_batch_composition_and_padding_change_nothing(
    tied: Any, monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    monkeypatch.setattr(gradient_pass, "TOGETHER", together)
    alone = dict(directional_gradients(tied, PAIRS, budget=1))
    all_at_once = dict(directional_gradients(tied, PAIRS, budget=10_000))
    turned = dict(directional_gradients(tied, PAIRS[::-1], budget=150))
    for place in range(len(PAIRS)):
        assert_same(all_at_once[place], alone[place])
        assert_same(turned[len(PAIRS) - 1 - place], alone[place])


@pytest.mark.parametrize("family", ["llama, tied", "llama, untied", "gemma, scale of 1 + w"])
def test_tokens_that_occur_several_times_on_both_sides_are_merged(family: str) -> None:
    """Three ids in all, the padding's among them: nearly every row of the table gathers many tokens."""
    model = network(FAMILIES[family]())
    pairs = [sides(seed, 4, 9, 14, vocabulary=3) for seed in range(3)]
    found = dict(directional_gradients(model, pairs))
    for place, pair in enumerate(pairs):
        gradients = plain(model, pair)
        table = {name: gradient for name, gradient in gradients.items() if "embed" in name}
        assert found[place]["norm"] == pytest.approx(norm(gradients), rel=1e-4)
        assert found[place]["layer/embedding"] == pytest.approx((norm(table) / norm(gradients)) ** 2, abs=1e-5)


def test_an_answer_of_one_token_against_one_of_sixty(tied: Any) -> None:
    pair = sides(6, 2, 1, 60)
    assert dict(directional_gradients(tied, [pair]))[0]["norm"] == pytest.approx(norm(plain(tied, pair)), rel=1e-4)


def test_last_blocks_is_the_norm_over_their_parameters_alone(tied: Any) -> None:
    found = dict(directional_gradients(tied, PAIRS, last_blocks=1))
    for place, pair in enumerate(PAIRS):
        assert found[place]["norm"] == pytest.approx(
            norm(plain(tied, pair, lambda name: ".layers.2." in name)), rel=1e-4
        )
        assert {name for name in found[place] if name.startswith("layer/")} == {"layer/2"}


@pytest.mark.parametrize("count", [0, 4, -1])
def test_more_last_blocks_than_there_are_is_refused(tied: Any, count: int) -> None:
    with pytest.raises(InputError, match=f"last_blocks is {count} and the model has 3 blocks"):
        next(directional_gradients(tied, PAIRS, last_blocks=count))


def test_shares_add_up_to_one_and_are_those_of_plain_autograd(tied: Any) -> None:
    found = dict(directional_gradients(tied, PAIRS))[0]
    for kind in ("layer/", "group/"):
        assert sum(value for name, value in found.items() if name.startswith(kind)) == pytest.approx(1)
    assert {name for name in found if name.startswith("layer/")} == {
        "layer/0", "layer/1", "layer/2", "layer/embedding", "layer/norm",
    }  # fmt: skip
    gradients = plain(tied, PAIRS[0])
    for name, asked in (
        ("group/q_proj", ".q_proj."),
        ("layer/1", ".layers.1."),
        ("group/embed_tokens", "embed_tokens"),
    ):
        some = norm({key: gradient for key, gradient in gradients.items() if asked in key})
        assert found[name] == pytest.approx((some / norm(gradients)) ** 2, abs=1e-6)


def test_two_modules_of_one_name_in_a_block_are_two_groups() -> None:
    found = dict(directional_gradients(network(FAMILIES["gpt2, layer norms and learned positions"]()), PAIRS))[0]
    assert {"group/attn.c_proj", "group/mlp.c_proj", "group/c_attn", "group/wpe"} <= found.keys()
    assert "group/c_proj" not in found


def test_the_gradient_of_the_dpo_loss_has_beta_sigma_times_the_norm(tied: Any) -> None:
    beta, reference = 0.3, (-30.0, -28.5)
    pair = PAIRS[0]
    tied.requires_grad_(True)
    both = logprob(tied, pair.prompt, pair.chosen), logprob(tied, pair.prompt, pair.rejected)
    margin = beta * ((both[0] - reference[0]) - (both[1] - reference[1]))
    gradients = torch.autograd.grad(-torch.nn.functional.logsigmoid(margin), list(tied.parameters()))
    tied.requires_grad_(False)
    weight = beta * float(torch.sigmoid(-margin.detach()))
    expected = weight * dict(directional_gradients(tied, [pair]))[0]["norm"]
    assert norm(dict(enumerate(gradients))) == pytest.approx(expected, rel=1e-4)  # type: ignore[arg-type]


def test_equal_answers_have_no_direction_and_no_shares(tied: Any) -> None:
    pair = Sides(5, PAIRS[0].chosen, PAIRS[0].chosen)
    for found in (dict(directional_gradients(tied, [pair]))[0], dict(per_pair_gradients(tied, [pair]))[0]):
        assert found["norm"] == 0
        assert found["chosen_norm"] > 0
        assert found["cosine"] == pytest.approx(1)
        assert not [name for name in found if "/" in name]


def test_an_empty_answer_has_no_cosine(tied: Any) -> None:
    pair = Sides(5, PAIRS[0].chosen, PAIRS[0].chosen[:5])
    found = dict(directional_gradients(tied, [pair]))[0]
    assert found["rejected_norm"] == 0
    assert found["norm"] == pytest.approx(found["chosen_norm"])
    assert "cosine" not in found


def test_a_weight_that_is_not_a_number_shows_in_every_pair() -> None:
    model = network(FAMILIES["llama, tied"]())
    model.model.layers[1].mlp.up_proj.weight[3, 3] = torch.nan
    assert uncovered(model, PAIRS) == ""
    for _, found in directional_gradients(model, PAIRS):
        assert found["norm"] != found["norm"]


@pytest.mark.parametrize("family", SLOW)
def test_a_model_without_a_batched_form_is_named_and_still_exact(family: str) -> None:
    config, reason = SLOW[family]
    model = network(config())
    assert reason in uncovered(model, PAIRS)
    found = dict(directional_gradients(model, PAIRS[:2]))
    for place, pair in enumerate(PAIRS[:2]):
        assert found[place]["norm"] == pytest.approx(norm(plain(model, pair)), rel=1e-4)


def test_a_module_that_does_more_than_its_form_says_is_found(tied: Any) -> None:
    block = tied.model.layers[1]
    block.input_layernorm.forward, before = (
        (lambda x: x * block.input_layernorm.weight.sum()),
        block.input_layernorm.forward,
    )
    try:
        assert "layers.1.input_layernorm does not do" in uncovered(tied, PAIRS)
    finally:
        block.input_layernorm.forward = before


def test_a_weight_used_by_two_modules_is_found() -> None:
    model = network(FAMILIES["llama, untied"]())
    model.model.layers[2].mlp.up_proj.weight = model.model.layers[0].mlp.up_proj.weight
    assert "is shared" in uncovered(model, PAIRS)


def test_the_model_is_left_as_it_was(tied: Any) -> None:
    wanted = tied.model.layers[0].mlp.up_proj.weight.requires_grad_(True)
    found = dict(directional_gradients(tied, PAIRS)), dict(per_pair_gradients(tied, PAIRS))
    assert found
    assert [parameter.requires_grad for parameter in tied.parameters()].count(True) == 1
    assert all(parameter.grad is None for parameter in tied.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in tied.modules())
    wanted.requires_grad_(False)


class Made(TorchDispatchMode):
    """The shapes of all tensors that are made, views aside."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: set[tuple[int, ...]] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, (tuple, list)) else [made]:
            if isinstance(tensor, torch.Tensor) and not func.is_view:
                self.shapes.add(tuple(tensor.shape))
        return made


def test_no_weight_gradient_of_vocabulary_size_is_formed() -> None:
    model = network(LlamaConfig(**SIZES | {"vocab_size": 1000}, tie_word_embeddings=True))
    with Made() as seen:
        assert dict(directional_gradients(model, PAIRS, budget=64))
    assert (1000, 32) not in seen.shapes
    with Made() as seen:
        assert dict(per_pair_gradients(model, PAIRS[:1]))
    assert (1000, 32) in seen.shapes


@pytest.fixture(scope="module")
def real() -> Any:
    needs(embedded.PACKAGE)
    return load_network(embedded.prepare())


@pytest.mark.real
def test_the_embedded_model_agrees_with_one_backward_pass_for_each_answer(real: Any) -> None:
    pairs = [sides(seed, 30, 70 - 9 * seed, 40 + 11 * seed, vocabulary=49152) for seed in range(4)]
    assert uncovered(real, pairs) == ""
    found, expected = dict(directional_gradients(real, pairs)), dict(per_pair_gradients(real, pairs))
    for place in expected:
        assert_same(found[place], expected[place])
        assert len([name for name in found[place] if name.startswith("layer/")]) == 32
