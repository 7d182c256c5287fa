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

from collections.abc import Sequence
from dataclasses import dataclass, replace

from toolkit.config import Recipe
from toolkit.lab import Step
from toolkit.precision import computes, kind, resolve_recipe
from toolkit.progress import duration
from toolkit.reporting.cost.load import CHARACTERS, TRAINING, Load, judge_of, loads, rated_as
from toolkit.reporting.cost.rates import Hardware, Measured, parameters, saved, table
from toolkit.reporting.tables import Table

BYTES = {"bfloat16": 2, "float16": 2, "float32": 4}  # of a trained weight
SUMS = ("requests", "read", "written", "seconds", "device_hours", "disk")


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


def costs(recipe: Recipe, steps: Sequence[Step], machine: Hardware, rows: Sequence[Measured]) -> list[Cost]:
    """A line for each stage of the recipe's plan that has work left for an engine or a trainer. A dtype that the recipe
    leaves to "auto" is this CPU's, or a GPU's where the machine has GPUs."""
    device = {"device": "cpu" if machine.name == "cpu" else "gpu"}
    there = {part: getattr(recipe, part).model_copy(update=device) for part in ("engine", "trainer")}
    recipe = resolve_recipe(recipe.model_copy(update=there))
    return [_cost(recipe, load, machine, rows) for load in loads(recipe, steps, rows)]


def together(found: Sequence[Cost]) -> list[Cost]:
    """A line for each stage of several recipes; the sources of its rates are told with each of them."""
    made = []
    for stage in dict.fromkeys(cost.stage for cost in found):
        alike = [cost for cost in found if cost.stage == stage]
        rates = ", ".join(dict.fromkeys(cost.rate for cost in alike))
        sums = {name: sum(getattr(cost, name) for cost in alike) for name in SUMS}
        made.append(Cost(stage=stage, rate=rates, source="", **sums))
    return made


def cost_text(found: Sequence[Cost], machine: Hardware) -> str:
    """The costs as a table, and below it where each rate is from."""
    columns = ("stage", "to do", "tokens read", "written", "time", f"{machine.unit} hours", "disk", "rate")
    sums = [sum(getattr(cost, name) for cost in found) for name in ("seconds", "device_hours", "disk")]
    last = ("all", "", "", "", duration(sums[0]), f"{sums[1]:,.3f}", _size(sums[2]), "")
    shown = Table(f"Cost on {machine} of what is to do", columns, (*map(_row, found), last))
    return "\n".join(["", shown.text(), "", *(f"{cost.stage}: {cost.source}" for cost in found if cost.source)])


def _row(cost: Cost) -> tuple[str, ...]:
    counts = (f"{n:,}" for n in (cost.requests, cost.read, cost.written))
    return (cost.stage, *counts, duration(cost.seconds), f"{cost.device_hours:,.3f}", _size(cost.disk), cost.rate)


def _size(count: float) -> str:
    return f"{count / 1e9:,.2f} GB"


# what it takes


def _cost(recipe: Recipe, load: Load, machine: Hardware, rows: Sequence[Measured]) -> Cost:
    judge = judge_of(recipe, load.stage)
    elsewhere = judge is not None and (judge.base_url or judge.method == "reward")
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
        disk=round(_disk(load, recipe)),
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
    kind = (engine, rated_as(load.stage), load.method, used.name, _dtype(recipe, load, used))
    near = [row for row in rows if (row.engine, row.stage, row.method, row.hardware.name, row.dtype) == kind]
    if not near:
        return _by_arithmetic(recipe, load, used, size)
    row = min(near, key=lambda row: (row.model != load.model, row.hardware != used))
    factor, by = row.hardware.count / used.count, ["devices"] if row.hardware != used else []
    if row.model != load.model:
        factor, by = factor * size / parameters(row.model), [*by, "parameters"]
    seconds = load.computed * factor * row.seconds / row.computed + load.steps * row.start_seconds / row.steps
    dtype = f" in {row.dtype}" if row.dtype else ""
    said = f"{row.steps} steps of {row.model}{dtype} on {row.hardware} ({row.source}): {row.computed:,} tokens "
    said += f"computed in {row.seconds:.1f} s, {row.start_seconds / row.steps:.1f} s for each start"
    if not by:
        return seconds, "measured", said
    return seconds, "scaled", f"scaled by {' and '.join(by)}: {factor:.3g} times {said}"


def _dtype(recipe: Recipe, load: Load, used: Hardware) -> str:
    """What the stage computes in, as its rates are kept: on a CPU apart where it has no instructions for it."""
    engine = recipe.engine.dtype if computes(recipe.engine) else ""
    dtype = recipe.trainer.dtype if load.stage == TRAINING else engine
    return kind(dtype) if used.name == "cpu" else dtype


def _by_arithmetic(recipe: Recipe, load: Load, used: Hardware, size: float) -> tuple[float, str, str]:
    dtype, share = _dtype(recipe, load, used), table()["share"]
    peaks = {"float32": "flops_float32", "bfloat16": "flops", "float16": "flops", "": "flops"}
    peak = table()[peaks.get(dtype, "flops_slow")][used.name]
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


def _disk(load: Load, recipe: Recipe) -> float:
    """Bytes of the rows in the store, or of the checkpoints beside it."""
    if load.stage == TRAINING:
        return load.steps * saved(load.model) * BYTES[recipe.trainer.dtype]
    each: dict[str, float] = table()["store"]
    return load.requests * (each["row"] + each["token"] * load.written)
