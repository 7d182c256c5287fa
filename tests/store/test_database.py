from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from toolkit.errors import StoreError
from toolkit.records import Judgment, Model, Pair, Prompt, Response, Sampling, Score, Training
from toolkit.store.database import Store, queries

SAMPLING = Sampling(0.7, 0.9, 16)
NASTY = "nul \x00, quote ' \" ;--, emoji 😀, rtl \u202e, crlf \r\n, " + "long" * 10_000


def answered() -> Response:
    asked = Response("p", "m", "past", 3, SAMPLING, 2**31 - 1)
    return replace(asked, text=NASTY, tokens=5, prompt_tokens=9, finish="length")


def verdict() -> Judgment:
    asked = Judgment("r", "j", "rubric", "expected", SAMPLING, 0, 1)
    return replace(asked, reply=NASTY, status="scored", score=0.1 + 0.2)


RECORDS = [
    Prompt(NASTY, "file:1"),
    Model("M_1", "models/x", "w", "t", "parent", "training"),
    answered(),
    verdict(),
    replace(verdict(), status="unreadable", reason="empty reply", score=None),
    Pair("p", "c", "r", 4.25, 1.0, "future", "past", "j"),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_record_comes_back_as_it_went_in(tmp_path: Path, record: object) -> None:
    with Store(tmp_path / "s.duckdb") as store:
        store.add([record], launch="L")
    with Store(tmp_path / "s.duckdb", read_only=True) as store:
        assert store.find(type(record), [record.id]) == {record.id: record}  # type: ignore[attr-defined]


def test_a_training_and_a_score_keep_their_settings(tmp_path: Path) -> None:
    training = Training("a", "b", "f", {"beta": 0.1, "gate": {"cut": None}})
    score = replace(Score("m", "gsm8k", "exact", {"shots": 5}), value=0.25, n=8)
    result = {"pair_set": "s@1", "model": "m", "row_count": 2, "batch": 2, "unseen": 0, "seconds": 1.5}
    with Store(tmp_path / "s.duckdb") as store:
        store.add([training], launch="L", **result)
        store.add([score], launch="L")
        assert store.find(Training, [training.id])[training.id] == training
        assert store.find(Score, [score.id])[score.id] == score


def test_inserting_again_changes_nothing(tmp_path: Path) -> None:
    with Store(tmp_path / "s.duckdb") as store:
        store.add([answered()], launch="first")
        store.add([replace(answered(), text="another")], launch="second")
        rows = store.query("SELECT text, launch FROM response")
    assert rows == [{"text": NASTY, "launch": "first"}]


@pytest.mark.parametrize("undivided", [False, True])
def test_of_new_and_known_rows_together_the_new_ones_are_stored_once(tmp_path: Path, undivided: bool) -> None:
    with Store(tmp_path / "s.duckdb") as store:
        store.add([Prompt("a", "first")], launch="L")
        with store.transaction() if undivided else nullcontext():
            store.add([Prompt("b", "second")], launch="L")
            store.add([Prompt(text, "third") for text in "cabc"], launch="L")
        rows = store.query("SELECT text, source FROM prompt ORDER BY text")
    assert [tuple(row.values()) for row in rows] == [("a", "first"), ("b", "second"), ("c", "third")]


def test_a_pair_whose_chosen_is_not_better_is_refused_by_the_store(tmp_path: Path) -> None:
    with Store(tmp_path / "s.duckdb") as store, pytest.raises(StoreError, match="CHECK"):
        store.add([Pair("p", "c", "r", 1.0, 1.0, "present", "past", "j")], launch="L")


def test_a_failed_transaction_leaves_nothing(tmp_path: Path) -> None:
    with Store(tmp_path / "s.duckdb") as store:
        with pytest.raises(RuntimeError), store.transaction():
            store.add([Prompt("a")], launch="L")
            raise RuntimeError
        assert store.query("SELECT count(*) AS n FROM prompt") == [{"n": 0}]


def test_garbage_and_unwritable_places_are_named(tmp_path: Path) -> None:
    (tmp_path / "garbage.duckdb").write_bytes(b"garbage" * 4096)
    with pytest.raises(StoreError, match="not a DuckDB database"):
        Store(tmp_path / "garbage.duckdb")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot make the folder"):
        Store(tmp_path / "file" / "s.duckdb")
    with pytest.raises(StoreError, match="no store"):
        Store(tmp_path / "absent.duckdb", read_only=True)
    os.mkfifo(tmp_path / "pipe")
    held = os.open(tmp_path / "pipe", os.O_RDWR)  # else it would be waited for
    for name, told in (("", "a folder"), ("pipe", "no ordinary file")):
        with pytest.raises(StoreError, match=told):
            Store(tmp_path / name, read_only=True)
    os.close(held)


@pytest.mark.parametrize("name", sorted(queries()))
def test_a_shipped_query_says_what_it_answers_and_runs_on_an_empty_store(name: str) -> None:
    assert queries()[name].endswith(".")
    with Store(None) as store:
        import re

        text = (Path(store.query.__code__.co_filename).parent / "queries" / f"{name}.sql").read_text()
        parameters = dict.fromkeys(re.findall(r"\$([a-z_]+)", text), "x")
        assert store.named(name, **parameters) == []


def test_an_unknown_query_lists_the_known_ones() -> None:
    with Store(None) as store, pytest.raises(StoreError, match="role_mix"):
        store.named("rolemix")


def test_columns_of_one_name_are_all_in_the_answer(tmp_path: Path) -> None:
    with Store(tmp_path / "s.duckdb") as store:
        answer = store.arrow("SELECT 1 AS a, 2 AS a, 3 AS a_1, 4 AS a")
    assert answer.to_pylist() == [{"a": 1, "a_2": 2, "a_1": 3, "a_3": 4}]
