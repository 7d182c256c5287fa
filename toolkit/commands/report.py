"""The report of one run: python -m toolkit report RUN."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from toolkit.commands.common import DEFAULT, StoreOption, end, reading
from toolkit.reporting.run_page import run_page, write_page


def report(
    run: Annotated[str, typer.Argument(help="The run: its recipe's name, or what --run called it.")],
    store: StoreOption = DEFAULT,
    against: Annotated[
        list[str] | None, typer.Option(help="A run to show beside; may be repeated. Else all from the same model.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for both files; else reports/ beside the store.")] = None,
) -> None:
    """What a run shows, as one HTML page and as Markdown: report temporal --against self_rewarding."""
    end(lambda: _report(run, store, against or (), out))


def _report(run: str, path: Path, against: Sequence[str], out: Path | None) -> None:
    with reading(path) as store:
        page = run_page(store, run, against)
    print(f"{page.verdict.verdict}: {page.verdict.headline}")
    for written in write_page(page, out or path.parent / "reports"):
        print(f"written: {written}")
