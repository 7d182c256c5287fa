"""Runs the trainer in its own process group, follows its step log, and answers for its end.

The trainer's words go to `trainer.log`, its numbers to `steps.jsonl`, both in the job's log_dir. The log is for this
user's eyes alone, and secrets are taken out of it when the trainer ends. The whole group
ends with this process: at once where this process is interrupted, within a second where it is killed (launcher.py
watches), except on the other nodes of a hostfile, which the DeepSpeed launcher has to end.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.child_process import empty_folder
from toolkit.errors import TrainerError
from toolkit.redaction import hidden, redact, redact_file
from toolkit.training.settings import TrainerJob, check_version, command, environment, merge_command

__all__ = ["TrainerJob", "TrainerResult", "run_trainer"]

Step = Mapping[str, float | None]
POLL_SECONDS = 0.2
GRACE_SECONDS = 5.0
TAIL_LINES = 15
RAISED = re.compile(r"(\[rank\d+\]: )?[\w.]+(Error|Exception|Invalid): ")  # the last line of a traceback


@dataclass(frozen=True)
class TrainerResult:
    """steps: what each optimizer step said (`launcher.log_steps`); rows: pairs in the trainer's data set."""

    steps: tuple[Step, ...]
    seconds: float
    rows: int


class StepLog:
    """The lines that the trainer has written so far. A line still being written waits for its end."""

    def __init__(self, path: Path) -> None:
        self.path, self.read, self.rows, self.saved = path, 0, -1, False
        self.steps: list[Step] = []

    def advance(self) -> list[Step]:
        """The steps that are new since the last call."""
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            file.seek(self.read)
            whole = file.read().rpartition(b"\n")[0]
        self.read += len(whole) + 1 if whole else 0
        return [step for line in whole.splitlines() if (step := self._take(self._parse(line)))]

    def _parse(self, line: bytes) -> dict[str, Any]:
        try:
            return {"event": "", **json.loads(line)}
        except (ValueError, TypeError) as error:
            raise TrainerError(
                f"{line[:60]!r} is no step of a training",
                where=self.path,
                remedy="free some space where the disk is full, and run the same command again",
            ) from error

    def _take(self, line: dict[str, Any]) -> Step | None:
        event = line.pop("event")
        if event == "rows":
            self.rows = line["rows"]
        self.saved = self.saved or event == "saved"
        if event != "step":
            return None
        self.steps.append(line)
        return line


def run_trainer(job: TrainerJob, on_step: Callable[[Step], None]) -> TrainerResult:
    """Train; `on_step` hears of every optimizer step as it ends.

    Raises TrainerError where the trainer cannot start, dies, diverges, or did not see every pair and make
    every step; nothing of it is running then.
    """
    check_version(job.trainer.python)
    job = job.absolute()
    with job.data.open(encoding="utf-8") as file:
        rows = sum(1 for _ in file)
    job.log_dir.mkdir(parents=True, exist_ok=True)
    job.step_log.unlink(missing_ok=True)
    started, log = time.monotonic(), StepLog(job.step_log)
    process = _start(job, "w", command(job))
    try:
        _follow(process, log, on_step, job)
    finally:
        _end_group(process)
        redact_file(_log(job))
    _check(process.returncode, log, rows, job)
    if job.lora.rank:
        _merge(job)
    shutil.rmtree(job.log_dir / "datasets", ignore_errors=True)  # the rows once more, in another format
    return TrainerResult(tuple(log.steps), time.monotonic() - started, log.rows)


def _merge(job: TrainerJob) -> None:
    """Merge the saved adapter into a whole checkpoint at `output`, and remove the adapter."""
    process = _start(job, "a", merge_command(job))
    try:
        process.wait()
    finally:
        _end_group(process)
        redact_file(_log(job))
    if process.returncode:
        raise _error(f"the adapter was not merged: exit code {process.returncode}", job)
    shutil.rmtree(job.trained)


def _log(job: TrainerJob) -> Path:
    return job.log_dir / "trainer.log"


def _start(job: TrainerJob, mode: str, line: list[str]) -> subprocess.Popen[bytes]:
    """In an empty folder, since libraries look for settings where they run; over several nodes DeepSpeed goes to the
    folder of this process on each of them."""
    _log(job).touch()
    _log(job).chmod(0o600)
    place = None if job.trainer.hostfile else empty_folder()
    try:
        with _log(job).open(mode, encoding="utf-8") as words:
            print(*redact(line), file=words, flush=True)
            return subprocess.Popen(
                line, env=environment(job), cwd=place, stdin=subprocess.DEVNULL, stdout=words, stderr=words,
                start_new_session=True,
            )  # fmt: skip
    except OSError as error:
        raise TrainerError(
            f"the trainer does not start: {error}", where=line[0], remedy="name a working python with trainer.python"
        ) from error


def _follow(process: subprocess.Popen[bytes], log: StepLog, on_step: Callable[[Step], None], job: TrainerJob) -> None:
    running = True
    while running:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(POLL_SECONDS)
            running = False  # and one last look at the log
        for step in log.advance():
            on_step(step)
            if step.get("loss") is None:
                raise TrainerError(
                    f"the loss of step {step.get('step')} is not a number",
                    where=job.step_log,
                    remedy="lower the learning rate: training.learning_rate, or sft.learning_rate for SFT",
                )


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Interrupt what is left of the group, then kill it. The interrupt lets DeepSpeed end other nodes' processes."""
    for sign in (signal.SIGINT, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)


def _check(code: int, log: StepLog, rows: int, job: TrainerJob) -> None:
    steps = job.settings.epochs * (rows // job.batch_size)
    if code != 0:
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        remedy = "give it more memory: smaller micro_batch_size or max_length" if code == -signal.SIGKILL else ""
        raise _error(f"the trainer {how} after {len(log.steps)} of {steps} steps", job, remedy)
    if log.rows != rows:
        raise _error(f"the trainer kept {log.rows} of {rows} pairs", job, "report this: the token gate missed a case")
    if len(log.steps) != steps or not log.saved:
        saved = "saved" if log.saved else "did not save"
        raise _error(f"the trainer made {len(log.steps)} of {steps} steps and {saved} its checkpoint", job)


def _error(problem: str, job: TrainerJob, remedy: str = "") -> TrainerError:
    log = _log(job)
    lines = hidden(log.read_text(encoding="utf-8", errors="replace")).replace("\r", "\n").splitlines()
    told = [line for line in lines if line.strip() and not set(line.split()[-1]) <= {"^", "~"}]
    tail = told[-TAIL_LINES:]
    causes = dict.fromkeys(line for line in told[:-TAIL_LINES] if RAISED.match(line))
    words = "\n".join(f"    {line[:300]}" for line in (*causes, *tail))
    if "No space left on device" in words:
        remedy = f"free some space beside {job.output} and run the same command again: it resumes"
    return TrainerError(f"{problem}; its last words:\n{words}", where=log, remedy=remedy or "read the end of its log")
