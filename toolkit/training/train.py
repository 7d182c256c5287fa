"""train(): a pair set becomes a checkpoint, by DPO from `parent`, through the token gate and OpenRLHF."""

from __future__ import annotations

from toolkit.engines.chat import Chat
from toolkit.lab import Lab
from toolkit.records import Model, PairSet, Prompt, Response
from toolkit.training.gate import Row
from toolkit.training.making import Task, made


def train(lab: Lab, name: str, parent: Model, pairs: PairSet) -> Model:
    """The model DPO(parent, pairs), called `name`. Raises GateError before, TrainerError after the trainer ran."""
    task = Task(
        name=name,
        parent=parent,
        reference=_reference(lab, parent),
        data=pairs.id if pairs.version else pairs.name,
        fingerprint=pairs.fingerprint,
        settings=lab.recipe.training,
        rows=lambda: rows(lab, parent, pairs),
        planned=pairs.version == 0,
    )
    return made(lab, task)


def _reference(lab: Lab, parent: Model) -> Model:
    chosen = lab.recipe.training.reference
    if chosen == "present":
        return parent
    if chosen == "past":
        assert lab.past is not None  # the parent came from the lab
        return lab.past
    return lab.model(chosen)


def rows(lab: Lab, parent: Model, pairs: PairSet) -> list[Row]:
    """The pairs as the parent's template renders them, in the order of their ids."""
    ordered = sorted(pairs.pairs, key=lambda pair: pair.id)
    prompts = lab.store.find(Prompt, {pair.prompt for pair in ordered})
    answers = lab.store.find(Response, {side for pair in ordered for side in (pair.chosen, pair.rejected)})
    chat = lab.chat(parent)
    return [
        rendered(chat, pair.id, prompts[pair.prompt], answers[pair.chosen], answers[pair.rejected]) for pair in ordered
    ]


def rendered(chat: Chat, subject: str, prompt: Prompt, chosen: Response, rejected: Response) -> Row:
    """Two answers to one prompt as the template renders them. subject: what a drop of the row will name."""
    messages = prompt.messages()
    return Row(
        subject=subject,
        prompt_id=prompt.id,
        prompt=chat.text(messages),
        chosen=chosen.text or "",
        rejected=rejected.text or "",
        chosen_cut=chosen.finish == "length",
        rejected_cut=rejected.finish == "length",
        prompt_tokens=chat.tokens(messages),
    )
