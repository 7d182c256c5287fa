"""A stranger's folder in which every file that could be taken for code writes a marker: store, recipes, suites, model.

    python -m tests.trust.hostile_code FOLDER       builds it, to try commands by hand; the marker is FOLDER/RAN

What must hold: no command makes the marker appear, unless the user's command line consents.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.config import Recipe, parse
from toolkit.engines import toy
from toolkit.lab import Lab
from toolkit.provenance import Launch, capture
from toolkit.recipes.temporal import temporal
from toolkit.store.database import Store

# Modules that children and libraries would import from the current folder, were it among their places.
SHADOWS = (
    "marimo",
    "toolkit",
    "csv",
    "email",
    "torch",
    "vllm",
    "deepspeed",
    "openrlhf",
    "alpaca_eval",
    "evaluate",
    "yaml",
)


@dataclass(frozen=True)
class Hostile:
    """folder: the stranger's, also the current one. clean: a recipe without code, for commands that take one."""

    folder: Path
    marker: Path
    store: Path
    clean: Path
    model: Path

    @property
    def ran(self) -> str:
        """Which code ran, one name a line."""
        return self.marker.read_text(encoding="utf-8") if self.marker.exists() else ""


def build(folder: Path) -> Hostile:
    """Write all of it into this new folder."""
    folder.mkdir(parents=True)
    marker = folder / "RAN"
    _shadow(folder, marker)
    model = _checkpoint(folder, marker)
    named = _named(folder, marker, model)
    clean = folder / "clean.toml"
    clean.write_text(_toml(_plain(folder)), encoding="utf-8")
    for key, value in named.items():
        name = "suite-recipe" if key == "suite" else key
        _recipe_naming(folder / f"{name}.toml", folder, key, value)
    store = folder / "runs" / "store.duckdb"
    _run(folder, store)
    _poison(store, named, model)
    return Hostile(folder, marker, store, clean, model)


def program(marker: Path, name: str) -> str:
    """Python text that leaves its name in the marker."""
    return f"with open({str(marker)!r}, 'a') as ran: ran.write({name + chr(10)!r})\n"


def _shadow(folder: Path, marker: Path) -> None:
    """The current folder: modules, settings that name code, and what libraries look up there."""
    for name in SHADOWS:
        (folder / f"{name}.py").write_text(program(marker, f"{name}.py of the current folder"), encoding="utf-8")
    for metric in ("exact_match", "code_eval", "accuracy"):
        (folder / metric).mkdir()
        (folder / metric / f"{metric}.py").write_text(program(marker, f"metric {metric}"), encoding="utf-8")
    custom = folder / "custom.css"
    custom.write_text("/* HOSTILE-STYLE */", encoding="utf-8")
    settings = f'[display]\ncustom_css = ["{custom}"]\ntheme = "dark"\n'
    (folder / ".marimo.toml").write_text(settings, encoding="utf-8")
    (folder / "pyproject.toml").write_text(settings.replace("[", "[tool.marimo.", 1), encoding="utf-8")
    (folder / ".deepspeed_env").write_text("PYTHONSTARTUP=evil.py\n", encoding="utf-8")


