"""The leaderboard from scores and items: intervals, paired tests against M_0, protocols kept apart, four files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from toolkit.__main__ import app
from toolkit.config import Recipe
from toolkit.evaluation.aggregation import aggregate
from toolkit.evaluation.answers import mean_score
from toolkit.evaluation.statistics import Paired, holm, interval, mcnemar
from toolkit.lab import Lab
from toolkit.provenance import capture
from toolkit.recipes.self_rewarding import self_rewarding
from toolkit.recipes.temporal import temporal
from toolkit.records import Item, Score
from toolkit.reporting.board.cells import Cell, Column
from toolkit.reporting.board.files import as_json, comma, markdown, page, table_of, write_board
from toolkit.reporting.board.leaderboard import (
    Board,
    Row,
    comparisons,
    heads,
    leaderboard,
    merged,
    without_diagnostics,
)
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


def add(path: Path, name: str, records: list[Any]) -> None:
    """Items or scores of the model that the run calls so."""
    with Store(path) as opened:
        model = opened.query("SELECT model FROM model_names WHERE name = ? LIMIT 1", [name])[0]["model"]
        launch = opened.query("SELECT id FROM launch LIMIT 1")[0]["id"]
        opened.add([replace(record, model=model) for record in records], launch=launch)


def preferences(values: list[float | None], settings: dict[str, Any]) -> list[Item]:
    return [Item("", "alpaca_eval", "preference", f"q{i}", settings, None, value) for i, value in enumerate(values)]


def test_a_win_rate_has_the_interval_of_its_readable_preferences_in_percent(store: Path) -> None:
    told: list[float] = [0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0, 1.0]
    rate = Score("", "alpaca_eval", "win_rate", {"judge": "j"}, 100 * sum(told) / 8, 8)
    add(store, "M_1", preferences([*told, None, None], {"judge": "j"}))
    add(store, "M_1", [rate])
    add(store, "M_0", preferences([0.0] * 10, {"judge": "j"}))
    add(store, "M_1", preferences([0.0] * 10, {"judge": "another"}))
    made = board(store)
    column = next(column for column in made.columns if column.metric == "win_rate")
    cell, expected = made.rows[1].cells[column], interval(told, (0.0, 1.0))
    assert cell.method == expected.method == "t, widened for skewness"
    assert expected.low is not None and expected.high is not None and cell.low is not None and cell.high is not None
    assert (cell.low, cell.high) == (pytest.approx(100 * expected.low), pytest.approx(100 * expected.high))
    assert cell.low < cell.value < cell.high
    assert cell.against is not None and cell.against.n == 8 and cell.against.difference == pytest.approx(rate.value)


def test_a_judged_task_has_the_interval_and_comparison_of_what_its_judge_could_read(store: Path) -> None:
    """As its score, which is the mean of those: an unread verdict is no 0 of ten points."""
    told = [8.0, 9.0, 7.5, 8.5, 9.5, 8.0]
    for metric in ("score", "win"):
        blank = Item("", "bench", metric, "", {"judge": "j"})
        for name, rest in (("M_0", [9.0, 9.0, 9.0]), ("M_1", [None, None, None])):
            add(store, name, [replace(blank, question=f"#{i}", value=value) for i, value in enumerate([*told, *rest])])
        add(store, "M_1", [Score("", "bench", metric, {"judge": "j"}, sum(told) / 6, 6)])
    made = board(store)
    for column in (column for column in made.columns if column.task == "bench"):
        cell = made.rows[1].cells[column]
        assert cell.low is not None and cell.high is not None and cell.low < cell.value < cell.high
        assert cell.against is not None and (cell.against.n, cell.against.difference) == (6, 0.0)


def test_several_answers_to_a_question_are_one_item_of_the_interval_and_the_comparison(store: Path) -> None:
    """Ten answers to each of twelve problems say little more than twelve: they are right or wrong together."""

    def items(right: int) -> list[Item]:
        names = [f"P{i}" + (f"#{draw}" if draw else "") for i in range(12) for draw in range(10)]
        values = [float(i < right) for i in range(12) for _ in range(10)]
        return [Item("", "human_eval", "pass@1", q, {"draws": 10}, None, v) for q, v in zip(names, values, strict=True)]

    add(store, "M_0", items(4))
    add(store, "M_1", items(6))
    add(store, "M_1", [Score("", "human_eval", "pass@1", {"draws": 10}, 0.5, 12)])
    made = board(store)
    cell = made.rows[1].cells[next(column for column in made.columns if column.metric == "pass@1")]
    expected = interval([0.0, 1.0] * 6)
    assert expected.low is not None and expected.high is not None
    assert (cell.low, cell.high) == (pytest.approx(expected.low), pytest.approx(expected.high))
    assert cell.against is not None and (cell.against.n, cell.distinct) == (12, False)


def test_a_length_controlled_win_rate_has_the_interval_of_its_stored_standard_error_or_none(store: Path) -> None:
    fitted = Score("", "alpaca_eval", "lc_win_rate", {"judge": "j"}, 3.0, 40)
    error = Score("", "alpaca_eval", "lc_standard_error", {"judge": "j"}, 2.0, 40)
    add(store, "M_1", [fitted, error])
    add(store, "M_2", [replace(fitted, value=50.0)])
    made = board(store)
    column = Column("alpaca_eval", "lc_win_rate", '{"judge": "j"}')
    with_one, without = made.rows[1].cells[column], made.rows[2].cells[column]
    assert (with_one.low, with_one.high) == (0.0, pytest.approx(6.92, abs=1e-3)), "no win rate is below 0"
    assert with_one.method == "alpaca_eval's standard error"
    assert (without.value, without.low, without.high) == (50.0, None, None)
    assert "it has none where none is stored" in markdown(made)


def test_diagnostic_columns_stand_last_are_not_compared_and_are_printed_on_demand_alone(
    store: Path, tmp_path: Path
) -> None:
    for name, value in (("M_0", 0.5), ("M_1", 0.0)):
        found = [("exact [invalid]", value), ("timed_out", value), ("extraction_failures", value)]
        add(store, name, [Score("", "a first task", metric, {}, value, 40) for metric, value in found])
        shared = preferences([value] * 40, {})
        add(store, name, list(shared))
        add(store, name, [mean_score(shared)])
    made = board(store)
    assert [column.metric for column in made.columns] == [
        "lc_win_rate", "exact", "exact", "exact [invalid]", "extraction_failures", "timed_out", "preference",
    ]  # fmt: skip
    assert not [c for row in made.rows for column, c in row.cells.items() if column.diagnostic and c.against]
    printed = CliRunner().invoke(app, ["leaderboard", "--store", str(store), "--out", str(tmp_path / "out")]).stdout
    everything = CliRunner().invoke(app, ["leaderboard", "--store", str(store), "--all"]).stdout
    assert "[invalid]" not in printed and "timed_out" not in printed and "maths exact" in printed
    assert "4 diagnostic columns" in printed and "diagnostic columns" not in everything
    assert "[invalid]" in everything and "timed_out" in everything
    for path in (tmp_path / "out").glob("[!.]*"):
        assert "timed_out" in path.read_text(), path


def test_a_board_of_nothing_but_diagnostics_is_printed() -> None:
    column = Column("code", "timed_out", "{}")
    only = Board((column,), (Row("a", "M_0", 0, "w", "c", {column: Cell(0.1)}),))
    assert without_diagnostics(only) == only


def test_a_model_of_several_runs_is_one_row_and_every_run_keeps_its_comparison_and_curve(
    store: Path, scripted_recipe: Build
) -> None:
    alone = board(store)
    recipe = scripted_recipe()
    for run, recipe_function in (("twin", self_rewarding), ("later", temporal)):
        with Lab(recipe, Store(store), capture(run, recipe.resolved())) as lab:
            recipe_function(lab, recipe)
            mine = lab.store.query("SELECT model FROM model_names WHERE run = 'later' AND name = 'M_1'")
        settings = {"few_shot": 0, "limit": 40}
    items = [Item(mine[0]["model"], "maths", "exact", f"q{i:02}", settings, None, float(i < 20)) for i in range(40)]
    with Store(store) as opened:
        opened.add(items, launch=lab.launch.id)
        opened.add([mean_score(items)], launch=lab.launch.id)
    made = board(store)
    shown = [row[:2] for row in table_of(made).rows]
    assert shown == [("later, quick, twin", "M_0"), ("later", "M_1"), ("quick, twin", "M_1"), ("quick, twin", "M_2")]
    later = next(row for row in made.rows if (row.run, row.name) == ("later", "M_1"))
    zero_shot = made.columns[1]
    against = later.cells[zero_shot].against
    assert against is not None and against.difference == pytest.approx(0.25)
    once = [c.against.p for row in alone.rows for c in row.cells.values() if c.against]
    assert len(once) == 4, "what quick and twin share is corrected for once"
    raw = [mcnemar([1.0] * gained + [0.0]) for gained in (20, 20, 2, 2, 10)]
    assert against.p == pytest.approx(holm(raw)[-1])
    lines = list(csv.DictReader(io.StringIO(comma(made))))
    assert {line["run"] for line in lines if line["model"] == "M_0"} == {"later", "quick", "twin"}
    assert len({line["model_id"] for line in lines if line["model"] == "M_0"}) == 1
    assert page(made).count("<polyline") == 5, "two protocols of quick and of twin, one of later: one point is no curve"


def test_rows_of_one_model_join_unless_their_runs_compare_it_differently() -> None:
    column = Column("maths", "exact", "{}")
    better, worse = (Paired(d, -1.0, 1.0, 0.5, 9, "t") for d in (0.1, -0.1))
    first = Row("a", "M_1", 1, "w", "c", {column: Cell(0.5, against=better)}, model="m")
    start = Row("b", "M_0", 0, "w", "c", {column: Cell(0.5)}, model="m")
    other = Row("c", "M_2", 2, "w", "c", {column: Cell(0.5, against=worse)}, model="m")
    changed = Row("d", "M_1", 1, "w", "c", {column: Cell(0.6, against=better)}, model="m")
    published = Row("p", "M_1", 1, "", "", {column: Cell(0.5)}, "published, Llama3.1-8B")

    def joined(*rows: Row) -> list[tuple[str, str, Paired | None]]:
        return [(row.run, row.name, row.cells[column].against) for row in merged(Board((column,), rows)).rows]

    assert joined(first, start) == [("a, b", "M_1, M_0", better)]
    assert joined(start, first) == [("b, a", "M_0, M_1", better)]
    assert [run for run, *_ in joined(first, other)] == ["a", "c"]
    assert [run for run, *_ in joined(first, changed)] == ["a", "d"], "another store measured another value"
    assert len(joined(published, published)) == 2


def test_published_rows_stand_beside_and_say_so(store: Path) -> None:
    with Store(store) as opened:
        item = Item(opened.query("SELECT id FROM model LIMIT 1")[0]["id"], "gsm8k", "strict-match", "q", {}, None, 1.0)
        opened.add([item], launch=opened.query("SELECT id FROM launch")[0]["id"])
        opened.add([mean_score([item])], launch=opened.query("SELECT id FROM launch")[0]["id"])
    rows = [row for row in board(store, published=True).rows if row.note]
    assert {row.note for row in rows} == {"published, Llama3.1-8B"} and len(rows) == 7
    last = rows[-1]
    assert (last.run, last.iteration) == ("Temporal Self-Rewarding", 2)
    assert [cell.value for cell in last.cells.values()] == [0.563]
    own = {column for row in board(store).rows for column in row.cells}
    assert not own & last.cells.keys(), "the paper's protocol is not known, so no measured column is the paper's"
    assert "gsm8k accuracy, published" in markdown(board(store, published=True))


def test_own_data_under_a_task_of_the_harness_take_the_name_of_their_test_and_no_published_row(store: Path) -> None:
    items = [Item("", "sums", "strict-match", f"q{i}", {"task": "gsm8k"}, None, 1.0) for i in range(3)]
    add(store, "M_1", list(items))
    add(store, "M_1", [mean_score(items)])
    made = board(store, published=True)
    assert "sums strict-match" in heads(made.columns)
    assert not [row for row in made.rows if row.note], "the paper measured no test of this name"


def test_any_two_models_are_tested_as_a_named_family(store: Path, tmp_path: Path) -> None:
    with Store(store, read_only=True) as opened:
        family = comparisons([opened], "all")
        alone = comparisons([opened], "iteration")
    assert [(one.first, one.second) for one in family.tests] == [
        ("quick/M_0", "quick/M_1"), ("quick/M_0", "quick/M_1"), ("quick/M_0", "quick/M_2"), ("quick/M_0", "quick/M_2"),
        ("quick/M_1", "quick/M_2"), ("quick/M_1", "quick/M_2"),
    ]  # fmt: skip
    raw = [mcnemar([1.0] * 20)] * 2 + [mcnemar([1.0] * 2)] * 2 + [mcnemar([-1.0] * 18)] * 2
    assert [one.test.p for one in family.tests] == pytest.approx(holm(raw))
    assert family.name.startswith("every two models") and "6 paired tests" in family.name and "Holm" in family.name
    assert [one.test.difference for one in family.tests[4:]] == pytest.approx([-0.45, -0.45])
    assert alone.tests == (), "one run has no other at its iteration"
    words = ["leaderboard", "--store", str(store), "--between", "all", "--out", str(tmp_path / "out")]
    printed = CliRunner().invoke(app, words).stdout
    assert "6 paired tests, p corrected for all of them" in printed and "quick/M_2" in printed
    tests = json.loads((tmp_path / "out" / "leaderboard-tests.json").read_text())
    assert len(tests) == 6 and tests[0]["family"] == family.name


def test_recipes_are_tested_against_each_other_at_equal_iteration(store: Path, scripted_recipe: Build) -> None:
    recipe = scripted_recipe()
    with Lab(recipe, Store(store), capture("other", recipe.resolved())) as lab:
        temporal(lab, recipe)
        mine = lab.store.query("SELECT model FROM model_names WHERE run = 'other' AND name = 'M_1'")[0]["model"]
        settings = {"few_shot": 0, "limit": 40}
        items = [Item(mine, "maths", "exact", f"q{i:02}", settings, None, float(i < 20)) for i in range(40)]
        lab.store.add(items, launch=lab.launch.id)
        lab.store.add([mean_score(items)], launch=lab.launch.id)
        family = comparisons([lab.store], "iteration")
    assert [(one.first, one.second) for one in family.tests] == [("other/M_1", "quick/M_1")]
    assert family.tests[0].test.difference == pytest.approx(0.25) and family.tests[0].test.n == 40
    assert "equal iteration" in family.name and "1 paired tests" in family.name


def test_made_up_numbers_are_marked_at_the_top_of_every_form(store: Path) -> None:
    made = board(store)
    assert made.made_up.startswith("Made-up numbers: scripted engine (quick), scripted trainer (quick)")
    assert markdown(made).splitlines()[2].startswith("**Made-up numbers") and "Made-up numbers" in page(made)
    assert page(made).index("Made-up numbers") < page(made).index("<table>")
    assert {one["made_up"] for one in json.loads(as_json(made))} == {made.made_up}
    printed = CliRunner().invoke(app, ["leaderboard", "--store", str(store)]).stdout
    assert printed.startswith("Made-up numbers")


def test_a_metric_that_is_not_a_mean_is_resampled_through_its_own_formula(store: Path) -> None:
    """f1 of 8 items: 0.571, and no interval of stand-in items, which was [0, 0.324]."""
    pairs = [(1, 1), (1, 1), (1, 0), (1, 0), (0, 1), (0, 0), (0, 0), (0, 0)]
    value = aggregate("f1", pairs)
    assert value == pytest.approx(0.571, abs=1e-3)
    blank = Item("", "topics", "f1", "", {"k": 1})
    old = [replace(blank, question=f"q/{i}") for i in range(8)]
    add(store, "M_1", list(old))
    add(store, "M_1", [Score("", "topics", "f1", {"k": 1}, value, 8)])
    new = [
        replace(one, settings={"k": 2}, detail=json.dumps({"aggregation": "f1", "statistic": pair}))
        for one, pair in zip(old, pairs, strict=True)
    ]
    add(store, "M_1", list(new))
    add(store, "M_1", [Score("", "topics", "f1", {"k": 2}, value, 8)])
    worse = [replace(one, detail=json.dumps({"aggregation": "f1", "statistic": [1, 0]})) for one in new]
    add(store, "M_0", list(worse))
    add(store, "M_0", [Score("", "topics", "f1", {"k": 2}, 0.0, 8)])
    made = board(store)
    before, after = (made.rows[1].cells[column] for column in made.columns if column.metric == "f1")
    assert (before.low, before.high, before.against) == (None, None, None)
    assert before.method == "no interval: the score is not the mean of its 8 items"
    assert after.low is not None and after.high is not None and after.low < value < after.high
    assert "through f1" in after.method
    assert after.against is not None and after.against.difference == pytest.approx(value)
    assert after.against.test.startswith("exchanges of") and 0 < after.against.p <= 1
    assert "no interval: the score is not the mean of its 8 items" in markdown(made)


def test_few_rows_and_a_surrogate_are_stated_below_a_length_controlled_win_rate(store: Path) -> None:
    settings = {"length_control": "surrogate df_gamed"}
    add(store, "M_1", [Score("", "alpaca_eval", "lc_win_rate", settings, 12.0, 800)])
    add(store, "M_1", [Score("", "alpaca_eval", "lc_penalty_C", settings, 10.0, 800)])
    add(store, "M_2", [Score("", "alpaca_eval", "lc_win_rate", {"length_control": "df_gamed"}, 12.0, 805)])
    made = board(store)
    told = markdown(made)
    assert told.count("1.6 to 2.5 points") == 2, "the planted column of 40 rows and the one of 800"
    assert "n = 800; the public board" in told and "n = 805" not in told
    assert told.count("at most 0.15 points of difference were seen on 15 models") == 1
    assert [column.metric for column in made.columns if column.diagnostic] == ["lc_penalty_C"]


def test_the_page_escapes_what_it_was_given_and_loads_nothing(store: Path) -> None:
    text = page(board(store))
    assert EVIL not in text and "&lt;script&gt;" in text
    assert "http" not in text and text.count("<script>") == 1 and "<svg" in text


def test_neither_markdown_nor_a_terminal_takes_a_name_for_more_than_text() -> None:
    column = Column("task", "metric", "{}")
    row = Row("run", "| [a](http://b)\n\x1b[2J<b>`c`", 0, "", "", {column: Cell(0.5)})
    board = Board((column,), (row,))
    assert table_of(board).text().replace("\n", "").isprintable()
    assert len(table_of(board).text().splitlines()) == 4
    assert r"| run | \| [a]\(http://b)⏎�[2J&lt;b>\`c\` | 0.5 |  |" in markdown(board).splitlines()


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
