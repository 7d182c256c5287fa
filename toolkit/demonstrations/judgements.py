"""Judgement examples (EFT): rated answers with a written verdict, as examples of how to judge by the rubric. Pure.

    agreeing   drop verdicts whose scores order a prompt's answers against their ratings
    balanced   no score stands in more examples than the median of the scores' counts
    held_out   the answers to a share of the prompts, kept aside to measure judges on

As in Self-Rewarding Language Models (arXiv 2401.10020, section 3.1), where the verdict's order must agree with the
ratings; there a whole prompt is dropped, here the fewest verdicts that settle the contradictions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from toolkit.identity import content_id
from toolkit.judgments.rubric import Rubric
from toolkit.records import Drop, Prompt


@dataclass(frozen=True)
class RatedAnswer:
    """An answer with an overall rating (any scale), and a verdict: justification and points of the rubric."""

    prompt: str
    answer: str
    rating: float
    justification: str
    score: float
    place: str = ""

    def example(self, rubric: Rubric) -> tuple[Prompt, str]:
        """The conversation that asks for the verdict, and the verdict as a judge should write it."""
        *before, asked = rubric.messages(self.prompt, self.answer)
        prompt = Prompt(asked["content"], self.place, tuple((turn["role"], turn["content"]) for turn in before))
        return prompt, f"{self.justification}\n{rubric.lead}{self.score:g}"


def agreeing(rated: Sequence[RatedAnswer]) -> tuple[list[RatedAnswer], list[Drop]]:
    """The answers whose scores never contradict the ratings. The one in most contradictions goes first."""
    dropped = {i for group in _by_prompt(rated) for i in _contradicting(rated, group)}
    drops = [_drop(rated[i], "against_rating", f"points {rated[i].score:g}") for i in sorted(dropped)]
    return [answer for i, answer in enumerate(rated) if i not in dropped], drops


def balanced(rated: Sequence[RatedAnswer], seed: int) -> tuple[list[RatedAnswer], list[Drop]]:
    """As many answers of each score as the median score has, chosen by seed."""
    counts = Counter(answer.score for answer in rated)
    most = int(median(counts.values())) if counts else 0
    kept, drops, taken = set(), [], Counter[float]()
    for answer in sorted(rated, key=lambda one: content_id("balance", [seed, one.prompt, one.answer])):
        taken[answer.score] += 1
        if taken[answer.score] <= most:
            kept.add(answer)
        else:
            drops.append(_drop(answer, "too_frequent", f"points {answer.score:g} already stand in {most} examples"))
    return [answer for answer in rated if answer in kept], drops


def held_out(rated: Sequence[RatedAnswer], share: float, seed: int) -> tuple[list[RatedAnswer], list[RatedAnswer]]:
    """(to learn, to measure on): whole prompts, chosen by seed, so that no prompt stands in both."""
    prompts = sorted({answer.prompt for answer in rated}, key=lambda text: content_id("hold out", [seed, text]))
    aside = set(prompts[: round(share * len(prompts))])
    learn = [answer for answer in rated if answer.prompt not in aside]
    return learn, [answer for answer in rated if answer.prompt in aside]


def _by_prompt(rated: Sequence[RatedAnswer]) -> Iterable[list[int]]:
    groups: dict[str, list[int]] = {}
    for i, answer in enumerate(rated):
        groups.setdefault(answer.prompt, []).append(i)
    return groups.values()


def _contradicting(rated: Sequence[RatedAnswer], group: Sequence[int]) -> Iterator[int]:
    left = list(group)
    while left:
        worst = max(left, key=lambda i: (len(_against(rated, i, left)), -i))
        if not _against(rated, worst, left):
            return
        left.remove(worst)
        yield worst


def _against(rated: Sequence[RatedAnswer], one: int, group: list[int]) -> list[int]:
    """The answers that rating and score order differently from this one. Equal ones contradict nothing."""
    a = rated[one]
    return [i for i in group if (a.score - rated[i].score) * (a.rating - rated[i].rating) < 0]


def _drop(answer: RatedAnswer, reason: str, detail: str) -> Drop:
    return Drop("filter", Prompt(answer.prompt).id, reason, detail=f"{detail}, rating {answer.rating:g}")
