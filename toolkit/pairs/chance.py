"""What a selection rule gives by chance: the gap and the shares of roles when roles are permuted.

The best of several answers scores above the worst of them even where scores are noise, and the more answers stand to
choose from, the wider is that gap. So each set of pairs is compared with permutations: the scores of the answers to a
prompt are dealt out anew to its pools (present, past, future), each pool keeps its number of answers, and the same
rules select again, those of `Pairs` for the rejected side included. A gap equal to its chance value says nothing about
the roles.

    gap               mean score difference over the pairs that were made
    gap_all           the same over every prompt with scores on both sides; a tie counts as 0
    yield             pairs per prompt
    p_roles           of no difference between the scores of the pools: mean deviations from the prompt's mean, squared
                      and divided by their variance under permutation, summed over the pools
    p_future, p_past  two-sided, of the share of chosen answers by the future, of rejected ones by the past

p-values are Monte Carlo: (1 + permutations at least as far) / (1 + permutations). Where all answers come from one pool
no p-value exists, and the chance value is the gap itself. A random rejected answer (`Pairs.rejected`) is the exception:
its position stays when the scores are dealt out, so the gap has a chance value there too.

Left out: differences between prompts, and the judge, who is taken as given: a judge who prefers the future's style for
no reason gives a low p_roles too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.identity import Json, content_id
from toolkit.judgments.judge import Pool
from toolkit.pairs.deals import Block, Side, blocks_of, deal, select
from toolkit.pairs.picks import Picks
from toolkit.store.database import Store

SEED = 20250806
PERMUTATIONS = 5_000
LEAST = 999  # permutations of a very large set
BUDGET = 50_000_000  # scores that are dealt out for one set, so that it takes seconds
_EQUAL = 1e-9  # statistics that differ by less are equal


@dataclass(frozen=True)
class SelectionStats:
    """The gap of a set of pairs beside its chance value. Gaps are in points of the judge's scale; shares are 0 to 1.

    prompts: all that were asked. scored: those with a score on both sides. reason: why a number is None.
    """

    content: str
    prompts: int
    scored: int
    pairs: int
    gap: float | None = None
    gap_all: float | None = None
    gap_chance: float | None = None
    gap_all_chance: float | None = None
    p_roles: float | None = None
    future: float | None = None
    future_chance: float | None = None
    p_future: float | None = None
    past: float | None = None
    past_chance: float | None = None
    p_past: float | None = None
    permutations: int = 0
    seed: int = SEED
    reason: str = ""


@dataclass(frozen=True)
class _Rule:
    """How each side selects, and the pools whose shares are counted."""

    chosen: Side
    rejected: Side
    future: int | None
    past: int | None


def measure(chosen: Picks, rejected: Picks) -> SelectionStats:
    """Gap, yield and shares of a selection with their chance values. Raises InputError where a score is not finite."""
    prompts = list(chosen.by_prompt)
    pools = _distinct((*chosen.pools, *rejected.pools))
    used = [p for p in prompts if _has_scores(chosen, p) and _has_scores(rejected, p)]
    sides = [[place for place, pool in enumerate(pools) if _holds(picks, pool)] for picks in (chosen, rejected)]
    content = content_id("selection", [sides, _settings(pools), *(_rows(pool, used) for pool in pools)])
    if not chosen.pools or not rejected.pools or not used:
        pairs = sum(_is_pair(chosen, rejected, prompt) for prompt in prompts)
        reason = "a side has no scores" if not chosen.pools or not rejected.pools else "no prompt has scores"
        return SelectionStats(content, len(prompts), 0, pairs, reason=reason)
    rule = _rule(pools, chosen, rejected)
    return _compared(blocks_of(pools, used), rule, SelectionStats(content, len(prompts), len(used), 0))


def store_selection(store: Store, pair_set: str, chosen: Picks, rejected: Picks, launch: str) -> SelectionStats:
    """Measure the selection of a stored set and keep it in the table `selection`, once."""
    stats = measure(chosen, rejected)
    rows = "SELECT 1 FROM selection WHERE pair_set = ? AND content = ?"
    if not store.query(rows, [pair_set, stats.content]):
        store.insert("selection", [{"pair_set": pair_set, **vars(stats), "launch": launch}])
    return stats


def _compared(blocks: Sequence[Block], rule: _Rule, selection: SelectionStats) -> SelectionStats:
    import numpy as np

    seen = _Totals.of(blocks, rule)
    roles = len({int(pool) for block in blocks for pool in block.pool})
    several = roles > 1
    count = (
        _permutations(sum(block.scores.size for block in blocks)) if several or rule.rejected.rule == "random" else 0
    )
    generator = np.random.default_rng(selection.seed)
    dealt = [_Totals.of([deal(block, generator) for block in blocks], rule) for _ in range(count)] or [seen]
    columns = {name: np.array([getattr(one, name) for one in dealt]) for name in ("gap", "gap_all", "future", "past")}
    chance = {name: _mean(values) for name, values in columns.items()}
    with_future, with_past = rule.future is not None, rule.past is not None
    spread = np.array([one.roles for one in dealt])
    what = "no p-value exists" if count else "the gap is what any scores of this spread give"
    return SelectionStats(
        selection.content, selection.prompts, selection.scored, seen.pairs,
        gap=_number(seen.gap), gap_all=seen.gap_all, gap_chance=chance["gap"], gap_all_chance=chance["gap_all"],
        p_roles=_p(spread >= seen.roles - _EQUAL) if several else None,
        future=_number(seen.future) if with_future else None, future_chance=chance["future"] if with_future else None,
        p_future=_two_sided(columns["future"], seen.future) if several and with_future else None,
        past=_number(seen.past) if with_past else None, past_chance=chance["past"] if with_past else None,
        p_past=_two_sided(columns["past"], seen.past) if several and with_past else None,
        permutations=count, seed=selection.seed,
        reason="" if several else f"all answers come from one pool: {what}",
    )  # fmt: skip


@dataclass(frozen=True)
class _Totals:
    """What the rule gives for one deal of the scores. gap, future and past are NaN where no pair survives."""

    pairs: int
    gap: float
    gap_all: float
    future: float
    past: float
    roles: float

    @classmethod
    def of(cls, blocks: Sequence[Block], rule: _Rule) -> _Totals:
        import numpy as np

        gaps, futures, pasts = [], [], []
        for block in blocks:
            high, high_pool = select(block, rule.chosen)
            low, low_pool = select(block, rule.rejected)
            gaps.append(high - low)
            futures.append(high_pool == rule.future)
            pasts.append(low_pool == rule.past)
        gap = np.concatenate(gaps)
        made = gap > 0
        pairs = int(made.sum())
        whole = float(np.where(made, gap, 0.0).mean())
        if not pairs:
            return cls(0, float("nan"), whole, float("nan"), float("nan"), _spread(blocks))
        future, past = (float(np.concatenate(side)[made].mean()) for side in (futures, pasts))
        return cls(pairs, float(gap[made].mean()), whole, future, past, _spread(blocks))


def _spread(blocks: Sequence[Block]) -> float:
    """How far the pools' scores lie from the mean of their prompts, in variances under permutation, summed."""
    import numpy as np

    above: dict[int, float] = {}
    variance: dict[int, float] = {}
    for block in blocks:
        n = block.scores.shape[1]
        centered = block.scores - block.scores.mean(axis=1, keepdims=True)
        unit = (centered**2).sum() / (n - 1) if n > 1 else 0.0
        for pool in np.unique(block.pool):
            size = int((block.pool == pool).sum())
            above[int(pool)] = above.get(int(pool), 0.0) + float(centered[:, block.pool == pool].sum())
            variance[int(pool)] = variance.get(int(pool), 0.0) + float(size * (n - size) / n * unit)
    return sum(above[pool] ** 2 / variance[pool] for pool in above if variance[pool] > _EQUAL)


