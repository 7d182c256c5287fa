"""Question files under one of our judges: shaped as MT-Bench's (scores, turns) or Arena-Hard's (against a baseline).

    single     the judge scores every answer by its rubric; MT-Bench's later turns see the model's earlier answers
    pairwise   the judge compares every answer with the baseline's, in both orders; a tie counts half

Rows of the question file: an id under `question_id`, `uid` or `id`, and `turns` (texts, or objects with `content`) or
`prompt`. Rows of the baseline: the same id, and `choices[0].turns`, `messages` or `output`. The judge's method, rubric
and draws are those of the recipe. What comes out is a figure of this judge, not comparable with the published boards.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from toolkit.errors import InputError
from toolkit.evaluation.answers import Graded, Questions, answers, keep, mean_score
from toolkit.evaluation.judge_quality import scored_by
from toolkit.identity import Json
from toolkit.judgments.pairwise import compare
from toolkit.judgments.rubric import load_pair_rubric, load_rubric
from toolkit.lab import Lab
from toolkit.reading import Line, read_lines
from toolkit.records import Item, Model, Prompt, Response, Sampling

PAIRWISE = "pairwise"  # the rubric of comparisons
IDS = ("question_id", "uid", "id")


@dataclass(frozen=True)
class Judged:
    """questions, baseline: files; without a baseline answers are scored. judge_model: a directory, hub id or the
    embedded model's name; name: of the task. temperature, max_tokens: of the answers."""

    questions: str
    judge_model: str
    name: str = "judged"
    baseline: str = ""
    limit: int | None = None
    temperature: float = 0.0
    max_tokens: int = 1024


@dataclass(frozen=True)
class Question:
    """Its id in the file and its turns."""

    id: str
    turns: tuple[str, ...]
    place: str


def judged(lab: Lab, model: Model, settings: Judged) -> Graded:
    """Scores and items of a question file. Stored before they are returned; a plan answers and judges nothing."""
    questions = _questions(settings)
    judge = lab.model(settings.judge_model)
    said = _conversations(lab, model, settings, questions)
    blank = Item(model.id, settings.name, "win" if settings.baseline else "score", "", _protocol(lab, settings, judge))
    if lab.planning:
        return Graded((), ())
    made = _compared(lab, judge, settings, said) if settings.baseline else _scored(lab, judge, said)
    items = tuple(
        replace(blank, question=identifier, answer=said[identifier][-1].id, value=value, detail=detail)
        for identifier, (value, detail) in made.items()
    )
    readable = [item for item in items if item.value is not None]
    return keep(lab, Graded((mean_score(readable),) if readable else (), items))


def _conversations(
    lab: Lab, model: Model, settings: Judged, questions: Sequence[Question]
) -> dict[str, list[Response]]:
    """The model's answer to every turn, turn by turn, by question."""
    said: dict[str, list[Response]] = {question.id: [] for question in questions}
    sampling = Sampling(settings.temperature, 1.0, settings.max_tokens)
    for turn in range(max(len(question.turns) for question in questions)):
        due = [question for question in questions if len(question.turns) > turn]
        if any(answer.text is None for question in due for answer in said[question.id]):
            break  # a plan has no first answers to go on from
        prompts = tuple(_prompt(question, turn, said[question.id]) for question in due)
        for question, answer in zip(due, answers(lab, model, Questions(settings.name, prompts, sampling)), strict=True):
            said[question.id].append(answer)
    return said


def _prompt(question: Question, turn: int, before: Sequence[Response]) -> Prompt:
    history = [
        turned
        for asked, answer in zip(question.turns[:turn], before, strict=True)
        for turned in (("user", asked), ("assistant", answer.text or ""))
    ]
    return Prompt(question.turns[turn], question.place, tuple(history))


def _scored(lab: Lab, judge: Model, said: Mapping[str, list[Response]]) -> dict[str, tuple[float | None, str]]:
    pool = scored_by(lab, judge, [answer for turns in said.values() for answer in turns])
    scores = {one.response.id: one.score for found in pool.candidates.values() for one in found}
    made: dict[str, tuple[float | None, str]] = {}
    for identifier, turns in said.items():
        known = [scores[answer.id] for answer in turns if answer.id in scores]
        told = json.dumps([scores.get(answer.id) for answer in turns])
        made[identifier] = (fmean(known) if len(known) == len(turns) else None, told)
    return made


