"""Raw rows become records of the store. Known pairs and answers of an export are taken as they are, so lineage goes on.

Other answers were not asked for here: no sampling, no seed, and a model known by name alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from toolkit.exchange.rows import RawRow
from toolkit.records import Model, Pair, Prompt, Response, pair_content
from toolkit.store.database import Store


@dataclass(frozen=True)
class Known:
    """What the store holds of the ids that the rows name."""

    pairs: Mapping[str, Pair]
    answers: Mapping[str, Response]


@dataclass(frozen=True)
class New:
    """Records of a batch that may be new, by id, and the ids of its pairs."""

    prompts: dict[str, Prompt] = field(default_factory=dict)
    models: dict[str, Model] = field(default_factory=dict)
    answers: dict[str, Response] = field(default_factory=dict)
    pairs: dict[str, Pair] = field(default_factory=dict)
    members: list[str] = field(default_factory=list)


def adopt(store: Store, rows: Sequence[RawRow], launch: str) -> list[str]:
    """Insert what the rows say; the ids of their pairs, in the rows' order."""
    known, new = _known(store, rows), New()
    for row in rows:
        new.members.append(_pair(row, known, new))
    for records in (new.prompts, new.models, new.answers, new.pairs):
        store.add(list(records.values()), launch=launch)
    return new.members


def _known(store: Store, rows: Sequence[RawRow]) -> Known:
    pairs = {row.ids[0] for row in rows} - {""}
    answers = {identifier for row in rows for identifier in row.ids[1:]} - {""}
    return Known(
        store.find(Pair, pairs) if pairs else {},
        store.find(Response, answers) if answers else {},
    )


def _pair(row: RawRow, known: Known, new: New) -> str:
    """The id of the row's pair: a known one where its content is the row's, else a new one."""
    prompt = Prompt(row.prompt, row.place, row.said.turns[:-1])
    content = pair_content(prompt.id, row.said.sides, row.said.scores, row.roles)
    old = known.pairs.get(row.ids[0])
    if old and old.content == content:
        return old.id
    new.prompts[prompt.id] = prompt
    chosen, rejected = (_answer(prompt.id, row, side, known, new) for side in (0, 1))
    judge = _model(row.judge, new) if row.judge else None
    pair = Pair(prompt.id, chosen, rejected, *row.said.scores, *row.roles, judge, content)
    new.pairs[pair.id] = pair
    return pair.id


def _answer(prompt: str, row: RawRow, side: int, known: Known, new: New) -> str:
    text, role = row.said.sides[side], row.roles[side]
    old = known.answers.get(row.ids[1 + side])
    if old and (old.prompt, old.text, old.role) == (prompt, text, role):
        return old.id
    model = _model(row.said.models[side] or "unknown", new)
    answer = Response(prompt, model, role, 0, None, None, text=text)
    new.answers[answer.id] = answer
    return answer.id


def _model(name: str, new: New) -> str:
    model = Model.external(name)
    new.models[model.id] = model
    return model.id
