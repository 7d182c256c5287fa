"""The reference, taken from the code while the pages are built; nothing of it is written by hand or committed.

A page says where: `<!-- generated: views -->` stands for what views() returns.
"""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from typer.cli import get_docs_for_click

from toolkit import api, errors, records
from toolkit.__main__ import app
from toolkit.config import Recipe, Section
from toolkit.recipes.commented import as_toml, meaning, opening
from toolkit.recipes.run import SHIPPED
from toolkit.store.database import Store, queries

WIDTH = 72  # a longer signature has a line for each parameter
STORE = Path(errors.__file__).parent / "store"
_PLACE = re.compile(r"^<!-- generated: (\w+) -->$", re.M)


def on_page_markdown(markdown: str, **_: Any) -> str:
    return _PLACE.sub(lambda place: PARTS[place[1]](), markdown)


def commands() -> str:
    """Every command with its arguments, options and example, as typer tells them."""
    group: Any = typer.main.get_command(app)
    context = typer.Context(group, info_name="toolkit")
    known = {name: group.get_command(context, name) for name in group.list_commands(context)}
    pages = (
        get_docs_for_click(obj=command, ctx=context, name=name, indent=1, call_prefix="toolkit")
        for name, command in known.items()
    )
    return re.sub(r"^Example: (.*)$", r"**Example**:\n\n```console\n$ \1\n```", "\n".join(pages), flags=re.M)


def recipe_options() -> str:
    """What every recipe's command line takes."""
    asked = [sys.executable, "-m", "toolkit.recipes.temporal", "--help"]
    told = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    return f"```text\n{told.partition('Exit codes:')[0].strip()}\n```"


def fields() -> str:
    """Every field of a recipe, a table for each section."""
    return "\n".join(_section(Recipe(), ""))


def _section(section: Section, prefix: str) -> Iterator[str]:
    yield f"## {f'[{prefix}]' if prefix else 'Without a section'}\n\n{opening(section)}\n"
    inner = [(name, value) for name, value in section if isinstance(value, Section)]
    own = [(name, info) for name, info in type(section).model_fields.items() if name not in dict(inner)]
    lead = f"{prefix}." if prefix else ""
    rows = [(f"`{lead}{name}`", f"`{as_toml(getattr(section, name))}`", meaning(info)) for name, info in own]
    yield _table(("field", "default", "meaning, choices, range"), rows)
    for name, value in inner:
        yield from _section(value, lead + name)


def recipes() -> str:
    """Every shipped recipe file as it is."""
    files = sorted(SHIPPED[0].glob("*.toml"))
    return "\n".join(f"## {file.stem}\n\n```toml\n{file.read_text(encoding='utf-8').rstrip()}\n```\n" for file in files)


def python() -> str:
    """Every name of toolkit.api, with its signature and what its docstring says."""
    return "\n".join(_told(name, getattr(api, name)) for name in api.__all__ if name != "Recipe")


def kept_records() -> str:
    """Every record of toolkit.records with its fields."""
    kinds = inspect.getmembers(records, inspect.isclass)
    own = [(name, kind) for name, kind in kinds if kind.__module__ == records.__name__ and name != "Record"]
    return "\n".join(_told(name, kind) for name, kind in own)


def _told(name: str, known: Any, level: str = "##") -> str:
    """A function or class, then the methods that the class defines and describes itself."""
    inner = vars(known).items() if inspect.isclass(known) else ()
    methods = [(inner_name, inspect.unwrap(value)) for inner_name, value in inner if inspect.isfunction(value)]
    parts = [_told(f"{name}.{one}", value, "###") for one, value in methods if one[0] != "_" and value.__doc__]
    shown = re.sub(r"(: |-> )'([^']*)'", r"\1\2", f"{name}{inspect.signature(known)}")
    shown = re.sub(r"\(self(, )?", "(", shown)
    shown = shown if len(shown) < WIDTH else re.sub(r"\(|, (?=\w+:)", lambda cut: f"{cut[0].strip()}\n    ", shown)
    return "\n".join((f"{level} {name}\n\n```python\n{shown}\n```\n\n{inspect.getdoc(known)}\n", *parts))


def views() -> str:
    """Every view and table function, with the comment above its definition, and its columns."""
    with Store(None) as store:
        return "\n".join(_view(store, *found) for found in _definitions())


def _definitions() -> Iterator[tuple[str, str, str]]:
    """(comment, VIEW or MACRO, name with parameters), by name."""
    text = (STORE / "views.sql").read_text(encoding="utf-8")
    found = re.findall(r"((?:^-- .*\n)*)^CREATE OR REPLACE (VIEW|MACRO) (\w+(?:\(.*?\))?)", text, re.M)
    yield from sorted(((_words(comment), kind, name) for comment, kind, name in found), key=lambda one: one[2])


def _view(store: Store, comment: str, kind: str, name: str) -> str:
    if kind == "MACRO":
        return f"## {name}\n\nA table function. {comment}\n"
    columns = store.query(f"DESCRIBE {name}")
    told = ", ".join(f"`{column['column_name']}` {column['column_type'].lower()}" for column in columns)
    return f"## {name}\n\n{comment}\n\n{told}\n"


def named_queries() -> str:
    """Every shipped query with its question, its parameters and its SQL."""
    return "\n".join(_query(name, question) for name, question in queries().items())


def _query(name: str, question: str) -> str:
    sql = (STORE / "queries" / f"{name}.sql").read_text(encoding="utf-8").rstrip()
    asked = ", ".join(f"`{parameter}`" for parameter in sorted(set(re.findall(r"\$(\w+)", sql))))
    body = "\n".join(f"    {line}" for line in sql.splitlines())
    needs = f" Parameters: {asked}." if asked else ""
    return f'## {name}\n\n{question}{needs}\n\n??? note "SQL"\n\n    ```sql\n{body}\n    ```\n'


def exit_codes() -> str:
    """Every exit code, and the error of the package that it belongs to."""
    kinds = {kind.exit_code: name for name, kind in inspect.getmembers(errors, inspect.isclass) if _own(kind)}
    kinds[errors.StoreError.exit_code] = "StoreError, StoreLocked"
    rows = [(str(code), meaning, kinds.get(code, "")) for code, meaning in errors.exit_codes().items()]
    return _table(("code", "meaning", "error"), rows)


def _own(kind: type) -> bool:
    return issubclass(kind, errors.ToolkitError)


def _words(comment: str) -> str:
    return " ".join(line.removeprefix("-- ") for line in comment.splitlines())


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *(tuple(cell.replace("|", "\\|") for cell in row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


PARTS = {
    part.__name__: part
    for part in (commands, recipe_options, fields, recipes, python, kept_records, views, named_queries, exit_codes)
}
