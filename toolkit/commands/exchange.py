"""Data in and out: preference files, published answers and scores, exports; filters and overlap reports."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from toolkit.commands.common import DEFAULT, JsonOption, StoreOption, WideOption, end, reading, say, show, writing
from toolkit.commands.sets import Reference
from toolkit.errors import RecipeError
from toolkit.exchange import published
from toolkit.exchange.exporting import export_pairs, would_replace
from toolkit.exchange.importing import import_pairs
from toolkit.pairs import filters
from toolkit.pairs.overlap import EvalSet, eval_set, near_report, overlap_report
from toolkit.pairs.versions import check_name, resolve
from toolkit.records import Role
from toolkit.trust.paths import check_label

Evals = Annotated[
    list[str] | None,
    typer.Option("--eval", help="alpaca_eval=FILE, gsm8k=FILE, human_eval, NAME=FILE (.txt, or rows of 'text')."),
]
Judge = Annotated[str, typer.Option(help="Name of the judge whose scores the file holds.")]


def import_(
    source: Annotated[str, typer.Argument(help="A file, an exported or saved data set folder, or a hub id.")],
    name: Annotated[str, typer.Argument(help="Name of the pair set.")],
    shape: Annotated[str, typer.Option(help="The file's shape; auto finds it from the columns.")] = "auto",
    message: Annotated[str, typer.Option(help="Kept with the version.")] = "",
    store: StoreOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Preference data as a new version; rows that are no pair are kept with their reason: import hh.jsonl.gz hh."""
    end(lambda: _import(source, name, (shape, message), store, as_json))


