"""The parent's side of child.py: its environment, its files, its last words.

The child finds df_gamed.csv where huggingface_hub would have put it: in a private cache that ends with the child. It
is offline for the hub, and of the environment's keys for chat servers it gets the judge's alone.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from toolkit.child_process import outside
from toolkit.errors import EngineError
from toolkit.identity import Json
from toolkit.redaction import hidden

CLOSE_SECONDS = 10.0
LAST_LINES = 2
SNAPSHOT = "2edc6fad8be6b14ea7230aabfd08188da6b8b814"  # the data set's revision; any name would do
_CHILD = Path(__file__).with_name("child.py")
_UNWANTED = ("OPENAI_API_KEY", "OPENAI_API_KEYS", "OPENAI_API_BASE", "OPENAI_BASE_URL", "DATASETS_FORCE_DOWNLOAD")


@dataclass(frozen=True)
class Job:
    """What the child is to do. files: name in the hub's data set -> path. variables: of its environment."""

    message: Mapping[str, Json]
    files: Mapping[str, Path] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)


class Child:
    """A running child, spoken to in JSON lines. Raises EngineError with its last words."""

    def __init__(self, job: Job) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="alpaca-eval-")
        folder = Path(self._folder.name)
        cache_files(folder / "huggingface", job.files)
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                # -P: this folder, with its own alpaca_eval.py, must not come before the installed packages
                [sys.executable, "-P", str(_CHILD)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment(folder, job.variables),
                cwd=folder,  # its libraries look for settings where they run
                text=True,
                encoding="utf-8",
            )
        self.say({**job.message, "folder": str(folder)})

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error:
            self._process.kill()
        try:
            self._process.communicate(timeout=CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        self._folder.cleanup()

    def say(self, message: Json) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise self._died() from error

    def hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._died()
        message: dict[str, Any] = json.loads(line)
        return message

    def _died(self) -> EngineError:
        code = self._process.wait()
        lines = hidden(self._log.read_text(encoding="utf-8", errors="replace")).splitlines()
        told = [line[:500] for line in lines if line.strip() and not line.startswith((" ", "Traceback"))]
        return EngineError(
            f"alpaca_eval ended with exit code {code}: " + "\n    ".join(told[-LAST_LINES:]),
            where=f"{_CHILD.parent.name}/{_CHILD.name}",
            remedy="if a package is missing, install the pins of requirements/; if a server failed, run again: "
            "what was judged is stored",
        )


def environment(folder: Path, variables: Mapping[str, str]) -> dict[str, str]:
    """Ours, without other servers' keys and addresses, with the private cache and no hub."""
    kept = {name: value for name, value in outside().items() if name not in _UNWANTED}
    home = folder / "huggingface"
    private = {
        "HF_HOME": str(home),
        "HF_HUB_CACHE": str(home / "hub"),
        "HF_DATASETS_CACHE": str(home / "datasets"),
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "OPENAI_CLIENT_CONFIG_PATH": str(folder / "none.yaml"),
        "PYTHON_DOTENV_DISABLED": "1",  # alpaca_eval takes variables from a .env above the folder it is installed in
    }
    return kept | private | dict(variables)


def cache_files(home: Path, files: Mapping[str, Path]) -> None:
    """Copies in the layout of the hub's cache: refs/main names the snapshot."""
    repository = home / "hub" / "datasets--tatsu-lab--alpaca_eval"
    snapshot = repository / "snapshots" / SNAPSHOT
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(SNAPSHOT, encoding="ascii")
    for name, path in files.items():
        shutil.copyfile(path, snapshot / name)
