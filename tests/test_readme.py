"""What the README says to type is typed here, up to the point where a model would be loaded."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import textwrap
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from toolkit.config import Recipe
from toolkit.exchange.importing import import_pairs
from toolkit.lab import Lab
from toolkit.provenance import capture
from toolkit.recipes.commented import commented
from toolkit.recipes.temporal import temporal
from toolkit.store.database import Store

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [line.split("#")[0].strip().removeprefix("$ ") for line in re.findall(r"^    .*-m toolkit.*$", TEXT, re.M)]
PYTHON = textwrap.dedent(re.search(r"^    from toolkit import.*?(?=\n\n\S)", TEXT, re.M | re.S)[0])  # type: ignore[index]
QUERIES = re.findall(r"^    (SELECT .*;)$", TEXT, re.M)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A working folder where the README's file names exist."""
    made = tmp_path_factory.mktemp("readme")
    (made / "prompts.jsonl").write_text("".join(f'{{"prompt": "question {i}"}}\n' for i in range(8000)))
    (made / "recipes").symlink_to(ROOT / "recipes")
    (made / "DIR").symlink_to(tiny_model)
    return made


@pytest.fixture
def store(folder: Path, scripted_recipe: Callable[..., Recipe]) -> Path:
    """The store that the first command would leave, made by the scripted engine."""
    path, recipe = folder / "runs" / "store.duckdb", scripted_recipe()
    if not path.exists():
        with Lab(recipe, Store(path), capture("quick", recipe.resolved())) as lab:
            temporal(lab, recipe)
            (folder / "gold.jsonl").write_text('{"prompt": "one?", "chosen": "one", "rejected": "two"}\n')
            import_pairs(lab.store, folder / "gold.jsonl", "held_out", lab.launch.id)
        (folder / "maths.jsonl").write_text('{"question": "What is 1 + 1?", "answer": "1 + 1 = 2 #### 2"}\n')
        suite = "[maths]\nkind = 'lm_eval'\ndata = 'maths.jsonl'\nfew_shot = 0\nmax_tokens = 16\n"
        (folder / "maths.toml").write_text(suite)
    return path


def test_the_readme_has_commands_and_queries() -> None:
    assert len(COMMANDS) >= 6
    assert QUERIES


@pytest.mark.parametrize("line", [line for line in COMMANDS if "toolkit.recipes" in line])
def test_a_recipe_command_of_the_readme_plans(folder: Path, line: str) -> None:
    words = shlex.split(line)
    arguments = words[words.index("-m") :]
    planned = [*arguments, *(["--plan"] if "--plan" not in arguments else [])]
    done = subprocess.run([sys.executable, *planned], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(r"\d trainings", done.stdout)


def test_every_other_command_of_the_readme_answers_in_its_order(folder: Path, store: Path) -> None:
    lines = [line for line in COMMANDS if line.startswith("python -m toolkit ")]
    assert len(lines) >= 10
    for line in lines:
        words = shlex.split(line.partition("|")[0])
        if words[3] in ("rescore", "judge-quality", "evaluate"):  # whose model would be loaded
            words += ["--set", "engine.kind=scripted"]
        if words[3] == "evaluate":  # by a suite that needs no public data
            words[words.index("quick")] = "maths.toml"
        if words[3] == "browse":  # which serves until it is ended
            assert served([*words, "--no-open"], folder), line
            continue
        done = subprocess.run([sys.executable, *words[1:]], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (line, done.stderr)
        assert done.stdout.strip(), line


def served(words: list[str], folder: Path) -> bool:
    """Whether the command prints an address that answers."""
    with subprocess.Popen([sys.executable, *words[1:]], cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        address = re.search(r"http://\S+", process.stdout.readline())
        try:
            return address is not None and urllib.request.urlopen(address[0]).status == 200
        finally:
            process.terminate()


def test_the_python_of_the_readme_runs(
    folder: Path, store: Path, scripted_recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it stands, but by the scripted engine."""
    (folder / "scripted.toml").write_text(commented(scripted_recipe(), []))
    monkeypatch.chdir(folder)
    assert '"quick"' in PYTHON
    exec(compile(PYTHON.replace('"quick"', '"scripted.toml"'), "README.md", "exec"), {})
    with Store(store, read_only=True) as opened:
        assert opened.query("SELECT count(*) AS n FROM pairs WHERE phase = 'by_hand'")[0]["n"] > 0


def test_the_example_of_ones_own_recipe_plans(folder: Path) -> None:
    (line,) = re.findall(r"^    (python recipes/examples.*)$", TEXT, re.M)
    done = subprocess.run(
        [sys.executable, *shlex.split(line)[1:]], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "2 trainings" in done.stdout


@pytest.mark.parametrize("sql", QUERIES)
def test_a_query_of_the_readme_answers(store: Path, sql: str) -> None:
    with Store(store, read_only=True) as opened:
        assert len(opened.query(sql)) == 5


def test_every_named_view_and_file_of_the_readme_is_there() -> None:
    views = set(re.findall(r"VIEW (\w+)", (ROOT / "toolkit/store/views.sql").read_text()))
    named = re.search(r"Views for people: (.*?)\.\n", TEXT, re.S)
    assert named is not None
    assert set(re.findall(r"`(\w+)`", named[1])) == views
    for path in re.findall(r"\]\(([^h)][^)]*)\)", TEXT):
        assert (ROOT / path).exists(), path
