"""Drawn tokens: how often each comes up beside its probability, and what a rounding error changes."""

from __future__ import annotations

import pytest

from tests.conftest import needs

needs("torch")

import torch  # noqa: E402

from toolkit.engines.vllm_child.drawing import choose, noise, numbers  # noqa: E402

SEEDS = 8192


def draws(logits: torch.Tensor, top_p: float = 1.0, position: int = 0) -> torch.Tensor:
    """The token that each seed draws, at one position."""
    random = noise(range(SEEDS), [position] * SEEDS, numbers(logits.shape[-1]))
    return choose(logits.expand(SEEDS, -1), torch.full((SEEDS,), top_p, dtype=torch.float64), random)


def nucleus(logits: torch.Tensor, top_p: float) -> list[float]:
    """Its probabilities, token by token: in it are all than which the more probable ones weigh less than top_p."""
    weights = [float(weight) for weight in logits.double().softmax(-1)]
    kept = [weight if sum(w for w in weights if w > weight) < top_p else 0.0 for weight in weights]
    return [weight / sum(kept) for weight in kept]


def told_apart(tokens: torch.Tensor, probabilities: list[float]) -> float:
    """How far the frequencies are from these probabilities: chi-square of what 5 draws or more are expected of, as a
    number of its standard deviations."""
    counts = tokens.bincount(minlength=len(probabilities)).tolist()
    expected = [(count, SEEDS * p) for count, p in zip(counts, probabilities, strict=True) if p * SEEDS >= 5]
    statistic = sum((count - wanted) ** 2 / wanted for count, wanted in expected)
    return abs(statistic - len(expected)) / (2 * len(expected)) ** 0.5


@pytest.mark.parametrize("size", [100, 256, 1000])
@pytest.mark.parametrize("top_p", [0.5, 0.9, 1.0])
def test_a_token_is_drawn_as_often_as_it_is_probable(size: int, top_p: float) -> None:
    logits = (torch.randn(size, generator=torch.Generator().manual_seed(size)) * 2).bfloat16().float()
    logits[-1] = logits[0]  # equal logits, as a model in bfloat16 often gives them
    expected = nucleus(logits, top_p)
    drawn = draws(logits, top_p)
    assert told_apart(drawn, expected) < 3
    assert all(expected[token] for token in drawn.unique()), "outside of the nucleus"
    assert told_apart(drawn, nucleus(logits * 1.2, top_p)) > 5, "another distribution is seen"


def test_what_has_no_probability_is_never_drawn() -> None:
    logits = torch.full((600,), -torch.inf)
    logits[[0, 255, 256, 599]] = 0
    for top_p in (0.999, 1.0):
        assert draws(logits, top_p).unique().tolist() == [0, 255, 256, 599]


def test_positions_of_one_seed_are_drawn_apart() -> None:
    logits = torch.zeros(64)
    together = (draws(logits, position=0) == draws(logits, position=1)).double().mean()
    assert float(together) == pytest.approx(1 / 64, abs=0.005)


def test_a_rounding_error_changes_hardly_a_draw() -> None:
    logits = torch.randn(5000, generator=torch.Generator().manual_seed(3))
    moved = logits + torch.randn(5000, generator=torch.Generator().manual_seed(4)) * 1e-2
    changed = (draws(logits) != draws(moved)).double().mean()
    assert 0 < float(changed) < 1e-2


def test_rows_of_a_batch_do_not_disturb_each_other() -> None:
    logits = torch.randn(32, 500, generator=torch.Generator().manual_seed(2)) * 2
    random = noise(range(32), range(32), numbers(500))
    top_p = torch.where(torch.arange(32) % 2 == 0, 1.0, 0.6).double()
    alone = [choose(logits[i : i + 1], top_p[i : i + 1], random[i : i + 1]) for i in range(32)]
    assert choose(logits, top_p, random).tolist() == torch.cat(alone).tolist()