def _compared(
    lab: Lab, judge: Model, settings: Judged, said: Mapping[str, list[Response]]
) -> dict[str, tuple[float | None, str]]:
    """1 where both orders prefer the model, 0 where both prefer the baseline; an unreadable order has no value."""
    known = _baseline(settings)
    author = Model.external(f"baseline of {settings.name}")
    pairs = {
        identifier: (turns[-1], Response(turns[-1].prompt, author.id, "unknown", 0, None, None, known[identifier]))
        for identifier, turns in said.items()
        if identifier in known
    }
    if missing := set(said) - set(pairs):
        raise InputError(
            f"the baseline has no answer to question {min(missing)!r}",
            where=settings.baseline,
            remedy="bring a baseline for every question, or lower limit",
        )
    lab.store.add([author], launch=lab.launch.id)
    lab.store.add([other for _, other in pairs.values()], launch=lab.launch.id)
    found = compare(lab, judge, list(pairs.values()), PAIRWISE)
    by_pair: dict[frozenset[str], list[float | None]] = {}
    own = {answer.id for answer, _ in pairs.values()}
    for one in found:
        won = {"decided": float(one.winner in own), "tie": 0.5}.get(one.status or "")
        by_pair.setdefault(frozenset((one.first, one.second)), []).append(won)
    made: dict[str, tuple[float | None, str]] = {}
    for identifier, (answer, other) in pairs.items():
        orders = by_pair[frozenset((answer.id, other.id))]
        readable = [won for won in orders if won is not None]
        made[identifier] = (fmean(readable) if len(readable) == len(orders) else None, json.dumps(orders))
    return made


def _protocol(lab: Lab, settings: Judged, judge: Model) -> dict[str, Json]:
    judging = lab.recipe.judge
    written = Sampling(judging.temperature, judging.top_p, judging.max_tokens)
    return {
        "judge": judge.id,
        "method": "pairwise" if settings.baseline else judging.method,
        "rubric": load_pair_rubric(PAIRWISE).id if settings.baseline else load_rubric(judging.rubric).id,
        "draws": 1 if settings.baseline or judging.exact else judging.draws,
        "judging": (written if settings.baseline else judging.sampling).as_json(),
        "seed": lab.recipe.seed,
        "questions": _digest(settings.questions),
        "baseline": _digest(settings.baseline) if settings.baseline else None,
        "limit": settings.limit,
        "sampling": Sampling(settings.temperature, 1.0, settings.max_tokens).as_json(),
        "note": "own judge: not comparable with the published board",
    }


def _questions(settings: Judged) -> list[Question]:
    made = [Question(_id(line), _turns(line), line.place) for line in read_lines(settings.questions)]
    made = made[: settings.limit]
    if len({question.id for question in made}) < len(made) or not made:
        raise InputError(
            "no questions" if not made else "two questions have one id",
            where=settings.questions,
            remedy="mend the file",
        )
    return made


def _baseline(settings: Judged) -> dict[str, str]:
    return {_id(line): _last(line) for line in read_lines(settings.baseline)}


def _id(line: Line) -> str:
    row = line.row or {}
    found = next((row[name] for name in IDS if row.get(name) is not None), None)
    if not isinstance(found, str | int):
        raise _flaw(line, f"no id under {', '.join(IDS)}")
    return str(found)


def _turns(line: Line) -> tuple[str, ...]:
    row = line.row or {}
    turns = row["turns"] if isinstance(row.get("turns"), list) else [row.get("prompt")]
    return tuple(_text(line, turn) for turn in turns)


def _last(line: Line) -> str:
    row = line.row or {}
    choices = row.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], Mapping):
        turns: Any = choices[0].get("turns")
    else:
        turns = row.get("messages") or [row.get("output")]
    return _text(line, turns[-1] if isinstance(turns, list) and turns else None)


def _text(line: Line, value: Any) -> str:
    text = value.get("content") if isinstance(value, Mapping) else value
    if isinstance(text, Mapping):
        text = text.get("answer")
    if not isinstance(text, str) or not text.strip():
        raise _flaw(line, f"{str(value)[:60]!r} where a text belongs")
    return text


def _flaw(line: Line, problem: str) -> InputError:
    return InputError(f"{problem} in {line.as_text()[:80]!r}", where=line.place, remedy="mend or remove this row")


def _digest(source: str) -> str:
    rows = [line.as_text() for line in read_lines(source)]
    return hashlib.sha256("\n".join(rows).encode("utf-8")).hexdigest()[:24]
