"""What a plan costs on some hardware: tokens, hours and disk of every stage that is still to do.

    python -m toolkit.recipes.temporal --plan --hardware 8xH100 --model llama-8b

A stage's rate is the first of these that there is, and its line says which:

    measured     this store's launches, or rates.toml, ran the stage on so many of these devices with this model
    scaled       they ran it on another number of these devices or with a model of another size: in proportion to both
    arithmetic   nobody measured it: FLOPs of a token over an assumed share of the device's peak (rates.toml)

FLOPs of a token, with N parameters (arXiv 2001.08361, section 2.1): 2 N to read or write it, 6 N to train on it, 2 N
for DPO's reference, 2 N where activations are computed again. Where no request of this kind was measured, its tokens
are the most that the recipe allows, and a shared prefix is read each time. Left out: starts of what nobody measured,
time between stages, memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from toolkit.config import Recipe
from toolkit.judgments.rubric import load_rubric
from toolkit.lab import Lab, Step
from toolkit.progress import duration
from toolkit.prompts.source import load_prompts
from toolkit.reporting.cost.rates import Hardware, Measured, hardware, measured, parameters, saved, table
from toolkit.reporting.tables import Table

CHARACTERS = 4  # of a token, where no tokenizer has counted
BYTES = 2  # of a trained weight, in bfloat16
ASKING, TRAINING = ("generate", "judge", "evaluate"), "train"


@dataclass(frozen=True)
class Load:
    """What is to do of one kind. requests: answers, verdicts, or rows times epochs; read, written: tokens of one of
    them, `reused` of which an engine will know already; known: they were measured. most: see Measured."""

    stage: str
    method: str
    model: str
    most: int | None
    steps: int = 0
    requests: int = 0
    read: float = 0.0
    written: float = 0.0
    reused: float = 0.0
    known: bool = False

    @property
    def computed(self) -> float:
        return self.requests * (self.read - self.reused + self.written)


@dataclass(frozen=True)
class Cost:
    """One line. seconds: of the whole machine; disk: bytes; rate: measured, scaled or arithmetic; source: from what."""

    stage: str
    requests: int
    read: int
    written: int
    seconds: float
    device_hours: float
    disk: int
    rate: str
    source: str


def costs(lab: Lab, machine: Hardware) -> list[Cost]:
    """A line for each stage of the lab's plan that has work left for an engine or a trainer."""
    rows = measured(lab.store)
    return [_cost(lab.recipe, load, machine, rows) for load in _loads(lab, rows)]


def cost_text(lab: Lab, wanted: str) -> str:
    """The costs as a table, and below it where each rate is from."""
    machine = hardware(wanted)
    found = costs(lab, machine)
    columns = ("stage", "to do", "tokens read", "written", "time", f"{machine.unit} hours", "disk", "rate")
    sums = [sum(getattr(cost, name) for cost in found) for name in ("seconds", "device_hours", "disk")]
    last = ("all", "", "", "", duration(sums[0]), f"{sums[1]:,.3f}", _size(sums[2]), "")
    shown = Table(f"Cost on {machine} of what is to do", columns, (*map(_row, found), last))
    return "\n".join(["", shown.text(), "", *(f"{cost.stage}: {cost.source}" for cost in found)])


def _row(cost: Cost) -> tuple[str, ...]:
    counts = (f"{n:,}" for n in (cost.requests, cost.read, cost.written))
    return (cost.stage, *counts, duration(cost.seconds), f"{cost.device_hours:,.3f}", _size(cost.disk), cost.rate)


def _size(count: float) -> str:
    return f"{count / 1e9:,.2f} GB"


# what is to do


def _loads(lab: Lab, rows: Sequence[Measured]) -> Iterator[Load]:
    """The plan's steps by stage, with the tokens of each request."""
    recipe = lab.recipe
    texts = fmean(len(prompt.text) for prompt in load_prompts(recipe.prompts))
    answer = Load("generate", "", recipe.model, recipe.answers.max_tokens, read=texts / CHARACTERS)
    answer = _as_measured(replace(answer, written=recipe.answers.max_tokens), rows)
    for load in _todo(lab.steps, recipe):
        if load.stage == "generate":
            yield replace(answer, steps=load.steps, requests=load.requests)
        else:
            yield _as_measured(_guessed(load, answer, recipe), rows)


def _todo(steps: Sequence[Step], recipe: Recipe) -> list[Load]:
    found: dict[tuple[str, str], Load] = {}
    learned = 0  # rows that the next training learns from, at most
    for step in steps:
        learned = step.total if step.stage in ("pair", "demonstrate") else learned
        todo = step.total - step.cached
        if todo and step.stage in (*ASKING, TRAINING):
            kind = _kind(step, recipe)
            epochs = (recipe.sft if kind.method == "SFT" else recipe.training).epochs
            before = found.setdefault((kind.stage, kind.method), kind)
            found[kind.stage, kind.method] = replace(
                before,
                steps=before.steps + 1,
                requests=before.requests + (learned * epochs if kind.stage == TRAINING else todo),
                written=before.written + step.new_tokens,  # in all, for now
            )
    return [replace(load, written=load.written / load.requests) for load in found.values() if load.requests]


def _kind(step: Step, recipe: Recipe) -> Load:
    if step.stage == TRAINING:
        return Load(TRAINING, step.stats["method"], recipe.model, None)
    if step.stage == "judge":
        by = recipe.model if recipe.judge.by in ("present", "past") else recipe.judge.by
        return Load("judge", recipe.judge.method, by, recipe.judge.max_tokens)
    return Load(step.stage, "", recipe.model, recipe.answers.max_tokens)


