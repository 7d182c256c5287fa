"""One recipe gives one store, wherever and under whatever settings of the machine it runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.recipes.test_temporal import content, launch
from toolkit.config import Recipe, parse
from toolkit.store.database import Store

ROOT = Path(__file__).parents[2]
ASIDE = ("seconds", "created", "path")  # of a base model the path is where it was found
STORE = Path("runs") / "s.duckdb"
CODE = """
import json
from pathlib import Path
from tests.recipes.test_determinism import STORE, launch
from toolkit.config import parse
launch(parse(json.loads(Path("recipe.json").read_text(encoding="utf-8"))), STORE)
"""
OTHER = {"PYTHONHASHSEED": "77", "TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def moved(recipe: Recipe, folder: Path) -> Recipe:
    """The recipe with its model and its prompts copied to this folder."""
    shutil.copytree(recipe.model, folder / "model")
    prompts = "".join(f"question number {number}, naïve \U0001f98a ?\n" for number in range(8))
    (folder / "prompts.txt").write_text(prompts, encoding="utf-8")
    data = recipe.resolved() | {"model": str(folder / "model")}
    data["prompts"]["source"] = str(folder / "prompts.txt")
    (folder / "recipe.json").write_text(json.dumps(data), encoding="utf-8")
    return parse(data)


def fingerprints(path: Path) -> list[dict[str, object]]:
    with Store(path, read_only=True) as store:
        return store.query("SELECT id, fingerprint, size FROM pair_set ORDER BY id")


def test_hash_seed_locale_time_zone_and_path_change_no_row_and_no_fingerprint(
    scripted_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = scripted_recipe(iterations=1, prompts={"part_size": 8})
    here, there = tmp_path / "here", tmp_path / "another place"
    launch(moved(recipe, here), here / STORE)
    moved(recipe, there)
    done = subprocess.run(
        [sys.executable, "-c", CODE], cwd=there, env={**os.environ, "PYTHONPATH": str(ROOT), **OTHER},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert fingerprints(here / STORE) == fingerprints(there / STORE) != []
    assert content(here / STORE, ASIDE) == content(there / STORE, ASIDE)
