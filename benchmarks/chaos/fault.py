"""A fault: what befalls a launch, how it must end then, and what its message says.

It strikes inside (victim.py), in a child (the fakes, by environment), behind an address
(endpoint.py), or between two launches, on disk (`spoil`). `mend` does what the message told a person to do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Ends = Literal["killed", "stopped", "error", "survives"]
Deed = Callable[[Path], None]  # on the folder of the store
ENDS: dict[str, Ends] = {"SIGKILL": "killed", "SIGTERM": "killed", "SIGINT": "stopped"}
NOTE = "toolkit.lab:Lab.note"  # called where a stage has ended and the next has not begun


@dataclass(frozen=True)
class Fault:
    """One fault. before: what ends an earlier launch, whose files are then spoiled; says: words of the message;
    lasting: it strikes launch after launch, the n-th at its n-th moment, until one completes."""

    kind: str
    name: str
    ends: Ends
    inside: Mapping[str, Any] = field(default_factory=dict)
    before: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    changes: tuple[str, ...] = ()
    endpoint: Mapping[str, Any] = field(default_factory=dict)
    spoil: Deed | None = None
    mend: Deed | None = None
    says: tuple[str, ...] = ()
    lasting: bool = False
