"""How the command line looks and ends: exit codes, no colour, completion, a reader that goes away."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from toolkit.console import described, guarded
from toolkit.errors import InputError, exit_codes

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
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert guarded(lambda: (tmp_path / "no" / "file").write_text("x") and None) == InputError.exit_code
    told = capsys.readouterr().err
    assert "No such file or directory" in told
    assert "remedy: " in told

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


def test_help_comes_in_half_a_second_of_work() -> None:
    """Processor time, the least of five: what else the machine does is not counted."""

    def once() -> float:
        before = sum(os.times()[2:4])
        toolkit("--help")
        return sum(os.times()[2:4]) - before

    started = time.monotonic()
    least = min(once() for _ in range(5))
    assert least < 0.5, f"{least:.2f} s of work, {time.monotonic() - started:.1f} s for five"
