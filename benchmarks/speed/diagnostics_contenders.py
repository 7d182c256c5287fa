"""What `diagnostics.py` measures, one contender a process: diagnostics_contenders.py NAME JSON. Prints one JSON line.

A contender is a generator over batches of the same pairs: the norm of each pair's directional gradient, longest pair
first, or nothing from those that only pass. No time counts outside its steps, so several can take turns.

    exact        the toolkit's
    plain        forward and backward pass with weight gradients, no norms; logits at answer tokens alone, as in `exact`
    plain_all    the same with logits at all tokens, as a model gives them
    each         one backward pass a pair, and the norm of what it left
    vmap         torch.func: vmap(grad) over pairs
    opacus       GradSampleModule: a gradient for each answer, subtracted; its own treatment of a tied table
    metrics      the toolkit's likelihoods, cosines at three depths and the last layer, and CHES
    passes       forward passes over the same sequences in the same batches; logits at answer tokens alone
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from clock import peak

from toolkit.diagnostics.forward import forward
from toolkit.diagnostics.gradient import directional_gradients
from toolkit.diagnostics.sequences import Sides, batches, packed
from toolkit.engines import embedded
from toolkit.engines.network import load_network

CHUNK = 50  # pairs of a turn of those that only read
DEPTHS = (8, 15, 22)
Found = dict[str, Any]
Norms = Iterator[list[float]]


def drawn(pairs: int, prompt: list[int], answer: list[int], vocabulary: int = 49152) -> list[Sides]:
    """Random tokens; prompt and answer lengths uniform between the two numbers given."""
    draw = random.Random(0)
    made = []
    for _ in range(pairs):
        first = [draw.randrange(vocabulary) for _ in range(draw.randint(*prompt))]
        sides = [[draw.randrange(vocabulary) for _ in range(draw.randint(*answer))] for _ in range(2)]
        made.append(Sides(len(first), tuple(first + sides[0]), tuple(first + sides[1])))
    return made


def exact(model: Any, pairs: list[Sides], budget: int) -> Norms:
    found = directional_gradients(model, pairs, budget=budget)
    for places in batches(pairs, budget):
        by_place = dict(next(found) for _ in places)
        yield [by_place[place]["norm"] for place in places]


def plain(model: Any, pairs: list[Sides], budget: int) -> Norms:
    for places in batches(pairs, budget):
        _backward(model, [pairs[place] for place in places], at_answers)
        yield []


def plain_all(model: Any, pairs: list[Sides], budget: int) -> Norms:
    for places in batches(pairs, budget):
        _backward(model, [pairs[place] for place in places], at_all)
        yield []


def each(model: Any, pairs: list[Sides], budget: int) -> Norms:
    for place in _longest_first(pairs):
        yield [_backward(model, [pairs[place]], at_answers, norm=True)]


def vmap(model: Any, pairs: list[Sides], budget: int) -> Norms:
    model.requires_grad_(False)
    weights = {name: parameter.detach() for name, parameter in model.named_parameters()}

    def difference(changed: Any, ids: Any, mask: Any) -> Any:
        logits = torch.func.functional_call(model, changed, (ids,), {"use_cache": False}).logits
        return (_scores(logits, ids) * mask).sum()

    per_pair = torch.func.vmap(torch.func.grad(difference), in_dims=(None, 0, 0), chunk_size=1)
    for place in _longest_first(pairs):
        ids, mask = _padded([pairs[place]])
        yield [_norm(list(per_pair(weights, ids[None], mask[None]).values()))]


def opacus(model: Any, pairs: list[Sides], budget: int) -> Norms:
    from opacus import GradSampleModule

    # it records nothing outside training mode; this model has no dropout
    wrapped = GradSampleModule(model.train().requires_grad_(True), loss_reduction="sum", strict=False)
    for place in _longest_first(pairs):
        ids, mask = _padded([pairs[place]])
        (_scores(wrapped(ids, use_cache=False).logits, ids) * mask).sum().backward()
        # the rejected answer's gradient has its negative sign from the mask
        yield [_norm([parameter.grad_sample.sum(0) for parameter in wrapped.parameters()])]
        wrapped.zero_grad(set_to_none=True)


def metrics(model: Any, pairs: list[Sides], budget: int) -> Norms:
    for some in _chunks(pairs):
        made = dict(forward(model, some, DEPTHS, budget))
        if len(made) != len(some):
            raise SystemExit(f"{len(made)} of {len(some)} pairs were measured")
        yield []


def passes(model: Any, pairs: list[Sides], budget: int) -> Norms:
    """Answer by answer, batched as forward() batches them: by length, chosen and rejected alike."""
    for some in _chunks(pairs):
        answers = list(dict.fromkeys((one.prompt, side) for one in some for side in (one.chosen, one.rejected)))
        for batch in packed([len(tokens) for _, tokens in answers], budget):
            ids, mask = _rows([(*answers[place], 1.0) for place in batch])
            with torch.no_grad():
                at_answers(model, ids, mask)
        yield []


def _chunks(pairs: list[Sides]) -> list[list[Sides]]:
    ordered = [pairs[place] for place in _longest_first(pairs)]
    return [ordered[start : start + CHUNK] for start in range(0, len(ordered), CHUNK)]


CONTENDERS = {one.__name__: one for one in (exact, plain, plain_all, each, vmap, opacus, metrics, passes)}


def at_answers(model: Any, ids: Any, mask: Any) -> Any:
    features = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
    wanted = mask != 0
    return -torch.nn.functional.cross_entropy(model.lm_head(features[wanted]), ids[:, 1:][wanted], reduction="none")


def at_all(model: Any, ids: Any, mask: Any) -> Any:
    return _scores(model(input_ids=ids, use_cache=False).logits, ids)[mask != 0]


def _scores(logits: Any, ids: Any) -> Any:
    return logits[:, :-1].log_softmax(-1).gather(2, ids[:, 1:, None])[..., 0]


def _backward(model: Any, pairs: list[Sides], scores: Any, *, norm: bool = False) -> float:
    model.requires_grad_(True)
    ids, mask = _padded(pairs)
    (scores(model, ids, mask) * mask[mask != 0]).sum().backward()
    found = _norm([parameter.grad for parameter in model.parameters()]) if norm else 0.0
    model.zero_grad(set_to_none=True)
    model.requires_grad_(False)
    return found


def _padded(pairs: list[Sides]) -> tuple[Any, Any]:
    """ids, and for each but the first: 1 in a chosen answer, -1 in a rejected one, else 0."""
    chosen = [(pair.prompt, pair.chosen, 1.0) for pair in pairs]
    return _rows([*chosen, *((pair.prompt, pair.rejected, -1.0) for pair in pairs)])


def _rows(rows: list[tuple[int, tuple[int, ...], float]]) -> tuple[Any, Any]:
    length = max(len(tokens) for _, tokens, _ in rows)
    ids, mask = torch.zeros(len(rows), length, dtype=torch.long), torch.zeros(len(rows), length - 1)
    for row, (prompt, tokens, sign) in enumerate(rows):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        mask[row, prompt - 1 : len(tokens) - 1] = sign
    return ids, mask


def _longest_first(pairs: list[Sides]) -> list[int]:
    return [place for one in batches(pairs, 1) for place in one]


def _norm(gradients: list[Any]) -> float:
    """Added up in float64: in float32 the embedding table's 28 million squares are 1e-5 off."""
    return float(sum(float(gradient.flatten().double().square().sum()) for gradient in gradients) ** 0.5)


