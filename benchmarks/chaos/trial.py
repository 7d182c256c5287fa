"""One fault on a store of its own: the disturbed launch, the same command again, and what is left, row by row.

A fault is survived where the disturbed launch ends as it must (death, or one message with value, place and remedy and
no traceback), the same command then completes, no row is lost and none is too many, and neither `doctor` nor `law` nor
a look at the checkpoints finds anything.
"""

from __future__ import annotations

import os
import re
import signal
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.chaos.endpoint import Endpoint
from benchmarks.chaos.fault import Fault
from benchmarks.chaos.nursery import Launch, Nursery, settle
from benchmarks.chaos.stand import Rows, Stand, compared, content, told, unsound
from toolkit.store.database import Store

MOST_LAUNCHES = 60
NONE = Fault("none", "none", "survives")


@dataclass(frozen=True)
class Outcome:
    """What became of one fault; `problems` says why it was not survived."""

    fault: Fault
    launches: int
    lost: int
    doubled: int
    seconds: float
    problems: tuple[str, ...]

    @property
    def survived(self) -> bool:
        return not self.problems


@dataclass(frozen=True)
class Campaign:
    """What every trial shares. rows, steps and seconds are the undisturbed run's; without: a protection that every
    launch lacks; patience: the seconds after which a launch is taken to wait for ever."""

    folder: Path
    stand: Stand
    nursery: Nursery
    patience: float
    without: str = ""
    rows: Rows | None = None
    steps: int = 0
    seconds: float = 0.0

    def begun(self) -> Campaign:
        """With the undisturbed run."""
        trial = self.trial(NONE)
        started = time.monotonic()
        code = trial.launch(1, disturbed=False)
        seconds = time.monotonic() - started
        if code != 0:
            raise SystemExit(f"the undisturbed run ended with {code}:\n{trial.words()}")
        with Store(trial.store, read_only=True) as store:
            steps = store.query("SELECT count(*) AS n FROM step")[0]["n"]
        return replace(self, rows=content(trial.store), steps=steps, seconds=seconds)

    def trial(self, fault: Fault) -> Trial:
        place = Path(tempfile.mkdtemp(prefix="trial-", dir=self.folder))
        place.chmod(0o755)  # for a fault that makes the launch somebody else
        endpoint = Endpoint(self.stand.model, place / "models", **fault.endpoint) if fault.endpoint else None
        return Trial(self, fault, place, endpoint)

    def tried(self, fault: Fault) -> Outcome:
        """What becomes of the fault."""
        return self.trial(fault).outcome()

    def answers(self) -> int:
        """How many the undisturbed run asked its engines for."""
        return sum((self.rows or {})[table].total() for table in ("response", "judgment"))


@dataclass(frozen=True)
class Trial:
    """A fault, the folder of its store, and the server that its launches ask, if any."""

    campaign: Campaign
    fault: Fault
    place: Path
    endpoint: Endpoint | None

    @property
    def store(self) -> Path:
        return self.place / "s.duckdb"

    @property
    def log(self) -> Path:
        """Beside the folder, which may be full or forbidden."""
        return self.place.with_name(f"{self.place.name}.log")

    def words(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def outcome(self) -> Outcome:
        started = time.monotonic()
        problems = self.disturbed()
        launches, more = self.completed()
        problems += more
        lost = doubled = 0
        if not more:
            reference, rows = self.campaign.rows or {}, content(self.store)
            lost, doubled = compared(reference, rows)
            problems += [f"{lost} rows lost, {doubled} too many: {told(reference, rows)}"] if lost or doubled else []
            problems += unsound(self.store)
        if re.search(r"^Traceback", self.words(), re.M):  # a child's, quoted as its last words, is indented
            problems.append("a traceback was shown")
        if self.endpoint:
            self.endpoint.close()
        return Outcome(self.fault, launches, lost, doubled, round(time.monotonic() - started, 1), tuple(problems))

    def disturbed(self) -> list[str]:
        """Let the fault happen. What is wrong with how the launch ended then."""
        problems = []
        if self.fault.before:
            earlier = replace(NONE, ends="killed", inside=self.fault.before)
            problems += wrong_end(earlier, replace(self, fault=earlier).launch(1), self.words())
        if self.fault.spoil:
            self.fault.spoil(self.place)
        problems += wrong_end(self.fault, self.launch(1), self.words())
        if self.fault.mend:
            self.fault.mend(self.place)
        if self.endpoint:
            self.endpoint.fault = ""
        return problems

    def completed(self) -> tuple[int, list[str]]:
        """The same command again until it completes: how many launches in all, and what went wrong in them."""
        found: list[str] = []
        for number in range(2, MOST_LAUNCHES if self.fault.lasting else 3):
            code = self.launch(number, disturbed=self.fault.lasting)
            if code == 0:
                return number, found
            found += wrong_end(self.fault, code, self.words()) if self.fault.lasting else []
        last = " | ".join(self.words().strip().splitlines()[-4:])
        return number, [*found, f"the same command again ended with {code}: {last}"]

    def launch(self, number: int, *, disturbed: bool = True) -> int | None:
        """The exit code of the n-th launch; None where it had to be killed because it never ended."""
        fault = self.fault if disturbed else replace(NONE, changes=self.fault.changes)
        changes = fault.changes + ((f"engine.base_url={self.endpoint.url}",) if self.endpoint else ())
        inside = {"number": number, **fault.inside} if fault.inside else {}
        arguments = self.campaign.stand.arguments(self.store, changes)
        nursery = self.campaign.nursery
        process = nursery.start(Launch(arguments, self.log, fault.environment, inside, self.campaign.without))
        code = nursery.ended(self.campaign.patience)
        if code is None:
            os.killpg(process, signal.SIGKILL)
            nursery.ended(self.campaign.patience)
        settle(self.place)
        return code


def wrong_end(fault: Fault, code: int | None, words: str) -> list[str]:
    """What is wrong with how a disturbed launch ended."""
    if code is None:
        return ["the launch never ended"]
    if fault.ends == "survives":
        return [f"ended with {code}"] if code else []
    if code == 0:
        return ["the fault did not happen: the launch completed"]
    found = []
    if (fault.ends == "killed") != (code < 0):
        found.append(f"ended with {code}, which is not how a launch that is {fault.ends} ends")
    if fault.ends == "stopped" and (code != 130 or "goes on from here" not in words):
        found.append(f"ended with {code} and without a word")
    if fault.ends == "error":
        missing = [part for part in ("error:", "remedy:", *fault.says) if part not in words]
        found += [f"its message lacks {part!r}" for part in missing]
    return found
