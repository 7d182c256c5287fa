"""A run's page from stores that the scripted recipes made: every number by its SQL, nothing loaded, nothing forged."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from tests.diagnostics.planted import Turn, plant
from toolkit.commands.report import report
from toolkit.config import Recipe
from toolkit.diagnostics.collapse import Finding, Verdict
from toolkit.errors import InputError
from toolkit.lab import Lab
from toolkit.provenance import capture
from toolkit.recipes.self_rewarding import self_rewarding
from toolkit.recipes.temporal import temporal
from toolkit.records import Change, Metric, Summary
from toolkit.reporting.page import run_page as pages
from toolkit.reporting.page.as_html import as_html
from toolkit.reporting.page.as_markdown import as_markdown
from toolkit.reporting.page.parts import Page, ask
from toolkit.reporting.page.run_page import run_page, write_page
from toolkit.safe_text import in_markdown
from toolkit.store.database import Store

Build = Callable[..., Recipe]
EVIL = "<script>alert(1)</script>"
MEASURED = (
    ("gap", "", 0.6), ("rank_gap", "", 0.5), ("gap/fixed/expected", "", 0.4), ("text.length_gap", "", 12.0),
    ("gradient.norm", "parent", 90.0), ("dpo_gradient", "result", 4.0), ("forward.cosine_mean", "parent", 0.8),
    ("forward.cosine_last", "parent", 0.7), ("margin", "result", 0.2), ("weight", "result", 0.45),
    ("displaced", "result", 0.25),
)  # fmt: skip


@dataclass
class Shown:
    """A table of the page with the SQL printed below it, and the values that a figure's charts draw."""

    cells: list[list[str]] = field(default_factory=list)
    sql: str = ""
    figure: int = 0


class Reader(HTMLParser):
    """Reads a page back: tables with their SQL, charts' marks by figure, and every attribute that could load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: list[Shown] = []
        self.marks: dict[int, list[float]] = {}
        self.loads: list[str] = []
        self._figures, self._figure, self._inside = 0, 0, ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.loads += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        if tag == "figure":
            self._figures += 1
            self._figure = self._figures
        elif tag == "table":
            self.tables.append(Shown(figure=self._figure))
        elif tag == "tr" and self.tables:
            self.tables[-1].cells.append([])
        elif tag == "td":
            self._inside = "td"
            self.tables[-1].cells[-1].append("")
        elif tag == "pre" and named.get("class") == "sql":
            self._inside = "pre"
        if "data-v" in named:
            self.marks.setdefault(self._figure, []).append(float(named["data-v"] or "nan"))

    def handle_endtag(self, tag: str) -> None:
        self._inside = "" if tag == self._inside else self._inside
        self._figure = 0 if tag == "figure" else self._figure

    def handle_data(self, data: str) -> None:
        if self._inside == "td":
            self.tables[-1].cells[-1][-1] += data
        elif self._inside == "pre":
            self.tables[-1].sql += data


def launch(recipe: Recipe, run: str, path: Path, function: Any) -> None:
    with Lab(recipe, Store(path), capture(run, recipe.resolved())) as lab:
        function(lab, recipe)


@pytest.fixture
def bare(scripted_recipe: Build, tmp_path: Path) -> Path:
    """temporal and self_rewarding, two iterations each, without diagnostics."""
    path = tmp_path / "s.duckdb"
    launch(scripted_recipe(), "temporal", path, temporal)
    launch(scripted_recipe(), "self_rewarding", path, self_rewarding)
    return path


@pytest.fixture
def diagnosed(bare: Path) -> Path:
    """The same with numbers for every pair, control and set, as the contract of the diagnostics names them."""
    dice = random.Random(0)
    with Store(bare) as store:
        by = store.query("SELECT id FROM launch LIMIT 1")[0]["id"]
        for row in store.query("FROM run_sets ORDER BY run, iteration, position"):
            pairs = store.query("FROM pairs WHERE pair_set = ?", [row["pair_set"]])
            controls = [
                {**{key: pair[key] for key in ("pair_set", "prompt")}, "chosen": pair["rejected"], "launch": by,
                 "rejected": pair["chosen"], "chosen_score": 2.0 + dice.random(), "rejected_score": 2.0}
                for pair in pairs
            ]  # fmt: skip
            store.insert("control", controls)
            for pair in (*pairs, *controls):
                store.add(list(measurements(pair, row, dice)), launch=by)
            store.add(list(summaries(row, len(pairs), dice)), launch=by)
        ends = store.query(
            "SELECT pair_set FROM run_sets WHERE run = 'temporal' AND phase = 'guided' ORDER BY iteration"
        )
        before, after = (row["pair_set"] for row in ends)
        change = Change(
            "temporal", before, after, "gradient.norm", "parent", {}, ratio=0.5, low=0.4, high=0.7, p=0.01, p_holm=0.03,
            control="draws", control_ratio=0.9, control_low=0.8, control_high=1.1, relative=0.56, relative_low=0.45,
            relative_high=0.71, prompts_before=8, prompts_after=8, detectable=0.52, needed=60,
        )  # fmt: skip
        store.add([change], launch=by)
    return bare


def measurements(pair: Mapping[str, Any], row: Mapping[str, Any], dice: random.Random) -> Iterator[Metric]:
    sides = (pair["chosen"], pair["rejected"])
    for model in (row["parent"], row["result"]):
        found = {"chosen_logprob": -50 - 9 * dice.random(), "rejected_logprob": -50 - 9 * dice.random()}
        yield Metric(*sides, model, "forward", {}, found)
    yield Metric(*sides, row["parent"], "gradient", {}, {"norm": 80 + 20 * dice.random()})


def summaries(row: Mapping[str, Any], n: int, dice: random.Random) -> Iterator[Summary]:
    models = {"parent": row["parent"], "result": row["result"], "": None}
    for metric, under, mean in MEASURED:
        for control, share in (("", 1.0), ("draws", 0.6)):
            value = mean * share * (0.9 + 0.2 * dice.random())
            key = (row["pair_set"], control, metric, under, models[under], {})
            yield Summary(*key, n=n, missing=1, mean=value, sd=value / 4, low=value * 0.85, high=value * 1.2)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The verdict stands still: what it says is tested where it is made."""
    said = (Finding("gradient", f"the norm fell 2.0 times {EVIL}.", True), Finding("length", "it does not tell.", None))
    monkeypatch.setattr(pages, "verdict", lambda store, run: Verdict(run, "collapse", f"It collapses {EVIL}", said))


