"""The command line: what a person types, what it prints, how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from toolkit.config import Recipe

Build = Callable[..., Recipe]
Command = Callable[..., subprocess.CompletedProcess[str]]
HEAVY = ("torch", "vllm", "transformers", "openrlhf")


def fields(data: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Every field of a recipe as a --set line."""
    for key, value in data.items():
        if isinstance(value, Mapping) and value:
            yield from fields(value, f"{prefix}{key}.")
        elif not isinstance(value, Mapping):
            yield f"--set={prefix}{key}={json.dumps(value)}"


@pytest.fixture
def line(scripted_recipe: Build, tmp_path: Path) -> list[str]:
    """`python -m toolkit.recipes.temporal` on the scripted recipe."""
    recipe = scripted_recipe().resolved()
    model = recipe.pop("model")
    start = [sys.executable, "-m", "toolkit.recipes.temporal", "--model", model]
    return [*start, "--store", str(tmp_path / "runs" / "s.duckdb"), *fields(recipe)]


@pytest.fixture
def command(line: list[str]) -> Command:
    """Runs that line with further arguments, which win over the earlier ones."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        more = {**os.environ, **environment}
        return subprocess.run([*line, *arguments], capture_output=True, text=True, check=False, env=more)

    return run


def test_a_run_prints_what_happened_and_where_to_look_and_a_rerun_says_it_had_nothing_to_do(
    command: Command, tmp_path: Path
) -> None:
    first = command()
    assert first.returncode == 0, first.stderr
    for word in ("What happened", "anchored@1", "guided@2", "Training", "M_f1", "report:", "store:", "lineage:"):
        assert word in first.stdout
    assert "made" in first.stderr
    report = (tmp_path / "runs" / "reports" / "temporal.md").read_text()
    for title in ("Verdicts", "Answers", "Token gate", "Drops by reason", "Training curve", "Time by stage"):
        assert f"## {title}" in report
    assert "method `expected`" in report
    lineage = first.stdout.partition("lineage: python -m ")[2].splitlines()[0].split()
    asked = subprocess.run([sys.executable, "-m", *lineage, "--json"], capture_output=True, text=True, check=True)
    row = json.loads(asked.stdout.splitlines()[0])
    assert json.loads(row["reply"])["probabilities"]
    again = command()
    assert again.returncode == 0
    assert "everything was stored already" in again.stdout


def test_a_plan_loads_nothing_heavy_and_counts_the_work(command: Command, tmp_path: Path) -> None:
    done = command("--plan", "--hardware", "8xH100", PYTHONPROFILEIMPORTTIME="1")
    assert done.returncode == 0, done.stderr
    assert "Cost on 8xH100" in done.stdout
    assert "to do: 216 requests, at most 1,836 new tokens, 4 trainings" in done.stdout
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not loaded & set(HEAVY)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--set", "answers.k=0"], 2, ["answers.k = 0", "greater than or equal to 1", "remedy"]),
        (["--set", "training.beta=-1"], 2, ["training.beta = -1", "remedy"]),
        (["--set", "answer.k=3"], 2, ["unknown key 'answer'", "did you mean 'answers'"]),
        (["--config", "quik"], 2, ["no recipe file quik", "quick"]),
        (["--model", "no/such/model/here"], 3, ["no model 'no/such/model/here'", "remedy"]),
        (["--set", "prompts.source=nowhere.jsonl"], 3, ["no prompt file nowhere.jsonl", "remedy"]),
        (["--set", "prompts.part_size=100"], 3, ["24 prompts are too few", "at most 12"]),
        (["--set", "answers.max_tokens=4090"], 3, ["tokens, 6 fit beside an answer", "prompts.txt:"]),
        (["--set", "judge.rubric=aditive"], 3, ["no rubric 'aditive'", "additive"]),
        (["--set", "trainer.python=/no/python"], 8, ["/no/python", "trainer.python"]),
        (["--store", "/proc/version/x.duckdb"], 4, ["cannot make the folder", "--store"]),
        (["--store", __file__], 4, ["not a DuckDB database", "--store"]),
        (["--iters", "0"], 2, ["--iters"]),
        (["--plan", "--hardware", "8xTPU"], 2, ["--hardware '8xTPU'", "8xH100"]),
        (["--hardware", "8xH100"], 2, ["add --plan"]),
    ],
)
def test_bad_input_is_one_clear_error_without_a_traceback(
    command: Command, arguments: list[str], code: int, told: list[str]
) -> None:
    done = command(*arguments)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    for words in told:
        assert words in done.stderr


def test_a_store_in_use_is_refused_with_the_process_that_holds_it(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "runs" / "s.duckdb"
    code = (
        "import sys; from pathlib import Path; from toolkit.store.database import Store;"
        f"store = Store(Path({str(path)!r})); print('open', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "open\n"
    done = command()
    holder.communicate("")
    assert done.returncode == 4
    assert f"the store is open in process {holder.pid}" in done.stderr


def test_a_full_disk_is_told_and_what_was_stored_stays(command: Command, tmp_path: Path) -> None:
    """A file size limit stands in for a full disk: both fail the same write."""
    assert command("--iters", "1").returncode == 0
    store = tmp_path / "runs" / "s.duckdb"
    code = (
        "import resource, signal, sys; from pathlib import Path; from toolkit.store.database import Store;"
        "from toolkit.records import Prompt; from toolkit.console import guarded\n"
        f"store = Store(Path({str(store)!r})); size = Path({str(store)!r}).stat().st_size\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (size + 4096, size + 4096))\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "sys.exit(guarded(lambda: store.add([Prompt('x' * 10**7)], launch='L')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 4, done.stderr
    assert "the disk is full" in done.stderr
    assert "everything was stored already" in command("--iters", "1").stdout


def test_ctrl_c_ends_the_run_with_a_word_and_a_rerun_goes_on(line: list[str], command: Command, tmp_path: Path) -> None:
    slow = [*line, '--set=engine.options={"delay": 1}']
    process = subprocess.Popen(slow, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert any("answers of M_0 as present" in told for told in process.stderr)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "the same command goes on from here" in told
    assert "Traceback" not in told
    assert command().returncode == 0
