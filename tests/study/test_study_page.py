"""The page of a study: its SQL against its CSV file, its charts, its safety, and the command that writes it."""

from __future__ import annotations

import csv
import json
import random
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
from typer.testing import CliRunner

from tests.reporting.page.test_run_page import Reader, Shown
from tests.study.synthetic import declared, effect, study, summary
from toolkit.__main__ import app
from toolkit.reporting.page.charts import svg
from toolkit.reporting.page.parts import Curves, Figure
from toolkit.reporting.tables import show
from toolkit.safe_text import in_markdown
from toolkit.study.page import study_document, write_study
from toolkit.study.results import results
from toolkit.study.summary import Summary, Value, write_summary

EVIL = "<script>alert('1')</script>\x1b[31m\n| # \u202e"


def full(**changes: Any) -> list[Summary]:
    """A study that has every kind of number on its page."""
    declaration = declared(range(1, 6), **changes)
    dice = random.Random(5)

    def more(seed: int) -> dict[str, tuple[float | None, float | None]]:
        guards = {"tokens": 45.0, "kl": 0.5, "yield": 0.9, "judge_accuracy": 0.6}
        return {**effect(seed), **{name: (mean, mean + dice.random() / 10) for name, mean in guards.items()}}

    return [
        summary(declaration, condition, seed, more(seed))
        for condition in declaration.conditions
        for seed in declaration.seeds
    ]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def given_again(table: Shown, folder: Path) -> list[list[str]]:
    """What the printed SQL gives from the CSV file, as cells."""
    with duckdb.connect() as connection:
        connection.execute(f"SET file_search_path = '{folder}'")
        return [[show(value) for value in row] for row in connection.execute(table.sql).fetchall()]


@pytest.mark.parametrize("changes", [{}, {"conditions": ("",), "claim": ("",), "negative": ""}], ids=["three", "none"])
def test_the_sql_on_the_page_gives_its_numbers_again_from_the_csv_file(changes: dict[str, Any], tmp_path: Path) -> None:
    html, markdown, _, _ = write_study(full(**changes), tmp_path)
    read, text = Reader(html.read_text()), markdown.read_text()
    tables = [table for table in read.tables if table.sql]
    assert len(tables) == 2 + 2 * 6 + 2 + 2, "endpoints, six measures, guards, cost"
    for table in tables:
        cells = [row for row in table.cells if row]
        again = given_again(table, tmp_path)
        assert [row[: len(again[0])] for row in cells] == again, table.sql
        assert table.sql in text
        assert all(f"| {' | '.join(map(in_markdown, row))} |" in text for row in cells)


def test_the_sql_gives_the_differences_that_are_tested(tmp_path: Path) -> None:
    """Also where a seed has a zero, nothing, or no trained model."""
    summaries = study()
    for index, pair in ((0, (0.0, 0.4)), (1, (0.4, None)), (2, (0.4, -2.0))):
        own = summaries[index]
        summaries[index] = summary(own.declaration, "clean", own.seed, {**effect(own.seed), "spread": pair})
    untrained = tuple(row for row in summaries[3].values if row.arm == "old" or not row.trainings)
    summaries[3] = replace(summaries[3], values=untrained)
    computed = results(summaries)
    (section,) = [part for part in study_document(computed).sections if part.title == "Endpoints"]
    rows = [dict(zip(section.asked[0].table.columns, row, strict=True)) for row in section.asked[0].table.rows]
    assert [(row["endpoint"], row["condition"]) for row in rows] == [
        (name, condition) for name in ("quality", "signal") for condition in ("clean", "self", "noise")
    ]
    for row, result in zip(rows, computed.endpoints, strict=True):
        assert [row[name] for name in ("seeds", "mean", "sd", "p", "p Holm")] == [
            str(result.seeds), *map(show, (result.mean, result.sd, result.p, result.p_holm)),
        ]  # fmt: skip
    assert (rows[0]["seeds"], rows[3]["seeds"], rows[1]["seeds"]) == ("7", "4", "8")
    assert [row[2] for row in section.asked[1].table.rows[:7]] == ["1", "2", "3", "5", "6", "7", "8"]


def test_the_csv_file_holds_every_value_and_cost(tmp_path: Path) -> None:
    summaries = full()
    rows = rows_of(write_study(summaries, tmp_path)[3])
    assert len(rows) == sum(len(each.values) + 4 * len(each.cost) for each in summaries)
    assert list(rows[0]) == ["study", "condition", "seed", "arm", "trainings", "model", "metric", "value", "n"]
    first = summaries[0].values[0]
    assert {"trial", "clean", "new", "M_0", "score", repr(first.value), "200"} <= set(rows[0].values())
    assert [row["value"] for row in rows if row["metric"] == "cost.seconds"][:2] == ["1801.0", "1801.0"]


