"""alpaca_eval(): AlpacaEval's win rate of a model against a baseline, by a judge; length-controlled where that holds.

Instructions and baseline outputs are files, the answers are ours, the judging and the numbers are alpaca_eval's own
code (judges.py, rates.py, run by child.py). One item an instruction, metric "preference": 0 loss, 1 win, 0.5 a
draw. Scores: preference (the mean of the items, unread ones 0), win_rate and lc_win_rate in percent over the readable
ones, lc_standard_error as alpaca_eval gives it, lc_penalty_C, the inverse strength of the fit's penalty that its
cross-validation chose, mean_length in characters. Judged items are stored as they come;
running again judges what is missing.

A judge of one's own is marked: its win rates say nothing beside the public board's.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from toolkit.errors import InputError, RecipeError
from toolkit.evaluation.alpaca_eval.judges import Judge, Verdict, preferences
from toolkit.evaluation.alpaca_eval.rates import (
    BOARD_BASELINE,
    BOARD_INSTRUCTIONS,
    BOARD_JUDGE,
    LengthControl,
    WinRates,
    baseline_digest,
    indexed,
    instructions_digest,
    win_rates,
)
from toolkit.evaluation.answers import Graded, Questions, answers, keep, mean_score
from toolkit.extras import need
from toolkit.identity import Json
from toolkit.lab import Lab, Step
from toolkit.reading import read_lines
from toolkit.records import Item, Model, Prompt, Response, Sampling, Score
from toolkit.redaction import SECRET_NAME
from toolkit.safe_text import one_line

TASK = "alpaca_eval"
METRIC = "preference"
_ANNOTATOR = re.compile(r"[\w-][\w.-]*")
PUBLIC, PRIVATE = "comparable with the public board", "not comparable with the public board"
REPLY = 300  # characters of a judge's reply that an item keeps


@dataclass(frozen=True)
class Settings:
    """instructions: a file of rows with `instruction`; references: with `instruction`, `output` and `generator`.

    judge: "local", one of our models (judge_model: its directory, hub id or embedded name), or an annotator
    configuration of alpaca_eval, whose own model judges unless judge_model names another; base_url: an
    OpenAI-compatible server that has it. The key is read from key_variable. limit: the first so many instructions.
    df_gamed: the data set's file or a surrogate, for the length-controlled win rate; it holds the difficulties too.
    name: of the test, which its scores bear.
    """

    instructions: str
    references: str
    judge: str = "local"
    judge_model: str = ""
    base_url: str = ""
    key_variable: Annotated[str, Field(pattern=SECRET_NAME)] = "OPENAI_API_KEY"
    constrain: bool = False
    limit: int | None = None
    max_tokens: int = 2048
    temperature: float = 0.0
    df_gamed: str = ""
    name: str = TASK


@dataclass(frozen=True)
class Exam:
    """The instruction file with the baseline's outputs, whole and in its order; `prompts` are those that are asked."""

    references: tuple[dict[str, Any], ...]
    prompts: tuple[Prompt, ...]

    @property
    def baseline(self) -> str:
        return str(self.references[0].get("generator", "unnamed"))


@dataclass(frozen=True)
class Sitting:
    """One model before one judge. protocol: the settings of items and scores."""

    model: Model
    exam: Exam
    judge: Judge
    control: LengthControl
    protocol: dict[str, Json]
    name: str = TASK


def alpaca_eval(lab: Lab, model: Model, settings: Settings) -> Graded:
    """Scores and items of this model. In a plan nothing is answered or judged, and scores and items have no value."""
    need("alpaca_eval", "the test alpaca_eval", "eval")
    sitting = _sitting(lab, model, settings)
    sitting.control.check()
    sampling = Sampling(settings.temperature, 1.0, settings.max_tokens)
    said = answers(lab, model, Questions(TASK, sitting.exam.prompts, sampling))
    items = _judged(lab, sitting, said)
    rates = None if lab.planning else _rates(sitting, said, items)
    return keep(lab, Graded(_scores(sitting, items, rates), tuple(items)))


def read_exam(settings: Settings) -> Exam:
    """Both files, joined by instruction. Raises InputError where a row is missing, double or no text."""
    instructions = [row["instruction"] for row in _rows(settings.instructions, ("instruction",))]
    references = indexed(_rows(settings.references, ("instruction", "output")), instructions)
    by_place = {row["index"]: row for row in references}
    lacking = [index for index in range(len(instructions)) if index not in by_place]
    if not instructions or lacking or len(set(instructions)) < len(instructions) or len(by_place) < len(references):
        raise InputError(
            f"{len(instructions)} instructions, {len(set(instructions))} of them distinct, "
            f"and {len(references)} references for {len(by_place)} of them",
            where=f"{settings.instructions}, {settings.references}",
            remedy="give every instruction once, and one reference output for each",
        )
    prompts = [Prompt(text, f"{settings.instructions}:{place}") for place, text in enumerate(instructions)]
    return Exam(tuple(by_place[index] for index in sorted(by_place)), tuple(prompts[: settings.limit]))


def find_judge(lab: Lab, settings: Settings) -> Judge:
    """The judge that the settings mean; one of our own models is stored. Raises RecipeError."""
    if settings.judge != "local":
        if not _ANNOTATOR.fullmatch(settings.judge):  # a folder would bring a configuration of its own
            remedy = "name an annotator of alpaca_eval, or 'local'"
            raise RecipeError(f"judge = {settings.judge!r} is not a name", where="alpaca_eval", remedy=remedy)
        served, address = settings.judge_model, settings.base_url
        return Judge(settings.judge, None, served, address, settings.key_variable, settings.constrain)
    if not settings.judge_model:
        raise RecipeError(
            "judge = 'local' needs judge_model", remedy="name a directory, a hub id or the embedded model"
        )
    if settings.base_url:
        served, address = settings.judge_model, settings.base_url
        return Judge(BOARD_JUDGE, None, served, address, settings.key_variable, settings.constrain)
    return Judge(BOARD_JUDGE, lab.model(settings.judge_model))


