"""What a plan has left to do, by stage: how many requests, and the tokens that each will read and write.

Tokens are those that requests of the kind had, where some were measured; else a guess from characters and limits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from toolkit.config import Judge, Recipe
from toolkit.judgments.rubric import load_rubric
from toolkit.lab import Step
from toolkit.prompts.source import load_prompts
from toolkit.reporting.cost.rates import Measured

CHARACTERS = 4  # of a token, where no tokenizer has counted
ASKING, TRAINING = ("generate", "judge", "audit", "evaluate"), "train"


@dataclass(frozen=True)
class Load:
    """What is to do of one kind. requests: answers, verdicts, or rows times epochs; read, written: tokens of one of
    them, `reused` of which an engine will know already; known: they were measured. most: see Measured."""

    stage: str
    method: str
    model: str
    most: int | None
    steps: int = 0
    requests: int = 0
    read: float = 0.0
    written: float = 0.0
    reused: float = 0.0
    known: bool = False

    @property
    def computed(self) -> float:
        return self.requests * (self.read - self.reused + self.written)


def loads(recipe: Recipe, steps: Sequence[Step], rows: Sequence[Measured]) -> Iterator[Load]:
    """The plan's steps by stage, with the tokens of each request."""
    texts = fmean(len(prompt.text) for prompt in load_prompts(recipe.prompts))
    answer = Load("generate", "", recipe.model, recipe.answers.max_tokens, read=texts / CHARACTERS)
    answer = _as_measured(replace(answer, written=recipe.answers.max_tokens), rows)
    for load in _todo(steps, recipe):
        if load.stage == "generate":
            yield replace(answer, steps=load.steps, requests=load.requests)
        else:
            yield _as_measured(_guessed(load, answer, recipe), rows)


def _todo(steps: Sequence[Step], recipe: Recipe) -> list[Load]:
    found: dict[tuple[str, str], Load] = {}
    learned = 0  # rows that the next training learns from, at most
    for step in steps:
        learned = step.total if step.stage in ("pair", "demonstrate") else learned
        todo = step.total - step.cached
        if todo and step.stage in (*ASKING, TRAINING):
            kind = _kind(step, recipe)
            epochs = (recipe.sft if kind.method == "SFT" else recipe.training).epochs
            before = found.setdefault((kind.stage, kind.method), kind)
            found[kind.stage, kind.method] = replace(
                before,
                steps=before.steps + 1,
                requests=before.requests + (learned * epochs if kind.stage == TRAINING else todo),
                written=before.written + step.new_tokens,  # in all, for now
            )
    return [replace(load, written=load.written / load.requests) for load in found.values() if load.requests]


def _kind(step: Step, recipe: Recipe) -> Load:
    if step.stage == TRAINING:
        return Load(TRAINING, step.stats["method"], recipe.model, None)
    stage = step.stats.get("priced_as", step.stage)
    if judge := judge_of(recipe, stage):
        by = recipe.model if judge.by in ("present", "past") else judge.by
        return Load(stage, judge.method, by, judge.max_tokens)
    return Load(stage, "", recipe.model, recipe.answers.max_tokens)


def judge_of(recipe: Recipe, stage: str) -> Judge | None:
    """Who gives the verdicts of this stage; None for a stage without verdicts."""
    return {"judge": recipe.judge, "audit": recipe.judge.auditing}.get(stage)


def _guessed(load: Load, answer: Load, recipe: Recipe) -> Load:
    """With what one request reads, from characters and limits. Of an evaluation's questions nothing is known."""
    whole = answer.read + answer.written
    if (judge := judge_of(recipe, load.stage)) and judge.method != "reward":
        rubric = load_rubric(judge.rubric)
        return replace(load, read=(len(rubric.system) + len(rubric.user)) / CHARACTERS + whole)
    if load.stage == TRAINING:
        sides, settings = (1, recipe.sft) if load.method == "SFT" else (2, recipe.training)
        return replace(load, read=sides * min(whole, settings.max_length), written=0)
    return load


def rated_as(stage: str) -> str:
    """The stage whose measured rates hold for this one: an audit's verdicts are verdicts."""
    return "judge" if stage == "audit" else stage


def _as_measured(load: Load, rows: Sequence[Measured]) -> Load:
    """With the tokens that requests of this kind had, where some were measured."""
    kind = (rated_as(load.stage), load.method, load.model, load.most)
    row = next((row for row in rows if (row.stage, row.method, row.model, row.most) == kind), None)
    if row is None:
        return load
    read, reused, written = (n / row.requests for n in (row.read, row.reused, row.written))
    return replace(load, read=read, reused=reused, written=written, known=True)
