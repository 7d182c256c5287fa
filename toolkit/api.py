"""The toolkit in Python: a store's rows as frames, and every verb of a recipe under one name.

    from toolkit import open_store
    open_store("runs/store.duckdb").pairs("guided@1").pandas()

    from toolkit.api import open_lab, generate, judge
    with open_lab("runs/store.duckdb", "quick", ["answers.k=2"]) as lab: ...

A recipe of one's own imports its verbs from here (recipes/examples/). Left out: what only commands need. Other modules
may move, this one's names stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.config import Recipe, load
from toolkit.diagnostics.diagnose import diagnose
from toolkit.diagnostics.measure import Measuring
from toolkit.evaluation.suite import evaluate
from toolkit.judgments.judge import judge
from toolkit.lab import Lab
from toolkit.pairs.pair import pair
from toolkit.pairs.selection import best, worst
from toolkit.pairs.versions import resolve
from toolkit.prompts.source import load_prompts
from toolkit.prompts.split import split
from toolkit.provenance import capture
from toolkit.recipes.run import find_config, main
from toolkit.records import Model, Prompt
from toolkit.responses.generate import generate
from toolkit.store.database import Store
from toolkit.store.serving import DEFAULT, open_reader
from toolkit.training.supervise import start
from toolkit.training.train import train
from toolkit.trust.paths import check_name

if TYPE_CHECKING:
    import datasets
    import pandas as pd
    import pyarrow as pa

__all__ = [
    "Frame", "Lab", "Measuring", "Model", "Prompt", "Recipe", "Stored", "best", "diagnose", "evaluate", "generate",
    "judge", "load_prompts", "main", "open_lab", "open_store", "pair", "split", "start", "train", "worst",
]  # fmt: skip
SHOWN = 10  # rows that a notebook shows of a frame
_ORDER = {  # of the rows of a view, so that the same question gives the same frame
    "pairs": "pair_set, id", "responses": "id", "judgments": "id", "scores": "id",
    "metrics": "pair_set, control, chosen, rejected, metric, model",
}  # fmt: skip
_SIDES = "(SELECT unnest([chosen, rejected]) FROM pairs WHERE pair_set = $set)"


@dataclass(frozen=True, repr=False)
class Frame:
    """Rows as they were when they were asked for; whoever takes them chooses the form. A notebook shows a table."""

    table: pa.Table

    def __repr__(self) -> str:
        return f"{len(self)} rows of {', '.join(self.table.column_names)}: .pandas(), .arrow() or .dataset()"

    def _repr_html_(self) -> str:
        return str(self.table.slice(0, SHOWN).to_pandas().to_html(notebook=True)) + f"<p>{escape(repr(self))}</p>"

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def arrow(self) -> pa.Table:
        return self.table

    def pandas(self) -> pd.DataFrame:
        return self.table.to_pandas()

    def dataset(self) -> datasets.Dataset:
        """For `datasets`, in memory."""
        from datasets import Dataset

        return Dataset(self.table)


@dataclass(frozen=True)
class Stored:
    """A store for reading, also while a run writes it. It is opened for each question alone, so no run waits for it.

    `of` is a version of a pair set (guided@2, guided, guided@paper, guided-0), or "" for everything.
    """

    path: Path

    def pairs(self, of: str = "") -> Frame:
        """A row for each pair of each version: prompt, both texts, scores, roles, gap."""
        return self._view("pairs", "pair_set = $set", of)

    def responses(self, of: str = "") -> Frame:
        """Answers; of a version, those on either side of its pairs."""
        return self._view("responses", f"id IN {_SIDES}", of)

    def judgments(self, of: str = "") -> Frame:
        """Verdicts by every judge, with the raw reply; of a version, those on either side of its pairs."""
        return self._view("judgments", f"response IN {_SIDES}", of)

    def metrics(self, of: str = "") -> Frame:
        """What `diagnose` measured, a row for each number of a pair or of its control."""
        return self._view("metrics", "pair_set = $set", of)

    def scores(self) -> Frame:
        """What evaluation gave each model, by task and metric."""
        return self._view("scores")

    def sql(self, statement: str, **parameters: Any) -> Frame:
        """The answer to one reading statement; `$name` in it is the keyword `name`."""
        with open_reader(self.path) as store:
            return Frame(store.arrow(statement, parameters))

    def _view(self, name: str, condition: str = "", of: str = "") -> Frame:
        with open_reader(self.path) as store:
            where, values = (f"WHERE {condition}", {"set": resolve(store, of).id}) if of else ("", {})
            return Frame(store.arrow(f"FROM {name} {where} ORDER BY {_ORDER[name]}", values))


def open_store(path: str | Path = DEFAULT) -> Stored:
    """The rows of this store. Raises StoreError where there is none."""
    with open_reader(Path(path)):
        return Stored(Path(path))


def open_lab(
    store: str | Path = DEFAULT,
    config: str | Path = "quick",
    changes: Sequence[str] = (),
    run: str = "notebook",
    *,
    trusted: bool = False,
) -> Lab:
    """A lab in which the verbs work, by a recipe file or a shipped one, with `key.subkey=value` changes.

    To be opened with `with`: until it closes, this process alone writes the store. trusted: the recipe file and its
    suite may name code and servers.
    """
    check_name(run, "a run")
    recipe = load(find_config(Path(config)), changes, trusted=trusted)
    return Lab(recipe, Store(Path(store)), capture(run, recipe.resolved()), trusted=trusted)
