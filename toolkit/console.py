"""How every command line of the toolkit looks and how it ends.

Help is plain text: no colour, so NO_COLOR and TERM=dumb change nothing, and no rich, a fifth of the time of --help.
A command's help is its docstring, which ends in ": EXAMPLE."; the example stands in a line of its own.
"""

from __future__ import annotations

import codecs
import io
import json
import os
import select
import sys
import traceback
from collections.abc import Callable
from types import TracebackType

import typer

from toolkit.errors import FULL, INTERRUPTED, UNREAD, InputError, OutputError, ToolkitError, exit_codes
from toolkit.redaction import hidden
from toolkit.safe_text import lines

WIDTH = 120  # columns of help at most; a pipe gets 80


def application() -> typer.Typer:
    """A command line that takes commands with `add`."""
    return typer.Typer(
        no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False, epilog=told_codes(),
        context_settings={"max_content_width": WIDTH},
    )  # fmt: skip


def add(app: typer.Typer, function: Callable[..., None]) -> None:
    """Make the function a command of its own name."""
    name = name_of(function)
    summary, example = described(function.__doc__ or "")
    told = f"{summary}."
    app.command(name, help=told, short_help=told, epilog=f"Example: toolkit {example}" if example else None)(function)


def name_of(function: Callable[..., None]) -> str:
    """What is typed: import_ is import, judge_quality is judge-quality."""
    return function.__name__.strip("_").replace("_", "-")


def described(text: str) -> tuple[str, str]:
    """Summary and example of a command's docstring."""
    line = " ".join(text.split()).removesuffix(".")
    summary, colon, example = line.rpartition(": ")
    return (summary, example) if colon else (line, "")


def single(function: Callable[..., None], example: str) -> None:
    """Run a command line of one command."""
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)
    app.command(epilog="\n\n".join((f"Example: {example}", told_codes())) if example else told_codes())(function)
    app()


def told_codes() -> str:
    """The exit codes, a line each; \\b keeps the lines as they are."""
    return "\n".join(("\b", "Exit codes:", *(f"  {code:<4} {meaning}" for code, meaning in exit_codes().items())))


def guarded(action: Callable[[], None]) -> int:
    """The exit code of an action: 0, an error's own, or what a shell would say; errors are printed, not raised."""
    _spell_what_cannot_be_shown()
    sys.excepthook = _print_traceback
    try:
        action()
        if sys.stdout:  # none where it was closed before the start
            sys.stdout.flush()
    except ToolkitError as error:
        _print_error(error)
        return error.exit_code
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        if not unread():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains as it ends
        return UNREAD
    except (OSError, RuntimeError) as error:
        if not (problem := _unusable(error)):
            raise
        _print_error(problem)
        return problem.exit_code
    return 0


def _unusable(error: OSError | RuntimeError) -> ToolkitError | None:
    """The error for a file of the user's; None for a fault of ours, whose traceback is wanted."""
    remedy = "name a file that can be read or written"
    if isinstance(error, RuntimeError):  # pathlib's, for ~nobody and for links in a circle
        ours = not str(error).startswith(("Symlink loop", "Could not determine home"))
        return None if ours else InputError(str(error), remedy=remedy)
    if error.filename is not None:
        return InputError(f"{error.filename}: {error.strerror}", remedy=remedy)
    if error.errno in FULL:
        return OutputError(f"cannot write: {error.strerror}", where="the output", remedy="free some space")
    return None


def _print_error(error: ToolkitError) -> None:
    """It may quote what a model or a file wrote; secrets are out of it already."""
    print(f"\nerror: {lines(str(error))}", file=sys.stderr)


def _print_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Of a fault of ours. The error may quote the address or the argument that it was raised for."""
    print(hidden("".join(traceback.format_exception(kind, error, trace))), file=sys.stderr, end="")


def _spell_what_cannot_be_shown() -> None:
    """Where the output takes no such letter it gets \\uXXXX, which JSON reads as the letter, and no traceback."""
    codecs.register_error("spelled", _spelled)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="spelled")


def _spelled(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)  # an output encodes
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


def unread() -> bool:
    """Whether standard output is a pipe that nobody reads any more."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))
