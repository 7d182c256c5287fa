"""The records every stage shares. Frozen; an id is the hash of what was asked for.

    Prompt -> Response -> Judgment -> Pair -> PairSet -> Training -> Model -> Score
                       -> Comparison          DemonstrationSet -> Training
                                      Pair -> Metric -> Summary -> Change

A `Response` or `Judgment` without its answer is the request for it: the id is the same before and
after, so "is it done?" is a lookup and running again is resuming. `replace()` adds the answer.
Fields below the comment `# answer` are no part of the identity.

Roles follow the paper (arXiv 2508.06026): the present model M_i, the past M_0 and the future M_f.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from toolkit.identity import ID_LENGTH, Json, content_id, fingerprint

# label: a data set's own answer; exam: to a question of an evaluation; unknown: imported
Role = Literal["past", "present", "future", "label", "exam", "unknown"]
Finish = Literal["stop", "length"]
Status = Literal["scored", "unreadable", "out_of_range", "truncated"]
Method = Literal["generated", "expected", "reward", "given"]
MetricKind = Literal["text", "forward", "gradient"]
Control = Literal["", "draws", "present_past", "future_past", "future_present", "shuffled"]
Under = Literal["parent", "result", "base", ""]


@dataclass(frozen=True)
class Record:
    """A frozen record whose `id` is the hash of `identity()`."""

    id: str = field(init=False, repr=False, compare=False)

    def identity(self) -> Mapping[str, Json]:
        raise NotImplementedError

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", content_id(type(self).__name__, self.identity()))


@dataclass(frozen=True)
class Prompt(Record):
    """A user turn and, in imported dialogues, the turns before it as (role, content).

    `source` says where it came from and is no part of the identity.
    """

    text: str
    source: str = ""
    history: tuple[tuple[str, str], ...] = ()

    def identity(self) -> Mapping[str, Json]:
        return {"text": self.text} | ({"history": [list(turn) for turn in self.history]} if self.history else {})

    def messages(self) -> list[dict[str, str]]:
        """The conversation that asks for an answer."""
        turns = (*self.history, ("user", self.text))
        return [{"role": role, "content": content} for role, content in turns]

    def as_text(self) -> str:
        """What a judge is shown: the user's words, or the dialogue line by line."""
        if not self.history:
            return self.text
        return "\n".join(f"{turn['role']}: {turn['content']}" for turn in self.messages())


@dataclass(frozen=True)
class Model(Record):
    """A checkpoint on disk.

    weights: digest of the safetensors files; template: digest of tokenizer, chat template and
    generation config; training: id of the training that made it, None for a base model.
    `path` and `name` are where it lies and what people call it.
    """

    @staticmethod
    def external(name: str) -> Model:
        """A model known by name alone: the author or judge of imported rows."""
        return Model(name, "", f"external:{name}", "external")

    name: str
    path: str
    weights: str
    template: str
    parent: str | None = None
    training: str | None = None

    def identity(self) -> Mapping[str, Json]:
        return {"weights": self.weights, "template": self.template, "training": self.training}


MIN_MASS = 0.1  # SmolLM2-135M's 384 verdicts of the quick recipe have 0.36 to 0.85, median 0.72


@dataclass(frozen=True)
class Sampling:
    """temperature, top_p, and the most new tokens of one answer.

    min_mass: of an expected verdict, the least probability of the score tokens together; None is MIN_MASS.
    """

    temperature: float
    top_p: float
    max_tokens: int
    min_mass: float | None = None

    def as_json(self) -> dict[str, Json]:
        # A temperature of 0 is one of 0.0, which is what the store reads back.
        values: dict[str, Json] = {
            "temperature": float(self.temperature), "top_p": float(self.top_p), "max_tokens": self.max_tokens,
        }  # fmt: skip
        return values if self.min_mass is None else values | {"min_mass": float(self.min_mass)}


