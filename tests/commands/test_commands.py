"""The commands over a store, as typed: what they print, in which format, and how they end."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from toolkit.config import Recipe
from toolkit.lab import Lab
from toolkit.provenance import capture
from toolkit.recipes.temporal import temporal
from toolkit.store.database import Store, queries

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def store(tmp_path: Path, scripted_recipe: Callable[..., Recipe]) -> Path:
    path, recipe = tmp_path / "s.duckdb", scripted_recipe()
    with Lab(recipe, Store(path), capture("test", recipe.resolved())) as lab:
        temporal(lab, recipe)
    return path


@pytest.fixture
def run(store: Path) -> Run:
    """Runs `python -m toolkit` on the store of a scripted run."""

    def command(*words: str, told: str = "") -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "toolkit", *words, "--store", str(store)]
        return subprocess.run(line, capture_output=True, text=True, check=False, input=told)

    return command


def test_every_shipped_query_and_view_answers_on_a_real_store(store: Path) -> None:
    with Store(store, read_only=True) as opened:
        newest = opened.query("SELECT id FROM launch")[0]["id"]
        answers = {"launch": newest, "launches": newest}
        for name in queries():
            wanted = {key: value for key, value in answers.items() if re.search(rf"\${key}\b", _text(name))}
            rows = opened.named(name, **wanted)
            assert rows or name in {"law", "flipped_by_judge", "run_drops", "judge_quality"}, name
        for row in opened.query("SELECT view_name AS v FROM duckdb_views() WHERE NOT internal"):
            opened.query(f"FROM {row['v']}")


def _text(name: str) -> str:
    import toolkit.store

    return (Path(toolkit.store.__path__[0]) / "queries" / f"{name}.sql").read_text()


def test_a_run_can_be_listed_compared_named_and_traced(run: Run) -> None:
    listed = run("sets", "guided", "--json")
    assert [json.loads(line)["set"] for line in listed.stdout.splitlines()] == ["guided@1", "guided@2"]
    found = run("diff", "anchored-0", "guided-0", "--json")
    rows = [json.loads(line) for line in found.stdout.splitlines()]
    assert rows
    assert {row["change"] for row in rows} <= {"changed", "added"}
    assert all(row["chosen_role_after"] == "future" for row in rows)
    assert "anchored@1 -> guided@1" in run("diff", "anchored-0", "guided-0").stdout
    assert "guided@paper is guided@2" in run("tag", "guided@2", "paper").stdout
    assert "guided@2: " in run("pairs", "guided@paper").stdout
    traced = [json.loads(line) for line in run("lineage", "M_2", "--json").stdout.splitlines()]
    assert {row["model"] for row in traced} == {"M_1", "M_2"}
    assert all(row["reply"] and row["sampling"] and row["weights"] for row in traced)
    pair = traced[0]["pair"]
    assert {json.loads(line)["pair"] for line in run("lineage", pair, "--json").stdout.splitlines()} == {pair}
    assert "present" in run("lineage", traced[0]["prompt_text"]).stdout
    assert run("doctor").returncode == 0


def test_a_version_in_use_is_not_deleted_without_force(run: Run) -> None:
    refused = run("delete", "guided@2")
    assert (refused.returncode, "model M_2" in refused.stderr) == (4, True)
    assert "deleted guided@2" in run("delete", "guided@2", "--force", "--reason", "test").stdout
    assert "was deleted" in run("pairs", "guided@2").stderr


def test_sql_answers_in_every_format(run: Run, tmp_path: Path) -> None:
    statement = "SELECT role, count(*) AS n FROM responses GROUP BY role ORDER BY role"
    assert "future   36" in run("sql", statement).stdout
    rows = list(csv.DictReader(io.StringIO(run("sql", statement, "--format", "csv").stdout)))
    assert rows[0] == {"role": "future", "n": "36"}
    lines = run("sql", statement, "--format", "json").stdout.splitlines()
    assert json.loads(lines[0]) == {"role": "future", "n": 36}
    out = tmp_path / "out.parquet"
    assert run("sql", statement, "--format", "parquet", "--out", str(out)).returncode == 0
    import pandas

    assert pandas.read_parquet(out).to_dict("records")[0] == {"role": "future", "n": 36}


def test_the_shell_takes_statements_over_several_lines_and_goes_on_after_an_error(run: Run) -> None:
    done = run("sql", told="SELECT count(*)\n AS answers FROM responses;\nSELEC;\n.views\nSELECT 7 AS seven;\n")
    assert "108" in done.stdout
    assert "syntax error" in done.stderr
    assert "pair_sets" in done.stdout
    assert "seven" in done.stdout
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["sql", "DELETE FROM prompt"], 4, "only one reading statement"),
        (["sql", "FROM prompt", "--format", "xml"], 2, "one of table, csv"),
        (["sql", "FROM prompt", "--format", "parquet"], 2, "--out"),
        (["query", "linage"], 4, "no query named"),
        (["query", "run_curve"], 4, "takes ['launch']"),
        (["query", "run_curve", "M_2"], 2, "is not name=value"),
        (["diff", "anchored", "nothing"], 3, "no pair set 'nothing'"),
        (["pairs", "guided@9"], 3, "guided@1, guided@2"),
        (["tag", "guided@1", "7"], 3, "cannot be the name of a set or a tag"),
        (["lineage", "nobody"], 3, "nothing in the store is called 'nobody'"),
    ],
)
def test_a_wrong_question_is_one_clear_error(run: Run, words: list[str], code: int, told: str) -> None:
    done = run(*words)
    assert done.returncode == code, done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_doctor_finds_a_changed_answer_and_a_lost_row(store: Path, run: Run) -> None:
    with Store(store) as opened:
        opened.query("UPDATE response SET text = 'changed' WHERE id = (SELECT min(chosen) FROM pair)")
        opened.query("DELETE FROM judgment WHERE id = (SELECT min(id) FROM judgment)")
        opened.query("DELETE FROM prompt WHERE id = (SELECT min(prompt) FROM pair)")
    done = run("doctor")
    assert done.returncode == 4
    assert "rows differ" in done.stdout
    assert "drifted" in done.stdout
    assert "rows point nowhere" in done.stdout


def test_questions_are_answered_while_a_run_writes(store: Path, run: Run) -> None:
    code = (
        "import sys; from pathlib import Path; from toolkit.store.database import Store;"
        "from toolkit.store.serving import Server; store = Store(Path(sys.argv[1])); server = Server(store);"
        "print('open', flush=True); sys.stdin.read()"
    )
    line = [sys.executable, "-c", code, str(store)]
    holder = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "open\n"
    for words in (["sets"], ["diff", "anchored-0", "guided-0"], ["query", "gap_by_iteration"], ["sql", "FROM models"]):
        done = run(*words)
        assert done.returncode == 0, done.stderr
        assert "M_2" in done.stdout or "guided@1" in done.stdout
    refused = run("tag", "guided@1", "x")
    assert refused.returncode == 4
    assert f"process {holder.pid}" in refused.stderr
    holder.communicate("")
