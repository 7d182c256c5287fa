"""A fresh, disjoint part of the prompts for every iteration: the paper's p_i."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from toolkit.config import Prompts as Settings
from toolkit.errors import InputError
from toolkit.identity import content_id
from toolkit.lab import Lab
from toolkit.prompts.source import load_prompts
from toolkit.records import Prompt


def split(lab: Lab, settings: Settings, iterations: int) -> Iterator[tuple[Prompt, ...]]:
    """The part of each iteration in turn; opens the iteration in the lab. Prompts are stored first."""
    chosen = parts(load_prompts(settings), settings.part_size, iterations, settings.seed)
    for iteration, part in enumerate(chosen):
        lab.iteration = iteration
        if not lab.planning:
            lab.store.add(part, launch=lab.launch.id)
        yield part


def parts(prompts: Sequence[Prompt], size: int, iterations: int, seed: int) -> tuple[tuple[Prompt, ...], ...]:
    """Disjoint parts by seed, whatever the order of the file; more iterations leave the earlier parts as they were."""
    if len(prompts) < size * iterations:
        raise InputError(
            f"{len(prompts)} prompts are too few for {iterations} iterations of {size}",
            where="prompts.part_size",
            remedy=f"set prompts.part_size to at most {len(prompts) // iterations}, or bring more prompts",
        )
    shuffled = _shuffled(prompts, seed)
    return tuple(tuple(shuffled[i * size : (i + 1) * size]) for i in range(iterations))


def held_out(prompts: Sequence[Prompt], settings: Settings, iterations: int) -> tuple[Prompt, ...]:
    """The probe: the last `probe` prompts of the seeded order, of which no part takes any. Raises InputError."""
    trained, probe = settings.part_size * iterations, settings.probe
    if len(prompts) < trained + probe:
        raise InputError(
            f"{len(prompts)} prompts are too few for {iterations} iterations of {settings.part_size} and {probe} more",
            where="prompts.probe",
            remedy="lower prompts.probe or prompts.part_size, or bring more prompts",
        )
    return tuple(_shuffled(prompts, settings.seed)[len(prompts) - probe :])


def _shuffled(prompts: Sequence[Prompt], seed: int) -> list[Prompt]:
    """An order by seed, whatever the order of the file."""
    return sorted(prompts, key=lambda prompt: content_id("order", [seed, prompt.id]))