def _checkpoint(folder: Path, marker: Path) -> Path:
    """A model that brings code of its own."""
    model = toy.make(folder / "model")
    (model / "modeling_evil.py").write_text(program(marker, "auto_map"), encoding="utf-8")
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    config["auto_map"] = {"AutoModelForCausalLM": "modeling_evil.Evil", "AutoConfig": "modeling_evil.EvilConfig"}
    (model / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return model


def _named(folder: Path, marker: Path, model: Path) -> dict[str, Any]:
    """Every field of a recipe by which a file could run code or reach a server, with a value that does."""
    (folder / "rewards.py").write_text(
        program(marker, "reward file") + "def score(prompt, answer, label): return float(len(answer))\n",
        encoding="utf-8",
    )
    (folder / "evil.py").write_text(program(marker, "!function") + "def rows(docs): return docs\n", encoding="utf-8")
    task = folder / "own.yaml"
    task.write_text(
        "task: own\ndataset_path: json\noutput_type: generate_until\ntest_split: test\n"
        'process_docs: !function evil.rows\ndoc_to_text: "{{question}}"\ndoc_to_target: "{{answer}}"\n',
        encoding="utf-8",
    )
    suite, rows = folder / "suite.toml", folder / "test.jsonl"
    rows.write_text('{"question": "1 + 1?", "answer": "2"}\n', encoding="utf-8")
    suite.write_text(f"[own]\nkind = 'lm_eval'\ntask = '{task}'\ndata = '{rows}'\n", encoding="utf-8")
    python = folder / "evil_python"
    python.write_text(f"#!/bin/sh\necho 'interpreter' >> '{marker}'\n", encoding="utf-8")
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    return {
        "suite": str(suite),
        "trust_remote_code": True,
        "model": str(model),
        "judge.reward": f"{folder}/rewards.py:score",
        "trainer.python": str(python),
        "engine.python": str(python),
        "trainer.launcher": ["--launcher=evil"],
        "trainer.hostfile": str(folder / "hostfile"),
        "trainer.attention": "stranger/kernel",
        "trainer.options": {"logger.wandb.host": "https://evil.example"},
        "engine.options": {"worker_cls": "evil.Worker"},
        "engine.cluster.address": "evil.example:6379",
        "judge.base_url": "https://evil.example/v1",
        "engine.base_url": "https://evil.example/v1",
        "judge.audit.reward": f"{folder}/rewards.py:score",
    }


def _plain(folder: Path) -> dict[str, Any]:
    return {
        "name": "stranger",
        "model": str(toy.make(folder / "plain-model")),
        "iterations": 1,
        "prompts": {"source": "starter", "part_size": 4},
        "answers": {"k": 2, "max_tokens": 8},
        "judge": {"method": "expected"},
        "training": {"batch_size": 2, "small_sets": "shrink", "learning_rate": 1e-5},
        "gate": {"max_dropped": 0.5},
        "pairs": {"max_tied": 1.0},
        "engine": {"kind": "scripted"},
        "trainer": {"python": "scripted", "device": "cpu"},
    }


def _recipe_naming(path: Path, folder: Path, key: str, value: Any) -> None:
    """The plain recipe with one field that names code; KEY.toml."""
    data = _plain(folder)
    if key == "judge.reward":
        data["judge"] = {"method": "reward"}
    if key == "judge.base_url":
        data["judge"] = {"method": "generated", "by": "evil"}
    section = data
    *names, leaf = key.split(".")
    for name in names:
        section = section.setdefault(name, {})
    section[leaf] = value
    path.write_text(_toml(data), encoding="utf-8")


def _toml(data: Mapping[str, Any], prefix: str = "") -> str:
    """TOML of plain values and nested tables; JSON writes the values alike."""
    plain = [f"{json.dumps(k)} = {json.dumps(v)}\n" for k, v in data.items() if not isinstance(v, Mapping)]
    tables = [(f"{prefix}{json.dumps(k)}", v) for k, v in data.items() if isinstance(v, Mapping)]
    return "".join(plain) + "".join(f"[{name}]\n{_toml(table, f'{name}.')}" for name, table in tables)


def _run(folder: Path, store: Path) -> None:
    """A finished run, so that every command has rows to work on."""
    recipe: Recipe = parse(_plain(folder))
    script = Path(sys.modules["toolkit.recipes.temporal"].__file__ or "")
    launch = capture("stranger", recipe.resolved())
    with Lab(recipe, Store(store), Launch(**{**vars(launch), "arguments": (str(script),)})) as lab:
        temporal(lab, recipe)


def _poison(store: Path, named: Mapping[str, Any], model: Path) -> None:
    """The newest launch names all the code there is, and M_0's checkpoint is the model that brings its own."""
    with Store(store) as opened:
        row = opened.query("SELECT id, recipe FROM launch")[0]
        recipe = json.loads(row["recipe"])
        for key, value in named.items():
            section = recipe
            *names, leaf = key.split(".")
            for name in names:
                section = section[name]
            section[leaf] = value
        recipe["judge"] |= {"method": "reward", "base_url": "", "by": "present", "rubric": str(model / "config.json")}
        recipe["prompts"]["source"] = str(model.parent / "pipe.txt")
        opened.query("UPDATE launch SET recipe = ? WHERE id = ?", [json.dumps(recipe), row["id"]])
        opened.query("UPDATE model SET path = ? WHERE training IS NULL AND path <> ''", [str(model)])
    os.mkfifo(model.parent / "pipe.txt")


if __name__ == "__main__":
    target = Path(sys.argv[1])
    if target.exists():
        shutil.rmtree(target)
    print(build(target.absolute()))