def test_the_order_of_the_summaries_changes_no_file(tmp_path: Path) -> None:
    summaries = full()
    mixed = random.Random(1).sample(summaries, len(summaries))
    for first, second in zip(write_study(summaries, tmp_path / "a"), write_study(mixed, tmp_path / "b"), strict=True):
        assert first.read_bytes() == second.read_bytes(), first.name


def figure(summaries: list[Summary], title: str) -> Figure:
    sections = study_document(results(summaries)).sections
    (match,) = [each for part in sections for each in part.figures if each.title == title]
    return match


def test_a_chart_has_a_thin_line_a_seed_and_a_thick_one_an_arm_with_intervals_over_seeds() -> None:
    quality = figure(full(), "Quality")
    assert [chart.name for chart in quality.charts if isinstance(chart, Curves)] == ["clean", "self", "noise"]
    chart = quality.charts[0]
    assert isinstance(chart, Curves) and chart.x_name == "trainings"
    thick = [line for line in chart.lines if line.style != "thin"]
    assert [line.name for line in thick] == ["new", "old"]
    assert sum(line.style == "thin" for line in chart.lines) == 10
    assert {line.color for line in chart.lines if line.name.startswith("new")} == {thick[0].color}
    last = thick[0].points[-1]
    values = [0.35 + 0.001 * (seed % 5 - 2) for seed in range(1, 6)]
    assert (last.x, last.y) == (4, pytest.approx(sum(values) / 5))
    assert last.low is not None and last.high is not None and last.low < last.y < last.high
    assert all(point.low is None for line in chart.lines if line.style == "thin" for point in line.points)


def test_the_charts_of_a_measure_have_one_scale() -> None:
    """The noise alone would fill its own."""
    quality = figure(study(), "Quality")
    ticks = [re.findall(r'text-anchor="end"[^>]*>([^<]+)<', svg(chart)) for chart in quality.charts]
    assert len(ticks) == 3 and ticks[0] == ticks[1] == ticks[2] and len(ticks[0]) > 2


def test_the_legend_names_each_arm_once_and_thin_lines_are_drawn(tmp_path: Path) -> None:
    text = write_study(full(), tmp_path)[0].read_text()
    keys = re.findall(r'<div class="key">(.*?)</div>', text)
    assert len(keys) == 6 * 3
    assert all(re.findall(r"</svg>([^<]+)</span>", key) == ["new", "old"] for key in keys)
    assert text.count('<g class="line thin c0">') == 6 * 3 * 5
    assert ".thin polyline" in text


def test_the_page_leads_with_the_answer_and_marks_stand_above_it(tmp_path: Path) -> None:
    summaries = [each for each in study() if (each.condition, each.seed) != ("self", 4)]
    html, markdown, as_json, _ = (path.read_text() for path in write_study(summaries, tmp_path))
    computed = results(summaries)
    for text in (html, markdown):
        assert text.index("no summary of seed 4 under self.") < text.index("It is not claimed yet that new is better")
        assert text.index("It is not claimed yet") < text.index("Endpoints by condition")
    data = json.loads(as_json)
    assert (data["answer"], data["claim"]) == (computed.claim.sentence, "not claimed")
    assert data["marks"] == list(computed.marks)
    assert data["endpoints"][0]["mean"] == computed.endpoints[0].mean
    assert {table["section"] for table in data["tables"]} >= {"Endpoints", "Over trainings", "Cost"}


def test_judge_accuracy_comes_first_among_the_guards_with_its_interval_over_seeds() -> None:
    summaries = full()
    values = {seed: 0.5 + 0.02 * seed for seed in range(1, 6)}
    changed = [
        replace(
            each,
            values=tuple(
                replace(row, value=values[each.seed])
                if row.metric == "judge_accuracy" and not row.trainings and each.condition == "self"
                else row
                for row in each.values
            ),
        )
        for each in summaries
    ]
    (guards,) = [part for part in study_document(results(changed)).sections if part.title == "Guards"]
    assert "Judge accuracy of M_0 under self: 0.56 (95 % interval 0." in " ".join(guards.said)
    assert "5 seeds); it is above chance, 0.5." in " ".join(guards.said)
    assert guards.asked[0].table.title == "Judge accuracy of M_0"
    tokens = [row for row in guards.asked[1].table.rows if row[0] == "tokens"]
    assert len(tokens) == 6 and all("-" not in row[-2:] for row in tokens)
    missing = [replace(each, values=tuple(row for row in each.values if row.metric == "score")) for each in summaries]
    (guards,) = [part for part in study_document(results(missing)).sections if part.title == "Guards"]
    assert guards.said[0].startswith("Judge accuracy was not measured")