def take_turns(names: list[str], pairs: list[Sides], budget: int) -> Found:
    """Seconds and norms of each contender, batch after batch in turn."""
    model = load_network(embedded.prepare())
    running = {name: CONTENDERS[name](model, pairs, budget) for name in names}
    found: Found = {name: {"seconds": 0.0, "cpu_seconds": 0.0, "norms": []} for name in names}
    ended = False
    while not ended:
        for name, steps in running.items():
            wall, cpu = time.perf_counter(), time.process_time()
            norms = next(steps, None)
            found[name]["seconds"] += time.perf_counter() - wall
            found[name]["cpu_seconds"] += time.process_time() - cpu
            found[name]["norms"] += norms or []
            ended = norms is None
    return found


def main() -> None:
    name, arguments = sys.argv[1], json.loads(sys.argv[2])
    pairs = drawn(arguments["pairs"], arguments["prompt"], arguments["answer"])
    pairs = [pairs[place] for place in _longest_first(pairs)[:: arguments.get("every", 1)]][: arguments.get("most")]
    found = take_turns(name.split(","), pairs, arguments["budget"])
    tokens = sum(len(pair.chosen) + len(pair.rejected) for pair in pairs)
    print(json.dumps({"contenders": found, "peak_mb": peak(), "measured_pairs": len(pairs), "tokens": tokens}))


if __name__ == "__main__":
    main()
