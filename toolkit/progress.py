"""Progress of a long stage: done/total, rate and ETA, on a terminal one live line, in a log one line at times.

Leaves out colour and cursor games: a log file shows the same words as a terminal.
"""

from __future__ import annotations

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
    unit: str = ""
    stream: TextIO = field(default_factory=lambda: sys.stderr)
    done: int = 0
    started: float = field(default_factory=time.monotonic)
    _shown: float = field(default_factory=time.monotonic)

    def advance(self, count: int = 1, note: str = "") -> None:
        self.done += count
        live = self.stream.isatty()
        now = time.monotonic()
        if now - self._shown >= (0.2 if live else LOG_EVERY):
            self._shown = now
            self.stream.write(f"\r\x1b[K{self.line(note)}" if live else f"{self.line(note)}\n")
            self.stream.flush()

    def finish(self, note: str = "") -> None:
        """The closing line, with the time taken."""
        clear = "\r\x1b[K" if self.stream.isatty() else ""
        made = f"{self.done} made, {self.cached} stored before" if self.cached else f"{self.done} made"
        what = "nothing to do" if self.cached >= self.total else made
        tail = f" · {note}" if note else ""
        self.stream.write(f"{clear}{self.label:<44} {what} · {self.seconds:.1f} s{tail}\n")
        self.stream.flush()

    def line(self, note: str = "") -> str:
        finished = self.cached + self.done
        rate = self.done / self.seconds if self.seconds > 0 else 0.0
        eta = f"ETA {(self.total - finished) / rate:.0f} s" if rate else "ETA -"
        parts = [
            f"{self.label:<44} {finished}/{self.total}",
            f"{rate:.1f}/s{' ' + self.unit if self.unit else ''}",
            eta,
        ]
        return " · ".join(parts + ([note] if note else []))

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started
