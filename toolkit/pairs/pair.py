"""pair(): picks become a frozen, versioned set of pairs, and every prompt without a pair a counted drop."""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime

from toolkit.errors import JudgeError
from toolkit.lab import Lab, Step
from toolkit.pairs.selection import Picks, pair_up
from toolkit.records import Drop, PairSet


def pair(lab: Lab, name: str, chosen: Picks, rejected: Picks) -> PairSet:
    """The pair set `name@version` of this iteration. The same content again is the same version.

    Raises JudgeError when too few prompts have a strict order; the drops are in its message.
    """
    started = time.monotonic()
    if chosen.planned or rejected.planned:
        planned = PairSet(name, 0, lab.iteration, ())
        lab.note(Step(lab.iteration, "pair", f"pairs {name}", planned.id, len(chosen.by_prompt), 0))
        return planned
    pairs, drops = pair_up(chosen, rejected)
    _stop_rule(lab, name, len(pairs), drops)
    made, cached = _freeze(lab, PairSet(name, 0, lab.iteration, tuple(pairs), tuple(drops)))
    stats = {"pairs": len(pairs), **Counter(drop.reason for drop in drops)}
    done = len(pairs) if cached else 0
    lab.note(
        Step(lab.iteration, "pair", f"pairs {name}", made.id, len(pairs), done, time.monotonic() - started, 0, stats)
    )
    return made


def _freeze(lab: Lab, draft: PairSet) -> tuple[PairSet, bool]:
    known = lab.store.query(
        "SELECT version, parent FROM pair_set WHERE name = ? AND iteration = ? AND fingerprint = ?",
        [draft.name, draft.iteration, draft.fingerprint],
    )
    if known:
        version, parent = known[0]["version"], known[0]["parent"]
        return PairSet(draft.name, version, draft.iteration, draft.pairs, draft.drops, parent), True
    newest = lab.store.query(
        "SELECT id, version FROM pair_set WHERE name = ? ORDER BY version DESC LIMIT 1", [draft.name]
    )
    version, parent = (newest[0]["version"] + 1, newest[0]["id"]) if newest else (1, None)
    made = PairSet(draft.name, version, draft.iteration, draft.pairs, draft.drops, parent)
    if not lab.planning:
        _store(lab, made)
    return made, False


def _store(lab: Lab, made: PairSet) -> None:
    row = {
        "id": made.id,
        "name": made.name,
        "version": made.version,
        "iteration": made.iteration,
        "fingerprint": made.fingerprint,
        "parent": made.parent,
        "created": datetime.now(UTC).isoformat(),
        "launch": lab.launch.id,
    }
    with lab.store.transaction():
        lab.store.add(made.pairs, launch=lab.launch.id)
        lab.store.insert("pair_set", [row])
        lab.store.insert("pair_set_member", [{"pair_set": made.id, "pair": pair.id} for pair in made.pairs])
        lab.store.insert("dropped", [{**vars(drop), "pair_set": made.id} for drop in made.drops])


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
