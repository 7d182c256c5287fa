"""supervise(): demonstrations become a checkpoint, by SFT from `parent`; start(): a recipe's M_0.

M_0 = SFT(base; IFT + EFT): instruction answers, and judgements by the rubric, so that the model can judge itself
(arXiv 2401.10020, section 2.1). Where `sft.data` is empty, the recipe's model is taken as M_0.
"""

from __future__ import annotations

from toolkit.config import Recipe
from toolkit.demonstrations.source import learned
from toolkit.lab import Lab
from toolkit.records import DemonstrationSet, Model, Prompt
from toolkit.training.gate import Row
from toolkit.training.making import Task, made


def start(lab: Lab, recipe: Recipe) -> Model:
    """M_0: the recipe's model, or what SFT on `sft.data` makes of it."""
    if not recipe.sft.data:
        return lab.model(recipe.model, "M_0")
    return lab.starts_from(supervise(lab, "M_0", lab.model(recipe.model, "base"), learned(lab)))


def supervise(lab: Lab, name: str, parent: Model, demonstrations: DemonstrationSet) -> Model:
    """The model SFT(parent, demonstrations). Raises GateError before, TrainerError after the trainer ran."""
    task = Task(
        name=name,
        parent=parent,
        reference=None,
        data=demonstrations.name if demonstrations.planned else demonstrations.id,
        fingerprint=demonstrations.fingerprint,
        settings=lab.recipe.sft,
        rows=lambda: rows(lab, parent, demonstrations),
        planned=demonstrations.planned,
    )
    return made(lab, task)


def rows(lab: Lab, parent: Model, demonstrations: DemonstrationSet) -> list[Row]:
    """The demonstrations as the parent's template renders them, in the order of their ids."""
    ordered = sorted(demonstrations.responses, key=lambda response: response.id)
    prompts = lab.store.find(Prompt, {response.prompt for response in ordered})
    chat = lab.chat(parent)
    made = []
    for response in ordered:
        messages = prompts[response.prompt].messages()
        made.append(
            Row(
                subject=response.id,
                prompt_id=response.prompt,
                prompt=chat.text(messages),
                chosen=response.text or "",
                rejected=None,
                chosen_cut=response.finish == "length",
                prompt_tokens=chat.tokens(messages),
            )
        )
    return made
