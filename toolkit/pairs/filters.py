"""Filters: what takes pairs out of a frozen set, and makes of what is left the next version.

A filter is a function from rows (a pair with its texts) to the rows kept and a drop, with its reason, for each other.

    contaminated    decontaminate(evals)     the prompt is in an evaluation set
    near_duplicate  near_duplicates          an earlier prompt that is kept says nearly the same
    small_gap       min_gap(points)          the scores are closer than that, or one is unknown
    too_long        max_length(characters)   an answer is longer
    length_ratio    length_ratio(most)       one answer is more than so many times as long as the other
    same_role       same_role                both answers play one role
    other_role      roles(chosen, rejected)  an answer plays none of the roles named for its side
    cut             finished                 an answer was cut by max_tokens; of imported answers that is unknown
    empty           non_empty                an answer says nothing

`apply` runs them in order, each on what the one before kept. Left out: filters of answers or prompts before pairing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from toolkit.errors import InputError
from toolkit.judgments.judge import SCORE_DIGITS
from toolkit.pairs import overlap
from toolkit.pairs.versions import freeze, load
from toolkit.records import Drop, Pair, PairSet, Prompt, Response, Role
from toolkit.store.database import Store


@dataclass(frozen=True)
class Row:
    """A pair with what it says."""

    pair: Pair
    prompt: Prompt
    chosen: Response
    rejected: Response

    @property
    def lengths(self) -> tuple[int, int]:
        """Characters of the shorter and of the longer answer."""
        sizes = sorted((len(self.chosen.text or ""), len(self.rejected.text or "")))
        return sizes[0], sizes[1]


Filtered = tuple[list[Row], list[Drop]]
Filter = Callable[[Sequence[Row]], Filtered]


def apply(
    store: Store, reference: str, filters: Sequence[Filter], name: str | None, launch: str, message: str = ""
) -> PairSet:
    """What the filters keep of a version, frozen with the drops as the next version of its name or of another.

    It belongs to no iteration: no recipe made it. Where nothing is taken out and no other name is given, the version
    itself comes back; where the result is a version already, that one with the drops stored with it. Raises InputError
    where nothing is left.
    """
    source = load(store, reference)
    kept, drops = _rows(store, source), list[Drop]()
    for each in filters:
        kept, dropped = each(kept)
        drops += dropped
    if not drops and name in (None, source.name):
        return source
    steps = ", ".join(each.__name__ for each in filters) or "no filter"
    if not kept:
        raise InputError(f"no pair of {source.id} passes {steps}", where="filters", remedy="set milder limits")
    pairs = tuple(row.pair for row in kept)
    message = message or f"{source.id} through {steps}"
    draft = PairSet(name or source.name, 0, None, pairs, tuple(drops), message=message)
    return freeze(store, draft, launch)[0]


def decontaminate(evals: Sequence[overlap.EvalSet]) -> Filter:
    """Takes out every pair whose prompt shares an n-gram with one of these evaluation sets."""

    def sieve(rows: Sequence[Row]) -> Filtered:
        found = {each.prompt: each for each in overlap.overlaps(_prompts(rows).values(), evals)}

        def fault(row: Row) -> str:
            hit = found.get(row.prompt.id)
            return f"{hit.eval_set} item {hit.item}, {hit.share:.1%} of its grams: {hit.evidence}" if hit else ""

        return _part(rows, "contaminated", fault)

    return _named(f"decontaminate({', '.join(each.name for each in evals)})", sieve)


def near_duplicates(rows: Sequence[Row]) -> Filtered:
    """Keeps the pairs of the first of several prompts that say nearly the same, in the order of pair ids."""
    prompts = _prompts(rows)
    ids = list(prompts)
    gone = _repeats(overlap.near_duplicates([prompt.as_text() for prompt in prompts.values()]))
    why = {ids[place]: f"Jaccard {near.jaccard:.2f} with prompt {ids[near.first]}" for place, near in gone.items()}
    return _part(rows, "near_duplicate", lambda row: why.get(row.prompt.id, ""))


def min_gap(points: float) -> Filter:
    """Takes out pairs whose scores are closer than that; an unknown score is no gap."""

    def fault(row: Row) -> str:
        high, low = row.pair.chosen_score, row.pair.rejected_score
        if high is None or low is None:
            return "no score"
        gap = round(high - low, SCORE_DIGITS)
        return f"{gap:g} points" if gap < points else ""

    return _named(f"min_gap({points:g})", lambda rows: _part(rows, "small_gap", fault))


def max_length(characters: int) -> Filter:
    """Takes out pairs of which an answer is longer than that."""

    def fault(row: Row) -> str:
        return f"{row.lengths[1]} characters" if row.lengths[1] > characters else ""

    return _named(f"max_length({characters})", lambda rows: _part(rows, "too_long", fault))


def length_ratio(most: float) -> Filter:
    """Takes out pairs of which one answer is more than `most` times as long as the other, in characters."""

    def fault(row: Row) -> str:
        short, long = row.lengths
        return f"{long} to {short} characters" if long > most * short else ""

    return _named(f"length_ratio({most:g})", lambda rows: _part(rows, "length_ratio", fault))


def same_role(rows: Sequence[Row]) -> Filtered:
    """Takes out pairs whose answers play one role: those that past and future added nothing to."""

    def fault(row: Row) -> str:
        return f"both {row.pair.chosen_role}" if row.pair.chosen_role == row.pair.rejected_role else ""

    return _part(rows, "same_role", fault)


def roles(chosen: Collection[Role], rejected: Collection[Role]) -> Filter:
    """Keeps pairs whose chosen and rejected answers play one of these roles."""

    def fault(row: Row) -> str:
        meant = row.pair.chosen_role in chosen and row.pair.rejected_role in rejected
        return "" if meant else f"{row.pair.chosen_role} over {row.pair.rejected_role}"

    return _named(
        f"roles({'/'.join(sorted(chosen))}, {'/'.join(sorted(rejected))})",
        lambda rows: _part(rows, "other_role", fault),
    )


def finished(rows: Sequence[Row]) -> Filtered:
    """Takes out pairs with an answer that was cut by max_tokens."""
    return _part(rows, "cut", lambda row: _sides(row, lambda answer: answer.finish == "length"))


def non_empty(rows: Sequence[Row]) -> Filtered:
    """Takes out pairs with an answer of white space or nothing."""
    return _part(rows, "empty", lambda row: _sides(row, lambda answer: not (answer.text or "").strip()))


def _rows(store: Store, source: PairSet) -> list[Row]:
    prompts = store.find(Prompt, {pair.prompt for pair in source.pairs})
    answers = store.find(Response, {side for pair in source.pairs for side in (pair.chosen, pair.rejected)})
    return [Row(pair, prompts[pair.prompt], answers[pair.chosen], answers[pair.rejected]) for pair in source.pairs]


def _part(rows: Sequence[Row], reason: str, fault: Callable[[Row], str]) -> Filtered:
    """The rows without a fault, and a drop for each other."""
    kept, drops = list[Row](), list[Drop]()
    for row in rows:
        if detail := fault(row):
            drops.append(Drop("filter", row.pair.prompt, reason, row.pair.id, detail))
        else:
            kept.append(row)
    return kept, drops


def _named(name: str, sieve: Filter) -> Filter:
    """The filter under the name that a version's message shows."""
    sieve.__name__ = name
    return sieve


def _prompts(rows: Sequence[Row]) -> dict[str, Prompt]:
    return {row.prompt.id: row.prompt for row in rows}


def _sides(row: Row, bad: Callable[[Response], bool]) -> str:
    return " and ".join(side for side, answer in (("chosen", row.chosen), ("rejected", row.rejected)) if bad(answer))


def _repeats(nears: Sequence[overlap.Near]) -> dict[int, overlap.Near]:
    """The texts that go, each with the kept one it is near to. Equal grams follow their first, kept or gone."""
    gone: dict[int, overlap.Near] = {}
    for near in nears:
        sooner = gone.get(near.first)
        if sooner is None:
            gone.setdefault(near.second, near)
        elif near.jaccard == 1:
            gone.setdefault(near.second, replace(sooner, second=near.second))
    return gone
