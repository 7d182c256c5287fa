"""Questions to a store: SQL, the shipped queries, lineage."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from toolkit.commands.common import DEFAULT, JsonOption, StoreOption, WideOption, end, reading, show
from toolkit.errors import InputError, OutputError, RecipeError, StoreError
from toolkit.reporting.json_lines import json_line
from toolkit.safe_text import lines, one_line
from toolkit.store import lineage as tracing
from toolkit.store.database import Store, queries
from toolkit.trust.safe_files import scratch, sync

FORMATS = ("table", "csv", "json", "parquet")


def sql(
    statement: Annotated[str, typer.Argument(help="One reading statement; without it, a shell.")] = "",
    store: StoreOption = DEFAULT,
    form: Annotated[str, typer.Option("--format", help="table, csv, json or parquet.")] = "table",
    out: Annotated[Path | None, typer.Option(help="File to write; parquet needs one.")] = None,
    as_json: JsonOption = False,
    wide: WideOption = False,
) -> None:
    """Read-only SQL, also while a run writes: sql "FROM pairs LIMIT 5" --format csv."""
    end(lambda: _sql(statement, store, "json" if as_json else form, out, wide))


def query(
    name: Annotated[str, typer.Argument(help="Name of a shipped query; none lists them.")] = "",
    parameters: Annotated[list[str] | None, typer.Argument(help="The query's parameters: name=value.")] = None,
    store: StoreOption = DEFAULT,
    as_json: JsonOption = False,
    wide: WideOption = False,
) -> None:
    """Ask a shipped query, with its parameters as name=value; without a name, list them: query gap_by_iteration."""
    end(lambda: _query(name, parameters or [], store, as_json, wide))


def lineage(
    target: Annotated[str, typer.Argument(help="Name or id of a model, score, pair set, pair, answer or prompt.")],
    store: StoreOption = DEFAULT,
    as_json: JsonOption = False,
    wide: WideOption = False,
) -> None:
    """From a result back to the raw judge replies, or from a prompt to all that was made of it: lineage M_2 --json."""
    end(lambda: _lineage(target, store, as_json, wide))


def _sql(statement: str, path: Path, form: str, out: Path | None, wide: bool) -> None:
    if form not in FORMATS:
        raise RecipeError(f"--format {form!r}", remedy=f"one of {', '.join(FORMATS)}")
    if form == "parquet" and out is None:
        raise RecipeError("--format parquet needs a file", remedy="name it with --out")
    with reading(path) as store:
        if statement:
            answer = store.arrow(statement)
            with _expressed(form, out):
                _write_aside(answer, form, out, wide)
        else:
            _shell(store)


def _write_aside(answer: Any, form: str, out: Path | None, wide: bool) -> None:
    """A file is replaced when the new one is complete."""
    if out is None or form == "table" or (out.exists() and not out.is_file()):
        _write(answer, form, out, wide)
    else:
        target = Path(os.path.realpath(out))
        with scratch(target.parent, "answer") as folder:
            _write(answer, form, folder / target.name, wide)
            sync(folder / target.name)
            os.replace(folder / target.name, target)
    if out:
        print(f"{answer.num_rows} rows in {out}", file=sys.stderr)


def _write(answer: Any, form: str, out: Path | None, wide: bool) -> None:
    if form == "parquet":
        from pyarrow import parquet

        parquet.write_table(answer, out)
    elif form == "csv":
        frame = answer.to_pandas(integer_object_nulls=True)
        shown = frame.map(_shown) if out is None and sys.stdout.isatty() else frame  # a pipe gets what the store holds
        shown.to_csv(out or sys.stdout, index=False)
    elif form == "json":
        _write_lines(answer, out)
    else:
        show(f"{answer.num_rows} rows", answer.to_pylist(), wide=wide)


def _shown(value: Any) -> Any:
    return one_line(value) if isinstance(value, str) else value


def _write_lines(answer: Any, out: Path | None) -> None:
    with out.open("w", encoding="utf-8") if out else contextlib.nullcontext(sys.stdout) as file:
        file.writelines(f"{json_line(row)}\n" for batch in answer.to_batches() for row in batch.to_pylist())


@contextlib.contextmanager
def _expressed(form: str, out: Path | None) -> Iterator[None]:
    """What a form has no word for, a year above 9999 for example, and what a file does not take, as errors of ours."""
    try:
        yield
    except OSError as error:
        if out is None:
            raise
        told = f"cannot write: {error.strerror or error}"
        raise OutputError(told, where=out, remedy="name another file with --out") from error
    except (OverflowError, ValueError, NotImplementedError) as error:
        told = f"a value that cannot be written as {form}: {error}"
        raise StoreError(told, remedy="ask for it as text: column::VARCHAR") from error


def _shell(store: Store) -> None:
    """Statements ended by a semicolon, until the end of input. `.views` lists what there is."""
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  # gives input() its history
    print(f"read-only SQL on {store.path}; end a statement with ; and leave with Ctrl-D; .views lists the views")
    waiting = ""
    while (line := _line("...> " if waiting else "sql> ")) is not None:
        if line.strip() == ".views":
            line = "SELECT view_name FROM duckdb_views() WHERE NOT internal ORDER BY ALL;"
        waiting = f"{waiting}\n{line}".strip()
        if waiting.endswith(";"):
            try:
                answer = store.arrow(waiting)
                with _expressed("table", None):
                    _write(answer, "table", None, wide=False)
            except StoreError as error:
                print(f"error: {lines(error.problem)}", file=sys.stderr)
            waiting = ""


def _line(prompt: str) -> str | None:
    try:
        return input(prompt) if sys.stdin else None
    except EOFError:
        return None


def _query(name: str, parameters: list[str], path: Path, as_json: bool, wide: bool) -> None:
    if not name:
        show("Queries", [{"name": key, "answers": text} for key, text in queries().items()], as_json=as_json, wide=True)
        return
    with reading(path) as store:
        rows = store.named(name, **dict(_parameter(text) for text in parameters))
    show(f"{name}: {len(rows)} rows", rows, as_json=as_json, wide=wide)


def _lineage(target: str, path: Path, as_json: bool, wide: bool) -> None:
    with reading(path) as store:
        rows = tracing.lineage(store, target) or tracing.lineage_of_prompt(store, target)
    if not rows:
        raise InputError(
            f"nothing in the store is called {target!r}",
            remedy="name a model (M_2), a set (guided@1), or the id of a score, pair, answer or prompt",
        )
    show(f"{target}: {len(rows)} verdicts", rows, as_json=as_json, wide=wide)


def _parameter(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise RecipeError(f"parameter {text!r} is not name=value", remedy="write for example phase=guided")
    return name, value