def export(
    reference: Reference,
    target: Annotated[Path, typer.Argument(help="Folder, or file, to write.")],
    shape: Annotated[str, typer.Option(help="jsonl, parquet, openrlhf, trl, trl-implicit, sharegpt or hf.")] = "jsonl",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the files it would replace; write none.")] = False,
    store: StoreOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """A version in a trainer's shape, with a card and a manifest to come back by: export guided@1 out --shape trl."""
    what = (target, shape)
    end(lambda: _would_export(reference, what, store, as_json) if dry_run else _export(reference, what, store, as_json))


def import_responses(
    file: Annotated[Path, typer.Argument(help="alpaca_eval's model_outputs.json, or .jsonl of the same fields.")],
    model: Annotated[str, typer.Option(help="The generator's name.")],
    role: Annotated[str, typer.Option(help="past, present, future or unknown.")] = "unknown",
    store: StoreOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Published answers of a model in a role: import-responses phi-2.jsonl --model phi-2 --role past."""
    end(lambda: _import_responses(file, (model, role), store, as_json))


def import_scores(
    file: Annotated[Path, typer.Argument(help="score, and response, or instruction with generator or output.")],
    judge: Judge,
    store: StoreOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Scores of stored answers by an outside judge: import-scores scores.jsonl --judge gpt."""
    end(lambda: _import_scores(file, judge, store, as_json))


def pair(
    name: Annotated[str, typer.Argument(help="Name of the pair set.")],
    judge: Judge,
    present: Annotated[str, typer.Option(help="The present model.")],
    past: Annotated[str | None, typer.Option(help="The past model.")] = None,
    future: Annotated[str | None, typer.Option(help="The future model; without it, phase 1.")] = None,
    store: StoreOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Temporal pairs of published answers: pair phi --past phi-2 --present phi-2-sft --future phi-2-dpo --judge gpt."""
    end(lambda: _pair(name, published.Roles(past, present, future), judge, store, as_json))


def overlap(
    reference: Reference,
    evals: Evals = None,
    store: StoreOption = DEFAULT,
    as_json: JsonOption = False,
    wide: WideOption = False,
) -> None:
    """Prompts that occur in evaluation sets, with the evidence; without --eval, near-duplicates among themselves:
    overlap guided@1 --eval human_eval."""
    end(lambda: _overlap(reference, evals or [], store, as_json, wide))


def filter_(
    reference: Reference,
    evals: Evals = None,
    near_duplicates: Annotated[
        bool, typer.Option("--near-duplicates", help="Drop repeats of nearly one prompt.")
    ] = False,
    finished: Annotated[bool, typer.Option("--finished", help="Drop pairs with an answer cut by max_tokens.")] = False,
    min_gap: Annotated[float, typer.Option(help="Drop pairs whose scores are closer.")] = 0.0,
    max_length: Annotated[int, typer.Option(help="Drop pairs with a longer answer, in characters.")] = 0,
    length_ratio: Annotated[float, typer.Option(help="Drop pairs whose lengths are further apart.")] = 0.0,
    name: Annotated[str, typer.Option(help="Name of the result; the same name where none is given.")] = "",
    store: StoreOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """What filters keep, as the next version, each drop with its reason: filter guided@1 --min-gap 0.5 --name clean."""

    def chosen() -> list[filters.Filter]:
        return [
            *([filters.decontaminate(_evals(evals))] if evals else []),
            *([filters.near_duplicates] if near_duplicates else []),
            *([filters.finished] if finished else []),
            *([filters.min_gap(min_gap)] if min_gap else []),
            *([filters.max_length(max_length)] if max_length else []),
            *([filters.length_ratio(length_ratio)] if length_ratio else []),
        ]

    end(lambda: _filter(reference, chosen(), name or None, store, as_json))


def _import(source: str, name: str, how: tuple[str, str], path: Path, as_json: bool) -> None:
    shape, message = how
    check_name(name)
    with writing(path, "import", new=True) as (store, launch):
        made, found, aside = import_pairs(store, source, name, launch, shape=shape, message=message)
    known = "is there already as" if found else "is"
    look = f"look: python -m toolkit sql \"FROM rejected_rows WHERE pair_set = '{made.id}'\" --store {path}"
    lines = [f"{source} {known} {made.id}: {len(made.pairs)} pairs, {aside.total()} rows set aside"]
    lines += [*(f"  {count} {reason}" for reason, count in aside.most_common()), *([look] if aside else [])]
    row = {"set": made.id, "pairs": len(made.pairs), "fingerprint": made.fingerprint, "known": found}
    say(lines, {**row, "set_aside": aside.total(), "reasons": dict(aside.most_common())}, as_json=as_json)


def _export(reference: str, what: tuple[Path, str], path: Path, as_json: bool) -> None:
    target, shape = what
    with writing(path, "export") as (store, _):
        version = resolve(store, reference)
        written = export_pairs(store, version.id, target, shape)
    row = {"set": version.id, "pairs": version.size, "path": str(written), "fingerprint": version.fingerprint}
    told = f"{version.id}: {version.size} pairs in {written}, fingerprint {version.fingerprint}"
    say(told, row, as_json=as_json)


def _would_export(reference: str, what: tuple[Path, str], path: Path, as_json: bool) -> None:
    with reading(path) as store:
        version = resolve(store, reference)
    replaced = [str(file) for file in would_replace(*what)]
    words = [f"would write {version.id} to {what[0]}", *(f"would replace {file}" for file in replaced)]
    say(words, {"set": version.id, "path": str(what[0]), "would_replace": replaced}, as_json=as_json)


def _import_responses(file: Path, whose: tuple[str, str], path: Path, as_json: bool) -> None:
    model, role = whose
    if role not in ("past", "present", "future", "unknown"):
        raise RecipeError(f"--role {role!r}", remedy="one of past, present, future, unknown")
    check_label(model, "a model", "--model")
    named: Role = role  # type: ignore[assignment]
    with writing(path, "import-responses", new=True) as (store, launch):
        counts = published.import_responses(store, file, model, named, launch)
    _told(f"answers of {model} as {role}", counts, as_json)


def _import_scores(file: Path, judge: str, path: Path, as_json: bool) -> None:
    check_label(judge, "a judge", "--judge")
    with writing(path, "import-scores") as (store, launch):
        counts = published.import_scores(store, file, judge, launch)
    _told(f"scores by {judge}", counts, as_json)


def _pair(name: str, roles: published.Roles, judge: str, path: Path, as_json: bool) -> None:
    check_name(name)
    with writing(path, "pair") as (store, launch):
        made = published.pair_published(store, name, roles, judge, launch)
    row = {"set": made.id, "pairs": len(made.pairs), "without": len(made.drops), "fingerprint": made.fingerprint}
    say(f"{made.id}: {len(made.pairs)} pairs, {len(made.drops)} prompts without one", row, as_json=as_json)


def _overlap(reference: str, evals: Sequence[str], path: Path, as_json: bool, wide: bool) -> None:
    with reading(path) as store:
        rows = overlap_report(store, reference, _evals(evals)) if evals else near_report(store, reference)
    what = "overlaps with evaluation sets" if evals else "near-duplicate prompts"
    show(f"{reference}: {len(rows)} {what}", rows, as_json=as_json, wide=wide)


def _filter(reference: str, chosen: Sequence[filters.Filter], name: str | None, path: Path, as_json: bool) -> None:
    if not chosen:
        raise RecipeError("no filter was named", remedy="for example --min-gap 0.5, --finished or --eval human_eval")
    if name:
        check_name(name)
    with writing(path, "filter") as (store, launch):
        before = resolve(store, reference)
        made = filters.apply(store, before.id, chosen, name, launch)
    row = {"of": before.id, "set": made.id, "pairs": len(made.pairs), "fingerprint": made.fingerprint}
    say(f"{before.id} -> {made.id}: {before.size} pairs, {len(made.pairs)} kept", row, as_json=as_json)


def _evals(names: Sequence[str] | None) -> list[EvalSet]:
    made = []
    for text in names or []:
        name, _, file = text.partition("=")
        made.append(eval_set(name, Path(file) if file else None))
    return made


def _told(what: str, counts: published.Counts, as_json: bool) -> None:
    aside = len(counts.rejected)
    lines = [f"{counts.taken} {what}, {counts.known} of them known before, {aside} rows set aside"]
    lines += [f"  {count} {reason}" for reason, count in counts.reasons.items()]
    row = {"taken": counts.taken, "known": counts.known, "set_aside": aside, "reasons": counts.reasons}
    say(lines, row, as_json=as_json)
