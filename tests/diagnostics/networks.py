"""Tiny random models of some architectures, and pairs of random tokens for them."""

from __future__ import annotations

import math
import random
from typing import Any

from toolkit.diagnostics.sequences import Sides

VOCABULARY = 97
SMALL = {"vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256}
ENDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": {"tie_word_embeddings": True},
    "qwen2": {},
    "gpt2": {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 256},
    "gemma2": {"head_dim": 8, "final_logit_softcapping": 0.5, "sliding_window": 16},
    "cohere": {"logit_scale": 0.25},
    "granite": {"logits_scaling": 3.0},
}


def network(kind: str = "llama", seed: int = 0) -> Any:
    """Random weights, large enough that no two features are alike and a cap on the logits is felt."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    own = ARCHITECTURES[kind]
    config = AutoConfig.for_model(kind, **ENDS, **(own if kind == "gpt2" else {**SMALL, **HEADS, **own}))
    config.initializer_range = 0.2
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)


def rounding(model: Any) -> float:
    """The relative error that one float32 forward pass may gather, on any processor and in any batch: the spacing of
    float32, times the square root of the terms of a layer's longest sum, for each block."""
    import torch

    settings = model.config
    longest = max(settings.hidden_size, getattr(settings, "intermediate_size", None) or 4 * settings.hidden_size)
    return float(torch.finfo(torch.float32).eps * settings.num_hidden_layers * math.sqrt(longest))


def some_pairs(number: int = 7, seed: int = 0) -> list[Sides]:
    """Prompts and answers of very different lengths, the shortest answer the end alone."""
    rng = random.Random(seed)

    def tokens(n: int) -> tuple[int, ...]:
        return tuple(rng.randrange(3, VOCABULARY) for _ in range(n))

    made = []
    for _ in range(number):
        prompt = tokens(rng.randrange(1, 20))
        chosen, rejected = ((*prompt, *tokens(rng.choice([0, 1, 5, 30, 60])), 2) for _ in range(2))
        made.append(Sides(len(prompt), chosen, rejected))
    return made
