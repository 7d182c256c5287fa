"""The fault campaign: a small run is disturbed, started again until it completes, and held row by row against an
undisturbed one.

    python benchmarks/chaos/campaign.py --out benchmarks/results/chaos.json          # or: make chaos

A fault is survived where the disturbed launch ends as it must (death, or one message with value, place and remedy and
no traceback), the same command then completes, no row is lost and none is too many, and neither `doctor` nor `law` nor
a look at the checkpoints finds anything. `--without PROTECTION` takes a protection out of every launch: the campaign must
then fail.

Left out: power loss (what the disk had acknowledged is taken to be there), and faults of real models, which
tests/recipes/test_real_loop.py kills in every stage.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.chaos.endpoint import Endpoint  # noqa: E402
from benchmarks.chaos.faults import Fault, all_faults  # noqa: E402
from benchmarks.chaos.nursery import Launch, Nursery, settle  # noqa: E402
from benchmarks.chaos.stand import Rows, Stand, compared, content, unsound  # noqa: E402
from benchmarks.chaos.victim import PROTECTIONS  # noqa: E402
from toolkit.provenance import capture  # noqa: E402
from toolkit.store.database import Store  # noqa: E402

MOST_SECONDS = 120.0  # of one launch; a launch that waits longer waits for ever
MOST_LAUNCHES = 40
TRIES = 4  # at an earlier moment, where a launch had ended before the signal came


@dataclass(frozen=True)
class Outcome:
    """What became of one fault; `problems` says why it was not survived."""

    fault: Fault
    launches: int = 0
    lost: int = 0
    doubled: int = 0
    seconds: float = 0.0
    problems: tuple[str, ...] = ()

    @property
    def survived(self) -> bool:
        return not self.problems


@dataclass
class Campaign:
    """A stand, a nursery, and the content of the undisturbed run."""

    folder: Path
    without: str = ""
    patience: float = MOST_SECONDS
    reference: Rows = field(default_factory=dict)
    steps: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.folder.chmod(0o755)  # for a fault that makes the launch somebody else
        self.stand, self.nursery = Stand.made(self.folder / "stand"), Nursery()
        place = self.folder / "undisturbed"
        place.mkdir()
        started = time.monotonic()
        code = self._launch(place, Fault("none", "none", "survives"), disturbed=False)
        if code != 0:
            raise SystemExit(f"the undisturbed run ended with {code}:\n{_words(place)}")
        self.seconds = time.monotonic() - started
        self.reference = content(place / "s.duckdb")
        with Store(place / "s.duckdb", read_only=True) as store:
            self.steps = store.query("SELECT count(*) AS n FROM step")[0]["n"]

    def close(self) -> None:
        self.nursery.close()

    def tried(self, fault: Fault) -> Outcome:
        """The fault on a fresh store, and all that follows."""
        started, place = time.monotonic(), self.folder / "tried"
        number = sum(1 for _ in self.folder.glob("tried*"))
        place = self.folder / f"tried-{number}"
        place.mkdir()
        endpoint = self._endpoint(fault, place)
        try:
            problems = self._disturbed(fault, place, endpoint)
            launches, more = self._completed(fault, place, endpoint)
        finally:
            if endpoint:
                endpoint.close()
        lost, doubled = 0, 0
        if not more:
            lost, doubled = compared(self.reference, content(place / "s.duckdb"))
            more = unsound(place / "s.duckdb")
        if lost or doubled:
            more.append(f"{lost} rows lost, {doubled} too many")
        seconds = round(time.monotonic() - started, 1)
        return Outcome(fault, launches + 1, lost, doubled, seconds, tuple(problems + more))

    def _disturbed(self, fault: Fault, place: Path, endpoint: Endpoint | None) -> list[str]:
        """Lets the fault happen. What is wrong with how the launch ended then."""
        if fault.before:
            self._launch(place, Fault("before", "", "killed", inside=fault.before))
        if fault.spoil:
            fault.spoil(place)
        (place / "log.txt").unlink(missing_ok=True)
        code = self._launch(place, fault, endpoint)
        problems = _wrong_end(fault, code, _words(place))
        if fault.mend:
            fault.mend(place)
        if endpoint:
            endpoint.fault = ""
        return problems

    def _completed(self, fault: Fault, place: Path, endpoint: Endpoint | None) -> tuple[int, list[str]]:
        """The same command again until it completes: how many launches that took, and why it did not."""
        for count in range(1, MOST_LAUNCHES if fault.lasting else 2):
            code = self._launch(place, fault, endpoint, disturbed=fault.lasting)
            if code == 0:
                return count, []
        told = _words(place).strip().splitlines()[-4:]
        return count, [f"the same command again ended with {code}: {' | '.join(told)}"]

    def _launch(
        self, place: Path, fault: Fault, endpoint: Endpoint | None = None, *, disturbed: bool = True
    ) -> int | None:
        """The exit code of one launch; None where it had to be killed because it never ended."""
        changes = fault.changes if not fault.changes or disturbed or not fault.lasting else ()
        changes += (f"engine.base_url={endpoint.url}",) if endpoint else ()
        launch = Launch(
            self.stand.arguments(place / "s.duckdb", changes),
            place / "log.txt",
            dict(fault.environment) if disturbed else {},
            dict(fault.inside) if disturbed else {},
            self.without,
        )
        process = self.nursery.start(launch)
        if disturbed and fault.signal:
            _wait_for(place / "s.duckdb")
            time.sleep(fault.share * self.seconds)
            _signal(process, getattr(signal, fault.signal))
        code = self.nursery.ended(self.patience)
        if code is None:
            _signal(process, signal.SIGKILL)
            self.nursery.ended(self.patience)
        settle(place)
        return code

    def _endpoint(self, fault: Fault, place: Path) -> Endpoint | None:
        return Endpoint(self.stand.model, place / "models", **fault.endpoint) if fault.endpoint else None


def run(campaign: Campaign, faults: Sequence[Fault], told: Any = None) -> list[Outcome]:
    """Every fault with its outcome. One whose launch ended before the signal came is tried at an earlier moment."""
    outcomes = []
    for fault in faults:
        outcome = campaign.tried(fault)
        for _ in range(TRIES):
            if not (fault.signal and LATE in outcome.problems):
                break
            fault = Fault(**{**vars(fault), "share": fault.share / 2, "name": f"at {fault.share / 2:.0%}"})
            outcome = campaign.tried(fault)
        outcomes.append(outcome)
        if told:
            print(_line(outcome), file=told, flush=True)
    return outcomes


LATE = "the fault did not happen: the launch completed"


def _wrong_end(fault: Fault, code: int | None, words: str) -> list[str]:
    """What is wrong with how a disturbed launch ended."""
    if code is None:
        return ["the launch never ended"]
    found = ["a traceback was shown"] if "Traceback" in words else []
    if fault.ends == "survives":
        return found + ([f"ended with {code}"] if code else [])
    if code == 0:
        return [LATE]
    if fault.ends == "killed" and code >= 0:
        found.append(f"ended with {code} instead of a signal")
    if fault.ends == "stopped" and (code != 130 or "goes on from here" not in words):
        found.append(f"ended with {code} and without a word")
    if fault.ends == "error":
        missing = [part for part in ("error:", "remedy:", *fault.says) if part not in words]
        found += [f"its message lacks {part!r}" for part in missing]
    return found


def _signal(process: int, sign: int) -> None:
    try:
        os.killpg(process, sign)
    except ProcessLookupError:
        return


def _wait_for(path: Path, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.005)


def _words(place: Path) -> str:
    log = place / "log.txt"
    return log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""


def _line(outcome: Outcome) -> str:
    what = "survived" if outcome.survived else "NOT SURVIVED: " + "; ".join(outcome.problems)
    return f"{outcome.fault.kind:<30} {outcome.fault.name:<60} {outcome.seconds:>6.1f} s  {what}"


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Faults tried and survived, rows lost and rows too many, in all and by kind."""
    kinds = dict.fromkeys(outcome.fault.kind for outcome in outcomes)
    by_kind = {kind: _counts([o for o in outcomes if o.fault.kind == kind]) for kind in kinds}
    return {**_counts(outcomes), "by_kind": by_kind}


