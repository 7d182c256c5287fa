"""demonstrate(): picked answers become a set to be learned by SFT, as rejection sampling does."""

from __future__ import annotations

from toolkit.demonstrations.source import keep
from toolkit.lab import Lab, Step
from toolkit.pairs.picks import Picks
from toolkit.records import DemonstrationSet, Drop


def demonstrate(lab: Lab, name: str, picks: Picks) -> DemonstrationSet:
    """The picked answer to every prompt. A prompt without one is a counted drop."""
    chosen = [pick.response for pick in picks.by_prompt.values() if pick is not None]
    drops = [
        Drop("selection", prompt, "no_score", detail="no answer has a readable verdict")
        for prompt, pick in picks.by_prompt.items()
        if pick is None
    ]
    made = DemonstrationSet(name, lab.iteration, tuple(chosen), picks.asked if picks.planned else "")
    subject = name if made.planned else made.id
    total = len(picks.by_prompt)
    if not (lab.planning or picks.planned):
        with lab.store.transaction():
            keep(lab, made, drops)
    stats = {"demonstrations": len(chosen), "no_score": len(drops)}
    lab.note(Step(lab.iteration, "demonstrate", f"demonstrations {name}", subject, total, total, stats=stats))
    return made
