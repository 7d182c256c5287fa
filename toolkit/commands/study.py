"""The report of a study: python -m toolkit study FOLDER."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from toolkit.commands.common import JsonOption, end, say, would_write
from toolkit.trust.paths import output_folder


def study(
    folders: Annotated[
        list[Path], typer.Argument(help="Folders that hold summaries of its seeds, for example of several machines.")
    ],
    out: Annotated[Path | None, typer.Option(help="Folder for the files; else reports/ in the first folder.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what it would write and replace.")] = False,
    as_json: JsonOption = False,
) -> None:
    """What the seeds of a study show together, with the answer first: study benchmarks/results/study."""
    end(lambda: _study(folders, out, dry_run=dry_run, as_json=as_json))


def _study(folders: Sequence[Path], out: Path | None, *, dry_run: bool, as_json: bool) -> None:
    from toolkit.study.page import report_lines, study_paths, write_study
    from toolkit.study.results import results
    from toolkit.study.summary import read_summaries

    folder = out or output_folder(folders[0], "reports")
    summaries = read_summaries(folders)
    computed = results(summaries)
    if dry_run:
        paths = study_paths(computed.declaration.study, folder)
        say(would_write(paths), {"would_write": [str(path) for path in paths]}, as_json=as_json)
        return
    written, claim = write_study(summaries, folder), computed.claim
    row = {
        "study": computed.declaration.study, "claim": claim.word, "answer": claim.sentence,
        "reasons": claim.reasons, "marks": computed.marks, "written": [str(path) for path in written],
    }  # fmt: skip
    say(report_lines(computed, written), row, as_json=as_json)
