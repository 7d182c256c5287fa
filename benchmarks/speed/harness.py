"""What all benchmarks share: a contender in a process of its own, and the file with everything that was found.

A contender is a script of this folder, called as SCRIPT NAME JSON; its last line is JSON. It starts small,
so its peak memory is its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from toolkit.provenance import capture  # noqa: E402
from toolkit.trust.safe_files import write_file  # noqa: E402

MOST_SECONDS = 120  # for a question that may not end
QUIET = {"HF_DATASETS_DISABLE_PROGRESS_BARS": "1", "HF_HUB_OFFLINE": "1"}
Found = dict[str, Any]
Part = Callable[[argparse.Namespace], Found]


@dataclass(frozen=True)
class Contenders:
    """The script that holds them. python: another interpreter for a peer that does not install beside the toolkit.

    may_fail: what fails, or takes more than MOST_SECONDS, is a result too.
    """

    script: str
    python: str = sys.executable
    may_fail: bool = False

    def run(self, name: str, **arguments: Any) -> Found:
        """What the contender printed."""
        command = [self.python, str(ROOT / "benchmarks" / "speed" / self.script), name, json.dumps(arguments)]
        print(f"  {name} {arguments.get('prompts', arguments.get('pairs', ''))}", file=sys.stderr, flush=True)
        limit = MOST_SECONDS if self.may_fail else None
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, env=os.environ | QUIET, check=False, timeout=limit
            )
        except subprocess.TimeoutExpired:
            return {"failed": f"not finished after {limit} seconds"}
        if done.returncode and self.may_fail:
            return {"failed": f"exit code {done.returncode}: {_reason(done.stderr)}"}
        if done.returncode:
            raise SystemExit(f"{name} {arguments} failed:\n{done.stderr[-3000:]}")
        found: Found = json.loads(done.stdout.splitlines()[-1])
        return found


@dataclass(frozen=True)
class Benchmark:
    """parts: in order. targets: (what was aimed at, what came out, whether it holds). table: lines to print."""

    name: str
    parts: Mapping[str, Part]
    targets: Callable[[Found], Sequence[tuple[str, float, bool]]]
    table: Callable[[Found], Iterable[str]]

    def main(self, parser: argparse.ArgumentParser, peers: Callable[[argparse.Namespace], Mapping[str, str]]) -> None:
        """Runs the parts that were asked for, writes the file, prints the table and the targets."""
        parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
        parser.add_argument("--part", choices=self.parts, action="append", help="this part alone; may be repeated")
        options, load = parser.parse_args(), os.getloadavg()
        launch = capture(f"benchmark {self.name}", {key: str(value) for key, value in vars(options).items()})
        found = {name: self.parts[name](options) for name in options.part or self.parts}
        targets = self.targets(found)
        result = {
            "command": "python " + " ".join(launch.arguments),
            "launch": vars(launch),
            "peers": peers(options),
            "load_before": [round(value, 2) for value in load],
            "load_after": [round(value, 2) for value in os.getloadavg()],
            "targets": [{"target": aim, "value": value, "met": met} for aim, value, met in targets],
            "parts": found,
        }
        options.out.parent.mkdir(parents=True, exist_ok=True)
        write_file(options.out, json.dumps(result, indent=2, default=dict) + "\n")
        print("\n".join([*self.table(found), *(f"{'met' if m else 'NOT MET':<8}{a}: {v}" for a, v, m in targets)]))


def _reason(stderr: str) -> str:
    """The line of a traceback that names the error."""
    named = [line for line in stderr.splitlines() if "Error" in line and not line.startswith(" ")]
    return named[-1][:200] if named else "no message"
