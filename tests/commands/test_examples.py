"""Every command's help: one example, which is typed here as it stands, and again with --json."""

from __future__ import annotations

import gzip
import inspect
import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.study.synthetic import study
from toolkit.__main__ import COMMANDS, app
from toolkit.config import Recipe
from toolkit.console import described, name_of
from toolkit.lab import Lab
from toolkit.provenance import capture
from toolkit.recipes.self_rewarding import self_rewarding
from toolkit.recipes.temporal import temporal
from toolkit.store.database import Store
from toolkit.study.summary import write_summary

EXAMPLES = {name_of(command): described(command.__doc__ or "")[1] for command in COMMANDS}
ELSEWHERE = {
    "demo": "takes no store that is there: tests/packaging/test_package.py",
    "judgement-examples": "needs a judge that writes: tests/demonstrations/test_rated.py",
    "diagnose": "loads networks: tests/diagnostics/test_diagnose.py",
    "browse": "serves until it is ended: tests/analysis/test_browse.py",
    **dict.fromkeys(("push", "push-model", "pull", "pull-model"), "asks a hub: tests/commands/test_publish.py"),
}
LAST = ("tag", "delete")  # they name the version that `filter` makes
LOADING = ("rescore", "judge-quality", "evaluate")  # here by the scripted engine
PUBLISHED = {"phi-2": "past", "phi-2-sft": "present", "phi-2-dpo": "future"}


def lines(path: Path, rows: list[dict[str, object]]) -> None:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


@pytest.fixture
def folder(
    tmp_path: Path, tiny_model: Path, scripted_recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A working folder with a store of two runs, and the files that the examples name."""
    monkeypatch.chdir(tmp_path)
    recipe = scripted_recipe()
    for run, function in (("temporal", temporal), ("self_rewarding", self_rewarding)):
        with Lab(recipe, Store(Path("runs/store.duckdb")), capture(run, recipe.resolved())) as lab:
            function(lab, recipe)
    pairs = [{"prompt": f"question {i}?", "chosen": f"good {i}", "rejected": f"poor {i}"} for i in range(6)]
    lines(tmp_path / "hh.jsonl.gz", pairs)
    lines(tmp_path / "prompts.jsonl", [{"prompt": f"question {i}?"} for i in range(64)])
    lines(tmp_path / "maths.jsonl", [{"question": "What is 1 + 1?", "answer": "1 + 1 = 2 #### 2"}])
    said = [{"instruction": "a?", "output": f"{name} says", "generator": name} for name in PUBLISHED]
    for row in said:
        lines(tmp_path / f"{row['generator']}.jsonl", [row])
    lines(tmp_path / "scores.jsonl", [{**row, "score": i} for i, row in enumerate(said)])
    (tmp_path / "quick.toml").write_text(
        "[maths]\nkind = 'lm_eval'\ndata = 'maths.jsonl'\nfew_shot = 0\nmax_tokens = 16\n"
    )
    (tmp_path / "DIR").symlink_to(tiny_model)
    for seed in study():
        write_summary(seed, tmp_path / "benchmarks" / "results" / "study")
    return tmp_path


def prepared(name: str) -> list[str]:
    """What a reader would have typed before this example, as lines."""
    roles = [f"import-responses {model}.jsonl --model {model} --role {role}" for model, role in PUBLISHED.items()]
    before = {"import-scores": roles, "judge-quality": ["import hh.jsonl.gz gold"]}
    return (before | {"part-collect": ["part-select parts 1"]}).get(name, [])


def typed(line: str, name: str, *more: str) -> str:
    words = [word if word != "quick" or name != "evaluate" else "quick.toml" for word in shlex.split(line)]
    scripted = ["--set", "engine.kind=scripted"] if name in LOADING else []
    done = CliRunner().invoke(app, [*words, *scripted, *more])
    assert done.exit_code == 0, (line, done.output, done.exception)
    return done.stdout


@pytest.mark.parametrize("more", [(), ("--json",)], ids=["table", "json"])
def test_every_example_does_what_it_says(folder: Path, more: tuple[str, ...]) -> None:
    names = [name for name in EXAMPLES if name not in (*ELSEWHERE, *LAST)]
    for name in (*names, *LAST):
        for line in prepared(name):
            typed(line, line.split()[0])
        example = EXAMPLES[name]
        out = typed(example, name, *(more if "--json" not in example else ()))
        assert out.strip() or name == "overlap", example
        if more:
            assert all(isinstance(json.loads(line), dict) for line in out.splitlines()), example


@pytest.mark.parametrize("command", COMMANDS, ids=name_of)
def test_a_command_has_one_example_of_itself_and_prints_json(command: Callable[..., None]) -> None:
    name = name_of(command)
    told = CliRunner().invoke(app, [name, "--help"]).stdout
    shown = [line.strip() for line in told.splitlines() if "Example:" in line]
    assert len(shown) == 1
    assert shown[0].startswith(f"Example: toolkit {name}")
    assert "--json" in told
    taken = {option for option in shlex.split(EXAMPLES[name]) if option.startswith("--")}
    assert all(option in told for option in taken)


def test_an_option_has_one_meaning_in_every_command() -> None:
    helps: dict[str, set[str]] = {}
    for command in COMMANDS:
        hints = inspect.get_annotations(command, eval_str=True)
        for name in ("as_json", "wide", "set_", "store", "config"):
            own = {
                "leaderboard": ("store",),
                "compare": ("config", "set_", "store", "as_json"),
            }  # of several files, of arms
            if name in hints and name not in own.get(name_of(command), ()):
                helps.setdefault(name, set()).add(hints[name].__metadata__[0].help)
    assert {name: len(said) for name, said in helps.items()} == dict.fromkeys(helps, 1)
