"""answers(): what a model says to the questions of an evaluation. The same engine, template and store as generation.

Every answer is a Response of role `exam`, keyed by the model's weights and template, the conversation, the sampling and
the seed: one checkpoint's answers can never be taken for another's, and evaluating again generates nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.identity import Json, derive_seed
from toolkit.lab import Lab, Step
from toolkit.records import Item, Model, Prompt, Response, Sampling, Score
from toolkit.responses.generate import answered


@dataclass(frozen=True)
class Graded:
    """What a task found: its scores, and the items that they are the means of."""

    scores: tuple[Score, ...]
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Questions:
    """The conversations of a task, in order. draws: answers to each, for pass@k.

    priced_as: the stage whose measured rates hold for these answers in a plan.
    """

    task: str
    prompts: tuple[Prompt, ...]
    sampling: Sampling
    draws: int = 1
    priced_as: str = "evaluate"


def answers(lab: Lab, model: Model, questions: Questions) -> list[Response]:
    """`draws` responses to every prompt, prompt by prompt; stored ones are reused, a plan returns them without text.

    Raises InputError for a prompt that leaves no room for an answer, before anything is generated.
    """
    label = f"{questions.task} answers of {model.name}"
    prompts = {prompt.id: prompt for prompt in questions.prompts}
    asked = ask(lab, model, questions)
    if not lab.planning:
        lab.store.add(list(prompts.values()), launch=lab.launch.id)
    made = lab.fulfil(label, asked, lambda missing: answered(lab, model, missing, prompts))
    most = (len(asked) - made.cached) * questions.sampling.max_tokens
    stats: dict[str, Json] = {
        "tokens": sum(r.tokens or 0 for r in made.records),
        "cut": sum(r.finish == "length" for r in made.records),
        "priced_as": questions.priced_as,
    }
    lab.note(Step(lab.iteration, "evaluate", label, model.id, len(asked), made.cached, made.seconds, most, stats))
    return made.records


def ask(lab: Lab, model: Model, questions: Questions) -> list[Response]:
    """The requests. Greedy sampling has one seed, since none is drawn from."""
    return [
        Response(
            prompt=prompt.id,
            model=model.id,
            role="exam",
            draw=draw,
            sampling=questions.sampling,
            seed=derive_seed(lab.recipe.seed, prompt.id, model.id, "exam", draw),
        )
        for prompt in questions.prompts
        for draw in range(questions.draws)
    ]


def keep(lab: Lab, graded: Graded) -> Graded:
    """Store scores and items; what has no value is a finding of the items alone."""
    if not lab.planning:
        with lab.store.transaction():
            lab.store.add([score for score in graded.scores if score.value is not None], launch=lab.launch.id)
            lab.store.add(list(graded.items), launch=lab.launch.id)
    return graded


def mean_score(items: Sequence[Item]) -> Score:
    """The score that these items of one model, task, metric and protocol are the mean of; ungraded ones count as 0."""
    first = items[0]
    value = sum(item.value or 0.0 for item in items) / len(items)
    return Score(first.model, first.task, first.metric, first.settings, value, len(items))
