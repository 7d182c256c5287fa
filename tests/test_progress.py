from __future__ import annotations

import io
import re

import pytest

from toolkit.progress import LOG_EVERY, Progress, duration
from toolkit.safe_text import one_line


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_gets_a_line_only_now_and_then() -> None:
    out = io.StringIO()
    progress = Progress("answers", total=4, stream=out)
    progress.advance()
    progress._shown -= LOG_EVERY
    progress.advance()
    progress.advance()
    (line,) = out.getvalue().splitlines()
    assert re.search(r"answers .* 2/4 · [\d.]+/s · ETA \d+ s", line)
    assert "\x1b" not in line


def test_a_terminal_gets_one_live_line_that_the_last_one_replaces() -> None:
    out = Terminal()
    progress = Progress("answers", total=1, stream=out)
    progress.advance()
    progress.finish()
    assert out.getvalue().endswith("\n")
    assert out.getvalue().count("\n") == 1


def test_a_terminal_that_cannot_write_over_a_line_gets_a_logs_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    out = Terminal()
    progress = Progress("answers", total=2, stream=out)
    progress._shown -= LOG_EVERY
    progress.advance()
    progress.finish()
    assert out.getvalue().count("\n") == 2
    assert "\x1b" not in out.getvalue()


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.2, "0 s"), (99, "99 s"), (100, "2 min"), (3_569, "59 min"), (3_600, "1 h 00 min"), (36_300, "10 h 05 min")],
)
def test_a_time_to_wait_is_told_in_units_that_matter(seconds: float, told: str) -> None:
    assert duration(seconds) == told


def test_the_rate_is_of_new_rows_since_the_first_of_them() -> None:
    progress = Progress("answers", total=10, cached=6, stream=io.StringIO())
    progress.started -= 100.0  # an engine was starting
    progress.advance()
    assert progress.line() == f"{'answers':<44} 7/10"
    assert progress._first is not None
    progress._first -= 2.0
    progress.advance()
    assert progress.line() == f"{'answers':<44} 8/10 · 2.0 s each · ETA 4 s"


def test_a_stage_with_nothing_to_do_says_so() -> None:
    out = io.StringIO()
    Progress("answers", total=3, cached=3, stream=out).finish()
    assert "nothing to do" in out.getvalue()


@pytest.mark.parametrize("text", ["\x1b[2J", "\r", "\x07", "\u202eevil", "\x9b31m", "a\ud800b", "\x00"])
def test_model_text_cannot_forge_terminal_output(text: str) -> None:
    shown = one_line(text)
    assert shown.isprintable()
    assert one_line(shown) == shown
    shown.encode("utf-8")


def test_line_ends_are_shown_and_long_text_is_cut() -> None:
    assert one_line("a\nb") == "a⏎b"
    assert one_line("abcdef", 4) == "abc…"
