"""The token gate: which rows the trainer would really learn from, decided with the trainer's own tokenisation.

A pair, or a demonstration (one answer, for SFT), is dropped, with a reason and numbers, where OpenRLHF would train on
something else than its answers:

    empty_answer          nothing but white space
    equal_text            both answers are one text, trailing newlines aside
    special_token_text    an answer holds a special token as text, which the trainer reads as a control token
    prompt_tokens_differ  the rendered prompt tokenises to other tokens than those the answers were generated from
    prompt_too_long       above max_prompt_length, or so long that the trainer leaves the row out
    boundary_merge        the prompt's last token merges with the answer's first: the loss mask would be off
    identical_tokens      both sides are the same tokens: the loss stays at ln 2, the gradient at 0
    loses_end             an answer is cut by max_length and given an end it never had
    cut_answer            the answer hit max_tokens; only with gate.cut_answers = "drop", else a warning
    duplicate             an earlier row has the same prompt and answers

The first reason, in this order, is the one on the drop. No model and no torch is needed, only the tokenizer.
Left out: what a pair is worth; that is diagnostics.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from toolkit import config
from toolkit.errors import GateError
from toolkit.records import Drop
from toolkit.training.tokens import ANSWER_ROOM, encode, keeps_row, trainer_text, trainer_tokens


@dataclass(frozen=True)
class Row:
    """A rendered pair or demonstration (rejected is None). prompt ends in the generation prompt; answers are the
    model's own text, without EOS. subject: id of the pair, or of the demonstrated response. *_cut: the answer hit
    max_tokens. prompt_tokens: what generation saw, None where unknown."""

    subject: str
    prompt_id: str
    prompt: str
    chosen: str
    rejected: str | None
    chosen_cut: bool = False
    rejected_cut: bool = False
    prompt_tokens: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Finding:
    """One reason against a row, with its numbers."""

    reason: str
    detail: str


@dataclass(frozen=True)
class GateReport:
    """Every row is kept or dropped, in the order it came. warnings: kept rows with a flaw, counted by reason; tokens:
    of the kept rows, prompts and all sides, as the trainer will see them in each epoch."""

    kept: tuple[Row, ...]
    drops: tuple[Drop, ...]
    warnings: Mapping[str, int]
    tokens: int


@dataclass(frozen=True)
class Side:
    """One answer of a row. uncut: tokens of prompt and answer; trained: what the trainer makes of them."""

    name: str
    answer: str
    uncut: tuple[int, ...]
    trained: tuple[int, ...]


@dataclass(frozen=True)
class Inspection:
    """A row as the trainer will see it, and the settings it is held against."""

    row: Row
    prompt: tuple[int, ...]
    sides: tuple[Side, ...]
    specials: frozenset[str]
    training: config.Optimization


def export_answer(text: str, eos: str) -> str:
    """The answer as it is handed over: it ends in EOS, so that the trainer adds no space before one."""
    return text + eos


def side(row: Row, name: str, tokenizer: Any, max_length: int) -> Side:
    """The chosen or the rejected answer of a row, as the trainer tokenises it."""
    answer: str = getattr(row, name)
    exported = export_answer(answer, tokenizer.eos_token)
    uncut = encode(tokenizer, trainer_text(tokenizer.eos_token, row.prompt, exported))
    # An answer that ends in EOS and fits is trained on as it is; only the others need the trainer's rule.
    fits = len(uncut) <= max_length and uncut[-1] == tokenizer.eos_token_id
    return Side(name, answer, uncut, uncut if fits else trainer_tokens(tokenizer, row.prompt, exported, max_length))


def empty_answer(it: Inspection) -> str:
    return ", ".join(f"{side.name}: {side.answer[:20]!r}" for side in it.sides if not side.answer.strip())


def equal_text(it: Inspection) -> str:
    texts = [side.answer.rstrip("\n") for side in it.sides]
    return f"{len(texts[0])} equal characters" if texts[1:] == texts[:1] else ""


def special_token_text(it: Inspection) -> str:
    found = [(side.name, token) for side in it.sides for token in sorted(it.specials) if token in side.answer]
    return ", ".join(f"{name} holds {token!r}" for name, token in found)


def prompt_tokens_differ(it: Inspection) -> str:
    seen, here = it.row.prompt_tokens, it.prompt
    if seen is None or seen == here:
        return ""
    place = next((i for i, (a, b) in enumerate(zip(seen, here, strict=False)) if a != b), min(len(seen), len(here)))
    return f"{len(seen)} tokens at generation, {len(here)} in the trainer, the first difference at {place}"


def prompt_too_long(it: Inspection) -> str:
    length, room = len(it.prompt), it.training.max_length - ANSWER_ROOM
    if length > it.training.max_prompt_length:
        return f"{length} tokens, max_prompt_length is {it.training.max_prompt_length}"
    return "" if keeps_row(length, it.training.max_length) else f"{length} tokens, the trainer takes fewer than {room}"


def boundary_merge(it: Inspection) -> str:
    length = len(it.prompt)
    merged = [side.name for side in it.sides if side.uncut[:length] != it.prompt]
    return f"the {length} prompt tokens are not the first of {' and '.join(merged)}" if merged else ""


def identical_tokens(it: Inspection) -> str:
    tokens = [side.trained for side in it.sides]
    return f"{len(tokens[0])} equal tokens" if tokens[1:] == tokens[:1] else ""


def loses_end(it: Inspection) -> str:
    limit = it.training.max_length
    long = [f"{side.name} has {len(side.uncut)} tokens" for side in it.sides if len(side.uncut) > limit]
    return f"{' and '.join(long)}, max_length is {limit}" if long else ""


def cut_answer(it: Inspection) -> str:
    cut = [name for name, flag in (("chosen", it.row.chosen_cut), ("rejected", it.row.rejected_cut)) if flag]
    return f"{' and '.join(cut)} hit max_tokens" if cut else ""


CHECKS = (
    empty_answer,
    equal_text,
    special_token_text,
    prompt_tokens_differ,
    prompt_too_long,
    boundary_merge,
    identical_tokens,
    loses_end,
)


def inspect_row(row: Row, tokenizer: Any, training: config.Optimization, settings: config.Gate) -> tuple[Finding, ...]:
    """Everything that speaks against training on this row, in the order of the checks. Empty: nothing does."""
    return _findings(_inspection(row, tokenizer, training), settings)


def _findings(inspection: Inspection, settings: config.Gate) -> tuple[Finding, ...]:
    checks = CHECKS if settings.cut_answers == "keep" else (*CHECKS, cut_answer)
    found = ((check.__name__, check(inspection)) for check in checks)
    return tuple(Finding(reason, detail) for reason, detail in found if detail)


def gate(rows: Iterable[Row], tokenizer: Any, training: config.Optimization, settings: config.Gate) -> GateReport:
    """Part the rows into those to train on and those to drop, each with its first reason."""
    kept, drops, warnings, tokens = [], [], Counter[str](), 0
    first: dict[tuple[str, str, str | None], str] = {}
    for row in rows:
        inspection = _inspection(row, tokenizer, training)
        findings = _findings(inspection, settings)
        key = (row.prompt, row.chosen, row.rejected)
        if not findings and key in first:
            findings = (Finding("duplicate", f"the prompt and answers of {first[key]}"),)
        first.setdefault(key, row.subject)
        if findings:
            drops.append(Drop("gate", row.prompt_id, findings[0].reason, row.subject, findings[0].detail))
            continue
        kept.append(row)
        tokens += sum(len(side.trained) for side in inspection.sides)
        warnings.update(["cut_answer"] if row.chosen_cut or row.rejected_cut else [])
    return GateReport(tuple(kept), tuple(drops), dict(warnings), tokens)


def check_share(report: GateReport, settings: config.Gate) -> None:
    """Raise GateError where more than gate.max_dropped of the rows are dropped, or none is left."""
    total, dropped = len(report.kept) + len(report.drops), len(report.drops)
    if report.kept and dropped <= settings.max_dropped * total:
        return
    reasons = Counter(drop.reason for drop in report.drops).most_common()
    counts = ", ".join(f"{count} {reason}" for reason, count in reasons) or "there were none to begin with"
    raise GateError(
        f"{len(report.kept)} of {total} rows can be trained on; dropped: {counts}",
        where=f"token gate, gate.max_dropped = {settings.max_dropped}",
        remedy=REMEDIES[reasons[0][0]] if reasons else MORE_PAIRS,
    )


def effective_batch(rows: int, training: config.Optimization) -> tuple[int, int]:
    """(rows per optimizer step, rows that each epoch leaves out). GateError where no step can be made."""
    if rows >= training.batch_size:
        return training.batch_size, rows % training.batch_size
    if rows and training.small_sets == "shrink":
        return rows, 0
    raise GateError(
        f"{rows} rows do not fill one batch of {training.batch_size}" if rows else "no row is left to train on",
        where=f"batch_size = {training.batch_size}",
        remedy=f"{MORE_PAIRS}, lower batch_size, or set small_sets = 'shrink'" if rows else MORE_PAIRS,
    )


MORE_PAIRS = "use more prompts or more answers per prompt (answers.k)"
REMEDIES = {
    "empty_answer": "look at the base model's answers: it may need another template or temperature",
    "equal_text": "raise answers.temperature or answers.k, for more varied answers",
    "special_token_text": "remove prompts that make the model spell control tokens",
    "prompt_tokens_differ": "remove prompts that hold control tokens as text",
    "prompt_too_long": "raise training.max_prompt_length and training.max_length, or lower prompts.max_tokens",
    "boundary_merge": "use a chat template whose generation prompt ends in a control token or a newline",
    "identical_tokens": "raise training.max_length: the answers differ only beyond it",
    "loses_end": "raise training.max_length or lower answers.max_tokens",
    "cut_answer": "raise answers.max_tokens, or keep such pairs with gate.cut_answers = 'keep'",
    "duplicate": "remove repeated prompts with prompts.duplicates = 'drop'",
}


def _inspection(row: Row, tokenizer: Any, training: config.Optimization) -> Inspection:
    names = ("chosen",) if row.rejected is None else ("chosen", "rejected")
    sides = tuple(side(row, name, tokenizer, training.max_length) for name in names)
    return Inspection(row, encode(tokenizer, row.prompt), sides, _specials(tokenizer), training)


def _specials(tokenizer: Any) -> frozenset[str]:
    added = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    return frozenset(added | set(tokenizer.all_special_tokens))
