"""diagnose(): everything that is measured of a run, stored; then what it says.

    under the parent    forward and gradient numbers of every pair and its controls, and the coherence of each of these
    under the result    forward numbers again: margins, weights, displacement; gradients too where asked
    under M_0           forward numbers, so that a moving model is not taken for moving pairs

Model by model, so that each is loaded once. What is stored already is measured by nobody again. Every checkpoint that
is there is checked first, tensor by tensor, and the memory that the largest needs is stated.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from toolkit.diagnostics.collapse import Verdict, verdict
from toolkit.diagnostics.measure import Group, Measuring, Meter
from toolkit.diagnostics.memory import available_memory, gib, need_of
from toolkit.diagnostics.run_sets import Answers, TrainedSet, base_of, trained_sets
from toolkit.diagnostics.summary import summed
from toolkit.engines import checkpoint
from toolkit.engines.network import check_tensors
from toolkit.errors import InputError
from toolkit.lab import Lab
from toolkit.records import Model, Under
from toolkit.safe_text import one_line


def diagnose(lab: Lab, run: str, how: Measuring, *, gradients: bool = True, after: bool = False) -> Verdict:
    """Measure the run's sets and say what follows. `after`: gradients under the trained models too.

    Raises InputError for a checkpoint that does not fit its model, is scripted, or needs more memory than there is.
    """
    sets, base, meter = trained_sets(lab, run), base_of(lab.store, run), Meter(lab, how)
    models = _models(sets, base)
    _check(lab, models, how, gradients=gradients)
    meter.measure("text", None, _answers(sets))
    for model in models:
        started = [one for one in sets if one.parent.id == model.id]
        ended = [one for one in sets if one.result.id == model.id]
        meter.measure("forward", model, _answers(sets if model.id == base.id else [*started, *ended]))
        if gradients:
            meter.gradients(model, [*_groups(started, "parent"), *_groups(ended if after else (), "result")])
    summed(lab, run)
    return verdict(lab.store, run)


def _check(lab: Lab, models: Sequence[Model], how: Measuring, *, gradients: bool) -> None:
    """What can be refused before memory is taken, and the need. A checkpoint that is not there may not be needed."""
    needs = []
    for model in models:
        path = lab.path(model)
        if path.is_dir():
            checkpoint.verify(path, trust_remote_code=lab.recipe.trust_remote_code)
            checkpoint.refuse_scripted(path, model.name)
            check_tensors(path, trust_remote_code=lab.recipe.trust_remote_code)
            needs.append((need_of(path, how, gradients=gradients), model.name))
    if not needs:
        return
    need, name = max(needs, key=lambda entry: entry[0].total)
    available = available_memory()
    print(f"measuring {one_line(name)} takes about {need.words()} of {gib(available)}", file=sys.stderr, flush=True)
    if need.weights + need.coherence > available:
        raise InputError(
            f"weights and sum of gradients of {name} do not fit in memory: {need.words()} of {gib(available)}",
            remedy="leave out the coherence (--no-coherence), or measure in bfloat16 (--dtype bfloat16)",
        )


def _models(sets: Iterable[TrainedSet], base: Model) -> list[Model]:
    """M_0, then parents and results as they come, each once."""
    models = [base, *(model for one in sets for model in (one.parent, one.result))]
    return list({model.id: model for model in models}.values())


def _answers(sets: Iterable[TrainedSet]) -> list[Answers]:
    found = [both for one in sets for answers in one.groups.values() for both in answers]
    return list({(both.chosen.id, both.rejected.id): both for both in found}.values())


def _groups(sets: Iterable[TrainedSet], under: Under) -> list[Group]:
    return [Group(one.id, control, under, answers) for one in sets for control, answers in one.groups.items()]