def _guessed(load: Load, answer: Load, recipe: Recipe) -> Load:
    """With what one request reads, from characters and limits. Of an evaluation's questions nothing is known."""
    whole = answer.read + answer.written
    if load.stage == "judge" and recipe.judge.method != "reward":
        rubric = load_rubric(recipe.judge.rubric)
        return replace(load, read=(len(rubric.system) + len(rubric.user)) / CHARACTERS + whole)
    if load.stage == TRAINING:
        sides, settings = (1, recipe.sft) if load.method == "SFT" else (2, recipe.training)
        return replace(load, read=sides * min(whole, settings.max_length), written=0)
    return load


def _as_measured(load: Load, rows: Sequence[Measured]) -> Load:
    """With the tokens that requests of this kind had, where some were measured."""
    kind = (load.stage, load.method, load.model, load.most)
    row = next((row for row in rows if (row.stage, row.method, row.model, row.most) == kind), None)
    if row is None:
        return load
    read, reused, written = (n / row.requests for n in (row.read, row.reused, row.written))
    return replace(load, read=read, reused=reused, written=written, known=True)


# what it takes


def _cost(recipe: Recipe, load: Load, machine: Hardware, rows: Sequence[Measured]) -> Cost:
    elsewhere = load.stage == "judge" and (recipe.judge.base_url or recipe.judge.method == "reward")
    if elsewhere:
        seconds, rate, source = 0.0, "-", "not made by an engine of this machine, so not counted"
    else:
        used = replace(machine, count=_devices(recipe, load, machine))
        seconds, rate, source = _timed(recipe, load, used, rows)
        source += f"; by the recipe {used.count} of {machine.count} devices work" if used != machine else ""
    each = (
        "measured"
        if load.known
        else f"guessed: {CHARACTERS} characters a token, no template, answers as long as allowed"
    )
    return Cost(
        stage=f"{load.stage} {load.method}".strip(),
        requests=load.requests,
        read=round(load.requests * load.read),
        written=round(load.requests * load.written),
        seconds=round(seconds, 1),
        device_hours=seconds * machine.count / 3600,
        disk=round(_disk(load)),
        rate=rate,
        source=f"{source}; {load.read:.0f} tokens read and {load.written:.0f} written for each, {each}",
    )


def _devices(recipe: Recipe, load: Load, machine: Hardware) -> int:
    """How many devices of the machine this stage uses by the recipe: all cores, or a GPU for each part of an engine."""
    engine = recipe.engine
    parts = engine.tensor_parallel_size * engine.pipeline_parallel_size * engine.data_parallel_size
    parts *= engine.cluster.workers if engine.kind == "ray" else 1
    asked = recipe.trainer.gpus or machine.count if load.stage == TRAINING else parts
    return machine.count if machine.name == "cpu" else min(asked, machine.count)


def _timed(recipe: Recipe, load: Load, used: Hardware, rows: Sequence[Measured]) -> tuple[float, str, str]:
    """(seconds, kind of rate, its source)."""
    size, engine = parameters(load.model), "openrlhf" if load.stage == TRAINING else recipe.engine.kind
    kind = (engine, load.stage, load.method, used.name)
    near = [row for row in rows if (row.engine, row.stage, row.method, row.hardware.name) == kind]
    if not near:
        return _by_arithmetic(recipe, load, used, size)
    row = min(near, key=lambda row: (row.model != load.model, row.hardware != used))
    factor = 1.0 if row.model == load.model else size / parameters(row.model)
    factor *= row.hardware.count / used.count
    seconds = load.computed * factor * row.seconds / row.computed + load.steps * row.start_seconds / row.steps
    said = f"{row.steps} steps of {row.model} on {row.hardware} ({row.source}): {row.computed:,} tokens computed in "
    said += f"{row.seconds:.1f} s, {row.start_seconds / row.steps:.1f} s for each start"
    same = (row.model, row.hardware) == (load.model, used)
    return (
        (seconds, "measured", said) if same else (seconds, "scaled", f"times {factor:.3g} of what was measured: {said}")
    )


def _by_arithmetic(recipe: Recipe, load: Load, used: Hardware, size: float) -> tuple[float, str, str]:
    peak, share = table()["flops"][used.name], table()["share"]
    if load.stage == TRAINING:
        again = 2 if recipe.trainer.gradient_checkpointing and used.name != "cpu" else 0
        each = (6 if load.method == "SFT" else 8) + again
        flops, shares = load.requests * load.read * each * size / share["training"], f"{share['training']:.0%}"
        said = f"{each} x {size:.3g} FLOPs a token"
    else:
        read, written = load.read - load.reused, load.written
        flops = load.requests * 2 * size * (read / share["reading"] + written / share["writing"])
        shares = f"{share['reading']:.0%} reading and {share['writing']:.0%} writing"
        said = f"2 x {size:.3g} FLOPs a token"
    said = f"not measured: {said}, {shares} assumed of {used.count} x {peak / 1e12:g} TFLOP/s; starts not counted"
    return flops / (peak * used.count), "arithmetic", said


def _disk(load: Load) -> float:
    """Bytes of the rows in the store, or of the checkpoints beside it."""
    if load.stage == TRAINING:
        return load.steps * saved(load.model) * BYTES
    each: dict[str, float] = table()["store"]
    return load.requests * (each["row"] + each["token"] * load.written)
