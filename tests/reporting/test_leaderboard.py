"""The leaderboard from scores and items: intervals, paired tests against M_0, protocols kept apart, four files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from toolkit.__main__ import app
from toolkit.config import Recipe
from toolkit.evaluation.answers import mean_score
from toolkit.lab import Lab
from toolkit.provenance import capture
from toolkit.recipes.self_rewarding import self_rewarding
from toolkit.records import Item, Score
from toolkit.reporting.board_files import as_json, comma, markdown, page, write_board
from toolkit.reporting.leaderboard import Board, heads, leaderboard
from toolkit.store.database import Store

Build = Callable[..., Recipe]
EVIL = "<script>alert(1)</script>"


@pytest.fixture
def store(scripted_recipe: Build, tmp_path: Path) -> Path:
    """M_0, M_1, M_2 of a run; M_1 is much better at `maths` than M_0, M_2 a little."""
    recipe = scripted_recipe()
    with Lab(recipe, Store(tmp_path / "s.duckdb"), capture("quick", recipe.resolved())) as lab:
        self_rewarding(lab, recipe)
        models = {row["name"]: row["model"] for row in lab.store.query("FROM model_names")}
        right = {"M_0": 10, "M_1": 30, "M_2": 12}
        for name, most in right.items():
            for settings in ({"few_shot": 0, "limit": 40}, {"few_shot": 5, "limit": 40}):
                items = [
                    Item(models[name], "maths", "exact", f"q{i:02}", settings, None, float(i < most)) for i in range(40)
                ]
                lab.store.add(items, launch=lab.launch.id)
                lab.store.add([mean_score(items)], launch=lab.launch.id)
        fitted = Score(models["M_1"], f"alpaca {EVIL}", "lc_win_rate", {"judge": EVIL}, 0.31, 40)
        lab.store.add([fitted], launch=lab.launch.id)
    return tmp_path / "s.duckdb"


def board(path: Path, published: bool = False) -> Board:
    with Store(path, read_only=True) as store:
        return leaderboard([store], published)


def test_cells_have_intervals_and_are_compared_with_m_0_on_the_same_items(store: Path) -> None:
    made = board(store)
    assert [(row.run, row.name, row.iteration) for row in made.rows] == [
        ("quick", "M_0", 0), ("quick", "M_1", 1), ("quick", "M_2", 2),
    ]  # fmt: skip
    cells = {row.name: row.cells[made.columns[1]] for row in made.rows}
    assert [(cells[n].value, cells[n].n) for n in cells] == [(0.25, 40), (0.75, 40), (0.3, 40)]
    assert cells["M_1"].low == pytest.approx(0.598, abs=1e-3) and cells["M_1"].method == "Wilson"
    assert cells["M_0"].against is None and cells["M_1"].distinct is True and cells["M_2"].distinct is False
    against = cells["M_2"].against
    assert against is not None and against.p > 0.5 and against.difference == pytest.approx(0.05)


def test_two_protocols_of_one_task_are_two_columns_that_say_how_they_differ(store: Path) -> None:
    made = board(store)
    assert [column.metric for column in made.columns] == ["lc_win_rate", "exact", "exact"]
    assert heads(made.columns)[1:] == ["maths exact (few_shot 0)", "maths exact (few_shot 5)"]


def test_a_score_without_items_stands_without_an_interval(store: Path) -> None:
    made = board(store)
    cell = made.rows[1].cells[made.columns[0]]
    assert (cell.value, cell.low, cell.against) == (0.31, None, None)
    assert made.columns[0] not in made.rows[0].cells


def test_published_rows_stand_beside_and_say_so(store: Path) -> None:
    with Store(store) as opened:
        item = Item(opened.query("SELECT id FROM model LIMIT 1")[0]["id"], "gsm8k", "strict-match", "q", {}, None, 1.0)
        opened.add([item], launch=opened.query("SELECT id FROM launch")[0]["id"])
        opened.add([mean_score([item])], launch=opened.query("SELECT id FROM launch")[0]["id"])
    rows = [row for row in board(store, published=True).rows if row.note]
    assert {row.note for row in rows} == {"published, other judge"} and len(rows) == 7
    last = rows[-1]
    assert (last.run, last.iteration) == ("Temporal Self-Rewarding", 2)
    assert [cell.value for cell in last.cells.values()] == [0.563]


def test_the_page_escapes_what_it_was_given_and_loads_nothing(store: Path) -> None:
    text = page(board(store))
    assert EVIL not in text and "&lt;script&gt;" in text
    assert "http" not in text and text.count("<script>") == 1 and "<svg" in text


def test_the_files_agree(store: Path, tmp_path: Path) -> None:
    made = board(store)
    lines = list(csv.DictReader(io.StringIO(comma(made))))
    data = json.loads(as_json(made))
    assert [float(line["value"]) for line in lines] == [one["value"] for one in data] and len(data) == 7
    assert "| quick | M_1 |" in markdown(made) and "0.75 [0.598, 0.858] n=40 *" in markdown(made)
    assert [path.suffix for path in write_board(made, tmp_path / "out")] == [".md", ".csv", ".json", ".html"]


def test_the_command_prints_the_board_and_says_where_nothing_was_measured(store: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["leaderboard", "--store", str(store), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0 and "maths exact" in done.stdout and (tmp_path / "out" / "leaderboard.html").exists()
    Store(tmp_path / "empty.duckdb").close()
    empty = CliRunner().invoke(app, ["leaderboard", "--store", str(tmp_path / "empty.duckdb")])
    assert empty.exit_code != 0 and "nothing was evaluated" in empty.stderr