@dataclass(frozen=True)
class Response(Record):
    """One answer of one model to one prompt, or, without `text`, the request for it.

    `draw` counts the K samples from 0; `role` keeps the present's and the past's draws apart where
    both are one model (iteration 0). tokens: new tokens, EOS included; prompt_tokens: after the template.
    What was imported was not asked for by us: sampling and seed are None, and the text is the identity.
    """

    prompt: str
    model: str
    role: Role
    draw: int
    sampling: Sampling | None
    seed: int | None
    # answer
    text: str | None = None
    tokens: int | None = None
    prompt_tokens: int | None = None
    finish: Finish | None = None

    def identity(self) -> Mapping[str, Json]:
        if self.sampling is None:
            return {"prompt": self.prompt, "model": self.model, "role": self.role, "text": self.text}
        return {
            "prompt": self.prompt,
            "model": self.model,
            "role": self.role,
            "draw": self.draw,
            "sampling": self.sampling.as_json(),
            "seed": self.seed,
        }


@dataclass(frozen=True)
class Judgment(Record):
    """One verdict of one judge on one response, or, without `status`, the request for it.

    method: "generated" (a written verdict, parsed), "expected" (mean score under the token probabilities at the
    score position), "reward" (a Python function, the judge being its file) or "given" (read from a score file, and
    the score is part of the identity); the last two know no rubric, sampling and seed. reply: the judge's own words,
    the probabilities as JSON, or the file's row. score is None unless status is "scored"; reason says why.
    """

    response: str
    judge: str
    rubric: str | None
    method: Method
    sampling: Sampling | None
    draw: int
    seed: int | None
    # answer
    reply: str | None = None
    status: Status | None = None
    reason: str = ""
    score: float | None = None

    def identity(self) -> Mapping[str, Json]:
        if self.method == "given":
            return {"response": self.response, "judge": self.judge, "draw": self.draw, "score": self.score}
        if self.sampling is None:
            return {"response": self.response, "judge": self.judge, "method": self.method, "draw": self.draw}
        return {
            "response": self.response,
            "judge": self.judge,
            "rubric": self.rubric,
            "method": self.method,
            "sampling": self.sampling.as_json(),
            "draw": self.draw,
            "seed": self.seed,
        }


@dataclass(frozen=True)
class Comparison(Record):
    """Which of two responses to one prompt a judge prefers, shown in this order; without `status`, the request.

    winner: the id of the preferred response, None unless status is "decided". reply: the judge's own words.
    """

    first: str
    second: str
    judge: str
    rubric: str
    sampling: Sampling
    draw: int
    seed: int
    # answer
    reply: str | None = None
    status: Literal["decided", "tie", "unreadable", "truncated"] | None = None
    reason: str = ""
    winner: str | None = None

    def identity(self) -> Mapping[str, Json]:
        return {
            "first": self.first,
            "second": self.second,
            "judge": self.judge,
            "rubric": self.rubric,
            "sampling": self.sampling.as_json(),
            "draw": self.draw,
            "seed": self.seed,
        }


@dataclass(frozen=True)
class Pair(Record):
    """A preference: two responses to one prompt with the scores that ordered them.

    Scores and judge are None where an imported preference names none. `content` is the digest of what the
    pair says (`pair_content`), of which a set's fingerprint is made.
    """

    prompt: str
    chosen: str
    rejected: str
    chosen_score: float | None
    rejected_score: float | None
    chosen_role: Role
    rejected_role: Role
    judge: str | None
    content: str = ""

    def identity(self) -> Mapping[str, Json]:
        return {
            "prompt": self.prompt,
            "chosen": self.chosen,
            "rejected": self.rejected,
            "chosen_score": self.chosen_score,
            "rejected_score": self.rejected_score,
            "chosen_role": self.chosen_role,
            "rejected_role": self.rejected_role,
            "judge": self.judge,
        }


