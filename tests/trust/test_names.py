"""A name that becomes part of a path is refused at the start of a command, before any work."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from toolkit.__main__ import app
from toolkit.api import open_lab
from toolkit.errors import InputError, RecipeError, ToolkitError
from toolkit.exchange.manifest import read_manifest
from toolkit.pairs.partitions import Folder
from toolkit.provenance import capture
from toolkit.reading import read_lines
from toolkit.recipes.comparison import load_comparison
from toolkit.recipes.run import Options, execute, find_config
from toolkit.reporting.comparison import write_comparison
from toolkit.reporting.run_numbers import RunNumbers
from toolkit.reporting.run_report import write_report
from toolkit.reporting.trackers import send
from toolkit.store.database import Store
from toolkit.trust.paths import NAME, check_label, check_member, file_stem

BAD = ["../../up", "/etc/x", "a/b", "..", ".", ".hidden", "-flag", "", " ", "a b", "a\nremedy: rm", "a\x1b[2J",
       "\u202ea", "a\\b", "x" * 65, "é"]  # fmt: skip


def never(*_: object) -> None:
    raise AssertionError("work was begun")


@pytest.mark.parametrize("name", BAD)
def test_a_run_with_such_a_name_starts_nothing(name: str, tmp_path: Path) -> None:
    store = tmp_path / "in" / "s.duckdb"
    for options in (
        Options(None, name, store, (), plan=False),
        Options(None, "", store, (f"name={json.dumps(name)}",), plan=False),
    ):
        if name or options.changes:
            with pytest.raises(RecipeError, match="cannot be the name of a run") as caught:
                execute(never, options)  # type: ignore[arg-type]
            assert caught.value.remedy.startswith("use letters") and "\n" not in caught.value.problem
            assert caught.value.where.endswith("--run") or "key 'name'" in caught.value.where
    assert not (tmp_path / "in").exists()


@pytest.mark.parametrize("name", BAD)
def test_a_comparison_and_its_recipes_are_named_alike_strictly(name: str, tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text(f"name = {json.dumps(name)}\n[temporal]\n")
    with pytest.raises(RecipeError, match="cannot be the name of a comparison"):
        load_comparison(file)
    file.write_text(f'name = "good"\n[{json.dumps(name)}]\nrecipe = "temporal"\n')
    with pytest.raises(RecipeError, match="cannot be the name of a recipe"):
        load_comparison(file)


def test_a_comparison_does_not_share_a_report_with_one_of_its_recipes(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text('name = "temporal"\n[temporal]\n')
    with pytest.raises(RecipeError, match="have the name 'temporal'"):
        load_comparison(file)


@pytest.mark.parametrize("name", BAD)
def test_a_stored_name_is_no_path_either(name: str, tmp_path: Path) -> None:
    with Store(None) as store:
        with pytest.raises(InputError, match="cannot be the name"):
            write_report(store, capture(name, {}), tmp_path)
        with pytest.raises(InputError, match="cannot be the name"):
            write_comparison(store, name, [], tmp_path)
    with pytest.raises(InputError, match="cannot be the name"):
        send(RunNumbers(name, "L", {}, ()), "tensorboard", "project", tmp_path)
    with pytest.raises(InputError, match="cannot be the name"):
        open_lab(tmp_path / "s.duckdb", run=name)
    assert not list(tmp_path.iterdir())
    assert NAME.fullmatch(file_stem(name)) and file_stem(name) != file_stem(f"{name}x")


@pytest.mark.parametrize("words", [
    ("import", "rows.jsonl", "../x"), ("pair", "a/b", "--judge", "j", "--present", "m"), ("tag", "guided", "a\nb"),
    ("filter", "guided", "--finished", "--name", "../x"), ("pull", "me/x", "../x"),
    ("part-out", "../x", "parts", "--judge", "j", "--present", "m", "--past", "m"),
    ("import-responses", "rows.jsonl", "--model", "a\nb"), ("import-scores", "rows.jsonl", "--judge", "a\x1b"),
])  # fmt: skip
def test_every_command_that_takes_a_name_checks_it_first(words: tuple[str, ...], tmp_path: Path) -> None:
    done = CliRunner().invoke(app, [*words, "--store", str(tmp_path / "s.duckdb")])
    assert done.exit_code == 3 and "cannot be the name of" in done.stderr, done.stderr
    assert not list(tmp_path.iterdir())


def test_a_file_called_quick_in_the_current_folder_is_not_the_default_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "quick").write_text("name = 'strange'\n")
    monkeypatch.chdir(tmp_path)
    assert find_config(None).is_absolute()


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x", "a\\b", "", "a\nb"])
def test_an_index_names_files_of_its_own_folder_alone(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a path inside this folder"):
        check_member(name, tmp_path)


def test_a_manifest_names_files_of_its_folder_alone(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("{}")
    folder = tmp_path / "export"
    folder.mkdir()
    fields = {"pair_set": "s@1", "fingerprint": "f", "rows": 1, "message": "", "models": [], "toolkit_version": "1",
              "shape": "trl", "columns": [], "made_by": "temporal-toolkit"}  # fmt: skip
    for name in (str(tmp_path / "secret"), "../secret"):
        (folder / "manifest.json").write_text(json.dumps({**fields, "files": {name: "0"}}))
        with pytest.raises(InputError, match="not a path inside this folder"):
            read_manifest(folder)
    (folder / "linked.jsonl").symlink_to(tmp_path / "secret")
    (folder / "manifest.json").write_text(json.dumps({**fields, "files": {"linked.jsonl": "0"}}))
    with pytest.raises(InputError, match="leads out of its folder"):
        read_manifest(folder)


def test_a_saved_data_set_and_the_parts_of_a_selection_are_held_to_their_folders(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text(json.dumps({"_data_files": [{"filename": "../../x.arrow"}]}))
    with pytest.raises(InputError, match="not a path inside this folder"):
        list(read_lines(str(tmp_path)))
    (tmp_path / "state.json").unlink()
    (tmp_path / "dataset_dict.json").write_text(json.dumps({"splits": ["../other"]}))
    with pytest.raises(InputError, match="not a path inside this folder"):
        list(read_lines(f"{tmp_path}:../other"))
    asked = {"name": "../x", "iteration": None, "judge": "j", "models": {}}
    for plan in ({"parts": 1, "asked": asked}, {"parts": 10**9, "asked": {**asked, "name": "x"}}, [], {"parts": "x"}):
        (tmp_path / "selection.json").write_text(json.dumps(plan))
        with pytest.raises(InputError):
            Folder(str(tmp_path)).plan()
    (tmp_path / "selection.json").write_text("mine")
    with pytest.raises(InputError, match="is not of part-out"):
        Folder(str(tmp_path)).refuse_others()


def test_a_name_forges_no_line_of_an_error_or_an_answer() -> None:
    forged = ToolkitError("x\n  remedy: type rm", remedy="y\nerror: z", where="w\n  remedy: v")
    assert [line for line in str(forged).splitlines() if line.startswith(("error", "  remedy"))] == ["  remedy: y"]
    for bad in ("a\nb", "", "  ", "\x1b", "x" * 201):
        with pytest.raises(InputError):
            check_label(bad, "a model")
    assert check_label("gpt-4 turbo (2024)", "a model")


def test_what_a_command_says_stays_in_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    from toolkit.commands.common import say

    say(["run evil\ndeleted: all: 3 numbers", "look: here"], {}, as_json=False)
    assert capsys.readouterr().out.splitlines() == ["run evil⏎deleted: all: 3 numbers", "look: here"]


def test_the_store_of_a_relative_path_has_its_reports_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from toolkit.trust.paths import output_folder

    monkeypatch.chdir(tmp_path)
    assert output_folder(Path(), "reports") == Path("reports")
    os.symlink("/tmp", tmp_path / "reports")
    with pytest.raises(InputError, match="leads out of"):
        output_folder(Path(), "reports")
