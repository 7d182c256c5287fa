"""What a reader must see before any number of a study: that its parts are incomplete, or do not belong together."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.reporting.made_up import made_up_sentence
from toolkit.reporting.page.parts import flat
from toolkit.study.declaration import Declaration
from toolkit.study.summary import Summary, shared_recipe
from toolkit.trust.consent import SCRIPTED

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Mark:
    """A sentence for the top of the page. blocks: why nothing may be claimed because of it, or ""."""

    sentence: str
    blocks: str = ""


def marks(
    summaries: Sequence[Summary], declaration: Declaration, seeds: Sequence[int], present: Declaration | None = None
) -> list[Mark]:
    """Every mark of these summaries. declaration: the one they are read by. seeds: those that were declared.

    present: what the study's file declares now; None where it is not at hand.
    """
    every = [
        _made_up(summaries),
        _declared(summaries),
        _now(declaration, present),
        *_recipes(summaries, declaration),
        *_dtypes(summaries, declaration),
        _missing(summaries, declaration, seeds),
        _absent(summaries, declaration),
        _added(summaries),
        _trainings(summaries, declaration),
        _commits(summaries),
        _versions(summaries),
        _hardware(summaries),
    ]
    return [mark for mark in every if mark.sentence]


def named_seeds(summaries: Iterable[Summary]) -> str:
    """The seeds of these summaries in words, by condition: "seeds 1, 2 (noise)"."""
    seeds: dict[str, set[int]] = {}
    for summary in summaries:
        seeds.setdefault(summary.condition, set()).add(summary.seed)
    parts = [listed(own) + (f" ({condition})" if condition else "") for condition, own in sorted(seeds.items())]
    several = sum(len(own) for own in seeds.values()) > 1
    return f"seed{'s' if several else ''} {', '.join(parts)}"


def seed_words(seeds: Sequence[int]) -> str:
    """These seeds in words: "seed 3", "seeds 1, 2"."""
    return f"seed{'' if len(seeds) == 1 else 's'} {listed(seeds)}"


def listed(seeds: Iterable[int]) -> str:
    """Seeds in order, with commas."""
    return ", ".join(map(str, sorted(seeds)))


def groups(summaries: Sequence[Summary], keys: Iterable[str]) -> dict[str, list[Summary]]:
    """The summaries by the key of each, in their order."""
    parts: dict[str, list[Summary]] = {}
    for key, summary in zip(keys, summaries, strict=True):
        parts.setdefault(key, []).append(summary)
    return parts


def _made_up(summaries: Sequence[Summary]) -> Mark:
    arms: dict[str, set[str]] = {"engine": set(), "trainer": set()}
    for summary in summaries:
        for arm, recipe in summary.recipes.items():
            if _table(recipe, "engine").get("kind") == SCRIPTED:
                arms["engine"].add(arm)
            if _table(recipe, "trainer").get("python") == SCRIPTED:
                arms["trainer"].add(arm)
    sentence = made_up_sentence({part: sorted(names) for part, names in arms.items()})
    return Mark(sentence, "the numbers are made up" if sentence else "")


def _declared(summaries: Sequence[Summary]) -> Mark:
    parts = groups(summaries, [summary.declaration.digest for summary in summaries])
    if len(parts) == 1:
        return Mark("")
    stated = {digest: own[0].declaration.as_json() for digest, own in parts.items()}
    fields = [name for name in next(iter(stated.values())) if name != "seeds"]
    differing = [name for name in fields if len({_text(data[name]) for data in stated.values()}) > 1]
    words = [
        f"{named_seeds(own)} have {'; '.join(f'{name} {_plain(stated[digest][name])}' for name in differing)}"
        for digest, own in parts.items()
    ]
    return Mark(f"Declared differently: {', '.join(words)}.", "the study was declared differently between seeds")


def _now(declaration: Declaration, present: Declaration | None) -> Mark:
    """In what the present declaration differs. Its seeds are left out: those that ran declare theirs (_added)."""
    if present is None:
        return Mark("")
    before, now = declaration.as_json(), present.as_json()
    words = [
        f"{name} {_plain(now[name])} (before: {_plain(before[name])})"
        for name in before
        if name != "seeds" and now[name] != before[name]
    ]
    kept = "the page keeps the declaration made before the seeds ran"
    return Mark(f"Now declared differently: {'; '.join(words)}; {kept}." if words else "")


def _recipes(summaries: Sequence[Summary], declaration: Declaration) -> list[Mark]:
    differing = []
    for condition in declaration.conditions:
        own = [summary for summary in summaries if summary.condition == condition]
        for arm in declaration.arms:
            with_arm = [summary for summary in own if arm in summary.recipes]
            parts = groups(with_arm, [_text(shared_recipe(summary.recipes[arm])) for summary in with_arm])
            if len(parts) > 1:
                fields = _differing([shared_recipe(same[0].recipes[arm]) for same in parts.values()])
                where = f" under {condition}" if condition else ""
                named = "; ".join(named_seeds(same) for same in parts.values())
                sentence = f"The recipe of {arm}{where} differs between seeds in {', '.join(fields)}: {named}."
                differing.append(Mark(sentence, f"the recipe of {arm}{where} differs between seeds"))
    return differing


def _dtypes(summaries: Sequence[Summary], declaration: Declaration) -> list[Mark]:
    """Arms whose seeds under one condition were trained, or answered, in different dtypes."""
    differing = []
    for condition in declaration.conditions:
        own = [summary for summary in summaries if summary.condition == condition]
        by_arm = {arm: groups(own, [_dtype_words(summary, arm) for summary in own]) for arm in declaration.arms}
        same: dict[str, list[str]] = {}  # arms by what is to be said of them: all arms of a machine have its dtypes
        for arm, parts in by_arm.items():
            if len(parts) > 1:
                words = "; ".join(f"{dtypes} ({named_seeds(each)})" for dtypes, each in parts.items())
                same.setdefault(words, []).append(arm)
        for words, arms in same.items():
            what = f"dtype of {', '.join(arms)}{f' under {condition}' if condition else ''} differs between seeds"
            differing.append(Mark(f"The {what}: {words}.", f"the {what}"))
    return differing


def _dtype_words(summary: Summary, arm: str) -> str:
    """What this arm's engine and trainer computed in: as its recipe names it, else as the launch resolved it.

    A server or a scripted engine computes in no dtype of the launch, whatever its recipe names.
    """
    launch, recipe = _table(summary.hardware, "dtype"), summary.recipes.get(arm, {})
    words = []
    for part in ("engine", "trainer"):
        own = _table(recipe, part).get("dtype", "auto")
        resolved = launch.get(part, "none" if launch else UNKNOWN)
        words.append(f"{part} {resolved if own == 'auto' or resolved == 'none' else own}")
    return ", ".join(words)


def _missing(summaries: Sequence[Summary], declaration: Declaration, seeds: Sequence[int]) -> Mark:
    parts = []
    for condition in declaration.conditions:
        own = {summary.seed for summary in summaries if summary.condition == condition}
        if own and (absent := [seed for seed in seeds if seed not in own]):
            parts.append(seed_words(absent) + (f" under {condition}" if condition else ""))
    return Mark(f"Incomplete: no summary of {'; '.join(parts)}." if parts else "")


def _absent(summaries: Sequence[Summary], declaration: Declaration) -> Mark:
    present = {summary.condition for summary in summaries}
    absent = [condition for condition in declaration.conditions if condition not in present]
    return Mark(f"Incomplete: declared without any summary: {', '.join(absent)}." if absent else "")


def _added(summaries: Sequence[Summary]) -> Mark:
    """Seeds that some declarations have and others lack, and seeds of no declaration.

    Whoever has seen results may stop or go on because of them, so neither a claim nor its p-values hold then.
    """
    parts = groups(summaries, [listed(summary.declaration.seeds) for summary in summaries])
    undeclared = [summary for summary in summaries if summary.seed not in summary.declaration.seeds]
    words = [f"{named_seeds(own)} declare {seeds}" for seeds, own in parts.items()] if len(parts) > 1 else []
    words += [f"not declared: {named_seeds(undeclared)}"] if undeclared else []
    if not words:
        return Mark("")
    blocks = "the declared seeds changed, and what was added or left out may depend on results already seen"
    only = "; a report of the summaries of one declaration alone tests what it declared" if len(parts) > 1 else ""
    return Mark(f"The declared seeds changed: {'; '.join(words)}.", blocks + only)


def _trainings(summaries: Sequence[Summary], declaration: Declaration) -> Mark:
    """Arms whose last models have different numbers of trainings from seed to seed."""
    words = []
    for arm in declaration.arms:
        with_arm = [summary for summary in summaries if any(value.arm == arm for value in summary.values)]
        last = [max(value.trainings for value in summary.values if value.arm == arm) for summary in with_arm]
        counts = groups(with_arm, map(str, last))
        if len(counts) > 1:
            words.append(f"{arm} ({', '.join(f'{count}: {named_seeds(own)}' for count, own in counts.items())})")
    return Mark(f"The number of trainings differs between seeds: {'; '.join(words)}." if words else "")


def _commits(summaries: Sequence[Summary]) -> Mark:
    parts = groups(summaries, [summary.commit or UNKNOWN for summary in summaries])
    if len(parts) > 1:
        words = ", ".join(f"{commit} ({named_seeds(own)})" for commit, own in parts.items())
        return Mark(f"The summaries come from different commits: {words}.")
    commit = next(iter(parts))
    return Mark(f"The summaries come from changed code: {commit}." if commit.endswith("+changes") else "")


def _versions(summaries: Sequence[Summary]) -> Mark:
    words = []
    for package in sorted({name for summary in summaries for name in summary.versions}):
        parts = groups(summaries, [str(summary.versions.get(package, "none")) for summary in summaries])
        if len(parts) > 1:
            words.append(f"{package} {', '.join(f'{version} ({named_seeds(own)})' for version, own in parts.items())}")
    return Mark(f"Package versions differ: {'; '.join(words)}." if words else "")


def _hardware(summaries: Sequence[Summary]) -> Mark:
    machines = [
        flat({name: value for name, value in summary.hardware.items() if name != "dtype"}) for summary in summaries
    ]
    names = sorted({name for machine in machines for name in machine})
    differing = [name for name in names if len({machine.get(name, "none") for machine in machines}) > 1]
    where = "the last table of the page has the seeds of each"
    return Mark(f"The hardware differs in {', '.join(differing)}: {where}." if differing else "")


def _differing(recipes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Dotted names of the fields in which these recipes differ."""
    fields = []
    for name in sorted({name for recipe in recipes for name in recipe}):
        values = [recipe.get(name) for recipe in recipes]
        if all(isinstance(value, Mapping) for value in values):
            fields += [f"{name}.{inner}" for inner in _differing(values)]  # type: ignore[arg-type]
        elif len({_text(value) for value in values}) > 1:
            fields.append(name)
    return fields


def _table(recipe: Any, name: str) -> Mapping[str, Any]:
    section = recipe.get(name) if isinstance(recipe, Mapping) else None
    return section if isinstance(section, Mapping) else {}


def _text(value: Any) -> str:
    """Equal for equal values, whatever the order of their keys."""
    return json.dumps(value, sort_keys=True, default=str)


def _plain(value: Any) -> str:
    return (", ".join(map(str, value)) if isinstance(value, list) else str(value)) or "none"
