"""Known holes in the pinned versions: a step of .ci/run, and `make audit`.

    python3 bootstrap.py -m requirements.audit [--strict]

pip-audit asks the registry's advisories. A hole that is not accepted below ends with 1. What nobody could be asked
about (no network, a mirror that has no answer) is told, and ends with 1 under --strict alone. An empty answer is
believed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bootstrap import BIN, pip_settings

PIN = re.compile(r"^([\w.-]+)==([^\s;]+)", re.MULTILINE)  # whatever Python and system it is for
UV = shutil.which("uv") or str(BIN / "uv")
ASK = ("tool", "run", "pip-audit==2.10.1", "--no-deps", "--disable-pip", "--progress-spinner=off", "-f=json", "-r")
ACCEPTED: dict[str, str] = {}  # id of an advisory -> why it does no harm here


def main(strict: bool) -> int:
    """The exit code: 1 where a hole is known, or where something stays unasked and must not."""
    pins = {match.groups() for kind in ("cpu", "gpu") for match in PIN.finditer(_text(f"{kind}.txt"))}
    found, unasked = list[str](), list[str]()
    for versions in rounds(pins):
        holes, why = ask(versions)
        found += holes
        unasked += why
    print(*found, sep="\n", end="\n" if found else "")
    print(f"{len(pins)} pinned versions, {len(found)} known holes")
    if unasked:
        print(f"NOT AUDITED: {'; '.join(unasked)}")
    return int(bool(found) or (strict and bool(unasked)))


def rounds(pins: set[tuple[str, ...]]) -> list[list[str]]:
    """The pins as lines, in as few lists as it takes for no name to stand twice in one."""
    made: list[dict[str, str]] = []
    for name, version in sorted(pins):
        free = next((some for some in made if name not in some), None)
        if free is None:
            made.append(free := {})
        free[name] = f"{name}=={version}"
    return [list(some.values()) for some in made]


def ask(versions: list[str]) -> tuple[list[str], list[str]]:
    """A line for each known hole, and why not every version could be asked about, if so."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pins.txt"
        file.write_text("\n".join(versions), encoding="utf-8")
        try:
            asked = subprocess.run(
                [UV, *ASK, str(file)], capture_output=True, text=True, check=False, env=pip_settings() | os.environ
            )
            report = json.loads(asked.stdout)
        except OSError as error:
            return [], [f"{len(versions)} versions: {error}"]
        except ValueError:
            words = " ".join(asked.stderr.split())[-300:] or "pip-audit said nothing"
            return [], [f"{len(versions)} versions: {words}"]
    skipped = [each["skip_reason"] for each in report["dependencies"] if "skip_reason" in each]
    lost = len(versions) - len(report["dependencies"]) + len(skipped)
    return list(holes(report)), [f"{lost} versions, as: {(skipped or ['not answered'])[0]}"] if lost else []


def holes(report: Mapping[str, Any]) -> Iterator[str]:
    """Those of pip-audit's JSON report that are not accepted under any of their names."""
    for package in report["dependencies"]:
        for hole in package.get("vulns", ()):
            if not {hole["id"], *hole["aliases"]} & set(ACCEPTED):
                mended = ", ".join(hole["fix_versions"]) or "no version"
                yield f"{package['name']} {package['version']}: {hole['id']}, mended in {mended}"


def _text(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main("--strict" in sys.argv[1:]))
