"""What `sft.data` names: instruction answers (IFT) and judgement examples (EFT), as one set of demonstrations.

    ift, eft    shipped, own-written
    FILE        rows {"messages": [..., user, assistant]} or {"prompt", "answer"}: instruction answers
                rows {"prompt", "answer", "rating", "justification", "score"}: judgement examples, built by
                judgements.py from the rubric of `judge.rubric`
A file may be anything that reading.py reads. A row that is neither is an error with its place.

The answers to the held-out rated prompts become the pair set `held_out` (best against worst rating), and their
ratings given verdicts, to measure judges on. Left out: weights, and several assistant turns in one row.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.demonstrations.judgements import RatedAnswer, agreeing, balanced, held_out
from toolkit.errors import InputError
from toolkit.judgments.rubric import load_rubric
from toolkit.lab import Lab, Step
from toolkit.pairs.versions import freeze
from toolkit.reading import Line, read_lines
from toolkit.records import DemonstrationSet, Drop, Judgment, Model, Pair, PairSet, Prompt, Response, pair_content

SHIPPED = {name: Path(__file__).with_name(f"{name}.jsonl") for name in ("ift", "eft")}
HELD_OUT = "held_out"
RATINGS = Model.external("ratings")

Example = tuple[Prompt, str]


def learned(lab: Lab) -> DemonstrationSet:
    """The demonstrations of `sft.data`, stored with what was dropped and held out. Raises InputError."""
    started, settings = time.monotonic(), lab.recipe.sft
    examples, rated = _read(settings.data)
    learn, aside = held_out(rated, settings.held_out, lab.recipe.seed)
    kept, against = agreeing(learn)
    taught, frequent = balanced(kept, lab.recipe.seed)
    rubric = load_rubric(lab.recipe.judge.rubric)
    examples += [answer.example(rubric) for answer in taught]
    author = Model.external(" + ".join(settings.data))
    responses = tuple(dict.fromkeys(_answer(prompt, text, author) for prompt, text in examples))
    made = DemonstrationSet("sft", None, responses)
    if not lab.planning:
        with lab.store.transaction():
            lab.store.add([author], launch=lab.launch.id)
            lab.store.add([prompt for prompt, _ in examples], launch=lab.launch.id)
            keep(lab, made, [*against, *frequent])
        _keep_aside(lab, aside)
    stats = {"judgements": len(taught), "held_out": len(aside), "against_rating": len(against)}
    seconds, total = time.monotonic() - started, len(responses)
    lab.note(
        Step(lab.iteration, "demonstrate", f"demonstrations {made.name}", made.id, total, total, seconds, 0, stats)
    )
    return made


def keep(lab: Lab, made: DemonstrationSet, drops: Sequence[Drop] = ()) -> None:
    """Store a set, its answers and what was dropped on the way; of a known set nothing but the answers is new."""
    lab.store.add(made.responses, launch=lab.launch.id)
    if lab.store.query("SELECT id FROM demonstration_set WHERE id = ?", [made.id]):
        return
    row = {"id": made.id, "name": made.name, "iteration": made.iteration, "fingerprint": made.fingerprint}
    lab.store.insert("demonstration_set", [row | {"size": len(made.responses), "launch": lab.launch.id}])
    lab.store.insert("demonstration", [{"demonstration_set": made.id, "response": r.id} for r in made.responses])
    lab.store.insert("dropped", [{**vars(drop), "pair_set": made.id} for drop in drops])


def _read(sources: Sequence[str]) -> tuple[list[Example], list[RatedAnswer]]:
    examples, rated = [], []
    for source in sources:
        for line in read_lines(str(SHIPPED.get(source, source))):
            found = _meant(line)
            if isinstance(found, RatedAnswer):
                rated.append(found)
            else:
                examples.append(found)
    return examples, rated


def _meant(line: Line) -> Example | RatedAnswer:
    row = line.row or {}
    if {"prompt", "answer", "rating", "justification", "score"} <= set(row):
        texts = [_text(line, row[name]) for name in ("prompt", "answer", "justification")]
        numbers = [_number(line, name) for name in ("rating", "score")]
        return RatedAnswer(texts[0], texts[1], numbers[0], texts[2], numbers[1], line.place)
    *before, asked, answer = _turns(line, row)
    history = tuple((role, content) for role, content in before)
    return Prompt(asked[1], line.place, history), answer[1]


def _turns(line: Line, row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if "prompt" in row and "answer" in row:
        row = {"messages": [{"role": r, "content": row[c]} for r, c in (("user", "prompt"), ("assistant", "answer"))]}
    messages = row.get("messages")
    turns = messages if isinstance(messages, list) and all(isinstance(turn, Mapping) for turn in messages) else []
    if [turn.get("role") for turn in turns[-2:]] != ["user", "assistant"]:
        raise InputError(
            f"row {line.as_text()[:80]!r} is no demonstration: {line.problem or sorted(row)}",
            where=line.place,
            remedy="write {'messages': [..., user, assistant]}, {'prompt', 'answer'}, or a rated, judged answer",
        )
    return ((str(turn["role"]), _text(line, turn.get("content"))) for turn in turns)


def _text(line: Line, value: Any) -> str:
    if isinstance(value, str) and value.strip():
        return value
    raise InputError(f"{value!r} where a text belongs", where=line.place, remedy="mend or remove this row")


def _number(line: Line, name: str) -> float:
    value = (line.row or {})[name]
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e6:
        return float(value)
    raise InputError(f"{name} = {value!r} is no number", where=line.place, remedy="mend or remove this row")


def _answer(prompt: Prompt, text: str, author: Model) -> Response:
    return Response(prompt.id, author.id, "label", 0, None, None, text)


def _keep_aside(lab: Lab, aside: Sequence[RatedAnswer]) -> None:
    """The held-out answers, their ratings as given verdicts, and best against worst of each prompt as pairs."""
    if not aside:
        return
    prompts = {answer.prompt: Prompt(answer.prompt, answer.place) for answer in aside}
    author = Model.external(HELD_OUT)
    rated = [(Response(prompts[a.prompt].id, author.id, "unknown", 0, None, None, a.answer), a.rating) for a in aside]
    lab.store.add([author, RATINGS], launch=lab.launch.id)
    lab.store.add(list(prompts.values()), launch=lab.launch.id)
    lab.store.add([response for response, _ in rated], launch=lab.launch.id)
    verdicts = [Judgment(r.id, RATINGS.id, None, "given", None, 0, None, "", "scored", "", s) for r, s in rated]
    lab.store.add(verdicts, launch=lab.launch.id)
    pairs = []
    for prompt in prompts.values():
        own = sorted((one for one in rated if one[0].prompt == prompt.id), key=lambda one: one[1])
        (low, least), (high, most) = own[0], own[-1]
        if most > least:
            said = pair_content(prompt.id, (high.text or "", low.text or ""), (most, least), ("unknown", "unknown"))
            pairs.append(Pair(prompt.id, high.id, low.id, most, least, "unknown", "unknown", RATINGS.id, said))
    freeze(lab.store, PairSet(HELD_OUT, 0, None, tuple(pairs), message="held out of SFT"), lab.launch.id)
