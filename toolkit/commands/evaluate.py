"""One model by one suite: python -m toolkit evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.commands.common import DEFAULT, JsonOption, StoreOption, end, reading, show
from toolkit.commands.judges import ConfigOption, SetOption, find_model, stored_model
from toolkit.config import load
from toolkit.engines import checkpoint
from toolkit.lab import Lab
from toolkit.precision import computes
from toolkit.provenance import capture
from toolkit.recipes.run import find_config
from toolkit.store.database import Store
from toolkit.trust.consent import TrustOption

if TYPE_CHECKING:
    from toolkit.evaluation.answers import Graded


def evaluate(
    model: Annotated[str, typer.Argument(help="A stored model (M_1, temporal/M_1, an id), a directory or a hub id.")],
    suite: Annotated[Path, typer.Option(help="Suite file, or the name of a shipped one.")] = Path("quick"),
    limit: Annotated[int | None, typer.Option(help="The first N questions of every test.", min=1)] = None,
    config: ConfigOption = None,
    set_: SetOption = None,
    trust: TrustOption = False,
    store: StoreOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Measure a model by the tests of a suite: evaluate temporal/M_2 --suite quick --limit 10."""
    end(lambda: _evaluate((model, suite, limit), (config, tuple(set_ or ()), trust), store, as_json))


def _evaluate(
    what: tuple[str, Path, int | None], settings: tuple[Path | None, tuple[str, ...], bool], store: Path, as_json: bool
) -> None:
    from toolkit.evaluation.suite import load_suite, run

    name, suite, limit = what
    config, changes, trusted = settings
    recipe = load(find_config(config), changes, trusted=trusted)
    if store.exists() and computes(recipe.engine):
        _refuse_scripted(store, name)
    tests = load_suite(suite, limit, trusted=trusted)
    with Lab(recipe, Store(store), capture("evaluate", recipe.resolved()), trusted=trusted) as lab:
        model = find_model(lab, name)
        rows = [row for test in tests for row in _rows(lab.store, test.name, run(lab, model, test))]
    show(f"{model.name} ({model.id})", rows, as_json=as_json, wide=True)


def _refuse_scripted(store: Path, name: str) -> None:
    """Raise InputError for a model of a demo, which no engine with real arithmetic can load."""
    with reading(store) as opened:
        model = stored_model(opened, name)
    if model:
        checkpoint.refuse_scripted(store.parent / model.path, model.name)


def _rows(store: Store, test: str, graded: Graded) -> list[dict[str, object]]:
    """The scores with the intervals of the leaderboard: one function makes both."""
    from toolkit.evaluation.intervals import of_score

    rows: list[dict[str, object]] = []
    for score in (score for score in graded.scores if score.value is not None):
        span = of_score(store, score, graded.items, graded.scores)
        ends = {"low": span.low, "high": span.high, "n": score.n, "interval": span.method}
        rows.append({"test": test, "metric": score.metric, "value": score.value, **ends})
    return rows
