"""What a study measures of gradients: independent of the number of pairs, signed, and of the extremes of the scores."""

from __future__ import annotations

import math

import pytest

from toolkit.evaluation.probe import Probed
from toolkit.lab import Step
from toolkit.records import Prompt, Response
from toolkit.study.measure import Kept, extremes, kept_models, mean_cosine

torch = pytest.importorskip("torch")


def total_of(gradients: list[list[float]]):  # type: ignore[no-untyped-def]
    from toolkit.diagnostics.gradient_sum import Total

    total = Total()
    for gradient in gradients:
        total.add_whole((0, "w"), torch.tensor(gradient))
        total.norms.append(math.hypot(*gradient))
    return total


def test_the_mean_cosine_is_the_weighted_mean_over_pairs_and_zero_for_orthogonal_gradients_of_any_number() -> None:
    gradients = [[3.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 1.0, 2.0]]
    products = weights = 0.0
    for i, one in enumerate(gradients):
        for other in gradients[:i]:
            products += sum(a * b for a, b in zip(one, other, strict=True))
            weights += math.hypot(*one) * math.hypot(*other)
    total = total_of(gradients)
    total.settle()
    assert mean_cosine(total) == pytest.approx(products / weights)
    for size in (2, 3):
        orthogonal = total_of([[float(i == j) for j in range(3)] for i in range(size)])
        orthogonal.settle()
        assert mean_cosine(orthogonal) == pytest.approx(0.0, abs=1e-7)
    for few in ([], [[1.0, 0.0, 0.0]], [[0.0, 0.0, 0.0]] * 2):
        alone = total_of(few)
        alone.settle()
        assert mean_cosine(alone) is None


def test_the_cosine_of_two_sums_has_a_sign_and_none_for_a_sum_of_zero() -> None:
    one, other = total_of([[1.0, 2.0], [0.0, 1.0]]), total_of([[-1.0, 0.0]])
    assert one.cosine(other) == pytest.approx(-1 / math.sqrt(10))
    assert one.cosine(one) == pytest.approx(1.0)
    assert one.cosine(total_of([[1.0, 0.0], [-1.0, 0.0]])) is None and one.cosine(total_of([])) is None


def test_extremes_leave_out_prompts_without_an_order_and_keep_the_first_draw_of_a_tie() -> None:
    prompts = tuple(Prompt(f"p{number}") for number in range(4))
    answers = {
        prompt.id: tuple(Response(prompt.id, "m", "exam", draw, None, draw, text=f"{draw}") for draw in range(3))
        for prompt in prompts
    }
    ids = [[answer.id for answer in answers[prompt.id]] for prompt in prompts]
    scores = dict(zip(ids[0], (1.0, 3.0, 3.0), strict=True)) | dict(zip(ids[1], (2.0, 2.0, 2.0), strict=True))
    scores |= {ids[2][1]: 5.0} | dict(zip(ids[3], (0.0, 1.0, 2.0), strict=True))
    pairs = extremes(Probed(prompts, answers, scores, {}), scores, 3)
    assert [(pair.chosen.draw, pair.rejected.draw) for pair in pairs] == [(1, 0)], "a tie, and one score: left out"


def test_trainings_before_the_first_model_do_not_count_and_temporary_ones_do() -> None:
    def step(stage: str, subject: str, name: str = "") -> Step:
        return Step(0, stage, "", subject, 1, 0, stats={"name": name})

    steps = [
        step("train", "sft", "M_0"), step("start", "sft", "M_0"), step("pair", "anchored@1"),
        step("train", "f", "M_f0"), step("pair", "guided@1"), step("train", "one", "M_1"),
    ]  # fmt: skip
    assert kept_models(steps) == [Kept("M_0", "sft", 0, ""), Kept("M_1", "one", 2, "guided@1")]