def _sitting(lab: Lab, model: Model, settings: Settings) -> Sitting:
    if settings.limit is not None and settings.limit < 1:
        raise RecipeError(f"limit is {settings.limit}", remedy="ask at least one instruction, or set no limit")
    exam, judge = read_exam(settings), find_judge(lab, settings)
    digests = instructions_digest(exam.references), baseline_digest(exam.references)
    public = judge.official and digests == (BOARD_INSTRUCTIONS, BOARD_BASELINE) and settings.limit is None
    protocol: dict[str, Json] = {
        "annotator": judge.annotator,
        "judge": judge.model.name if judge.model else judge.served or judge.annotator,
        "judge_hash": judge.hash,
        "board": PUBLIC if public and judge.annotator == BOARD_JUDGE else PRIVATE,
        "baseline": exam.baseline,
        "baseline_digest": digests[1],
        "instructions_digest": digests[0],
        "limit": settings.limit,
        "sampling": Sampling(settings.temperature, 1.0, settings.max_tokens).as_json(),
        "seed": lab.recipe.seed,
        "alpaca_eval": version("alpaca-eval"),
    }
    df_gamed = Path(settings.df_gamed).expanduser() if settings.df_gamed else None
    return Sitting(model, exam, judge, LengthControl(df_gamed, judge.name), protocol, settings.name)


def _judged(lab: Lab, sitting: Sitting, said: Sequence[Response]) -> list[Item]:
    """An item for every answer, in their order; those not stored yet are judged, and stored as they come."""
    asked = [
        Item(sitting.model.id, sitting.name, METRIC, f"{TASK}/{place}", sitting.protocol, answer.id)
        for place, answer in enumerate(said)
    ]
    found = lab.store.find(Item, [item.id for item in asked])
    cached = len(found)
    if not lab.planning:
        for items in _verdicts(lab, sitting, said, [i for i, item in enumerate(asked) if item.id not in found]):
            made = [replace(asked[place], value=value, detail=detail) for place, value, detail in items]
            lab.store.add(made, launch=lab.launch.id)
            found |= {item.id: item for item in made}
    label = f"{sitting.judge.name} on {sitting.model.name}"
    stats = {"unread": sum(item.value is None for item in found.values())}
    lab.note(Step(lab.iteration, "evaluate", label, sitting.model.id, len(asked), cached, stats=stats))
    return [found.get(item.id, item) for item in asked]


def _verdicts(
    lab: Lab, sitting: Sitting, said: Sequence[Response], places: Sequence[int]
) -> Iterator[list[tuple[int, float | None, str]]]:
    """Place, value and detail of what is judged, chunk by chunk. A preference of 1 to 2 is a value of 0 to 1."""
    known = sitting.exam.references
    rows = [
        {
            "index": place,
            "instruction": known[place]["instruction"],
            "output_1": known[place]["output"],
            "output_2": said[place].text,
        }
        for place in places
    ]
    same = {row["index"] for row in rows if row["output_1"] == row["output_2"]}
    for verdicts in preferences(lab, sitting.judge, rows) if rows else ():
        yield [(v.index, None if v.preference is None else v.preference - 1, _detail(v, same)) for v in verdicts]


def _detail(verdict: Verdict, same: set[int]) -> str:
    if verdict.index in same:
        return "the baseline's own answer: a draw, not judged"
    return ("unread: " if verdict.preference is None else "") + verdict.reply[:REPLY]


def _rates(sitting: Sitting, said: Sequence[Response], items: Sequence[Item]) -> WinRates:
    outputs = [{"index": place, "output": answer.text or ""} for place, answer in enumerate(said)]
    annotations = [
        {"index": place, "preference": None if item.value is None else item.value + 1}
        for place, item in enumerate(items)
    ]
    found = win_rates(outputs, sitting.exam.references, annotations, sitting.control)
    if found.remark:
        print(f"{TASK} of {one_line(sitting.model.name)}: {found.remark}", file=sys.stderr, flush=True)
    return found


def _scores(sitting: Sitting, items: Sequence[Item], rates: WinRates | None) -> tuple[Score, ...]:
    lc = sitting.protocol | {"length_control": sitting.control.label, "df_gamed": sitting.control.digest}
    of = sitting.model.id, sitting.name
    if rates is None:
        return (Score(*of, "win_rate", sitting.protocol), Score(*of, "lc_win_rate", lc))
    return (
        mean_score(items),
        Score(*of, "win_rate", sitting.protocol, rates.win_rate, rates.n),
        Score(*of, "lc_win_rate", lc, rates.lc_win_rate, rates.n),
        Score(*of, "lc_standard_error", lc, rates.lc_standard_error, rates.n),
        Score(*of, "lc_penalty_C", lc, rates.lc_penalty, rates.n),
        Score(*of, "mean_length", sitting.protocol, rates.mean_length, len(items)),
    )


def _rows(source: str, wanted: Sequence[str]) -> list[dict[str, Any]]:
    """Rows whose wanted fields are text that can be written down."""
    rows = []
    for line in read_lines(source):
        row = dict(line.row or {})
        for name in wanted:
            if not isinstance(row.get(name), str) or not _writable(row[name]):
                raise InputError(
                    f"{name} is no text: {row.get(name)!r:.60}", where=line.place, remedy=f"give every row {name}"
                )
        rows.append(row)
    return rows


def _writable(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)
