"""What `toolkit demo` leaves: a run on which the other commands work, in a store of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from toolkit.__main__ import app


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demo") / "s.duckdb"
    done = CliRunner().invoke(app, ["demo", "--store", str(path)])
    assert done.exit_code == 0, done.output
    assert f"python -m toolkit.recipes.temporal --config {path.parent / 'demo' / 'demo.toml'}" in done.stdout
    return path


def told(store: Path, *words: str) -> list[dict[str, object]]:
    done = CliRunner().invoke(app, [*words, "--store", str(store), "--json"])
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_demo_is_a_whole_run_that_status_and_report_find_without_its_name(store: Path) -> None:
    (status,) = told(store, "status")
    assert (status["run"], status["state"]) == ("demo", "finished")
    assert [row["set"] for row in told(store, "sets")] == ["anchored@1", "anchored@2", "guided@1", "guided@2"]
    (report,) = told(store, "report")
    assert report["run"] == "demo"
    assert "toolkit diagnose" in str(report["headline"])
    assert not told(store, "query", "law")


def test_a_frame_of_it_shows_itself_as_a_table_without_the_models_markup(store: Path) -> None:
    from toolkit import open_store

    frame = open_store(store).sql("SELECT '<b>' AS text FROM pairs")
    assert repr(frame) == "64 rows of text: .pandas(), .arrow() or .dataset()"
    assert frame._repr_html_().count("&lt;b&gt;") == 10


def test_a_store_that_is_there_gets_no_demo_into_it(tmp_path: Path) -> None:
    (tmp_path / "s.duckdb").touch()
    done = CliRunner().invoke(app, ["demo", "--store", str(tmp_path / "s.duckdb")])
    assert done.exit_code == 2
    assert not (tmp_path / "demo").exists()