@dataclass(frozen=True)
class Drop:
    """Why a prompt gave no pair ("selection"), a filter took a pair out, or one was not trained on ("gate")."""

    stage: Literal["selection", "filter", "gate"]
    prompt: str
    reason: str
    pair: str | None = None
    detail: str = ""


@dataclass(frozen=True)
class PairSet:
    """A frozen, versioned set of pairs. `fingerprint` is its content, whatever the row order.

    Versions count from 1; 0 is a set that a plan foresees and nobody made. `iteration` is None for a set that no
    recipe made; `parent` is the version before. `asked`: where a plan foresees it, what its pairs will be picked from.
    """

    name: str
    version: int
    iteration: int | None
    pairs: tuple[Pair, ...]
    drops: tuple[Drop, ...] = ()
    parent: str | None = None
    message: str = ""
    asked: str = ""

    @property
    def id(self) -> str:
        return f"{self.name}@{self.version}"

    @property
    def fingerprint(self) -> str:
        return self.asked or fingerprint(pair.content for pair in self.pairs)


def pair_content(
    prompt: str, sides: tuple[str, str], scores: tuple[float | None, float | None], roles: tuple[Role, Role]
) -> str:
    """Digest of a pair's prompt (its id), texts, scores (to nine decimals) and roles, each (chosen, rejected).

    Who answered and who judged is lineage and stays out: an export that comes back has the fingerprint it left with.
    The store's migrations compute the same in SQL.
    """
    nanos = [str(round(score * 1e9)) for score in scores if score is not None]
    lines = [prompt, *(hashlib.sha256(text.encode("utf-8")).hexdigest() for text in sides), *nanos, *roles]
    return hashlib.sha256("\n".join(lines).encode("utf-8")).hexdigest()[:ID_LENGTH]


@dataclass(frozen=True)
class DemonstrationSet:
    """Answers to be learned by SFT, one row each. The id holds the content, so the same content is the same set.

    `asked`: where a plan foresees it, what its answers will be picked from.
    """

    name: str
    iteration: int | None
    responses: tuple[Response, ...]
    asked: str = ""

    @property
    def planned(self) -> bool:
        return bool(self.asked)

    @property
    def fingerprint(self) -> str:
        return self.asked or fingerprint(content_id("Demonstration", [one.prompt, one.text]) for one in self.responses)

    @property
    def id(self) -> str:
        return f"{self.name}@{self.fingerprint[:8]}"


@dataclass(frozen=True)
class Training(Record):
    """What was asked of the trainer: the policy, the data and the settings, those of the gate included.

    DPO has a reference model and learns from pairs, SFT has none (reference is None) and learns demonstrations.
    data: fingerprint of the pair set or the demonstrations, before the token gate.
    """

    parent: str
    reference: str | None
    data: str
    settings: Mapping[str, Json]

    def identity(self) -> Mapping[str, Json]:
        if self.reference is None:
            return {"parent": self.parent, "demonstrations": self.data, "settings": dict(self.settings)}
        return {
            "parent": self.parent,
            "reference": self.reference,
            "pairs": self.data,
            "settings": dict(self.settings),
        }


@dataclass(frozen=True)
class Score(Record):
    """One number of one model on one task, with what it was measured by."""

    model: str
    task: str
    metric: str
    settings: Mapping[str, Json]
    # answer
    value: float | None = None
    n: int | None = None

    def identity(self) -> Mapping[str, Json]:
        return {
            "model": self.model,
            "task": self.task,
            "metric": self.metric,
            "settings": dict(self.settings),
        }


@dataclass(frozen=True)
class Item(Record):
    """How one model did on one question of a task by one metric.

    question: its name in the task ("HumanEval/0"). answer: the id of the graded Response, None where log-likelihoods
    were compared. settings: the protocol, as in the Score that these items are the mean of. value: None where the
    answer could not be graded; detail says why, or what was extracted.
    """

    model: str
    task: str
    metric: str
    question: str
    settings: Mapping[str, Json]
    # answer
    answer: str | None = None
    value: float | None = None
    detail: str = ""

    def identity(self) -> Mapping[str, Json]:
        return {
            "model": self.model,
            "task": self.task,
            "metric": self.metric,
            "question": self.question,
            "settings": dict(self.settings),
        }


