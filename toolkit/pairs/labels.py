"""labels(): the data set's own answers as picks; unjudged(): answers taken without a verdict. SPIN's two sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from toolkit.errors import InputError
from toolkit.identity import fingerprint
from toolkit.lab import Lab
from toolkit.pairs.picks import Picks, Unscored
from toolkit.prompts.source import load_labels
from toolkit.records import Model, Prompt, Response


def labels(lab: Lab, prompts: Sequence[Prompt]) -> Picks:
    """The answer that the prompts' source gives to each. Raises InputError where one has none."""
    settings = lab.recipe.prompts
    known = load_labels(settings)
    author = Model.external(f"labels of {settings.source}")
    picks = {}
    for prompt in prompts:
        if not known.get(prompt.id):
            raise InputError(
                f"prompt {prompt.text[:60]!r} has no reference answer under {settings.label!r}",
                where=prompt.source,
                remedy="name the column of the answers with prompts.label, or bring prompts that have one",
            )
        picks[prompt.id] = Unscored(Response(prompt.id, author.id, "label", 0, None, None, known[prompt.id]))
    if not lab.planning:
        lab.store.add([author], launch=lab.launch.id)
        lab.store.add([pick.response for pick in picks.values()], launch=lab.launch.id)
    return _picks(picks, planned=False)


def unjudged(responses: Sequence[Response]) -> Picks:
    """The first answer to each prompt, by draw, whatever it is worth."""
    picks: dict[str, Unscored] = {}
    for response in sorted(responses, key=lambda one: one.draw):
        picks.setdefault(response.prompt, Unscored(response))
    return _picks(picks, planned=any(response.text is None for response in responses))


def _picks(picks: Mapping[str, Unscored], planned: bool) -> Picks:
    return Picks(None, picks, planned, fingerprint(pick.response.id for pick in picks.values()))