def _counts(outcomes: Sequence[Outcome]) -> dict[str, int]:
    return {
        "tried": len(outcomes),
        "survived": sum(outcome.survived for outcome in outcomes),
        "rows_lost": sum(outcome.lost for outcome in outcomes),
        "rows_doubled": sum(outcome.doubled for outcome in outcomes),
    }


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file of the results")
    parser.add_argument("--seed", type=int, default=0, help="draws the random moments")
    parser.add_argument("--only", default="", help="faults whose kind or name contains this")
    parser.add_argument("--without", default="", choices=["", *PROTECTIONS], help="protection to take out")
    return parser.parse_args()


def main() -> None:
    options = parse()
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        campaign = Campaign(Path(name), options.without)
        faults = all_faults(campaign.steps, options.seed)
        chosen = [fault for fault in faults if options.only in f"{fault.kind} {fault.name}"]
        outcomes = run(campaign, chosen, sys.stdout)
        campaign.close()
    found = summary(outcomes)
    print(json.dumps(found, indent=2))
    if options.out:
        launch = vars(capture("fault campaign", {name: str(value) for name, value in vars(options).items()}))
        rows = [
            {"kind": o.fault.kind, "fault": o.fault.name, "ends": o.fault.ends, "launches": o.launches,
             "seconds": o.seconds, "survived": o.survived, "problems": list(o.problems)} for o in outcomes
        ]  # fmt: skip
        undisturbed = {"rows": sum(rows.total() for rows in campaign.reference.values()), "steps": campaign.steps}
        report = {"command": "make chaos", "launch": launch, "undisturbed": undisturbed, **found, "faults": rows}
        options.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    raise SystemExit(0 if found["survived"] == found["tried"] else 1)


if __name__ == "__main__":
    main()
