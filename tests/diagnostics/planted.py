"""A run whose numbers are planted: as many sets as asked for, one pair a prompt, metrics as given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from toolkit.config import Recipe
from toolkit.lab import Lab, Step
from toolkit.pairs import versions
from toolkit.provenance import capture
from toolkit.records import Metric, Model, Pair, PairSet, Prompt, Response, Training, pair_content
from toolkit.store.database import Store


@dataclass(frozen=True)
class Turn:
    """One iteration: of every pair its norm and gap, of its control the norm; lengths of both sides in characters."""

    norms: Sequence[float | None]
    gaps: Sequence[float]
    draws: Sequence[float] = ()
    lengths: Sequence[tuple[int, int]] = ()
    losses: Sequence[float | None] = (0.69, 0.68)
    more: dict[str, Sequence[float | None]] = field(default_factory=dict)


def plant(store: Store, turns: Sequence[Turn], run: str = "planted", phase: str = "self_rewarding") -> Lab:
    """The store's lab afterwards, of a launch of `run`. Every set was trained on, from M_i to M_i+1."""
    recipe = Recipe(name=run)
    lab = Lab(recipe, store, capture(run, recipe.resolved()), planning=False)
    parent = Model("M_0", "", f"{run} 0", "t")
    store.add([parent], launch=lab.launch.id)
    lab.starts_from(parent)
    for number, turn in enumerate(turns):
        lab.iteration = number
        parent = one_turn(lab, phase, turn, parent)
    return lab


def one_turn(lab: Lab, phase: str, turn: Turn, parent: Model, name: str = "") -> Model:
    """A set of this phase in the lab's iteration, and the model trained on it: M_i+1, where it has no other name."""
    return trained(lab, pairs_of(lab, phase, turn, parent), parent, turn, name or f"M_{lab.iteration + 1}")


def pairs_of(lab: Lab, phase: str, turn: Turn, parent: Model) -> PairSet:
    """The set with what is measured of its pairs, noted as a step."""
    store, launch, number = lab.store, lab.launch.id, lab.iteration
    asked = [Prompt(f"question {number}-{place} of {lab.recipe.name}?") for place in range(len(turn.gaps))]
    sides = [_sides(turn, prompt, place, parent) for place, prompt in enumerate(asked)]
    pairs = [_pair(*both, gap) for both, gap in zip(sides, turn.gaps, strict=True)]
    found = [{"norm": turn.norms[place]} | {k: v[place] for k, v in turn.more.items()} for place in range(len(pairs))]
    store.add(asked, launch=launch)
    store.add([side for both in sides for side in both], launch=launch)
    store.add(
        [Metric(p.chosen, p.rejected, parent.id, "gradient", {}, f) for p, f in zip(pairs, found, strict=True)],
        launch=launch,
    )
    store.add(pairs, launch=launch)
    made, _ = versions.freeze(store, PairSet(phase, 0, number, tuple(pairs)), launch)
    if turn.draws:
        _controls(lab, made.id, parent, list(zip(asked, turn.draws, strict=True)))
    lab.note(Step(number, "pair", phase, made.id, len(pairs), 0))
    return made


def _sides(turn: Turn, prompt: Prompt, place: int, parent: Model) -> tuple[Response, Response]:
    lengths = turn.lengths[place] if turn.lengths else (20, 20)
    texts = [f"{side} of {prompt.text}"[:10].ljust(length, "x") for side, length in zip("cr", lengths, strict=True)]
    chosen, rejected = (Response(prompt.id, parent.id, "present", 0, None, None, text) for text in texts)
    return chosen, rejected


def _pair(chosen: Response, rejected: Response, gap: float) -> Pair:
    texts, ids = (chosen.text or "", rejected.text or ""), (chosen.id, rejected.id)
    content = pair_content(chosen.prompt, texts, (gap, 0.0), ("present", "present"))
    return Pair(chosen.prompt, *ids, gap, 0.0, "present", "present", chosen.model, content)


def _controls(lab: Lab, name: str, parent: Model, norms: Sequence[tuple[Prompt, float]]) -> None:
    launch, rows, metrics, answers = lab.launch.id, [], [], []
    for prompt, norm in norms:
        texts = [f"draw {draw} {prompt.text}" for draw in (1, 2)]
        draws = [Response(prompt.id, parent.id, "present", 0, None, None, text) for text in texts]
        row = {"pair_set": name, "prompt": prompt.id, "chosen": draws[0].id, "rejected": draws[1].id}
        rows.append(row | {"chosen_score": 1.0, "rejected_score": 0.5, "launch": launch})
        metrics.append(Metric(draws[0].id, draws[1].id, parent.id, "gradient", {}, {"norm": norm}))
        answers += draws
    lab.store.add(answers, launch=launch)
    lab.store.insert("control", rows)
    lab.store.add(metrics, launch=launch)


def trained(lab: Lab, pairs: PairSet, parent: Model, turn: Turn, name: str, beta: float = 0.1) -> Model:
    """The model that a training on the set made, noted as a step."""
    training = Training(parent.id, parent.id, pairs.fingerprint, {"beta": beta})
    result = Model(name, "", f"{lab.recipe.name} {lab.iteration + 1}", "t", parent.id, training.id)
    found = {"pair_set": pairs.id, "demonstration_set": None, "model": result.id, "row_count": len(pairs.pairs)}
    lab.store.add([result], launch=lab.launch.id)
    lab.store.add([training], launch=lab.launch.id, **found, batch=8, unseen=0, seconds=1.0)
    logged = {"training": training.id, "metric": "loss"}
    lab.store.insert("training_step", [logged | {"step": i, "value": loss} for i, loss in enumerate(turn.losses)])
    lab.note(Step(lab.iteration, "train", "DPO", result.id, 1, 0, stats={"name": name}))
    return result