@dataclass(frozen=True)
class Metric(Record):
    """What one kind of measurement found of two answers to one prompt: of a pair, its chosen and its rejected one.

    kind: "text" (model is None), "forward" (log-probabilities and features) or "gradient". settings: what decides the
    numbers. found: name -> number, None where it is not finite or could not be measured; reason says why.
    """

    chosen: str
    rejected: str
    model: str | None
    kind: MetricKind
    settings: Mapping[str, Json]
    # answer
    found: Mapping[str, float | None] | None = None
    reason: str = ""

    def identity(self) -> Mapping[str, Json]:
        return {
            "chosen": self.chosen,
            "rejected": self.rejected,
            "model": self.model,
            "kind": self.kind,
            "settings": dict(self.settings),
        }


@dataclass(frozen=True)
class Summary(Record):
    """One metric over the pairs of a set, or over a control of it.

    control: "" (the pairs themselves), "draws" (two draws of the present model for each prompt, nothing selected),
    "present_past", "future_past", "future_present" (one answer of each of the two roles for each prompt, nothing
    selected) or "shuffled" (the pairs, their sides swapped at random: for metrics with a sign). under: the model it was
    measured under, "parent" (trained from), "result" (trained to), "base" (M_0) or "" (by none), and model is its id.
    low, high: bootstrap interval of the mean. missing: pairs without a finite value, left out of everything else.
    content: digest of the values, so that measuring again under other settings makes another summary.
    """

    pair_set: str
    control: Control
    metric: str
    under: Under
    model: str | None
    settings: Mapping[str, Json]
    content: str = ""
    # answer
    n: int = 0
    missing: int = 0
    mean: float | None = None
    sd: float | None = None
    low: float | None = None
    high: float | None = None
    q05: float | None = None
    q25: float | None = None
    q50: float | None = None
    q75: float | None = None
    q95: float | None = None

    def identity(self) -> Mapping[str, Json]:
        return {
            "pair_set": self.pair_set,
            "control": self.control,
            "metric": self.metric,
            "under": self.under,
            "model": self.model,
            "settings": dict(self.settings),
            "content": self.content,
        }


@dataclass(frozen=True)
class Change(Record):
    """How the mean of a metric changed from one pair set to a later one of the same run, and how its control did.

    ratio: mean after / mean before. control: which unselected pairs it is compared with ("draws", "future_past" ...;
    "" where none was measured), and their ratio. relative: ratio / control_ratio, or ratio where there is no control.
    low, high: 95 % t intervals of the log ratio, not corrected. p: one-sided, of relative >= the margin in settings,
    not corrected. p_holm: corrected for the family in settings; None: a descriptive change, or one not testable.
    detectable: the true ratio, below the margin, that this test shows with power 0.8. needed: pairs a set for a true
    ratio of 0.5. prompts_before, prompts_after: prompts with a value.
    """

    run: str
    before: str
    after: str
    metric: str
    under: Under
    settings: Mapping[str, Json]
    # answer
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_holm: float | None = None
    control: str = ""
    control_ratio: float | None = None
    control_low: float | None = None
    control_high: float | None = None
    relative: float | None = None
    relative_low: float | None = None
    relative_high: float | None = None
    prompts_before: int | None = None
    prompts_after: int | None = None
    detectable: float | None = None
    needed: int | None = None

    def identity(self) -> Mapping[str, Json]:
        return {
            "run": self.run,
            "before": self.before,
            "after": self.after,
            "metric": self.metric,
            "under": self.under,
            "settings": dict(self.settings),
        }
