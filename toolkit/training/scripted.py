"""Stands in for the interpreter that runs OpenRLHF: reads the hand-off, writes a step log and a checkpoint.

The new checkpoint is the policy's with other weights and another salt for the scripted engine; nothing is learned. It
serves the tests and `toolkit demo`. SCRIPTED_TRAINER_FAIL lets it fail: `exit` dies with a message; `killed` is killed
before, `between` while it saves; `partial` leaves a broken checkpoint; `short` ends well without having done all; `log`
leaves a step log that is none.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import sys
from pathlib import Path

KEPT = (".safetensors", ".json", ".jinja", ".txt", ".model")  # no code
FAULT = os.environ.get("SCRIPTED_TRAINER_FAIL", "")


def interpreter(path: Path) -> Path:
    """An 'interpreter' for trainer.python that runs this file, whatever it is told to run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__).resolve()}" "$@"\n', encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def flag(name: str, default: str | None = None) -> str:
    for position, argument in enumerate(sys.argv):
        if argument.startswith(f"--{name}="):
            return argument.partition("=")[2]
        if argument == f"--{name}":
            return sys.argv[position + 1]
    if default is None:
        raise SystemExit(f"scripted trainer: no --{name}")
    return default


def main() -> None:
    if sys.argv[1] == "-c":
        print("0.11.2")
        return
    if FAULT == "exit":
        raise SystemExit("RuntimeError: out of memory, says the scripted trainer")
    rows = [json.loads(line) for line in Path(flag("data.dataset")).read_text(encoding="utf-8").splitlines()]
    policy, output = Path(flag("model.model_name_or_path")), Path(flag("ckpt.output_dir"))
    log_steps(rows)
    die_if("killed")
    output.mkdir(parents=True, exist_ok=True)
    for file in policy.iterdir():
        if file.suffix in KEPT and file.name != "outcome.json" and file.is_file():
            shutil.copyfile(file, output / file.name)
    die_if("between")
    salt = json.dumps([flag("ref.model_name_or_path", "sft").rsplit("/", 1)[-1], rows])
    (output / "scripted.json").write_text(json.dumps({"salt": salt}))
    weights = bytearray((policy / "model.safetensors").read_bytes())
    weights[-4] = (weights[-4] + 1 + len(rows)) % 256
    (output / "model.safetensors").write_bytes(weights[:-2] if FAULT == "partial" else weights)


def log_steps(rows: list[object]) -> None:
    steps = int(flag("train.max_epochs")) * (len(rows) // int(flag("train.batch_size")))
    with open(flag("toolkit.step_log"), "w") as log:
        log.write(json.dumps({"event": "rows", "rows": len(rows)}) + "\n")
        if FAULT == "short":
            return
        if FAULT == "log":
            log.write('{"event": "step", "st\n')
        for step in range(1, steps + 1):
            values = {"loss": 0.7 - step / 100, "acc": 0.5, "chosen_reward": 0.1, "reject_reward": -0.1, "lr": 1e-5}
            values["grad_norm"] = 1.0
            log.write(json.dumps({"event": "step", "step": step, **values, "seconds": step / 1000}) + "\n")
        log.write(json.dumps({"event": "saved"}) + "\n")


def die_if(fault: str) -> None:
    """As the kernel ends a process where memory ends."""
    if fault == FAULT:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
