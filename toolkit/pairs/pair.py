"""pair(): picks become a frozen, versioned set of pairs, and every prompt without a pair a counted drop."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace

from toolkit.errors import JudgeError
from toolkit.identity import content_id
from toolkit.judgments.audit import audit, held_out
from toolkit.lab import Lab, Step
from toolkit.pairs.chance import store_selection
from toolkit.pairs.picks import Picks
from toolkit.pairs.selection import pair_up
from toolkit.pairs.versions import freeze, versions
from toolkit.records import Drop, PairSet


def pair(lab: Lab, name: str, chosen: Picks, rejected: Picks) -> PairSet:
    """The pair set `name@version` of this iteration. The same content again is the same version.

    Raises JudgeError when too few prompts have a strict order; the drops are in its message.
    """
    started, candidates = time.monotonic(), _candidates(lab, chosen, rejected)
    if chosen.planned or rejected.planned:
        planned = PairSet(name, 0, lab.iteration, (), asked=content_id("pairs", [chosen.asked, rejected.asked]))
        lab.note(Step(lab.iteration, "pair", f"pairs {name}", planned.id, len(chosen.by_prompt), 0, stats=candidates))
        audit(lab, planned, chosen.judge or rejected.judge, len(chosen.by_prompt))
        return planned
    pairs, drops = pair_up(chosen, rejected)
    _stop_rule(lab, name, len(pairs), drops)
    message = f"run {lab.launch.run}, iteration {lab.iteration}"
    draft = PairSet(name, 0, lab.iteration, tuple(pairs), tuple(drops), message=message)
    made, cached = _foreseen(lab, draft) if lab.planning else freeze(lab.store, draft, lab.launch.id)
    if not lab.planning:
        store_selection(lab.store, made.id, chosen, rejected, lab.launch.id)
    by = chosen.judge or rejected.judge
    stats = {"pairs": len(pairs), **candidates, **Counter(drop.reason for drop in drops), **held_out(lab, by)}
    done = len(pairs) if cached else 0
    lab.note(
        Step(lab.iteration, "pair", f"pairs {name}", made.id, len(pairs), done, time.monotonic() - started, 0, stats)
    )
    audit(lab, made, by, len(pairs))
    return made


def _candidates(lab: Lab, chosen: Picks, rejected: Picks) -> dict[str, int]:
    """Of how many answers to a prompt each side is picked; a side without pools (labels) has one."""
    k = lab.recipe.answers.k
    return {"chosen_from": k * len(chosen.pools) or 1, "rejected_from": k * len(rejected.pools) or 1}


def _foreseen(lab: Lab, draft: PairSet) -> tuple[PairSet, bool]:
    """For a plan: the version that says the same, or the draft itself; nothing is written."""
    for version in versions(lab.store, draft.name):
        if (version.iteration, version.fingerprint) == (draft.iteration, draft.fingerprint):
            return replace(draft, version=version.version, parent=version.parent), True
    return draft, False


def _stop_rule(lab: Lab, name: str, pairs: int, drops: list[Drop]) -> None:
    total = pairs + len(drops)
    most = lab.recipe.pairs.max_tied
    if total and len(drops) / total > most:
        counts = ", ".join(f"{count} {reason}" for reason, count in Counter(drop.reason for drop in drops).items())
        raise JudgeError(
            f"{len(drops)} of {total} prompts give no pair ({counts}), pairs.max_tied is {most:.0%}",
            where=f"pair set {name!r}, iteration {lab.iteration}; all answers and verdicts are stored",
            remedy="raise answers.k or judge.draws, use judge.method = 'expected', or raise pairs.max_tied",
        )
