"""One recipe gives one store, wherever and under whatever settings of the machine it runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.recipes.test_temporal import content
from toolkit.config import Recipe
from toolkit.store.database import Store

ROOT = Path(__file__).parents[2]
ASIDE = ("seconds", "created", "path")  # of a base model the path is where it was found
CODE = """
import json, sys
from pathlib import Path
from tests.recipes.test_temporal import launch
from toolkit.config import parse
launch(parse(json.loads(Path("recipe.json").read_text(encoding="utf-8"))), Path("runs/s.duckdb"))
"""


def run(folder: Path, recipe: Recipe, prompts: str, **environment: str) -> Path:
    """The recipe, its model and its prompts copied to this folder and run there; the store."""
    shutil.copytree(recipe.model, folder / "model")
    (folder / "prompts.txt").write_text(prompts, encoding="utf-8")
    data = recipe.resolved() | {"model": str(folder / "model")}
    data["prompts"]["source"] = str(folder / "prompts.txt")
    (folder / "recipe.json").write_text(json.dumps(data), encoding="utf-8")
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run(
        [sys.executable, "-c", CODE], cwd=folder, env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder / "runs" / "s.duckdb"


def fingerprints(path: Path) -> list[dict[str, object]]:
    with Store(path, read_only=True) as store:
        return store.query("SELECT id, fingerprint, size FROM pair_set ORDER BY id")


def test_hash_seed_locale_time_zone_and_path_change_no_row_and_no_fingerprint(
    scripted_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = scripted_recipe(iterations=1, prompts={"part_size": 8})
    prompts = "".join(f"question number {number}, naïve \U0001f98a ?\n" for number in range(8))
    here = run(tmp_path / "here", recipe, prompts, PYTHONHASHSEED="1", TZ="UTC", LC_ALL="C.utf8")
    there = run(
        tmp_path / "another place", recipe, prompts, PYTHONHASHSEED="77", TZ="Asia/Tokyo", LC_ALL="C",
        PYTHONUTF8="0", PYTHONCOERCECLOCALE="0",
    )  # fmt: skip
    assert fingerprints(here) == fingerprints(there) != []
    assert content(here, ASIDE) == content(there, ASIDE)
