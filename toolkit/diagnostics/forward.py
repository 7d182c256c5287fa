"""forward(): likelihoods and features of both sides of every pair, each distinct sequence read by the model once.

Found for each pair, by name:

    chosen_logprob, rejected_logprob   log pi(answer | prompt) in nats: a sum over the answer's tokens, its end included
    chosen_tokens, rejected_tokens     how many tokens that sum has
    cosine_mean, cosine_last           between the sides' last-layer features (after the final norm): mean over the
                                       answer's tokens, and at the last token before the end
    cosine_mean/D, cosine_last/D       the same after block D, counted from 1 (0 is the embeddings)
    ches, ches_normalized              last layer; representations.py has the positions, formulas and source

Sequences of like length share a batch, padded behind their end. A causal model lets no token see a later one, so no
number depends on the padding or the batch, and no attention mask is needed. What is not finite is handed on as it is.

Left out: what two models say of one pair (margin, weight: views of the store), and where a pair's tokens come from
(sides.py). A prompt that both sides share is read with each of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from toolkit.diagnostics.head import Head, head_of
from toolkit.diagnostics.representations import Pooled, ches, ches_normalized, cosine, pool
from toolkit.diagnostics.sequences import Sides, packed
from toolkit.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

BUDGET = 4096  # tokens of a batch, padding included
Answer = tuple[int, tuple[int, ...]]  # length of the prompt, and the tokens of prompt + answer + end


@dataclass(frozen=True)
class Reading:
    """What the model said of one answer. pooled: by depth, as the names of the numbers end ("" is the last layer)."""

    logprob: float
    pooled: Mapping[str, Pooled]


@dataclass(frozen=True)
class Network:
    """A causal model, its checked head, and the depths to read beside the last layer."""

    model: Any
    head: Head
    depths: tuple[int, ...]


def forward(
    model: Any, pairs: Sequence[Sides], depths: Sequence[int] = (), budget: int = BUDGET
) -> Iterator[tuple[int, dict[str, float]]]:
    """(place of the pair in `pairs`, what was found), as batches finish.

    InputError for a depth the model lacks, a pair without a prompt or an answer, and a head that is not known.
    """
    answers = [_answers(pair, place) for place, pair in enumerate(pairs)]
    distinct = list(dict.fromkeys(answer for both in answers for answer in both))
    if not distinct:
        return
    network = _network(model, distinct[0], depths)
    waiting = _users(answers)
    known: dict[Answer, Reading] = {}
    for batch in packed([len(tokens) for _, tokens in distinct], budget):
        now = [distinct[place] for place in batch]
        known.update(zip(now, read(network, now), strict=True))
        for place in sorted({place for answer in now for place in waiting[answer]}):
            chosen, rejected = answers[place]
            if chosen in known and rejected in known:
                yield place, compared(known[chosen], known[rejected])
                waiting[chosen].discard(place)
                waiting[rejected].discard(place)
        known = {answer: reading for answer, reading in known.items() if waiting[answer]}


def logprobs(model: Any, answers: Sequence[Answer], budget: int = BUDGET) -> list[float]:
    """log pi(answer | prompt) in nats of each answer, in their order. Raises InputError for an unknown head."""
    if not answers:
        return []
    network, sums = _network(model, answers[0], ()), [0.0] * len(answers)
    for batch in packed([len(tokens) for _, tokens in answers], budget):
        for place, reading in zip(batch, read(network, [answers[place] for place in batch]), strict=True):
            sums[place] = reading.logprob
    return sums


def read(network: Network, answers: Sequence[Answer]) -> list[Reading]:
    """One forward pass over a batch. No gradient is recorded."""
    import torch

    with torch.no_grad():
        layers = _layers(network, _padded(answers, network.model.device))
        sums = _logprobs(network.head, layers[""], answers)
        pooled = {name: _pooled(layer, answers) for name, layer in layers.items()}
    return [Reading(total, {name: pooled[name][row] for name in pooled}) for row, total in enumerate(sums)]


def compared(chosen: Reading, rejected: Reading) -> dict[str, float]:
    """The numbers of a pair, by the names of the module's docstring."""
    found = {"chosen_logprob": chosen.logprob, "rejected_logprob": rejected.logprob}
    one, other = chosen.pooled[""], rejected.pooled[""]
    found |= {"chosen_tokens": float(one.tokens), "rejected_tokens": float(other.tokens)}
    for depth, pooled in chosen.pooled.items():
        found[f"cosine_mean{depth}"] = cosine(pooled.mean, rejected.pooled[depth].mean)
        found[f"cosine_last{depth}"] = cosine(pooled.last, rejected.pooled[depth].last)
    return found | {"ches": ches(one, other), "ches_normalized": ches_normalized(one, other)}


