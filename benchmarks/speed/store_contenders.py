"""What `store.py` measures, one contender a process: python store_contenders.py NAME JSON. Prints one JSON line.

A contender prepares what it needs, times its work alone (wall and CPU seconds) and reports the peak memory of its
process, preparation included. Contenders of one part read the same rows and must give the same answer.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import store_selection
import store_versions
from clock import Clock, peak

MOST_MEMORY = 12 * 2**30  # a contender that needs more fails alone, and takes nothing else on the machine with it


def main() -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY, MOST_MEMORY))
    name, arguments = sys.argv[1], json.loads(sys.argv[2])
    contender = getattr(store_selection, name, None) or getattr(store_versions, name)
    clock = Clock()
    found = contender(clock, **arguments)
    print(json.dumps({**clock.seconds, "peak_mb": peak()} | found))


if __name__ == "__main__":
    main()
