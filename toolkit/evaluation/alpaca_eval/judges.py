"""preferences(): a judge compares a model's answers with the baseline's, through alpaca_eval's own annotator.

The annotator configuration gives the prompt, the random order of the two answers (seeded by the instruction) and the
parser, whoever judges: one of our models by the probabilities of its two labels, a model behind an OpenAI-compatible
server, or the configuration's own model. What is judged is reported a chunk at a time.

Text that spells a placeholder of the prompt, or the ChatML token that ends a message, would change the prompt:
alpaca_eval fills in one text after another. Such text is shown with a word joiner (U+2060), which has no width, behind
its first character.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.engines.protocol import Completion, Request
from toolkit.errors import RecipeError
from toolkit.evaluation.alpaca_eval.process import Child, Job
from toolkit.identity import Json, content_id
from toolkit.lab import Lab, Step
from toolkit.records import Model, Sampling
from toolkit.trust.consent import announce

LABELS = ("m", "M")  # of the answer shown first and of the second, in the board's prompt
JOINER = "\u2060"
_SPELLED = re.compile(r"\{(?=(?:instruction|input|output_1|output_2)\})|<(?=\|im_(?:start|end)\|>)")
Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Judge:
    """Who judges. annotator: alpaca_eval's configuration, whose own model it is where no other is named.

    model: one of ours, asked through the lab's engine. served: the name of a model, at base_url where that is set.
    constrain: vLLM's server is to answer with one of the labels (start it with --logprobs-mode processed_logprobs).
    """

    annotator: str
    model: Model | None = None
    served: str = ""
    base_url: str = ""
    key_variable: str = "OPENAI_API_KEY"
    constrain: bool = False

    @property
    def official(self) -> bool:
        return self.model is None and not self.served and not self.base_url

    @property
    def hash(self) -> str:
        """Of what decides the verdicts beside the configuration and alpaca_eval's version; "" for its own model."""
        if self.official:
            return ""
        return self.model.id if self.model else content_id("served judge", [self.served, self.constrain])

    @property
    def name(self) -> str:
        """The annotator's name: another judge is never called the same."""
        return self.annotator if self.official else f"{self.annotator}-by-{self.hash}"

    def changes(self) -> dict[str, Json]:
        """What the copied configuration asks of its model, beside what it asked before."""
        if self.official:
            return {}
        made: dict[str, Json] = {"requires_chatml": True}
        if self.served:
            made["model_name"] = self.served
        if self.base_url:
            made["price_per_token"] = 0
        if self.constrain:
            made["extra_body"] = {"structured_outputs": {"choice": list(LABELS)}}
        return made

    def variables(self) -> dict[str, str]:
        """The key and the address, for the child's environment alone. Raises RecipeError where there is no key."""
        if self.model:
            return {}
        announce(self.base_url or "https://api.openai.com/v1", self.key_variable)
        key = os.environ.get(self.key_variable, "")
        if not key and not self.base_url:
            raise RecipeError(
                f"the judge {self.name} needs a key",
                where=f"environment variable {self.key_variable}",
                remedy=f"export {self.key_variable}, or name a judge of your own: judge = 'local'",
            )
        address = {"OPENAI_API_BASE": self.base_url} if self.base_url else {}
        return {"OPENAI_API_KEY": key or "EMPTY", **address}


@dataclass(frozen=True)
class Verdict:
    """preference: 1 the baseline's answer, 2 the model's, or between; None unread. reply: the judge's own words."""

    index: int
    preference: float | None
    reply: str


def preferences(lab: Lab, judge: Judge, rows: Rows) -> Iterator[list[Verdict]]:
    """Every row (index, instruction, output_1 the baseline's, output_2 the model's) judged, chunk by chunk."""
    message: dict[str, Json] = {
        "kind": "annotate",
        "annotator": judge.annotator,
        "name": judge.name,
        "changes": judge.changes(),
        "asked_back": judge.model is not None,
        "rows": [{name: shown(value) for name, value in row.items()} for row in rows],
    }
    with Child(Job(message, variables=judge.variables())) as child:
        while (said := child.hear())["kind"] != "done":
            match said["kind"]:
                case "prompts":
                    child.say(_probabilities(lab, judge, said["prompts"]))
                case "cost":
                    _tell(lab, judge, said)
                    child.say("go")
                case "rows":
                    yield [Verdict(*row) for row in said["rows"]]


def shown(value: Any) -> Any:
    """Text as the judge is shown it: what would act on the prompt is broken by a word joiner."""
    return _SPELLED.sub(lambda found: found[0] + JOINER, value) if isinstance(value, str) else value


def _tell(lab: Lab, judge: Judge, cost: Mapping[str, Any]) -> None:
    """What the calls will cost, before the first."""
    dollars = cost["dollars"]
    price = "at an unknown price" if dollars is None else f"for about ${dollars:.2f}"
    print(f"{judge.name}: {cost['prompts']} calls, about {cost['tokens']} tokens, {price}", file=sys.stderr, flush=True)
    stats = {"tokens": cost["tokens"], "dollars": dollars}
    lab.note(Step(lab.iteration, "evaluate", "cost of judging, estimated", judge.name, cost["prompts"], 0, stats=stats))


def _probabilities(lab: Lab, judge: Judge, prompts: Sequence[Sequence[Mapping[str, str]]]) -> list[Json]:
    """Our judge's probability of each label as its next token, in the shape of a chat server's log-probabilities."""
    assert judge.model is not None
    requests, found = [], {}
    whole, labels = lab.chat(judge.model).score_positions(prompts, "", LABELS)
    for place, tokens in enumerate(whole):
        excess = len(tokens) + 1 - lab.recipe.engine.max_model_len
        if excess > 0:
            found[str(place)] = _unread(f"the judge's prompt is {excess} tokens too long for engine.max_model_len")
            continue
        requests.append(Request(str(place), tokens, Sampling(1.0, 1.0, 1), 0, tuple(labels.values())))
    for done in lab.complete(judge.model, requests):
        found[done.id] = _reply(done, labels)
    return [found[str(place)] for place in range(len(prompts))]


def _reply(done: Completion, labels: Mapping[str, int]) -> dict[str, Json]:
    known = {label: (done.logprobs or {}).get(token, math.nan) for label, token in labels.items()}
    if not all(math.isfinite(value) for value in known.values()):
        return _unread(f"log-probabilities {known}")
    top: list[Json] = [{"token": label, "logprob": value} for label, value in known.items()]
    text = json.dumps({label: round(math.exp(value), 6) for label, value in known.items()})
    return {"text": text, "logprobs": {"content": [{"top_logprobs": top}]}}


def _unread(reason: str) -> dict[str, Json]:
    return {"text": reason, "logprobs": None}