def _answers(pair: Sides, place: int) -> tuple[Answer, Answer]:
    if not 0 < pair.prompt < min(len(pair.chosen), len(pair.rejected)):
        lengths = f"{len(pair.chosen)} and {len(pair.rejected)} tokens, {pair.prompt} of them the prompt's"
        raise InputError(
            f"nothing to measure: {lengths}", where=f"pair {place}", remedy="make the pairs with diagnostics.sides"
        )
    return (pair.prompt, pair.chosen), (pair.prompt, pair.rejected)


def _users(answers: Sequence[tuple[Answer, Answer]]) -> dict[Answer, set[int]]:
    users: dict[Answer, set[int]] = {}
    for place, both in enumerate(answers):
        for answer in both:
            users.setdefault(answer, set()).add(place)
    return users


def _network(model: Any, answer: Answer, depths: Sequence[int]) -> Network:
    import torch

    blocks = model.config.get_text_config().num_hidden_layers
    if strange := [depth for depth in depths if not 0 <= depth <= blocks]:
        raise InputError(
            f"no depth {', '.join(map(str, strange))} in a model of {blocks} blocks",
            where="depths of the diagnostics",
            remedy=f"name depths from 0 (the embeddings) to {blocks}",
        )
    with torch.no_grad():
        head = head_of(model, torch.tensor(answer[1], device=model.device))
    return Network(model, head, tuple(depths))


def _padded(answers: Sequence[Answer], device: Any) -> Tensor:
    """Rows of like length. A row is filled up with its own last token: any would do, as nothing reads it."""
    import torch

    longest = max(len(tokens) for _, tokens in answers)
    return torch.tensor([tokens + tokens[-1:] * (longest - len(tokens)) for _, tokens in answers], device=device)


def _layers(network: Network, rows: Tensor) -> dict[str, Tensor]:
    out = network.model.base_model(input_ids=rows, use_cache=False, output_hidden_states=bool(network.depths))
    return {"": out.last_hidden_state} | {f"/{depth}": out.hidden_states[depth] for depth in network.depths}


def _pooled(layer: Tensor, answers: Sequence[Answer]) -> list[Pooled]:
    """On the CPU, by one transfer for the batch."""
    import torch

    rows = [pool(row, prompt, len(tokens)) for row, (prompt, tokens) in zip(layer, answers, strict=True)]
    counts = [len(tokens) - prompt for prompt, tokens in answers]
    kept = zip(torch.stack(rows).cpu(), counts, strict=True)
    return [Pooled(three[0], three[1], three[2], tokens) for three, tokens in kept]


def _logprobs(head: Head, layer: Tensor, answers: Sequence[Answer]) -> list[float]:
    """Summed over each answer's tokens, in float64."""
    import torch

    rows = [row[prompt - 1 : len(tokens) - 1] for row, (prompt, tokens) in zip(layer, answers, strict=True)]
    targets = torch.tensor([token for prompt, tokens in answers for token in tokens[prompt:]], device=layer.device)
    each = head.logprobs(torch.cat(rows), targets).double().cpu()
    return [float(part.sum()) for part in each.split([len(row) for row in rows])]
