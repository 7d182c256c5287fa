"""How the command line looks and ends: exit codes, no colour, completion, a reader that goes away."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from toolkit.__main__ import app
from toolkit.commands.ask import _sql
from toolkit.config import parse
from toolkit.console import described, guarded
from toolkit.errors import EngineError, InputError, OutputError, exit_codes
from toolkit.exchange.importing import import_pairs
from toolkit.provenance import capture
from toolkit.records import Score
from toolkit.store.database import Store
from toolkit.store.launches import begin

ROOT = Path(__file__).parents[1]


def toolkit(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "toolkit", *words]
    return subprocess.run(line, capture_output=True, text=True, check=False, env={**os.environ, **environment})


def test_help_and_readme_tell_every_exit_code() -> None:
    told = toolkit("--help").stdout
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for code, meaning in exit_codes().items():
        assert re.search(rf"^ +{code} +{re.escape(meaning)}$", told, re.M), code
        assert f"| {code} | {meaning} |" in readme, code


@pytest.mark.parametrize("environment", [{"FORCE_COLOR": "1"}, {"NO_COLOR": "1"}, {"TERM": "dumb"}, {"CI": "true"}])
def test_help_and_errors_have_no_colour_whatever_the_environment(environment: dict[str, str]) -> None:
    for words in (["--help"], ["sets", "--help"], ["sets", "--no-such-option"], ["pairs", "x", "--store", "none"]):
        done = toolkit(*words, **environment)
        assert "\x1b" not in done.stdout + done.stderr
        assert done.stdout + done.stderr


def test_a_mistyped_option_or_command_ends_with_the_code_for_it() -> None:
    assert toolkit("sets", "--no-such-option").returncode == 2
    done = toolkit("set")
    assert done.returncode == 2
    assert "sets" in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_is_told_how_to_complete(shell: str) -> None:
    asked = toolkit(_TOOLKIT_COMPLETE=f"source_{shell}", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    shown = toolkit("--show-completion", shell, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert "complet" in asked.stdout + shown.stdout


def test_a_reader_that_goes_away_ends_the_command_quietly(tmp_path: Path) -> None:
    code = "from toolkit.console import guarded; import sys\n"
    code += "sys.exit(guarded(lambda: [print('x' * 80) for _ in range(100_000)] and None))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=30) == 141
    assert process.stderr.read() == ""


def test_a_pipe_of_ours_that_breaks_is_a_fault_and_no_reader_gone(capfd: pytest.CaptureFixture[str]) -> None:
    def broken() -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        guarded(broken)


def test_an_unusable_file_is_an_error_with_a_remedy_and_a_fault_keeps_its_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert guarded(lambda: (tmp_path / "no" / "file").write_text("x") and None) == InputError.exit_code
    told = capsys.readouterr().err
    assert "No such file or directory" in told
    assert "remedy: " in told

    assert guarded(lambda: Path("~nobody-of-this-name").expanduser() and None) == InputError.exit_code
    monkeypatch.setattr("sys.stdout", None)  # closed before the start
    assert guarded(lambda: print("x")) == 0

    def full() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # as print() on a full disk

    assert guarded(full) == OutputError.exit_code

    def fault() -> None:
        raise TimeoutError("no file of the user's")

    with pytest.raises(TimeoutError):
        guarded(fault)


@pytest.mark.parametrize(
    ("text", "summary", "example"),
    [
        ("What it does: do it --now.", "What it does", "do it --now"),
        ("Over\n    two lines: do it.", "Over two lines", "do it"),
        ("Nothing to type.", "Nothing to type", ""),
    ],
)
def test_a_docstring_ends_in_its_example(text: str, summary: str, example: str) -> None:
    assert described(text) == (summary, example)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose every text acts on a terminal."""
    folder = tmp_path_factory.mktemp("hostile")
    text = "\x1b]0;owned\x07\x1b[2J\x9b31m \u202e \r\n é"
    row = {"prompt": f"why {text}", "chosen": f"good {text}", "rejected": f"bad {text}", "chosen_model": text}
    (folder / "p.jsonl").write_text(json.dumps(row), encoding="utf-8")
    launch = replace(capture(text, {}), recipe=parse({"model": "none/none"}).resolved(), id="L")
    launch = replace(launch, arguments=("toolkit/recipes/temporal.py", text))
    with Store(folder / "s.duckdb") as store:
        import_pairs(store, folder / "p.jsonl", "set", "L")
        begin(store, replace(launch, id="B", run="bare", started="2020-01-01T00:00:00+00:00", arguments=()))
        begin(store, launch)
        store.add([Score(row["id"], text, text, {text: text}, 0.5, 1) for row in store.query("FROM model")], launch="L")
    return folder / "s.duckdb"


