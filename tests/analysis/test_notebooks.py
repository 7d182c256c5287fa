"""The notebooks on small real stores: as scripts, as HTML, and every number of theirs by the SQL beside it."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from toolkit.commands.browse import FILES, Notebook, find_notebook
from toolkit.lab import Lab
from toolkit.provenance import capture
from toolkit.reporting.notebooks import frames, pair_browser, parts
from toolkit.reporting.notebooks.charts import drawn
from toolkit.reporting.page import curves, pairs, training
from toolkit.reporting.page.parts import Section
from toolkit.reporting.tables import show
from toolkit.store.database import Store

ROOT = Path(__file__).parents[2]
STORES = ("plain", "diagnosed", "imported")
CASES = [(notebook, store) for notebook in Notebook for store in STORES]


class Read(HTMLParser):
    """A notebook's output read back: each statement with the table that stands before it, if one does."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.asked: list[tuple[list[list[str]], str]] = []
        self.tags: set[str] = set()
        self.words = ""
        self._table: list[list[str]] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "table" or re.fullmatch(r"h\d", tag):  # a table before a heading belongs to no statement after it
            self._table = []
        elif tag == "tr":
            self._table.append([])
        elif tag in ("td", "th"):
            self._table[-1].append("")
            self._inside = tag
        elif tag == "pre" and ("data-part", "sql") in attrs:
            self.asked.append((self._table, ""))
            self._table, self._inside = [], "pre"

    def handle_endtag(self, tag: str) -> None:
        self._inside = "" if tag == self._inside else self._inside

    def handle_data(self, data: str) -> None:
        self.words += data
        if self._inside in ("td", "th"):
            self._table[-1][-1] += data
        elif self._inside == "pre":
            table, sql = self.asked[-1]
            self.asked[-1] = (table, sql + data)


