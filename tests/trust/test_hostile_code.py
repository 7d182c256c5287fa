"""A stranger's store, recipe, suite, checkpoint and folder go through every command: none of their code runs.

hostile_code.py builds them; whatever runs leaves its name in the marker.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.conftest import needs
from tests.trust.hostile_code import Hostile, build
from toolkit.__main__ import COMMANDS, app
from toolkit.child_process import environment
from toolkit.config import load
from toolkit.console import name_of
from toolkit.errors import RecipeError
from toolkit.recipes.comparison import load_comparison
from toolkit.recipes.run import Options, execute
from toolkit.recipes.temporal import temporal
from toolkit.store.database import Store

CONFIG = "--config clean.toml"
LINES = {  # what is typed in the stranger's folder -> how it ends
    "status": 0, "sets": 0, "sets guided": 0, "pairs guided-0": 0, "diff anchored-0 guided-0": 0, "query": 0,
    "tag guided-0 seen": 0, "sql 'FROM launch'": 0, "query gap_by_iteration": 0, "lineage M_1": 0, "doctor": 0,
    "init mine.toml --model model": 3, "init mine.toml --like judge.reward.toml": 2, "import test.jsonl rows": 3,
    "export guided-0 out": 0, "import-responses test.jsonl --model phi": 3, "import-scores test.jsonl --judge gpt": 3,
    "pair again --judge M_0 --present M_0 --past M_0": 3, "overlap guided-0 --eval test.jsonl": 3,
    "filter guided-0 --min-gap 0.01 --name clean": 0, f"rescore guided-0 --judge M_0 {CONFIG}": 0,
    f"judge-quality guided-0 --judge model {CONFIG}": 3, f"judge-quality guided-0 --judge M_1 {CONFIG}": 0,
    "judgement-examples guided-0 --judge M_0 --out eft.jsonl": 3,
    f"evaluate M_1 --suite suite.toml {CONFIG}": 2,
    f"evaluate model --suite suite.toml {CONFIG}": 2, "leaderboard": 3, "diagnose": 3, "diagnose stranger": 3,
    "report": 0, "study .": 3, "compare --plan": 0, "log --to tensorboard": 0,
    "export-model M_1 m1": 0, "delete guided@2": 3,
    "merge runs/store.duckdb --into own.duckdb": 0, "part-out anchored parts --judge M_0 --present M_0 --past M_0": 0,
    "part-select parts 0": 0, "part-collect parts": 3,
}  # fmt: skip
ELSEWHERE = {"demo", "browse"}  # below, as processes
NEED_THE_HUB = {"push", "push-model", "pull", "pull-model"}
WITHOUT_STORE = ("init", "merge", "part-select", "study")
RECIPE_FIELDS = (
    "trust_remote_code", "judge.reward", "trainer.python", "engine.python", "trainer.launcher", "trainer.hostfile",
    "trainer.attention", "trainer.options", "engine.options", "engine.cluster.address", "judge.base_url",
    "engine.base_url", "judge.audit.reward",
)  # fmt: skip


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Hostile:
    return build(tmp_path_factory.mktemp("trust") / "stranger")


@pytest.fixture(autouse=True)
def here(hostile: Hostile, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stranger's folder is the current one, and each launch is the command's."""
    monkeypatch.chdir(hostile.folder)
    monkeypatch.setattr(sys, "argv", ["/usr/bin/toolkit"])


def typed(line: str, hostile: Hostile) -> tuple[int, str]:
    """Exit code and output, as the command `toolkit` would have it."""
    store = () if line.startswith(WITHOUT_STORE) else ("--store", str(hostile.store))
    done = CliRunner().invoke(app, [*shlex.split(line), *store])
    assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)
    return done.exit_code, done.output


@pytest.mark.parametrize("line", LINES)
def test_no_command_runs_what_a_stranger_named(line: str, hostile: Hostile) -> None:
    code, output = typed(line, hostile)
    assert hostile.ran == ""
    assert code == LINES[line], output


def test_every_command_is_tried() -> None:
    tried = {line.split()[0] for line in LINES} | ELSEWHERE | NEED_THE_HUB
    assert tried == {name_of(command) for command in COMMANDS}


def test_status_names_every_file_that_it_did_not_read(hostile: Hostile) -> None:
    _, output = typed("status", hostile)
    for name in ("pipe.txt", "rewards.py:score", "model/config.json", "suite.toml", "--plan"):
        assert name in output


def test_a_merged_launch_is_no_reason_to_run_anything_either(hostile: Hostile, tmp_path: Path) -> None:
    own = tmp_path / "own.duckdb"
    assert CliRunner().invoke(app, ["merge", str(hostile.store), "--into", str(own)]).exit_code == 0
    done = CliRunner().invoke(app, ["status", "stranger", "--store", str(own)])
    assert (done.exit_code, hostile.ran) == (0, "")
    assert "not planned" in done.output


