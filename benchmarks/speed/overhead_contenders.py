"""What `overhead.py` runs: overhead_contenders.py NAME JSON. Prints one JSON line.

profiled     the quick recipe, under cProfile once it is imported: seconds, and the toolkit functions' shares of them

A function's share is its own time and that of the libraries it calls, down to the next toolkit function; waiting for
other processes is left out. Of this process' main thread alone: the engine and the trainer have processes of their own.
"""

from __future__ import annotations

import contextlib
import cProfile
import json
import pstats
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

LEAST = 0.001  # of the run: smaller shares are not told
KEPT = 1 - 1e-9  # of seconds handed on: what libraries hand to one another in a circle must come to an end
WAITS = ("acquire", "sleep", "waitpid", "poll", "select", "posix.read", "recv")
Function = tuple[str, int, str]  # file, line, name


def profiled(asked: dict[str, Any]) -> dict[str, Any]:
    started = time.perf_counter()
    from toolkit.recipes import temporal
    from toolkit.recipes.run import Options, execute

    changes, store = tuple(asked["changes"]), Path(asked["store"])
    sys.argv = [str(temporal.__file__), "--store", str(store), *(f"--set={change}" for change in changes)]
    profile = cProfile.Profile()
    with contextlib.redirect_stdout(sys.stderr):
        profile.runcall(execute, temporal.temporal, Options(None, "", store, changes, plan=False))
    seconds = time.perf_counter() - started
    own = attributed(pstats.Stats(profile).stats)  # type: ignore[attr-defined]
    shares = {f"{Path(f).relative_to(ROOT)}:{line} {name}": spent / seconds for (f, line, name), spent in own.items()}
    told = sorted(shares.items(), key=lambda pair: -pair[1])
    return {
        "seconds": round(seconds, 2),
        "functions": {name: round(share, 5) for name, share in told if share >= LEAST},
    }


def attributed(stats: dict[Function, Any]) -> dict[Function, float]:
    """Seconds by toolkit function. What a library spends goes to its callers, in proportion to their waits for it.

    With x the seconds that arrive at each function and W how a library's go to its callers, x = own + W x.
    """
    from numpy import array
    from scipy.sparse import csc_array, eye_array
    from scipy.sparse.linalg import spsolve

    places = {function: place for place, function in enumerate(stats)}
    flows = [
        (places[caller], places[function], KEPT * row[3] / whole)
        for function, (*_, callers) in stats.items()
        if not _ours(function) and (whole := sum(row[3] for row in callers.values()))
        for caller, row in callers.items()
    ]
    to, off, share = zip(*flows, strict=True)
    own = array([0.0 if _waits(function) else row[2] for function, row in stats.items()])
    size = len(places)
    arrived = spsolve(eye_array(size, format="csc") - csc_array((share, (to, off)), shape=(size, size)), own)
    return {function: float(arrived[place]) for function, place in places.items() if _ours(function)}


def _ours(function: Function) -> bool:
    return Path(function[0]).is_relative_to(ROOT / "toolkit")


def _waits(function: Function) -> bool:
    return function[0] == "~" and any(word in function[2] for word in WAITS)


if __name__ == "__main__":
    print(json.dumps({"profiled": profiled}[sys.argv[1]](json.loads(sys.argv[2]))))
