"""Sets with one pair, equal scores, missing or non-finite scores, two judges: a number or a reason, never a crash."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.diagnostics.planted import Turn, plant
from toolkit.__main__ import app
from toolkit.diagnostics.summary import summed
from toolkit.judgments.judge import _candidates
from toolkit.records import Judgment, Model, Response
from toolkit.store.database import Store, queries

CASES = {
    "one iteration of one pair": [Turn([1.0], [1.0])],
    "one pair a set": [Turn([1.0], [1.0], [1.0]), Turn([0.5], [0.5], [1.0])],
    "all equal": [Turn([1.0] * 4, [1.0] * 4, [1.0] * 4)] * 2,
    "norms of zero": [Turn([0.0] * 4, [1.0] * 4, [0.0] * 4)] * 2,
    "missing norms": [Turn([1.0, None, None], [1.0, 2.0, 3.0]), Turn([None] * 3, [1.0, 2.0, 3.0])],
    "scores that are not finite": [Turn([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [1.0, 2.0, 3.0])] * 2,
}
NAMED = [name for name in queries() if not name.startswith(("run_", "compare_"))]


def hostile(path: Path, case: str) -> None:
    """The case's run, summed, with two judges of whom one misses a side; where asked, with NaN and infinity."""
    with Store(path) as store, plant(store, CASES[case]) as lab:
        judges = [Model(name, "", name, "t") for name in ("J", "K")]
        store.add(judges, launch=lab.launch.id)
        values = (1.0, None, 2.0, 2.0)
        if case == "scores that are not finite":
            values = (1.0, math.nan, 2.0, math.inf)
            store._db.execute("UPDATE pair SET chosen_score = 'nan' WHERE chosen_score = 1")
            store._db.execute(
                "UPDATE control SET chosen_score = 'nan' WHERE prompt = (SELECT min(prompt) FROM control)"
            )
        for pair in store.query("SELECT chosen, rejected FROM pair"):
            sides = [(judge, pair[side]) for judge in judges for side in ("chosen", "rejected")]
            for (judge, response), score in zip(sides, values, strict=True):
                status = "unreadable" if score is None else "scored"
                asked = (response, judge.id, None, "reward", None, 0, None)
                store.add([Judgment(*asked, str(score), status, "", score)], launch=lab.launch.id)  # type: ignore[arg-type]
        summed(lab, "planted")


@pytest.mark.parametrize("case", CASES)
def test_every_command_that_reads_gives_numbers_or_reasons(case: str, tmp_path: Path) -> None:
    hostile(tmp_path / "s.duckdb", case)
    asked = [["report", "planted"], ["status", "planted"], ["sets"], *(["query", name] for name in NAMED)]
    for words in (*asked, ["sql", "FROM summaries"], ["sql", "FROM changes"]):
        done = CliRunner().invoke(app, [*words, "--store", str(tmp_path / "s.duckdb")])
        assert done.exit_code == 0 or (words == ["sets"] and "error:" in done.output), (words, done.output)
        cells = done.output.lower().replace("|", " ").split()
        assert not {"nan", "inf", "-inf"} & set(cells), (words, done.output)
    text = (tmp_path / "reports" / "report-planted.md").read_text(encoding="utf-8")
    assert not {"nan", "nan],", "[nan,"} & set(text.lower().replace("nan steps", "").split())


def test_a_score_that_is_not_finite_is_counted_as_missing_and_in_no_mean(tmp_path: Path) -> None:
    hostile(tmp_path / "s.duckdb", "scores that are not finite")
    with Store(tmp_path / "s.duckdb", read_only=True) as store:
        gaps = [(row["pairs"], row["scored"], row["gap"]) for row in store.named("gap_by_iteration")]
        found = store.query(
            "SELECT control, n, missing, mean FROM summaries WHERE metric = 'gap' ORDER BY pair_set, control"
        )
        by_judges = store.named("judge_gaps") + store.named("flipped_by_judge")
        scores = store.query("SELECT DISTINCT score FROM answer_scores ORDER BY score")
    assert gaps == [(3, 2, 2.5)] * 2
    assert [(row["n"], row["missing"], row["mean"]) for row in found if not row["control"]] == [(2, 1, 2.5)] * 2
    assert by_judges == []  # no judge has a finite score for both sides
    assert [row["score"] for row in scores] == [1.0, 2.0]


def test_two_judges_are_kept_apart_and_a_side_without_a_verdict_leaves_its_pair_out(tmp_path: Path) -> None:
    hostile(tmp_path / "s.duckdb", "all equal")
    with Store(tmp_path / "s.duckdb", read_only=True) as store:
        rows = store.named("judge_gaps")
    assert [(row["judge"], row["pairs"], row["gap"], row["ordered_alike"]) for row in rows] == [("K", 4, 0.0, 0.5)] * 2


def test_a_verdict_that_is_not_finite_is_no_candidates_score() -> None:
    answers = [Response("p", "m", "present", draw, None, None, f"text {draw}") for draw in range(3)]
    scores = (1.0, math.nan, math.inf)
    verdicts = [
        Judgment(answer.id, "j", None, "reward", None, 0, None, "x", "scored", "", score)
        for answer, score in zip(answers, scores, strict=True)
    ]
    found, without = _candidates(answers, verdicts)
    assert [(scored.response, scored.score) for scored in found["p"]] == [(answers[0], 1.0)] and without == {"p"}
