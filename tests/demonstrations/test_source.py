"""What sft.data may name, and what is refused with its place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from toolkit.config import Recipe
from toolkit.demonstrations.judgements import RatedAnswer
from toolkit.demonstrations.source import _read, learned
from toolkit.errors import InputError
from toolkit.lab import Lab
from toolkit.provenance import capture
from toolkit.store.database import Store

RATED = {"prompt": "p", "answer": "a", "rating": 7, "justification": "j", "score": 3}


def write(path: Path, *rows: object) -> str:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return str(path)


def test_chats_plain_answers_and_judged_answers_are_told_apart_row_by_row(tmp_path: Path) -> None:
    turns = [("system", "be brief"), ("user", "one?"), ("assistant", "1"), ("user", "two?"), ("assistant", "2")]
    chat = {"messages": [{"role": role, "content": content} for role, content in turns]}
    examples, rated = _read([write(tmp_path / "x.jsonl", chat, {"prompt": "three?", "answer": "3"}, RATED)])
    (first, answer), (second, other) = examples
    assert first.text == "two?" and answer == "2" and first.history == tuple(turns[:3])
    assert (second.text, other, second.source) == ("three?", "3", "x.jsonl:2")
    assert rated == [RatedAnswer("p", "a", 7, "j", 3, "x.jsonl:3")]


def test_what_was_dropped_is_counted_once_however_often_a_run_goes_on(
    scripted_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    rated = [RATED | {"answer": f"a {i}", "rating": 9 - i, "score": 1 + i % 2} for i in range(6)]
    recipe = scripted_recipe(sft={"data": [write(tmp_path / "x.jsonl", *rated)], "held_out": 0.0})
    counted = []
    for _ in range(2):
        with Lab(recipe, Store(tmp_path / "s.duckdb"), capture("t", recipe.resolved())) as lab:
            learned(lab)
            counted.append(lab.store.query("SELECT reason, count(*) AS n FROM dropped GROUP BY ALL ORDER BY ALL"))
    assert counted[0] == counted[1] != []


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("not json", "is no demonstration"),
        ({"text": "x"}, "is no demonstration"),
        ({"messages": [{"role": "user", "content": "x"}]}, "is no demonstration"),
        ({"messages": "x"}, "is no demonstration"),
        ({"prompt": "p", "answer": " "}, "' ' where a text belongs"),
        ({"prompt": "p", "answer": None}, "None where a text belongs"),
        ({**RATED, "rating": "high"}, "rating = 'high' is no number"),
        ({**RATED, "score": True}, "score = True is no number"),
    ],
)
def test_a_row_that_is_neither_is_an_error_with_its_place(tmp_path: Path, row: object, problem: str) -> None:
    with pytest.raises(InputError, match=problem) as caught:
        _read([write(tmp_path / "x.jsonl", {"prompt": "p", "answer": "a"}, row)])
    assert caught.value.where == "x.jsonl:2"