def page(path: Path, run: str = "temporal", against: tuple[str, ...] = ()) -> Page:
    with Store(path, read_only=True) as store:
        return run_page(store, run, against)


@pytest.mark.parametrize("kind", ["bare", "diagnosed"])
@pytest.mark.parametrize("run", ["temporal", "self_rewarding"])
def test_every_number_of_the_page_is_given_again_by_the_sql_beside_it(
    kind: str, run: str, request: pytest.FixtureRequest
) -> None:
    path = request.getfixturevalue(kind)
    read = Reader(as_html(page(path, run)))
    asked = [table for table in read.tables if table.sql]
    assert len(asked) >= (20 if kind == "diagnosed" else 12)
    values: dict[int, list[float]] = {}
    with Store(path, read_only=True) as store:
        for table in asked:
            answer = ask(store, "", table.sql)
            assert [row for row in table.cells if row] == [list(row) for row in answer.asked.table.rows], table.sql
            numbers = [cell for row in answer.rows for cell in row.values() if isinstance(cell, int | float)]
            values.setdefault(table.figure, []).extend(map(float, numbers))
    paper = [table for table in read.tables if table.figure and not table.sql]
    published = [float(row[2]) for table in paper for row in table.cells if row]
    assert len(read.marks) >= (10 if kind == "diagnosed" else 5)
    for figure, marks in read.marks.items():
        assert marks
        for mark in marks:
            assert mark in values[figure] or mark in published


def test_a_figure_states_n_interval_and_floor_and_stands_beside_the_papers(diagnosed: Path) -> None:
    made = page(diagnosed)
    figures = {figure.title: figure for part in made.sections for figure in part.figures}
    norm = figures["Directional gradient norm"]
    assert {"n", "low", "high", "floor", "floor low", "floor high"} <= set(norm.asked[0].table.columns)
    assert [line.name for line in norm.charts[0].lines] == ["temporal", "temporal, future", "self_rewarding"]  # type: ignore[union-attr]
    assert len(norm.charts[0].band) == 2 and "in no mean: 6." in norm.said  # type: ignore[union-attr]
    gap = figures["Score gap, own judge"]
    assert gap.charts[1].note == "published, Llama3.1-8B, other judge"  # type: ignore[union-attr]
    assert ("Self-Rewarding", "1", "0.195") in gap.asked[1].table.rows
    assert "Score gap by fixed, expected" in figures
    text = as_html(made)
    assert text.count('class="floor"') >= 10 and "needed" in text


