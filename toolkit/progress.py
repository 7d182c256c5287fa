"""Progress of a long stage: done/total, rate and ETA, on a terminal one live line, in a log one line at times.

Leaves out colour and cursor games: a log file shows the same words as a terminal.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass, field
from typing import TextIO

LOG_EVERY = 10.0  # seconds between two lines where the output is no terminal


@dataclass
class Progress:
    """The progress of one stage. `cached` items were done before this launch and do not count in the rate."""

    label: str
    total: int
    cached: int = 0
    stream: TextIO = field(default_factory=lambda: sys.stderr)
    done: int = 0
    started: float = field(default_factory=time.monotonic)
    _shown: float = field(default_factory=time.monotonic)
    _first: float | None = None  # when the first item was done: before it, an engine was starting

    def advance(self, note: str = "") -> None:
        self.done += 1
        live = self._live
        now = time.monotonic()
        self._first = now if self._first is None else self._first
        if now - self._shown >= (0.2 if live else LOG_EVERY):
            self._shown = now
            self.stream.write(f"\r\x1b[K{self.line(note)}" if live else f"{self.line(note)}\n")
            self.stream.flush()

    def finish(self, note: str = "") -> None:
        """The closing line, with the time taken."""
        clear = "\r\x1b[K" if self._live else ""
        made = f"{self.done} made, {self.cached} stored before" if self.cached else f"{self.done} made"
        what = "nothing to do" if self.cached >= self.total else made
        tail = f" · {note}" if note else ""
        self.stream.write(f"{clear}{self.label:<44} {what} · {self.seconds:.1f} s{tail}\n")
        self.stream.flush()

    def line(self, note: str = "") -> str:
        finished = self.cached + self.done
        parts = [f"{self.label:<44} {finished}/{self.total}", *self._pace(self.total - finished)]
        return " · ".join(parts + ([note] if note else []))

    def _pace(self, left: int) -> list[str]:
        """Rate and ETA since the first item; nothing before the second."""
        seconds = time.monotonic() - self._first if self._first is not None else 0.0
        if self.done < 2 or seconds <= 0:
            return []
        rate = (self.done - 1) / seconds
        return [f"{rate:.1f}/s" if rate >= 1 else f"{1 / rate:.1f} s each", f"ETA {duration(left / rate)}"]

    @property
    def _live(self) -> bool:
        """Whether one line can be written over: a terminal that knows how."""
        return self.stream.isatty() and os.environ.get("TERM") != "dumb"

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started


def duration(seconds: float) -> str:
    """A time to wait, in the two units that matter: 45 s, 12 min, 3 h 05 min."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min"
