"""diagnose(): everything that is measured of a run, stored; then what it says.

    under the parent    forward and gradient numbers of every pair and its control
    under the result    forward numbers again: margins, weights, displacement; gradients too where asked
    under M_0           forward numbers, so that a moving model is not taken for moving pairs

Model by model, so that each is loaded once. What is stored already is measured by nobody again.
"""

from __future__ import annotations

from collections.abc import Iterable

from toolkit.diagnostics.collapse import Verdict, verdict
from toolkit.diagnostics.measure import Measuring, Meter
from toolkit.diagnostics.run_sets import Answers, TrainedSet, base_of, trained_sets
from toolkit.diagnostics.summary import summed
from toolkit.lab import Lab
from toolkit.records import Model


def diagnose(lab: Lab, run: str, how: Measuring, *, gradients: bool = True, after: bool = False) -> Verdict:
    """Measure the run's sets and say what follows. `after`: gradients under the trained models too."""
    sets, meter = trained_sets(lab, run), Meter(lab, how)
    meter.measure("text", None, _answers(sets))
    for model in _models(sets, base_of(lab.store, run)):
        started = [one for one in sets if one.parent.id == model.id]
        ended = [one for one in sets if one.result.id == model.id]
        everywhere = sets if model.id == base_of(lab.store, run).id else [*started, *ended]
        meter.measure("forward", model, _answers(everywhere))
        if gradients:
            meter.measure("gradient", model, _answers([*started, *(ended if after else ())]))
    summed(lab, run)
    return verdict(lab.store, run)


def _models(sets: Iterable[TrainedSet], base: Model) -> list[Model]:
    """M_0, then parents and results as they come, each once."""
    models = [base, *(model for one in sets for model in (one.parent, one.result))]
    return list({model.id: model for model in models}.values())


def _answers(sets: Iterable[TrainedSet]) -> list[Answers]:
    found = [both for one in sets for both in (*one.pairs, *one.draws)]
    return list({(both.chosen.id, both.rejected.id): both for both in found}.values())
