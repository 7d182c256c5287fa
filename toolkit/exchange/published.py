"""Published answers and scores as the roles of Algorithm 1: past, present and future without running a model.

    import_responses   alpaca_eval's model_outputs.json (an array), or .jsonl: instruction, output, generator
    import_scores      .jsonl, .json or .csv: score, and response (an id), or instruction with generator or output
    pair_published     best(now), worst(now, then); with a future best(now, soon)

Any of them may be gzipped (.gz). A row that cannot be used is set aside and kept, with reason and place, in the table
rejected_row, its pair_set empty: a published file often covers more than what is wanted here. Broken and empty rows,
answers of another generator, and scores of answers that the store does not know or cannot tell apart are such. A file
of which nothing can be used, or a score that is no number, is an error, and then nothing is stored.

Left out: what one sampled answer was asked with (nothing published says it), and conversations of several turns.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any, get_args

from toolkit.errors import InputError, JudgeError, RecipeError
from toolkit.exchange.rows import MOST
from toolkit.judgments.judge import SCORE_DIGITS, Pool, Scored
from toolkit.pairs.chance import store_selection
from toolkit.pairs.selection import best, pair_up, worst
from toolkit.pairs.versions import freeze
from toolkit.reading import Line, read_lines
from toolkit.records import Judgment, Model, PairSet, Prompt, Response, Role
from toolkit.safe_text import one_line
from toolkit.store.database import Store


@dataclass(frozen=True)
class Rejected:
    """A row that was set aside: where it stood, why, and what it said."""

    place: str
    reason: str
    detail: str
    row: str


@dataclass(frozen=True)
class Counts:
    """What an import did: rows taken, those of them that were in the store before, and rows set aside."""

    taken: int
    known: int
    rejected: tuple[Rejected, ...]

    @property
    def reasons(self) -> dict[str, int]:
        return dict(Counter(row.reason for row in self.rejected))


@dataclass(frozen=True)
class Roles:
    """Which model's answers play which role: the paper's M_0, M_i and M_f. Without a future it is phase 1."""

    past: str | None
    present: str
    future: str | None = None


def import_responses(store: Store, path: Path, model_name: str, role: Role, launch: str) -> Counts:
    """Store a file's answers by `model_name` as answers in this role, with their prompts.

    The draw counts the model's answers to a prompt, those in the store included. The same text is the same answer.
    """
    if role not in get_args(Role):
        raise RecipeError(f"{role!r} is no role", where=path, remedy=f"use one of {', '.join(get_args(Role))}")
    answers, rejected = [], []
    for line in read_lines(str(path)):
        row = line.row or {}
        reason, detail = ("broken", line.problem) if line.problem else _answer_fault(row, model_name)
        if reason:
            rejected.append(Rejected(line.place, reason, detail, line.as_text()))
        else:
            answers.append((Prompt(row["instruction"], line.place), row["output"]))
    if not answers:
        raise InputError(
            f"no answer of {model_name!r} among {len(rejected)} rows: {_told(rejected)}",
            where=path,
            remedy="name the generator as the file does, and a file with instruction and output",
        )
    model = Model.external(model_name)
    new = _new_responses(store, model, role, answers)
    with store.transaction():
        store.add([model], launch=launch)
        store.add(list({prompt.id: prompt for prompt, _ in answers}.values()), launch=launch)
        store.add(new, launch=launch)
        _keep(store, rejected, f"{model_name} as {role}", launch)
    return Counts(len(answers), len(answers) - len(new), tuple(rejected))


def import_scores(store: Store, path: Path, judge_name: str, launch: str) -> Counts:
    """Store a file's scores as verdicts by `judge_name` on the answers they belong to, in every role those have.

    A null or NaN score is an unreadable verdict. Several scores of one answer count as draws, so they are averaged.
    """
    judge, lines = Model.external(judge_name), list(read_lines(str(path)))
    known = _known_answers(store, [line.row for line in lines if line.row])
    made, rejected, draws = {}, [], Counter[str]()
    for line in lines:
        score, why = (None, "") if line.problem else _score(line)
        reason, detail, answers = _answers_of(line, known)
        if reason:
            rejected.append(Rejected(line.place, reason, detail, line.as_text()))
        for answer in answers:
            judgment = Judgment(
                answer, judge.id, None, "given", None, draws[answer], None, line.as_text(),
                "unreadable" if score is None else "scored", why, score,
            )  # fmt: skip
            made[judgment.id] = judgment
            draws[answer] += 1
    if not made:
        raise InputError(
            f"no score of a stored answer among {len(lines)} rows: {_told(rejected)}",
            where=path,
            remedy="import the answers first, and give instruction with generator or output, or the response id",
        )
    stored = store.find(Judgment, made)
    with store.transaction():
        store.add([judge], launch=launch)
        store.add(list(made.values()), launch=launch)
        _keep(store, rejected, f"scores by {judge_name}", launch)
    return Counts(len(lines) - len(rejected), len(stored), tuple(rejected))


def pair_published(
    store: Store, name: str, roles: Roles, judge_name: str, launch: str, ties: str = "first", message: str = ""
) -> PairSet:
    """The pairs of Algorithm 1 from stored answers and one judge's scores, frozen as the next version of `name`.

    Prompts are those that the present model answered. An answer without a score is no candidate.
    """
    judge = Model.external(judge_name)
    now = _pool(store, roles.present, "present", judge, ties)
    then = [_pool(store, roles.past, "past", judge, ties)] if roles.past else []
    soon = [_pool(store, roles.future, "future", judge, ties)] if roles.future else []
    then, soon = ([_only(pool, now) for pool in pools] for pools in (then, soon))
    chosen, rejected = best(now, *soon), worst(now, *then)
    pairs, drops = pair_up(chosen, rejected)
    if not pairs:
        counts = ", ".join(f"{n} {reason}" for reason, n in Counter(drop.reason for drop in drops).items())
        raise JudgeError(
            f"none of {len(drops)} prompts gives a pair ({counts})",
            where=f"pair set {name!r}, scores by {judge_name!r}",
            remedy="import scores that tell these answers apart",
        )
    used = ", ".join(f"{role} {model}" for role, model in vars(roles).items() if model)
    draft = PairSet(name, 0, None, tuple(pairs), tuple(drops), message=message or f"{used}; scores by {judge_name}")
    made = freeze(store, draft, launch)[0]
    store_selection(store, made.id, chosen, rejected, launch)
    return made


def _answer_fault(row: Mapping[str, Any], model_name: str) -> tuple[str, str]:
    """Reason and detail where the row is no answer of this model."""
    for name in ("instruction", "output"):
        value = row.get(name)
        if not isinstance(value, str):
            return f"no_{name}", f"no text under {name!r}; found {sorted(row)}"
        if not value.strip():
            return f"empty_{name}", f"{name} is {one_line(value, 20)!r}"
        if not _storable(value):
            return "bad_character", f"a NUL or a lone surrogate in {name}"
    generator = row.get("generator", model_name)
    return ("", "") if generator == model_name else ("another_generator", f"generator is {generator!r}")


def _storable(text: str) -> bool:
    return "\x00" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _new_responses(store: Store, model: Model, role: Role, answers: Sequence[tuple[Prompt, str]]) -> list[Response]:
    known = store.query("SELECT id, prompt FROM response WHERE model = ? AND role = ?", [model.id, role])
    seen, draws, new = {row["id"] for row in known}, Counter(row["prompt"] for row in known), []
    for prompt, text in answers:
        response = Response(prompt.id, model.id, role, draws[prompt.id], None, None, text=text)
        if response.id not in seen:
            seen.add(response.id)
            draws[prompt.id] += 1
            new.append(response)
    return new


def _known_answers(store: Store, rows: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The stored answers that these rows can mean, by response id and by instruction."""
    wanted = {
        name: [text for row in rows if isinstance(text := row.get(name), str) and _storable(text)]
        for name in ("instruction", "response")
    }
    sql = (
        "SELECT r.id AS response, p.text AS instruction, m.name AS generator, r.text AS output, "
        "p.history = '[]' AS single FROM response r JOIN prompt p ON p.id = r.prompt JOIN model m ON m.id = r.model "
        "WHERE p.text IN (SELECT unnest($instruction::VARCHAR[])) OR r.id IN (SELECT unnest($response::VARCHAR[]))"
    )
    found: dict[str, list[dict[str, Any]]] = {}
    for answer in store.query(sql, wanted):
        found[answer["response"]] = [answer]
        if answer["single"]:
            found.setdefault(answer["instruction"], []).append(answer)
    return found


