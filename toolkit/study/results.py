"""The results of a study, from the summaries of its seeds alone: endpoints, the answer, and marks for the top."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.errors import InputError
from toolkit.study.claim import Claim, decide
from toolkit.study.declaration import Declaration
from toolkit.study.differences import EndpointResult, condition_results
from toolkit.study.marks import marks
from toolkit.study.summary import AGAIN, Summary


@dataclass(frozen=True)
class StudyResults:
    """Everything that is computed of a study.

    declaration: of the lowest seed, made before it ran; marks say where others, or the present one, differ. seeds: all
    that any declaration or summary has. endpoints: by endpoint and then by condition, the conditions of the claim
    first, the negative control after them. marks: sentences for the top of a page.
    """

    declaration: Declaration
    summaries: tuple[Summary, ...]
    seeds: tuple[int, ...]
    endpoints: tuple[EndpointResult, ...]
    claim: Claim
    marks: tuple[str, ...]

    @property
    def conditions(self) -> tuple[str, ...]:
        """Every declared condition: those of the claim, the negative control, then the others."""
        return ordered_conditions(self.declaration)


def results(summaries: Sequence[Summary], present: Declaration | None = None) -> StudyResults:
    """Compute the results. The order of the summaries does not matter.

    present: the declaration as the study's file has it now, where it is at hand. What was declared before the seeds ran
    is tested, whatever it says; a mark names the difference. Raises InputError for no summaries, for summaries or a
    present declaration of several studies, for two of one seed and condition, and for two values of one model and
    measure.
    """
    ordered = sorted(summaries, key=lambda summary: (summary.seed, summary.condition))
    _check(ordered, present)
    declaration = ordered[0].declaration
    seeds = sorted({seed for summary in ordered for seed in (summary.seed, *summary.declaration.seeds)})
    conditions = ordered_conditions(declaration)
    by_condition = {condition: condition_results(declaration, condition, ordered, seeds) for condition in conditions}
    endpoints = [own[position] for position in range(len(declaration.endpoints)) for own in by_condition.values()]
    sentences = marks(ordered, declaration, seeds, present)
    claim = decide(declaration, by_condition, [mark.blocks for mark in sentences if mark.blocks])
    return StudyResults(
        declaration, tuple(ordered), tuple(seeds), tuple(endpoints), claim, tuple(mark.sentence for mark in sentences)
    )


def ordered_conditions(declaration: Declaration) -> tuple[str, ...]:
    """The conditions of the claim, the negative control, then the others."""
    negative = (declaration.negative,) if declaration.negative else ()
    return tuple(dict.fromkeys((*declaration.claim, *negative, *declaration.conditions)))


def _check(summaries: Sequence[Summary], present: Declaration | None) -> None:
    if not summaries:
        raise InputError("no summary of a study's seed", remedy="name a folder that has some")
    declarations = [summary.declaration for summary in summaries] + ([present] if present else [])
    studies = sorted({declaration.study for declaration in declarations})
    if len(studies) > 1:
        raise InputError(f"summaries of several studies: {', '.join(studies)}", remedy="name folders of one study")
    counts = Counter((summary.condition, summary.seed) for summary in summaries)
    for (condition, seed), count in counts.items():
        if count > 1:
            where = f"condition {condition!r}" if condition else ""
            raise InputError(f"{count} summaries of seed {seed}", where=where, remedy="keep the right one")
    for summary in summaries:
        rows = Counter((value.arm, value.trainings, value.metric) for value in summary.values)
        for (arm, trainings, metric), count in rows.items():
            if count > 1:
                raise InputError(
                    f"{count} values of {metric} for {arm} after {trainings} trainings",
                    where=summary.file_name,
                    remedy=AGAIN,
                )