def test_cost_is_summed_over_seeds_and_all_hours_are_stated(tmp_path: Path) -> None:
    (cost,) = [part for part in study_document(results(full())).sections if part.title == "Cost"]
    assert cost.asked[0].table.rows[0] == ("clean", "new", "5", "9015", "45000", "20000", "20", "2.504")
    assert cost.said == ("All arms, conditions and seeds together took 15.03 hours of wall time.",)
    free = [replace(each, cost=()) for each in full()]
    (cost,) = [part for part in study_document(results(free)).sections if part.title == "Cost"]
    assert cost.said == ("The summaries hold no cost.",)


def test_hostile_names_are_shown_as_text_and_never_obeyed(tmp_path: Path) -> None:
    declaration = declared(range(1, 4), arms=(EVIL, "old"), treatment=EVIL, study=f"../{EVIL}", conditions=(EVIL,),
                           claim=(EVIL,), negative="")  # fmt: skip
    summaries = []
    for seed in declaration.seeds:
        plain = summary(declaration, EVIL, seed, effect(seed), commit=EVIL, versions={EVIL: str(seed)})
        values = tuple(
            Value(EVIL if row.arm == "new" else row.arm, row.trainings, EVIL, row.metric, row.value, row.n)
            for row in plain.values
        )
        recipes = {EVIL: {"engine": {"kind": "scripted"}}}
        summaries.append(replace(plain, values=values, recipes=recipes, hardware={EVIL: EVIL}))
    paths = write_study(summaries, tmp_path)
    assert all(path.parent == tmp_path for path in paths)
    html, markdown = paths[0].read_text(), paths[1].read_text()
    assert "<script" not in html and html.count("&lt;script&gt;") > 20
    assert all(value.startswith("#") for value in Reader(html).loads)
    for text in (html, markdown):
        assert "\x1b" not in text and "\u202e" not in text
    outside = re.sub(r"^(`{3,})[^\n]*\n.*?^\1$", "", markdown, flags=re.S | re.M)
    assert "<script" not in outside and "\n# <" not in markdown and "\n| # " not in outside
    for table in [table for table in Reader(html).tables if table.sql]:
        again = given_again(table, tmp_path)
        assert [row[: len(again[0])] for row in table.cells if row] == again


def test_the_page_is_one_file_that_loads_nothing(tmp_path: Path) -> None:
    text = write_study(full(), tmp_path)[0].read_text()
    assert all(value.startswith("#") for value in Reader(text).loads)
    assert not re.search(r"@import|url\(|<script|<link|<img|<iframe", text)
    assert "prefers-color-scheme:dark" in text


def test_a_study_without_a_test_has_a_page(tmp_path: Path) -> None:
    bare = declared(range(1, 4), endpoints=(), claim=(), negative="", treatment="", control="")
    text = write_study(study(bare), tmp_path)[1].read_text()
    assert "No test was declared" in text and "No endpoint was declared" in text and "### Quality" in text


def run(*words: str) -> Any:
    return CliRunner().invoke(app, ["study", *words])


def test_the_command_says_the_answer_first_and_reads_several_machines(tmp_path: Path) -> None:
    summaries = [each for each in study() if (each.condition, each.seed) != ("self", 4)]
    folders = [tmp_path / "a", tmp_path / "b"]
    for index, each in enumerate(summaries):
        write_summary(each, folders[index % 2])
    planned = run(*map(str, folders), "--out", str(tmp_path / "out"), "--dry-run")
    assert planned.exit_code == 0 and planned.stdout.count("would write") == 4 and not (tmp_path / "out").exists()
    done = run(*map(str, folders), "--out", str(tmp_path / "out"))
    lines = done.stdout.splitlines()
    assert done.exit_code == 0 and lines[0].startswith("not claimed: It is not claimed yet that new is better than old")
    assert "because: no summary of seed 4 under self" in lines
    assert "note: Incomplete: no summary of seed 4 under self." in lines
    assert any(re.match(r"signal +noise +8 ", line) for line in lines)
    names = [line.partition("/out/")[2] for line in lines if line.startswith("written: ")]
    assert names == ["trial.html", "trial.md", "trial.json", "trial-values.csv"]
    assert all((tmp_path / "out" / name).exists() for name in names)
    again = run(*map(str, folders), "--json")
    data = json.loads(again.stdout)
    assert data["claim"] == "not claimed" and data["written"][0] == str(folders[0] / "reports" / "trial.html")


def test_a_folder_without_summaries_is_one_clear_error(tmp_path: Path) -> None:
    done = run(str(tmp_path))
    assert done.exit_code == 3 and "no summary of a study's seed" in done.stderr
