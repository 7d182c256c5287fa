"""A contender's clock and memory, and the constants that all of them share."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager

K = 7  # draws of each model
PRESENT, PAST, FUTURE = 0, 1, 2
LAUNCH = "benchmark"


class Clock:
    """Wall and CPU seconds of what ran inside `measure`, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def measure(self, name: str = "seconds") -> Iterator[None]:
        wall, cpu = time.perf_counter(), _cpu()
        yield
        self.seconds[name] = round(time.perf_counter() - wall, 4)
        self.seconds[name.replace("seconds", "cpu_seconds", 1)] = round(_cpu() - cpu, 4)


def peak() -> float:
    """Peak memory of this process in MB (2^20 bytes)."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def _cpu() -> float:
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in both)
