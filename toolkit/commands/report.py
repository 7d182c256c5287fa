"""The report of one run: python -m toolkit report RUN."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from toolkit.commands.common import DEFAULT, JsonOption, StoreOption, end, reading, say, would_write
from toolkit.trust.paths import output_folder


def report(
    run: Annotated[str, typer.Argument(help="The run, as its recipe or --run named it; the newest by default.")] = "",
    store: StoreOption = DEFAULT,
    against: Annotated[
        list[str] | None, typer.Option(help="A run to show beside; may be repeated. Else all from the same model.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for both files; else reports/ beside the store.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what it would write and replace.")] = False,
    as_json: JsonOption = False,
) -> None:
    """What a run shows, as one HTML page and as Markdown: report temporal --against self_rewarding."""
    end(lambda: _report((run, against or ()), store, out, (dry_run, as_json)))


def _report(what: tuple[str, Sequence[str]], path: Path, out: Path | None, how: tuple[bool, bool]) -> None:
    from toolkit.reporting.page.run_page import page_paths, run_page, write_page
    from toolkit.reporting.run_status import status_of

    (run, against), (dry_run, as_json) = what, how
    folder = out or output_folder(path.parent, "reports")
    with reading(path) as store:
        page = run_page(store, run or status_of(store).run, against)
        paths = page_paths(page, folder)
        if not dry_run:
            paths = write_page(page, folder)
    if dry_run:
        say(would_write(paths), {"would_write": [str(path) for path in paths]}, as_json=as_json)
        return
    written = [str(file) for file in paths]
    told = [f"{page.verdict.verdict}: {page.verdict.headline}", *(f"written: {file}" for file in written)]
    say(told, {**asdict(page.verdict), "written": written}, as_json=as_json)
