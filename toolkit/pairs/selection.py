"""Selection: Algorithm 1's best, worst and the strict order between them. Pure.

    chosen   = best(now)          phase 1      best(now, soon)   phase 2: the future must be strictly better
    rejected = worst(now, then)   both phases: the past must be strictly worse

The paper's r_i, r_0, r_f are the pools now, then, soon. An earlier pool keeps a tie. Inside a pool the paper
says nothing about ties: `Pairs.ties` does. Answers without a score are no candidates. With `Pairs.length_control`
both take length into account (length_control.py). `Pairs.rejected` puts another rule in worst's place
(rejected_side.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from toolkit.errors import InputError
from toolkit.identity import Json, content_id
from toolkit.judgments.judge import Pool, Scored
from toolkit.pairs.length_control import longest_near, shortest_near
from toolkit.pairs.picks import Picks, Unscored, in_tie_order
from toolkit.pairs.rejected_side import RULES
from toolkit.records import Drop, Pair, pair_content


def best(*pools: Pool) -> Picks:
    """The highest-scored answer to each prompt, or the shortest near it; an earlier pool keeps a tie."""
    high = _first(pools, 1)
    return high if pools[0].rho is None else shortest_near(high, _first(pools, -1), pools)


def worst(*pools: Pool) -> Picks:
    """The rejected answer to each prompt: the lowest-scored, the longest near it, or as `Pairs.rejected` says.

    An earlier pool keeps a tie.
    """
    rule = pools[0].rejected
    if rule in RULES:
        return _pick(pools, RULES[rule], [rule, pools[0].seed])
    low = _first(pools, -1)
    return low if pools[0].rho is None else longest_near(low, _first(pools, 1), pools)


def pair_up(chosen: Picks, rejected: Picks) -> tuple[list[Pair], list[Drop]]:
    """A pair for each prompt where score(chosen) > score(rejected), strictly; every other prompt as a drop.

    Where a side has no verdict (a label, SPIN's own answer) there is no order, and only equal texts are dropped.
    """
    judges = {chosen.judge, rejected.judge} - {None}
    if len(judges) > 1:
        raise InputError(
            f"chosen was scored by {chosen.judge}, rejected by {rejected.judge}: two judges are no common scale",
            remedy="score both sides with one judge",
        )
    pairs, drops = [], []
    for prompt in chosen.by_prompt:
        high, low = chosen.by_prompt[prompt], rejected.by_prompt.get(prompt)
        if high is None or low is None:
            drops.append(Drop("selection", prompt, "no_score", detail="no answer has a readable verdict"))
        elif high.score is None or low.score is None:
            if high.response.text == low.response.text:
                drops.append(Drop("selection", prompt, "equal_text", detail="both sides are one text"))
            else:
                pairs.append(_pair(prompt, high, low, next(iter(judges), None)))
        elif high.score > low.score:
            pairs.append(_pair(prompt, high, low, chosen.judge))
        else:
            detail = f"chosen {high.score:g} is not above rejected {low.score:g}"
            drops.append(Drop("selection", prompt, "tie", detail=detail))
    return pairs, drops


def _first(pools: Sequence[Pool], sign: int) -> Picks:
    """sign: 1 picks the highest score, -1 the lowest."""

    def pick(pools: Sequence[Pool], prompt: str) -> Scored | None:
        answers = (a for pool in pools for a in in_tie_order(pool.candidates.get(prompt, ()), pool.ties))
        return max(answers, key=lambda answer: sign * answer.score, default=None)

    return _pick(pools, pick, [float(sign)])


def _pick(pools: Sequence[Pool], pick: Callable[[Sequence[Pool], str], Scored | None], rule: Sequence[Json]) -> Picks:
    """The pick of each prompt that no pool bars. rule: what the plan's digest names it by."""
    judges = {pool.judge for pool in pools}
    if len(judges) != 1:
        raise InputError(
            f"pools scored by {len(judges)} judges are no common scale", remedy="score them with one judge"
        )
    prompts = dict.fromkeys(prompt for pool in pools for prompt in pool.candidates)
    barred = {prompt for pool in pools for prompt in pool.barred}
    by_prompt = {prompt: None if prompt in barred else pick(pools, prompt) for prompt in prompts}
    digest = content_id("picks", [*rule, *(pool.asked for pool in pools)])
    return Picks(judges.pop(), by_prompt, any(pool.planned for pool in pools), digest, tuple(pools))


def _pair(prompt: str, high: Scored | Unscored, low: Scored | Unscored, judge: str | None) -> Pair:
    sides, roles = (high.response.text or "", low.response.text or ""), (high.response.role, low.response.role)
    return Pair(
        prompt=prompt,
        chosen=high.response.id,
        rejected=low.response.id,
        chosen_score=high.score,
        rejected_score=low.score,
        chosen_role=roles[0],
        rejected_role=roles[1],
        judge=judge,
        content=pair_content(prompt, sides, (high.score, low.score), roles),
    )