def _answers_of(line: Line, known: Mapping[str, Sequence[Mapping[str, Any]]]) -> tuple[str, str, list[str]]:
    """Why the row has no answer, or the ids of its answer: one text, in each role it was imported in."""
    if line.problem:
        return "broken", line.problem, []
    row = line.row or {}
    names = ("response", "instruction", "generator", "output")
    given = {name: row[name] for name in names if row.get(name) not in (None, "")}
    if not given.keys() & {"response", "generator", "output"}:
        return "no_answer_named", f"neither response, generator nor output; found {sorted(row)}", []
    key = given.get("response", given.get("instruction"))
    found = [
        answer
        for answer in (known.get(key, ()) if isinstance(key, str) else ())
        if all(answer[name] == value for name, value in given.items())
    ]
    if not found:
        return "unknown_answer", one_line(", ".join(f"{name} {value!r}" for name, value in given.items()), 200), []
    if len({(answer["generator"], answer["output"]) for answer in found}) > 1 and "output" not in given:
        return "ambiguous", f"{len(found)} answers of {given['generator']!r} to this instruction; give the output", []
    return "", "", [answer["response"] for answer in found]


def _score(line: Line) -> tuple[float | None, str]:
    """The score, or None and why; raises InputError where it is no number."""
    row = line.row or {}
    if "score" not in row:
        raise InputError(f"no 'score'; found {sorted(row)}", where=line.place, remedy="name the column score")
    value = row["score"]
    if value is None or value == "":
        return None, "the score is null" if value is None else "the score is empty"
    try:
        number = math.inf if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.inf
    if abs(number) > MOST:
        raise InputError(
            f"the score {one_line(repr(value), 60)} is no number up to {MOST:g}",
            where=line.place,
            remedy="write a number, or null where there is none",
        )
    return (None, "the score is NaN") if math.isnan(number) else (number, "")


