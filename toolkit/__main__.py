"""The command line over a store: python -m toolkit --help.

Recipes have their own: python -m toolkit.recipes.temporal --help.
"""

from __future__ import annotations

import typer

from toolkit.commands.ask import lineage, query, sql
from toolkit.commands.doctor import doctor
from toolkit.commands.sets import delete, diff, pairs, sets, tag

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Preference data: versions, questions, exchange.")
COMMANDS = (sets, pairs, diff, tag, delete, sql, query, lineage, doctor)
for command in COMMANDS:
    app.command()(command)

if __name__ == "__main__":
    app()
