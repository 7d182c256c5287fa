"""The command line over a store: python -m toolkit --help.

Recipes have their own: python -m toolkit.recipes.temporal --help.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from toolkit.errors import RecipeError
from toolkit.recipes.run import STORE, guarded
from toolkit.reporting.tables import table
from toolkit.store.database import Store, queries

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Questions to a store of preference data.")


@app.callback()
def toolkit() -> None:
    """Keeps `query` a subcommand while it is the only one."""


@app.command()
def query(
    name: Annotated[str, typer.Argument(help="Name of a shipped query; none lists them.")] = "",
    parameters: Annotated[list[str] | None, typer.Argument(help="The query's parameters: name=value.")] = None,
    store: Annotated[Path, typer.Option(help="The DuckDB file.")] = STORE,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Ask a shipped query, for example: query lineage model=M_2."""
    raise typer.Exit(guarded(lambda: _query(name, parameters or [], store, as_json)))


def _query(name: str, parameters: list[str], path: Path, as_json: bool) -> None:
    if not name:
        print(table("Queries", [{"name": key, "answers": text} for key, text in queries().items()]).text())
        return
    with Store(path, read_only=True) as store:
        rows = store.named(name, **dict(_parameter(text) for text in parameters))
    if as_json:
        print("\n".join(json.dumps(row, default=str, ensure_ascii=False) for row in rows))
    else:
        print(table(f"{name}: {len(rows)} rows", rows).text() if rows else "no rows")


def _parameter(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise RecipeError(f"parameter {text!r} is not name=value", remedy="write for example model=M_2")
    return name, value


if __name__ == "__main__":
    app()
