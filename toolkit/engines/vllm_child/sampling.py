"""Seeded draws for vLLM on a CPU, through vLLM's own interface for logits processors.

vLLM makes an exponential number for each token of the vocabulary, and for a request with a seed once more: 5.7 of
11.9 s (SmolLM2-135M, 64 sequences, two cores). Here the token is drawn by drawing.py and its logit raised to infinity,
so that vLLM's greedy choice takes it: 0.6 of 7.0 s. The distribution is vLLM's; which text a seed gives is not. On a
GPU, where nothing of it was measured, seeds are left to vLLM.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from drawing import choose, noise, numbers  # type: ignore[import-not-found]  # beside this file, which is no package in the child
from torch import Tensor
from vllm import SamplingParams
from vllm.v1.sample.logits_processor import LogitsProcessor
from vllm.v1.sample.logits_processor.builtin import process_dict_updates


@dataclass(frozen=True)
class Draws:
    """Of one request: how its tokens are drawn, and those that were so far."""

    seed: int
    temperature: float
    top_p: float
    written: list[int]


class SeededDraws(LogitsProcessor):  # type: ignore[misc]  # vLLM is foreign to the type checker
    """Draws for the requests that `seeded` made; all others are vLLM's own affair."""

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        self._draws: dict[int, Draws] = {}

    def is_argmax_invariant(self) -> bool:
        return False

    def update_state(self, batch_update: Any) -> None:
        process_dict_updates(self._draws, batch_update, _draws)

    def apply(self, logits: Tensor) -> Tensor:
        if self._draws:
            rows, draws = list(self._draws), list(self._draws.values())
            seeds, positions = [one.seed for one in draws], [len(one.written) for one in draws]
            temperatures = torch.tensor([[one.temperature] for one in draws])
            top_p = torch.tensor([one.top_p for one in draws], dtype=torch.float64)
            random = noise(seeds, positions, numbers(logits.shape[-1]))
            logits[rows, choose(logits[rows] / temperatures, top_p, random)] = torch.inf
        return logits


def seeded(temperature: float, top_p: float, max_tokens: int, seed: int) -> SamplingParams:
    """Parameters of a request whose tokens are drawn here."""
    drawn = {"seed": seed, "temperature": temperature, "top_p": top_p}
    return SamplingParams(temperature=0.0, max_tokens=max_tokens, extra_args=drawn)


def _draws(params: SamplingParams, prompt: list[int] | None, written: list[int]) -> Draws | None:
    return Draws(**params.extra_args, written=written) if params.extra_args else None
