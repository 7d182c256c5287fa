"""What faults are tried on, and how a store is held against another.

The small stand is a model of one weight, eight prompts, and a recipe of two iterations that a second does. Engine and
trainer are fakes at the process borders: the scripted engine, the scripted trainer where OpenRLHF would run,
`fakes/vllm.py` where vLLM would. Everything between them is the toolkit's own. The real stand has no fake.
"""

from __future__ import annotations

import json
import stat
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.recipes.test_real_loop import SMALL
from toolkit.commands.doctor import examine
from toolkit.engines import embedded, toy
from toolkit.store.database import Store
from toolkit.training import scripted

ROOT = Path(__file__).resolve().parents[2]
PROVENANCE = {"launch", "step", "migration"}  # tables of what ran where and when
WHEN = {"launch", "seconds", "created"}  # such columns of the others
RECIPE = """
name = "chaos"
model = "{folder}/M_0"
iterations = 2
seed = 3
prompts = {{ source = "{folder}/prompts.txt", part_size = 4 }}
answers = {{ k = 3, max_tokens = 16 }}
judge = {{ method = "expected" }}
training = {{ batch_size = 4, small_sets = "shrink" }}
gate = {{ max_dropped = 0.9 }}
engine = {{ kind = "scripted", device = "cpu", options = {{ delay = 0.003 }} }}
trainer = {{ python = "{folder}/bin/trainer", device = "cpu" }}
"""
Rows = dict[str, Counter[str]]


@dataclass(frozen=True)
class Stand:
    """A folder, and what names the recipe on the command line of `toolkit.recipes.temporal`."""

    folder: Path
    recipe: tuple[str, ...]

    @classmethod
    def made(cls, folder: Path) -> Stand:
        """The small one: model, prompts, recipe, and the interpreters of the fakes."""
        stand = cls(folder, ("--config", str(folder / "recipe.toml"), "--trust"))  # it names interpreters
        toy.make(stand.model)
        (folder / "prompts.txt").write_text("".join(f"question number {i}?\n" for i in range(8)))
        (folder / "recipe.toml").write_text(RECIPE.format(folder=folder))
        scripted.interpreter(folder / "bin" / "trainer")
        fakes = f"{Path(__file__).parent / 'fakes'}:{ROOT}"
        interpreter(folder / "bin" / "vllm", f'PYTHONPATH="{fakes}" exec "{sys.executable}" "$@"')
        return stand

    @classmethod
    def real(cls, folder: Path) -> Stand:
        """The embedded model, vLLM and OpenRLHF, with as little work as runs every stage."""
        embedded.prepare()
        return cls(folder, ("--iters", "1", *(word for change in SMALL for word in ("--set", change))))

    @property
    def model(self) -> Path:
        return self.folder / "M_0"

    def arguments(self, store: Path, changes: tuple[str, ...] = ()) -> list[str]:
        """What follows `python -m toolkit.recipes.temporal`."""
        sets = [word for change in changes for word in ("--set", change.format(stand=self.folder))]
        return [*self.recipe, "--store", str(store), *sets]


def interpreter(path: Path, line: str) -> None:
    """A shell script that stands in for a Python."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def content(path: Path) -> Rows:
    """Every row of every table of records, without its provenance, counted."""
    with Store(path, read_only=True) as store:
        columns: dict[str, list[str]] = {}
        for row in store.query("SELECT table_name AS t, column_name AS c FROM duckdb_columns() WHERE NOT internal"):
            columns.setdefault(row["t"], []).append(row["c"])
        tables = {row["t"] for row in store.query("SELECT table_name AS t FROM duckdb_tables()")} - PROVENANCE
        return {
            table: Counter(
                json.dumps([(c, row[c]) for c in sorted(columns[table]) if c not in WHEN], default=str)
                for row in store.query(f"FROM {table}")
                if row.get("metric") not in WHEN  # a step's seconds are a row
            )
            for table in sorted(tables)
        }


def compared(reference: Rows, found: Rows) -> tuple[int, int]:
    """Rows lost, and rows too many: a second copy, or a row that the uninterrupted run does not have."""
    lost = sum((reference[table] - found[table]).total() for table in reference)
    return lost, sum((found[table] - reference[table]).total() for table in reference)


def told(reference: Rows, found: Rows, most: int = 3) -> str:
    """The first rows of each table that differ, for whoever looks for the cause."""
    lost, doubled = (
        {table: a[table] - b[table] for table in reference} for a, b in ((reference, found), (found, reference))
    )
    return "; ".join(
        f"{word} in {table}: {row}"
        for word, rows in (("lost", lost), ("too many", doubled))
        for table, counted in rows.items()
        for row in list(counted)[:most]
    )


def unsound(path: Path) -> list[str]:
    """What `doctor` and `law` find wrong, and checkpoints that no row knows."""
    with Store(path) as store:
        found = [f"{row['check']}: {row['found']}" for row in examine(store) if row["found"]]
        found += [str(row["violation"]) for row in store.named("law")]
        known = {Path(row["path"]).name for row in store.query("SELECT path FROM model")}
    folders = [folder.name for folder in (path.parent / "models").glob("*")]
    return found + [f"no row knows models/{name}" for name in folders if name not in known]