SHOWING = (
    "pairs set", "pairs set --wide", "pairs set --json", "diff set@1 set@1", "sql 'FROM pairs'", "sql 'FROM models'",
    "sql 'FROM pairs' --json", "sql 'SELECT text::INT FROM responses'", "lineage set --json", "status", "status bare",
    "status --json", "leaderboard",
)  # fmt: skip


@pytest.mark.parametrize("line", SHOWING)
def test_what_a_model_said_reaches_a_terminal_as_plain_text_in_answers_and_in_errors(hostile: Path, line: str) -> None:
    done = CliRunner().invoke(app, [*shlex.split(line), "--store", str(hostile)])
    told = done.stdout + done.stderr
    assert told and told.replace("\n", "").isprintable()
    if "--json" in line:
        assert all(json.loads(row) for row in done.stdout.splitlines())


def test_a_key_that_a_server_repeats_is_hidden_in_the_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MY_API_KEY", "a-key-of-no-known-form")

    def refused() -> None:
        raise EngineError("401: 'a-key-of-no-known-form' and sk-1234567890 are no keys", remedy="set another")

    assert guarded(refused) == EngineError.exit_code
    assert "401: '***' and *** are no keys" in capsys.readouterr().err


def test_csv_on_a_terminal_is_made_safe_and_in_a_pipe_is_what_the_store_holds(
    hostile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for terminal in (False, True):
        out = io.StringIO()
        monkeypatch.setattr(out, "isatty", lambda terminal=terminal: terminal)
        monkeypatch.setattr("sys.stdout", out)
        _sql("SELECT text FROM responses", hostile, "csv", None, wide=False)
        assert ("\x1b" in out.getvalue()) is not terminal


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("SELECT 'infinity'::DATE",), "as table"), (("SELECT 'infinity'::DATE", "--json"), "as json"),
        (("SELECT 'infinity'::DATE", "--format", "csv"), "as csv"),
        (("SELECT INTERVAL 1 DAY", "--format", "parquet", "--out", "f.parquet"), "as parquet"),
        (("SELECT 1", "--format", "parquet", "--out", "."), "Is a directory"), (("SELECT \udcff",), "is not UTF-8"),
    ],
)  # fmt: skip
def test_an_answer_that_a_form_has_no_word_for_is_an_error(
    hostile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["sql", *words, "--store", str(hostile)])
    assert isinstance(done.exception, SystemExit) and told.lower() in done.stderr.lower()


def test_letters_that_the_output_cannot_write_are_spelled_as_json_reads_them(hostile: Path) -> None:
    for words in (["pairs", "set"], ["pairs", "set", "--json"], ["sql", "FROM pairs", "--format", "csv"]):
        done = toolkit(*words, "--store", str(hostile), PYTHONIOENCODING="ascii")
        assert (done.returncode, "\\u00e9" in done.stdout) == (0, True), done.stderr
        if "--json" in words:
            assert json.loads(done.stdout)["chosen"].endswith("\r\n é")


def test_help_loads_no_library_that_takes_long() -> None:
    line = [sys.executable, "-X", "importtime", "-m", "toolkit", "--help"]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "typer" in loaded
    assert loaded & {"torch", "transformers", "vllm", "datasets", "pandas", "pyarrow", "numpy", "scipy"} == set()
