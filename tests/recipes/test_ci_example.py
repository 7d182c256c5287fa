"""The workflow for GitHub Actions: it parses, and what it types is there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import typer.main
import yaml

from toolkit.__main__ import app

ROOT = Path(__file__).parents[2]
FILE = ROOT / "recipes" / "ci" / "github_actions.yml"
WORKFLOW: dict[Any, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
STEPS = [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]
LINES = [line for step in STEPS for line in step.get("run", "").splitlines()]


def test_the_workflow_has_jobs_of_pinned_actions_and_commands() -> None:
    assert set(WORKFLOW[True]) == {"push", "pull_request", "workflow_dispatch", "schedule"}  # YAML 1.1 reads "on" so
    assert all(job["runs-on"] == "ubuntu-latest" for job in WORKFLOW["jobs"].values())
    assert all(("uses" in step) != ("run" in step) for step in STEPS)
    assert all(re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"]) for step in STEPS if "uses" in step)
    assert "secrets" not in "".join(LINES), "a secret belongs into env, where no log shows it"


def test_every_toolkit_command_of_the_workflow_is_parsed_as_it_stands() -> None:
    group: Any = typer.main.get_command(app)
    typed = [shlex.split(line)[1:] for line in LINES if line.startswith("toolkit ")]
    assert len(typed) >= 7
    for words in typed:
        command = group.commands[words[0]]
        assert command.make_context(words[0], list(words[1:])).params


def test_every_recipe_command_and_extra_of_the_workflow_is_there(tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text((ROOT / "recipes" / "quick.toml").read_text())
    lines = [shlex.split(line)[1:] for line in LINES if line.startswith("python -m toolkit.recipes.")]
    assert len(lines) == 2
    for words in lines:
        planned = [sys.executable, *words, *(["--plan"] if "--plan" not in words else [])]
        done = subprocess.run(planned, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    named = {name for line in LINES for name in re.findall(r"temporal-toolkit\[(\w+)\]", line)}
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert named == {"cpu", "eval"} <= set(extras)
