"""Known holes in the pinned versions: a step of .ci/run, and `make audit`.

    python3 bootstrap.py requirements/audit.py [--strict]

pip-audit asks the registry's advisories. A hole that is not accepted below ends with 1. Pins that nobody could be asked
about (no network, or a mirror without advisories) are told, and end with 1 under --strict alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

PINS = [Path(__file__).with_name(name) for name in ("cpu.txt", "gpu.txt")]
UV = Path(sys.executable).with_name("uv")
ASK = (
    "tool",
    "run",
    "pip-audit==2.10.1",
    "--no-deps",
    "--disable-pip",
    "--progress-spinner",
    "off",
    "-f",
    "json",
    "-r",
)
ACCEPTED: dict[str, str] = {}  # id of an advisory -> why it does no harm here


def main(strict: bool) -> int:
    """The exit code: 1 where a hole is known, or where something stays unasked and must not."""
    bad = False
    for pins in PINS:
        found, unasked = ask(pins)
        print(*found, sep="\n", end="\n" if found else "")
        if unasked:
            print(f"{pins.name}: NOT AUDITED, {unasked}")
        else:
            print(f"{pins.name}: every version asked about, {len(found)} known holes")
        bad = bad or bool(found) or (strict and bool(unasked))
    return int(bad)


def ask(pins: Path) -> tuple[list[str], str]:
    """A line for each known hole, and why not every version could be asked about, if so."""
    asked = subprocess.run([UV, *ASK, str(pins)], capture_output=True, text=True, check=False)
    try:
        report = json.loads(asked.stdout)
    except ValueError:
        return [], " ".join(asked.stderr.split())[-300:] or "pip-audit said nothing"
    skipped = [each["skip_reason"] for each in report["dependencies"] if "skip_reason" in each]
    why = f"{len(skipped)} of {len(report['dependencies'])} versions, as: {skipped[0]}" if skipped else ""
    return list(holes(report)), why


def holes(report: Mapping[str, Any]) -> Iterator[str]:
    """Those of pip-audit's JSON report that are not accepted under any of their names."""
    for package in report["dependencies"]:
        for hole in package.get("vulns", ()):
            if not {hole["id"], *hole["aliases"]} & set(ACCEPTED):
                mended = ", ".join(hole["fix_versions"]) or "no version"
                yield f"{package['name']} {package['version']}: {hole['id']}, mended in {mended}"


if __name__ == "__main__":
    sys.exit(main("--strict" in sys.argv[1:]))