def _rule(pools: Sequence[Pool], chosen: Picks, rejected: Picks) -> _Rule:
    number = {id(pool): place for place, pool in enumerate(pools)}
    roles = [_role(pool) for pool in pools]
    sides = [tuple(dict.fromkeys(number[id(pool)] for pool in picks.pools)) for picks in (chosen, rejected)]
    future = next((place for place in sides[0] if roles[place] == "future"), None)
    past = next((place for place in sides[1] if roles[place] == "past"), None)
    first = pools[0]
    chosen_side = Side(sides[0], "best", first.rho, first.ties)
    return _Rule(chosen_side, Side(sides[1], first.rejected, first.rho, first.ties), future, past)


def _settings(pools: Sequence[Pool]) -> Json:
    """The rules by which the sides were selected, as far as they decide the chance value."""
    if not pools:
        return None
    first = pools[0]
    return first.rho if first.rejected == "worst" else [first.rejected, first.ties, first.seed]


def _role(pool: Pool) -> str:
    return next((answer.response.role for answers in pool.candidates.values() for answer in answers), "")


def _distinct(pools: Sequence[Pool]) -> list[Pool]:
    """Pools in their order, one that serves both sides once."""
    return list({id(pool): pool for pool in pools}.values())


def _holds(picks: Picks, pool: Pool) -> bool:
    return any(pool is other for other in picks.pools)


def _rows(pool: Pool, prompts: Sequence[str]) -> list[list[Any]]:
    answers = [answer for prompt in prompts for answer in pool.candidates.get(prompt, ())]
    return sorted([answer.response.id, repr(answer.score)] for answer in answers)


def _has_scores(picks: Picks, prompt: str) -> bool:
    pick = picks.by_prompt.get(prompt)
    return pick is not None and pick.score is not None


def _is_pair(chosen: Picks, rejected: Picks, prompt: str) -> bool:
    high, low = chosen.by_prompt.get(prompt), rejected.by_prompt.get(prompt)
    return bool(high and low and high.response.text != low.response.text)


def _permutations(scores: int) -> int:
    return max(LEAST, min(PERMUTATIONS, BUDGET // max(1, scores)))


def _p(as_far: Any) -> float:
    return float((1 + as_far.sum()) / (1 + len(as_far)))


def _two_sided(values: Any, seen: float) -> float | None:
    import numpy as np

    mean = _mean(values)
    if mean is None or not np.isfinite(seen):
        return None
    return _p(np.abs(values - mean) >= abs(seen - mean) - _EQUAL)


def _mean(values: Any) -> float | None:
    import numpy as np

    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else None


def _number(value: float) -> float | None:
    return value if value == value else None
