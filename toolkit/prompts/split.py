"""The prompts of a run: a fresh, disjoint part for every iteration (the paper's p_i), and the probe, which no part has.

The probe's order does not depend on a seed, so all recipes and all seeds share it; parts are shuffled by the seed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from toolkit.config import Prompts as Settings
from toolkit.errors import InputError
from toolkit.identity import content_id
from toolkit.lab import Lab
from toolkit.prompts.source import load_prompts
from toolkit.records import Prompt
from toolkit.safe_text import one_line


def split(lab: Lab, settings: Settings, iterations: int) -> Iterator[tuple[Prompt, ...]]:
    """The part of each iteration in turn; opens the iteration in the lab. Prompts are stored first.

    Raises InputError for too few prompts, and for a probe prompt that occurs in a part.
    """
    prompts = load_prompts(settings)
    probe = held_out(prompts, lab.recipe.probe.prompts)
    held = {prompt.id for prompt in probe}
    rest = tuple(prompt for prompt in prompts if prompt.id not in held)
    if probe and len(rest) < settings.part_size * iterations:
        raise InputError(
            f"{len(prompts)} prompts are too few for {iterations} iterations of {settings.part_size} and a probe of "
            f"{len(probe)}",
            where="prompts.part_size",
            remedy="lower prompts.part_size or probe.prompts, or bring more prompts",
        )
    chosen = parts(rest, settings.part_size, iterations, settings.seed)
    _check_disjoint(probe, chosen)
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
    shuffled = sorted(prompts, key=lambda prompt: content_id("order", [seed, prompt.id]))
    return tuple(tuple(shuffled[i * size : (i + 1) * size]) for i in range(iterations))


def held_out(prompts: Sequence[Prompt], count: int) -> tuple[Prompt, ...]:
    """The probe: `count` prompts, the same for every seed and every order of the file. Raises InputError."""
    if len(prompts) < count:
        raise InputError(
            f"{len(prompts)} prompts are too few to hold out {count}",
            where="probe.prompts",
            remedy="lower probe.prompts, or bring more prompts",
        )
    return tuple(sorted(prompts, key=lambda prompt: content_id("probe", [prompt.id]))[:count])


def _check_disjoint(probe: Sequence[Prompt], chosen: Sequence[Sequence[Prompt]]) -> None:
    """Raise InputError where a training prompt is a probe prompt up to case and spaces."""
    held = {_plain(prompt): prompt for prompt in probe}
    for prompt in (prompt for part in chosen for prompt in part):
        if twin := held.get(_plain(prompt)):
            raise InputError(
                f"a probe prompt occurs in training: {one_line(prompt.as_text(), 80)!r} is {twin.source} and "
                f"{prompt.source}, up to case and spaces",
                where="probe.prompts",
                remedy="remove one of them from prompts.source",
            )


def _plain(prompt: Prompt) -> str:
    return " ".join(prompt.as_text().casefold().split())
