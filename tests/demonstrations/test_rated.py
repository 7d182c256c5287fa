"""Judgement examples out of the store: import rated answers, keep a judge's verdicts, write what SFT reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from toolkit.__main__ import app
from toolkit.demonstrations.rated import rated_answers, write_examples
from toolkit.demonstrations.source import _read
from toolkit.errors import InputError
from toolkit.exchange.importing import import_pairs
from toolkit.judgments.rubric import load_rubric
from toolkit.judgments.verdict import parse_verdict
from toolkit.records import Judgment, Model, Response, Sampling
from toolkit.store.database import Store

RUBRIC = load_rubric("additive")
JUDGE = Model("judge", "", "w", "t")
REPLIES = {  # answer -> the judge's words
    "good": "Direct and complete.\nScore: 5",
    "poor": "It says little.\n**Score:** 1",
    "fine": "Score: 4",  # no justification: no example
    "bad": "I cannot say.",
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "s.duckdb")
    pairs = [
        {"prompt": "one?", "chosen": "good", "rejected": "poor", "chosen_score": 9, "rejected_score": 2},
        {"prompt": "two?", "chosen": "fine", "rejected": "bad", "chosen_score": 8, "rejected_score": 1},
    ]
    (tmp_path / "rated.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    import_pairs(store, tmp_path / "rated.jsonl", "rated", "launch")
    store.add([JUDGE], launch="launch")
    answers = store.find(Response, [row["id"] for row in store.query("SELECT id FROM response")])
    for answer in answers.values():
        reply = REPLIES[answer.text or ""]
        said = parse_verdict(reply, "stop", RUBRIC.scale, RUBRIC.lead)
        verdict = Judgment(
            answer.id, JUDGE.id, RUBRIC.id, "generated", Sampling(1.0, 1.0, 64), 0, 7, reply, said.status, said.reason,
            said.score,
        )  # fmt: skip
        store.add([verdict], launch="launch")
    return store


def test_readable_justified_verdicts_become_examples_that_sft_reads(store: Store, tmp_path: Path) -> None:
    answers = rated_answers(store, "rated", JUDGE.id, RUBRIC)
    assert [(a.prompt, a.answer, a.rating, a.justification, a.score) for a in answers] == [
        ("one?", "good", 9.0, "Direct and complete.", 5.0),
        ("one?", "poor", 2.0, "It says little.", 1.0),
    ]
    write_examples(answers, tmp_path / "eft.jsonl")
    _, read = _read([str(tmp_path / "eft.jsonl")])
    assert [(a.prompt, a.answer, a.score) for a in read] == [("one?", "good", 5.0), ("one?", "poor", 1.0)]


def test_the_command_tells_the_file_and_its_examples_in_json(store: Store, tmp_path: Path) -> None:
    store.close()
    out = tmp_path / "eft.jsonl"
    line = ["judgement-examples", "rated", "--judge", "judge", "--out", str(out), "--store", str(tmp_path / "s.duckdb")]
    done = CliRunner().invoke(app, [*line, "--json"])
    assert (done.exit_code, json.loads(done.stdout)) == (0, {"file": str(out), "examples": 2})
    assert len(out.read_text().splitlines()) == 2


def test_a_set_that_no_judge_wrote_about_is_refused_with_the_command_that_helps(store: Store) -> None:
    with pytest.raises(InputError, match="no rated answer") as caught:
        rated_answers(store, "rated", "someone", RUBRIC)
    assert "rescore rated@1 --judge someone" in caught.value.remedy