def _pool(store: Store, name: str, role: Role, judge: Model, ties: str) -> Pool:
    """A model's stored answers in a role with the mean of this judge's scores."""
    ids = "SELECT id FROM response WHERE model = ? AND role = ? ORDER BY prompt, draw, id"
    found = store.find(Response, [row["id"] for row in store.query(ids, [Model.external(name).id, role])])
    sql = (
        "SELECT response, list(score ORDER BY draw, id) AS scores FROM judgment "
        "WHERE judge = ? AND score IS NOT NULL GROUP BY response"
    )
    scores = {row["response"]: round(fmean(row["scores"]), SCORE_DIGITS) for row in store.query(sql, [judge.id])}
    if not found or not found.keys() & scores.keys():
        raise InputError(
            f"no {'scores of the' if found else ''} answers of {name!r} as {role}",
            where=f"judge {judge.name!r}",
            remedy="import its scores after its answers" if found else f"import its answers with role {role!r}",
        )
    candidates: dict[str, tuple[Scored, ...]] = {response.prompt: () for response in found.values()}
    for response in sorted(found.values(), key=lambda r: (r.prompt, r.draw, r.id)):
        if response.id in scores:
            candidates[response.prompt] += (Scored(response, scores[response.id]),)
    return Pool(judge.id, candidates, ties=ties)


def _only(pool: Pool, now: Pool) -> Pool:
    """The pool without the prompts that the present model did not answer."""
    return replace(pool, candidates={p: scored for p, scored in pool.candidates.items() if p in now.candidates})


def _keep(store: Store, rejected: Sequence[Rejected], origin: str, launch: str) -> None:
    """Rows set aside, once: importing a file again adds none. Files of many models bear one name, hence the origin."""
    rows = [vars(row) | {"pair_set": "", "place": f"{origin}, {row.place}", "launch": launch} for row in rejected]
    store.insert("rejected_row", rows)


def _told(rejected: Sequence[Rejected]) -> str:
    counts = ", ".join(f"{n} {reason}" for reason, n in Counter(row.reason for row in rejected).items())
    return f"{counts}; first {rejected[0].place}: {rejected[0].detail}" if rejected else "the file is empty"