def load(notebook: Notebook) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"notebook_{notebook}", ROOT / "analysis" / FILES[notebook])
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def output(notebook: Notebook, store: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the notebook shows, as HTML."""
    monkeypatch.setenv("TOOLKIT_STORE", str(store))
    monkeypatch.setattr(sys, "argv", ["notebook"])
    outputs, _ = load(notebook).app.run()
    return "".join(getattr(one, "text", "") for one in outputs)


def script(notebook: Notebook, store: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(find_notebook(notebook)), "--store", str(store)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("notebook", "name"), CASES, ids=lambda part: str(part))
def test_a_notebook_runs_as_a_script_and_leaves_the_store_as_it_was(
    notebook: Notebook, name: str, request: pytest.FixtureRequest
) -> None:
    store: Path = request.getfixturevalue(name)
    before = store.read_bytes()
    done = script(notebook, store)
    assert done.returncode == 0, done.stderr
    assert store.read_bytes() == before


@pytest.mark.parametrize(("notebook", "name"), CASES, ids=lambda part: str(part))
def test_every_table_of_a_notebook_is_found_again_by_the_statement_after_it(
    notebook: Notebook, name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    store: Path = request.getfixturevalue(name)
    read = Read(output(notebook, store, monkeypatch))
    compared = 0
    with Store(store, read_only=True) as opened:
        for table, sql in read.asked:
            rows = opened.query(sql)
            if table:
                compared += 1
                assert table == cells(rows, table), sql
    assert read.asked or name == "imported"
    assert compared >= (2 if name == "diagnosed" else 0)


def cells(rows: list[dict[str, Any]], table: list[list[str]]) -> list[list[str]]:
    """The answer as a table shows it; pandas makes floats of whole numbers in columns with gaps."""
    head = list(rows[0]) if rows else table[0]
    made = [["NaN" if cell == "nan" else cell for cell in map(show, row.values())] for row in rows]
    return [head, *made]


@pytest.mark.parametrize("notebook", [Notebook.gap, Notebook.gradient, Notebook.leaderboard])
def test_a_notebook_of_an_undiagnosed_store_says_what_to_run(
    notebook: Notebook, plain: Path, diagnosed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, real = "python -m toolkit diagnose RUN", tmp_path / "real.duckdb"
    shutil.copy(plain, real)
    with Store(real) as store:  # as a real engine would have left it
        store.query("UPDATE launch SET recipe = replace(recipe, '\"scripted\"', '\"vllm\"')")
    assert asked in output(notebook, real, monkeypatch)
    scripted = output(notebook, plain, monkeypatch)
    assert "toolkit diagnose" not in scripted and "toolkit evaluate" not in scripted
    assert asked not in output(notebook, diagnosed, monkeypatch)


def test_each_notebook_shows_what_it_is_named_for(diagnosed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = {notebook: Read(output(notebook, diagnosed, monkeypatch)).words for notebook in Notebook}
    for words in ("Score gap", "Rank gap", "Length gap", "Score gap by fixed", "published, Llama3.1-8B"):
        assert words in shown[Notebook.gap]
    for words in ("Directional gradient norm", "Likeness of the two sides", "by layer", "DPO weight after training"):
        assert words in shown[Notebook.gradient] and words not in shown[Notebook.gap]
    for words in ("maths accuracy", "Loss, step by step"):
        assert words in shown[Notebook.leaderboard]
    for words in ("What the judges said", "From rejected to chosen", "gradient.norm"):
        assert words in shown[Notebook.pairs]


@pytest.mark.parametrize("notebook", list(Notebook))
def test_nothing_that_a_model_said_is_markup_in_a_notebook(
    notebook: Notebook, plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not {"script", "img", "iframe", "link"} & Read(output(notebook, plain, monkeypatch)).tags


@pytest.mark.parametrize("notebook", list(Notebook))
def test_a_notebook_exports_to_html_that_holds_its_numbers(notebook: Notebook, diagnosed: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.as_html"
    command = [sys.executable, "-m", "marimo", "export", "html", str(find_notebook(notebook)), "--no-include-code"]
    command += ["-o", str(page), "--", "--store", str(diagnosed)]
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True)
    assert done.returncode == 0, done.stderr
    with Store(diagnosed, read_only=True) as store:
        shown_first = pair_browser.sets(frames.Reader(diagnosed))[0]
        gap = store.query("SELECT max(gap) AS gap FROM pairs WHERE pair_set = ?", [shown_first])[0]["gap"]
        mean = store.query("SELECT mean FROM summaries WHERE metric = 'gap' AND control = '' LIMIT 1")[0]["mean"]
    wanted = {Notebook.gap: show(mean), Notebook.gradient: "Directional gradient norm", Notebook.pairs: show(gap)}
    assert wanted.get(notebook, "maths accuracy") in page.read_text(encoding="utf-8")


def test_a_notebook_reads_a_store_that_a_run_is_writing(plain: Path, tmp_path: Path) -> None:
    from tests.analysis.conftest import recipe_of_tests

    path = tmp_path / "s.duckdb"
    path.write_bytes(plain.read_bytes())
    recipe = recipe_of_tests(tmp_path, tmp_path, Path(sys.executable))
    with Lab(recipe, Store(path), capture("writer", recipe.resolved())):
        done = script(Notebook.pairs, path)
    assert done.returncode == 0, done.stderr


def drawn_values(part: Section) -> set[float]:
    """Every height that the charts of a part draw, read from their specification."""
    charts = [drawn(chart).to_dict() for figure in part.figures for chart in figure.charts]
    rows = [row for chart in charts for data in chart["datasets"].values() for row in data]
    return {row[name] for row in rows for name in ("y", "pairs") if row.get(name) is not None}


@pytest.mark.parametrize("part", [curves.curves, pairs.distributions, training.training])
def test_a_chart_draws_no_number_that_its_tables_lack(part: Any, diagnosed: Path) -> None:
    made = frames.Reader(diagnosed).section(part, "temporal", ["self_rewarding"])
    told = {cell for figure in made.figures for asked in figure.asked for row in asked.table.rows for cell in row}
    values = drawn_values(made)
    assert len(values) > 5
    assert {show(value) for value in values if value} <= told | {show(int(value)) for value in values}


def test_a_learning_curve_draws_the_scores_of_the_store(diagnosed: Path) -> None:
    store = frames.Reader(diagnosed)
    made = parts.learning_curves(store, parts.board(store))
    with Store(diagnosed, read_only=True) as opened:
        scores = {row["value"] for row in opened.query("SELECT value FROM scores WHERE task = 'maths'")}
    assert drawn_values(made) == scores
    assert len(scores) >= 3


def test_any_stored_metric_can_be_drawn_with_its_interval(diagnosed: Path) -> None:
    store = frames.Reader(diagnosed)
    names = frames.metric_names(store, "temporal")
    for label, (metric, under) in names.items():
        part = store.section(parts.any_metric(label, metric, under), "temporal", ["self_rewarding"])
        points = [point for line in part.figures[0].charts[0].lines for point in line.points]  # type: ignore[union-attr]
        assert points and all(point.low <= point.y <= point.high for point in points), label
        assert json.dumps(drawn(part.figures[0].charts[0]).to_dict())
    assert "forward.cosine_mean/8 under the parent" in names
