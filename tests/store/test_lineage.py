"""Lineage against the view of that name: every target, both sides, several sets, models, judges and verdicts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from toolkit.pairs.versions import freeze
from toolkit.records import Judgment, Model, Pair, PairSet, Prompt, Response, Role, Sampling, Score, Training
from toolkit.store import lineage as module
from toolkit.store.database import Store
from toolkit.store.lineage import lineage, lineage_of_prompt

SAMPLING = Sampling(0.7, 0.9, 16)
JUDGE = Model("judge", "", "w-judge", "t")
BASE = Model("M_0", "", "w-0", "t")
PROMPTS = [Prompt(f"question {number}") for number in range(4)]
COLUMNS = (
    "model", "weights", "pair_set", "pair", "prompt_text", "role", "side", "text", "answered_by", "sampling", "seed",
    "judged_by", "method", "draw", "reply", "status", "score",
)  # fmt: skip
NAMES = {"answered_by": "answered_by_name", "judged_by": "judge_name", "model": "model_name"}


def answer(prompt: Prompt, role: Role, draw: int = 0) -> Response:
    asked = Response(prompt.id, BASE.id, role, draw, SAMPLING, 1)
    return replace(asked, text=f"{role} {draw}", tokens=1, prompt_tokens=1, finish="stop")


def verdict(response: Response, judge: str, draw: int = 0) -> Judgment:
    asked = Judgment(response.id, judge, "rubric", "generated", SAMPLING, draw, 1)
    return replace(asked, reply=f"{judge} {draw}: Score: 3", status="scored", score=3.0)


@pytest.fixture
def store() -> Iterator[Store]:
    """Sets s@1, s@2 and t@1 that share a pair; models M_1 and, from it, M_2; one unjudged side, one unused prompt."""
    with Store(None) as opened:
        answers = {(p.id, role): answer(p, role) for p in PROMPTS for role in ("present", "past")}
        pairs = [
            Pair(p.id, answers[p.id, "present"].id, answers[p.id, "past"].id, 3, 1, "present", "past", JUDGE.id, p.text)
            for p in PROMPTS[:3]
        ]
        verdicts = [verdict(each, JUDGE.id, draw) for each in answers.values() for draw in (0, 1)][:-6]
        opened.add(PROMPTS, launch="L")
        opened.add([*answers.values()], launch="L")
        opened.add([*verdicts, verdict(answers[PROMPTS[0].id, "past"], BASE.id)], launch="L")
        for name, members in (("s", pairs[:2]), ("s", pairs[:1]), ("t", pairs)):
            freeze(opened, PairSet(name, 0, 0, tuple(members)), "L")
        first = train(opened, "M_1", BASE, "s@1")
        second = train(opened, "M_2", first, "t@1")
        opened.add([JUDGE, BASE, first, second], launch="L")
        opened.add([replace(Score(second.id, "gsm8k", "exact", {}), value=0.5, n=8)], launch="L")
        yield opened


def train(store: Store, name: str, parent: Model, pair_set: str) -> Model:
    training = Training(parent.id, BASE.id, pair_set, {})
    model = Model(name, "", f"w-{name}", "t", parent.id, training.id)
    result = {"pair_set": pair_set, "model": model.id, "row_count": 2, "batch": 2, "unseen": 0, "seconds": 1.0}
    store.add([training], launch="L", **result)
    return model


def by_the_view(store: Store, where: str) -> list[dict[str, Any]]:
    """The view's rows in the columns of lineage()."""
    told = ", ".join(f"{NAMES.get(column, column)} AS {column}" for column in COLUMNS)
    return store.query(f"SELECT {told} FROM lineage WHERE {where} ORDER BY ALL")


TARGETS = {
    "a model and its ancestors": ("M_2", "model_name IN ('M_1', 'M_2')"),
    "a model that was trained on one set": ("M_1", "model_name = 'M_1'"),
    "a score": ("(SELECT id FROM score)", "model_name IN ('M_1', 'M_2')"),
    "the beginning of a model's id": ("(SELECT id[:8] FROM model WHERE name = 'M_1')", "model_name = 'M_1'"),
    "a set": ("s@2", "pair_set = 's@2'"),
    "a pair": ("(SELECT id FROM pair WHERE content = 'question 0')", "prompt_text = 'question 0'"),
    "a chosen answer": ("(SELECT chosen FROM pair WHERE content = 'question 1')", "prompt_text = 'question 1'"),
    "a rejected answer": ("(SELECT rejected FROM pair WHERE content = 'question 2')", "prompt_text = 'question 2'"),
}


@pytest.mark.parametrize("batch", [1, 50_000])
@pytest.mark.parametrize("target", TARGETS)
def test_lineage_and_the_view_say_the_same(
    store: Store, monkeypatch: pytest.MonkeyPatch, target: str, batch: int
) -> None:
    monkeypatch.setattr(module, "BATCH", batch)
    name, where = TARGETS[target]
    name = store.query(f"SELECT {name} AS n")[0]["n"] if name.startswith("(") else name
    expected = by_the_view(store, where)
    found = lineage(store, name)
    assert {row["side"] for row in expected} == {"chosen", "rejected"}
    assert sorted(map(repr, found)) == sorted(map(repr, expected))


def test_a_pair_of_three_sets_brings_all_of_them_and_a_side_without_verdict_one_row(store: Store) -> None:
    first, last = (
        lineage(store, store.query("SELECT id FROM pair WHERE content = ?", [text])[0]["id"])
        for text in ("question 0", "question 2")
    )
    assert {(row["pair_set"], row["model"]) for row in first} == {("s@1", "M_1"), ("s@2", None), ("t@1", "M_2")}
    assert {row["judged_by"] for row in first} == {"judge"}, "another judge's verdict ordered no pair"
    assert [(row["side"], row["reply"]) for row in last if row["side"] == "rejected"] == [("rejected", None)]


def test_a_name_that_nothing_bears_has_no_lineage(store: Store) -> None:
    assert lineage(store, "nobody") == lineage_of_prompt(store, "nobody") == []


def test_a_prompt_brings_its_answers_with_and_without_pairs(store: Store) -> None:
    paired, unpaired = (lineage_of_prompt(store, name) for name in ("question 0", PROMPTS[3].id))
    assert {(row["pair_set"], row["side"]) for row in paired if row["judged_by"] == "judge"} == {
        (name, side) for name in ("s@1", "s@2", "t@1") for side in ("chosen", "rejected")
    }
    assert [row["pair_set"] for row in paired if row["judged_by"] == "M_0"] == [None], "it put the answer into no pair"
    assert [(row["role"], row["pair_set"], row["reply"]) for row in unpaired] == [
        ("past", None, None), ("present", None, None)
    ]  # fmt: skip
