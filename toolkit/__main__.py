"""The command line over a store: python -m toolkit --help.

Recipes have their own: python -m toolkit.recipes.temporal --help.
"""

from __future__ import annotations

from collections.abc import Callable

import typer

from toolkit.commands.ask import lineage, query, sql
from toolkit.commands.board import leaderboard
from toolkit.commands.browse import browse
from toolkit.commands.diagnose import diagnose
from toolkit.commands.doctor import doctor
from toolkit.commands.evaluate import evaluate
from toolkit.commands.exchange import export, filter_, import_, import_responses, import_scores, overlap, pair
from toolkit.commands.judges import judge_quality, judgement_examples, rescore
from toolkit.commands.report import report
from toolkit.commands.sets import delete, diff, pairs, sets, tag
from toolkit.commands.several import merge, part_collect, part_out, part_select

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Preference data: versions, questions, exchange.")
COMMANDS: tuple[Callable[..., None], ...] = (sets, pairs, diff, tag, delete, sql, query, lineage)
COMMANDS += (import_, export, import_responses, import_scores, pair, overlap, filter_, doctor)
COMMANDS += (rescore, judge_quality, judgement_examples, evaluate, leaderboard, diagnose, report, browse)
COMMANDS += (merge, part_out, part_select, part_collect)
for command in COMMANDS:
    app.command(command.__name__.strip("_").replace("_", "-"))(command)

if __name__ == "__main__":
    app()