def test_the_table_of_changes_names_its_tests_its_hypothesis_and_what_one_seed_cannot_say(diagnosed: Path) -> None:
    (course,) = [part for part in page(diagnosed).sections if part.title == "Over iterations"]
    words = " ".join(course.said)
    assert "gradient.norm under parent, distance under parent, gap" in words
    assert "The hypothesis is that relative is 0.8 or more" in words
    assert "Rows without it are descriptive: their p and all intervals are not corrected" in words
    assert "A true ratio of 0.8 is the margin itself" in words
    assert "how much another seed would differ is unknown" in words
    (row,) = course.asked[0].table.rows
    cells = dict(zip(course.asked[0].table.columns, row, strict=True))
    assert (cells["relative"], cells["p Holm"], cells["control"], cells["needed"]) == ("0.56", "0.03", "draws", "60")


def test_without_diagnostics_the_page_says_by_which_command_they_are_made(bare: Path) -> None:
    with Store(bare) as store:  # as a real engine would have left it
        store.query("UPDATE launch SET recipe = replace(recipe, '\"scripted\"', '\"vllm\"')")
    made = page(bare)
    text = as_html(made)
    assert text.count("python -m toolkit diagnose temporal") >= 2
    titles = [figure.title for part in made.sections for figure in part.figures]
    assert "Score gap, own judge" in titles and "Directional gradient norm" not in titles
    assert "normal ones (1.96 standard errors)" in text


def test_a_page_with_expected_scores_says_what_they_are_and_their_mass(bare: Path) -> None:
    text = as_markdown(page(bare))
    assert "This is another judge than the same model's written verdict" in text
    assert "the score tokens have a probability of 0.8 at least, median 0.8" in text


def test_a_page_without_expected_scores_does_not_mention_them() -> None:
    with Store(None) as store:
        plant(store, [Turn([1.0, 2.0], [1.0, 2.0])])
        assert "expected ones" not in as_markdown(run_page(store, "planted"))


def test_a_page_of_a_scripted_run_says_that_its_answers_are_made_up(bare: Path) -> None:
    assert "made up, no model said them" in as_html(page(bare))


def test_the_page_is_one_file_that_loads_nothing(diagnosed: Path, tmp_path: Path) -> None:
    html_file, markdown_file = write_page(page(diagnosed), tmp_path / "out")
    text = html_file.read_text()
    assert sorted(tmp_path.joinpath("out").glob("[!.]*")) == [html_file, markdown_file]
    assert all(value.startswith("#") for value in Reader(text).loads)
    assert not re.search(r"@import|url\(|<script|<link|<img|<iframe", text)
    assert "prefers-color-scheme:dark" in text and 'name="viewport"' in text


def test_html_and_markdown_hold_the_same_tables_and_sql(diagnosed: Path) -> None:
    made = page(diagnosed)
    read, text = Reader(as_html(made)), as_markdown(made)
    assert len(read.tables) > 20
    for table in read.tables:
        assert table.sql in text
        for row in filter(None, table.cells):
            assert f"| {' | '.join(map(in_markdown, row))} |" in text


def test_what_a_model_wrote_is_shown_as_text_and_never_obeyed(diagnosed: Path) -> None:
    with Store(diagnosed) as store:
        store.query("UPDATE response SET text = ?", [f"{EVIL}\x1b[31m\u202eend\n```\n# heading"])
        store.query("UPDATE judgment SET reply = ?", [EVIL])
        store.query("UPDATE prompt SET text = text || ?", [EVIL])
    made = page(diagnosed)
    for text in (as_html(made), as_markdown(made)):
        assert "\x1b" not in text and "\u202e" not in text
    shown, plain = as_html(made), as_markdown(made)
    assert "<script" not in shown and shown.count("&lt;script&gt;alert(1)&lt;/script&gt;") > 12
    assert "````\n<script>" in plain, "a text that holds a fence stands in a longer one"
    outside = re.sub(r"^(`{3,})[^\n]*\n.*?^\1$", "", plain, flags=re.S | re.M)
    assert "<script" not in outside and "\n# heading" not in outside