def test_a_stored_command_line_that_would_consent_is_named(hostile: Hostile, tmp_path: Path) -> None:
    copy = tmp_path / "copy.duckdb"
    copy.write_bytes(hostile.store.read_bytes())
    with Store(copy) as store:
        arguments = '["own.py", "--trust", "--set", "judge.reward=evil.py:f"]'
        store.query("UPDATE launch SET arguments = ?", [arguments])
    done = CliRunner().invoke(app, ["status", "--store", str(copy)])
    assert "careful:" in done.output and "--trust, judge.reward=evil.py:f" in done.output


@pytest.mark.parametrize("field", RECIPE_FIELDS)
def test_a_recipe_file_that_names_code_or_a_server_needs_consent(field: str, hostile: Hostile) -> None:
    with pytest.raises(RecipeError, match=re.escape(field)) as refused:
        execute(temporal, Options(Path(f"{field}.toml"), "", Path("new.duckdb"), (), plan=True))
    assert "--trust" in refused.value.remedy and hostile.ran == ""
    assert not Path("new.duckdb").exists()
    load(Path(f"{field}.toml"), trusted=True)


def test_a_suite_that_a_recipe_names_needs_the_same_consent(hostile: Hostile) -> None:
    with pytest.raises(RecipeError, match=r"own\.yaml"):
        execute(temporal, Options(Path("suite-recipe.toml"), "", Path("new.duckdb"), (), True))
    assert hostile.ran == ""


def test_a_comparison_needs_consent_for_each_of_its_tables(hostile: Hostile, tmp_path: Path) -> None:
    file = tmp_path / "compare.toml"
    file.write_text("[common.trainer]\npython = 'evil'\n[temporal.judge]\nmethod = 'reward'\nreward = 'a.py:f'\n")
    with pytest.raises(RecipeError) as refused:
        load_comparison(file)
    assert "common.trainer.python = 'evil'; temporal.judge.reward = 'a.py:f'" in refused.value.problem
    changes = ["common.trainer.python=mine", "temporal.judge.reward=b.py:f"]
    assert load_comparison(file, changes).entries[0].recipe.judge.reward == "b.py:f"
    assert load_comparison(file, trusted=True).entries[0].trusted


def test_what_the_user_types_or_trusts_runs(hostile: Hostile, tmp_path: Path) -> None:
    options = Options(Path("judge.reward.toml"), "", tmp_path / "s.duckdb", (), plan=False, as_json=True, trusted=True)
    try:
        execute(temporal, options)
        assert "reward file" in hostile.ran
    finally:
        hostile.marker.unlink(missing_ok=True)
    changes = ["judge.method=reward", "judge.reward=mine.py:score", "trust_remote_code=true"]
    assert load(hostile.clean, changes).trust_remote_code


def test_a_task_file_is_a_program_that_runs_where_the_command_line_trusts_it(hostile: Hostile) -> None:
    needs("lm_eval")
    try:
        typed(f"evaluate M_1 --suite suite.toml --trust {CONFIG}", hostile)
        assert hostile.ran == "!function\n"
    finally:
        hostile.marker.unlink(missing_ok=True)


def python(hostile: Hostile, *words: str) -> subprocess.Popen[str]:
    """A command in a process of its own, as the installed `toolkit` starts: the current folder is not imported from."""
    command = [sys.executable, "-P", "-m", "toolkit", *words]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=hostile.folder, env=plain(), stdout=pipe, stderr=pipe, text=True)


def plain() -> dict[str, str]:
    """Without PYTHONSAFEPATH, so that the commands' own children are what is tried."""
    return {name: value for name, value in environment().items() if name != "PYTHONSAFEPATH"}


def test_demo_starts_nothing_of_the_current_folder(hostile: Hostile, tmp_path: Path) -> None:
    output, error = python(hostile, "demo", "--json", "--store", str(tmp_path / "demo.duckdb")).communicate()
    assert hostile.ran == "" and '"stage": "train"' in output, error


def test_demo_over_a_strangers_recipe_needs_consent(hostile: Hostile, tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "demo.toml").write_bytes(Path("trainer.python.toml").read_bytes())
    process = python(hostile, "demo", "--store", str(tmp_path / "demo.duckdb"))
    _, error = process.communicate()
    assert (process.returncode, hostile.ran) == (2, "") and "not the recipe that the demo writes" in error


def test_browse_takes_no_module_and_no_settings_of_the_current_folder(hostile: Hostile) -> None:
    pytest.importorskip("marimo")
    process = python(hostile, "browse", "--no-open", "--store", str(hostile.store))
    assert process.stdout
    try:
        address = re.search(r"http://\S+", process.stdout.readline())
        assert address
        page = urllib.request.urlopen(address[0]).read().decode()
    finally:
        process.terminate()
        process.communicate()
    assert hostile.ran == "" and "HOSTILE-STYLE" not in page and "custom.css" not in page
