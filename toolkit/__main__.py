"""The command line over a store: python -m toolkit --help, or toolkit --help.

Recipes have their own: python -m toolkit.recipes.temporal --help.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from toolkit import __version__
from toolkit.commands.ask import lineage, query, sql
from toolkit.commands.board import leaderboard
from toolkit.commands.browse import browse
from toolkit.commands.demo import demo
from toolkit.commands.diagnose import diagnose
from toolkit.commands.doctor import doctor
from toolkit.commands.evaluate import evaluate
from toolkit.commands.exchange import export, filter_, import_, import_responses, import_scores, overlap, pair
from toolkit.commands.init import init
from toolkit.commands.judges import judge_quality, judgement_examples, rescore
from toolkit.commands.publish import export_model, pull, pull_model, push, push_model
from toolkit.commands.report import report
from toolkit.commands.sets import delete, diff, pairs, sets, tag
from toolkit.commands.several import merge, part_collect, part_out, part_select
from toolkit.commands.status import status
from toolkit.commands.study import study
from toolkit.commands.track import log
from toolkit.console import add, application
from toolkit.recipes.compare import compare

COMMANDS: tuple[Callable[..., None], ...] = (demo, init, status, compare)
COMMANDS += (sets, pairs, diff, tag, delete, sql, query, lineage)
COMMANDS += (import_, export, import_responses, import_scores, pair, overlap, filter_, doctor)
COMMANDS += (rescore, judge_quality, judgement_examples, evaluate, leaderboard, diagnose, report, study, browse, log)
COMMANDS += (export_model, push, push_model, pull, pull_model)
COMMANDS += (merge, part_out, part_select, part_collect)
app = application()
for command in COMMANDS:
    add(app, command)


def _version(asked: bool) -> None:
    if asked:
        print(f"temporal-toolkit {__version__}")
        raise typer.Exit


@app.callback()
def toolkit(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and stop.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    """Preference data: versions, questions, exchange. A run is started by a recipe, for example
    python -m toolkit.recipes.temporal --help."""


if __name__ == "__main__":
    app()