def test_a_step_without_a_finite_value_is_marked_counted_and_in_no_other_number(bare: Path) -> None:
    with Store(bare) as store:
        training = store.query("SELECT training FROM run_sets WHERE run = 'temporal' AND phase = 'guided' LIMIT 1")
        key = training[0]["training"]
        store.insert("training_step", [{"training": key, "step": 2, "metric": "loss", "value": None}])
        store.insert("training_step", [{"training": key, "step": 3, "metric": "loss", "value": math.nan}])
    made = page(bare)
    part = next(section for section in made.sections if section.title == "Training")
    assert "2 logged values are not finite" in part.said[0]
    assert part.figures[0].charts[0].lost == (2.0, 3.0)  # type: ignore[union-attr]
    assert as_html(made).count(">NaN</text>") == 2
    cells = [row for row in part.asked[0].table.rows if row[4] == "2"]
    assert [row[5:] for row in cells] == [("0.69", "0.69", "0.69", "0.69")]
    assert "NaN" in [row[-1] for row in part.figures[0].asked[0].table.rows]


def test_examples_are_the_widest_and_the_narrowest_pairs_of_the_kept_sets(bare: Path) -> None:
    part = next(section for section in page(bare).sections if section.title == "Pairs in full")
    with Store(bare, read_only=True) as store:
        gaps = store.query(
            "SELECT gap FROM pairs WHERE pair_set IN (SELECT pair_set FROM run_sets WHERE run = 'temporal' "
            "AND phase = 'guided') ORDER BY gap DESC"
        )
    wanted = [row["gap"] for row in gaps]
    assert [row[2] for row in part.asked[0].table.rows] == [f"{gap:.4g}" for gap in (*wanted[:3], *wanted[-3:])]
    assert len(part.examples) == 6
    for one in part.examples:
        assert [side.side for side in one.sides] == ["chosen", "rejected"]
        assert all(side.replies for side in one.sides)


def test_the_runs_beside_are_those_of_the_same_model_or_the_named_ones(bare: Path) -> None:
    assert dict(page(bare).facts)["beside"] == "self_rewarding"
    with Store(bare) as store:
        store.query(
            "UPDATE training SET parent = 'other' WHERE model IN (SELECT result FROM run_sets WHERE run = 'temporal')"
        )
    assert dict(page(bare).facts)["beside"] == "no other run"
    assert dict(page(bare, against=("self_rewarding", "temporal")).facts)["beside"] == "self_rewarding"


def test_an_unknown_run_is_refused_with_the_runs_there_are(bare: Path, tmp_path: Path) -> None:
    for run, against in (("tempural", ()), ("temporal", ("nobody",))):
        with pytest.raises(InputError, match="one of self_rewarding, temporal"):
            page(bare, run, against)
    Store(tmp_path / "empty.duckdb").close()
    with pytest.raises(InputError, match="run a recipe first"):
        page(tmp_path / "empty.duckdb")


def test_a_run_with_a_quote_in_its_name_has_a_page(scripted_recipe: Build, tmp_path: Path) -> None:
    path, name = tmp_path / "s.duckdb", "it's <b>/2"
    launch(scripted_recipe(iterations=1), name, path, self_rewarding)
    made = page(path, name)
    names = [one.name for one in write_page(made, tmp_path)]
    assert [re.sub("-[0-9a-f]{8}", "", one) for one in names] == ["report-it_s__b__2.html", "report-it_s__b__2.md"]
    assert "<b>" not in as_html(made)


def test_no_secret_reaches_the_page(scripted_recipe: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", "hush-hush")
    path = tmp_path / "s.duckdb"
    recipe = scripted_recipe(iterations=1, judge={"key_variable": "JUDGE_KEY"})
    launch(recipe, "temporal", path, temporal)
    with Store(path) as store:  # as an older version, or a hand, might have left it
        address = '"base_url": "http://me:hush-hush@judge.example", "api_key": "hush-hush", "name"'
        store.query("""UPDATE launch SET recipe = replace(recipe::VARCHAR, '"name"', ?)::JSON""", [address])
    made = page(path)
    for text in (as_html(made), as_markdown(made)):
        assert "hush-hush" not in text and "judge.example" in text and "JUDGE" in text


def test_the_command_says_the_verdict_and_writes_both_files(bare: Path, tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(report)
    done = CliRunner().invoke(app, ["temporal", "--store", str(bare), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0 and done.stdout.startswith("collapse: It collapses")
    assert {one.name for one in (tmp_path / "out").glob("[!.]*")} == {"report-temporal.html", "report-temporal.md"}
    wrong = CliRunner().invoke(app, ["nobody", "--store", str(bare)])
    assert wrong.exit_code == 3 and "one of self_rewarding, temporal" in wrong.stderr
