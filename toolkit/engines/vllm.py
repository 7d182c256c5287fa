"""vLLM in a process of its own: its environment is set before it starts, its memory is free when it ends.

CPU figures of SmolLM2-135M on two cores, 64 sequences: 192 tokens/s after a start of 80 s as vLLM comes, 434 after 11 s
with the settings below (benchmarks/results/engines.json).
"""

from __future__ import annotations

import json
import os
import queue
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from toolkit.child_process import outside, program
from toolkit.config import Engine as Settings
from toolkit.engines.checkpoint import same_but_weights
from toolkit.engines.protocol import Completion, Likelihood, Request
from toolkit.errors import EngineError
from toolkit.extras import need
from toolkit.precision import resolve_device, resolve_dtype
from toolkit.redaction import hidden, redact_file

START_SECONDS = 1200.0  # a large model on a slow disk; the wait ends at once where the process dies
CLOSE_SECONDS = 10.0
LAST_LINES = 8
RAISED = re.compile(r"(\S+ )*[\w.]*(Error|Exception): ")  # the line of a traceback that names the error
NOISE = re.compile(r"\s*(nanobind|- leaked|- \.\.\. skipped|See https://nanobind)")  # Triton's, at every error exit
BATCHED_TOKENS = 4096
_CHILD = Path(__file__).with_name("vllm_child") / "serving.py"


class VllmEngine:
    """One checkpoint served by one child process, which starts while others work (`ready` waits for it).

    Raises EngineError with the child's last words.
    """

    def __init__(self, path: Path, settings: Settings, trust_remote_code: bool = False) -> None:
        if not settings.python:
            need("vllm", "engine.kind = 'vllm'", "cpu", EngineError)
        self.path, self.settings = path, settings
        self.log = Path(tempfile.mkstemp(prefix="vllm-", suffix=".log")[1])
        self._keep_log = False
        self._device = device = resolve_device(settings.device)
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._folder = tempfile.TemporaryDirectory(
            prefix="vllm-"
        )  # empty: its libraries look for settings where they run
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [program(settings.python) or sys.executable, str(_CHILD)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment(settings, device),
                cwd=self._folder.name,
                text=True,
                encoding="utf-8",
            )
        threading.Thread(target=self._listen, daemon=True).start()
        self._ready = False
        self._send({"arguments": arguments(path.absolute(), settings, device, trust_remote_code)})

    def ready(self) -> None:
        if not self._ready:
            self._receive(START_SECONDS)
            self._ready = True

    def complete(self, requests: Sequence[Request]) -> Iterator[Completion]:
        for request in requests:
            self._check_length(request)
        self.ready()
        self._send({"requests": [_request(request) for request in requests]})
        for _ in requests:
            yield _completion(self._receive(self.settings.timeout))

    def swap(self, path: Path) -> bool:
        """Serve this checkpoint from now on, where the child proves that it does; on False the engine has to be closed.

        0.5 s where a start takes 11 s (135M, two cores). On a GPU nothing was ever proven, so it is not tried.
        """
        if self._device != "cpu" or not self.settings.swap or not same_but_weights(self.path, path):
            return False
        self.ready()
        self._send({"swap": str(path.absolute())})
        differs = self._receive(START_SECONDS)["differs"]
        if differs:
            print(
                f"a new vLLM is started, the running one did not take the weights: {hidden(differs)}", file=sys.stderr
            )
        else:
            self.path = path
        return not differs

    def close(self) -> None:
        """End the child and wait until its memory is back; one that still starts is not waited for."""
        if not self._ready:
            self._process.kill()
        if self._process.stdin:
            try:
                self._process.stdin.close()
            except BrokenPipeError:
                self._process.kill()
        try:
            self._process.wait(timeout=CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()
        if self._keep_log and self.log.exists():
            redact_file(self.log)
        else:
            self.log.unlink(missing_ok=True)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.endswith("\n"):  # else the child died while it wrote
                self._lines.put(line)
        self._lines.put(None)

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise self._died() from error

    def _receive(self, seconds: float) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=seconds)
        except queue.Empty as error:
            self._process.kill()
            self._keep_log = True
            raise EngineError(
                f"vLLM said nothing for {seconds:.0f} s and was stopped",
                where=self.log,
                remedy="run again: finished answers are stored; raise engine.timeout if answers take that long",
            ) from error
        if line is None:
            self._lines.put(None)  # whoever asks once more is told at once
            raise self._died()
        message: dict[str, Any] = json.loads(line)
        return message

    def _died(self) -> EngineError:
        code = self._process.wait()
        self._keep_log = True
        told = _last_words(redact_file(self.log))
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        remedy = "run again: finished answers are stored; on too little memory lower engine.max_num_seqs"
        return EngineError(f"vLLM {how}: " + "\n    ".join(told), where=f"{self.path}; log {self.log}", remedy=remedy)

    def _check_length(self, request: Request) -> None:
        new = request.new_tokens
        if len(request.tokens) + new > self.settings.max_model_len:
            raise EngineError(
                f"a request of {len(request.tokens)} + {new} tokens exceeds {self.settings.max_model_len}",
                where=request.id,
                remedy="raise engine.max_model_len, shorten the prompt, or lower max_tokens",
            )


def _last_words(log: str) -> list[str]:
    """The errors raised and the last lines, without what bindings print about themselves at exit."""
    lines = [line for line in log.splitlines() if line.strip() and not NOISE.match(line)]
    raised = dict.fromkeys(line for line in lines[:-LAST_LINES] if RAISED.match(line))
    return [line[:300] for line in (*list(raised)[-LAST_LINES:], *lines[-LAST_LINES:])]


def arguments(path: Path, settings: Settings, device: str, trust_remote_code: bool) -> dict[str, Any]:
    """Keyword arguments of vllm.LLM."""
    common: dict[str, Any] = {
        "model": str(path),
        "dtype": resolve_dtype(settings.dtype, device),
        "max_model_len": settings.max_model_len,
        "max_num_seqs": settings.max_num_seqs,
        "tensor_parallel_size": settings.tensor_parallel_size,
        "pipeline_parallel_size": settings.pipeline_parallel_size,
        "data_parallel_size": settings.data_parallel_size,
        "enable_prefix_caching": True,
        "trust_remote_code": trust_remote_code,
        "load_format": "safetensors",
        "seed": 0,
        "disable_log_stats": True,
    }
    return common | (_cpu_arguments(settings) if device == "cpu" else {}) | settings.options


def _cpu_arguments(settings: Settings) -> dict[str, Any]:
    """torch.compile adds over two minutes of start-up on a CPU and no throughput there. A seeded request whose prompt
    is taken in parts ends the engine ("CPU Generator does not use offset"), so every prompt is taken whole."""
    whole = max(settings.max_model_len, BATCHED_TOKENS)
    return {
        "enforce_eager": True,
        "enable_chunked_prefill": False,
        "max_num_batched_tokens": whole,
        "logits_processors": ["sampling:SeededDraws"],  # in the child; with another list, seeds are vLLM's own
        "async_scheduling": False,  # a draw goes by how many tokens were written, which must be known by then
    }


def environment(settings: Settings, device: str) -> dict[str, str]:
    """The child's environment: offline, without usage reports, and on a CPU with threads bound."""
    wanted = {
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "VLLM_LOGGING_LEVEL": "WARNING",
        "PYTHONUNBUFFERED": "1",
    }
    if device == "cpu":
        cores = (
            sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
        )
        wanted |= {
            "OMP_NUM_THREADS": str(len(cores)),
            "VLLM_CPU_OMP_THREADS_BIND": ",".join(map(str, cores)),
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            "VLLM_CPU_KVCACHE_SPACE": "2",
            "TORCHDYNAMO_DISABLE": "1",  # else a sampling kernel asks for a C++ compiler, and is no faster for it
        }
        if library := _openmp(settings.python or sys.executable):
            wanted["LD_PRELOAD"] = ":".join(filter(None, [str(library), os.environ.get("LD_PRELOAD")]))
    return outside(wanted)


def _openmp(python: str) -> Path | None:
    """Intel's OpenMP library of that environment, which vLLM's CPU build wants loaded before torch."""
    library = Path(python).absolute().parent.parent / "lib" / "libiomp5.so"
    return library if library.exists() else None


def _request(request: Request) -> dict[str, Any]:
    return {
        "id": request.id,
        "tokens": list(request.tokens),
        **request.sampling.as_json(),
        "seed": request.seed,
        "score_tokens": list(request.score_tokens),
        "continuation": list(request.continuation),
    }


def _completion(message: dict[str, Any]) -> Completion:
    made = Completion(message["id"], tokens=message["tokens"], reused=message.get("reused", 0))
    if "logprobs" in message:
        return replace(made, logprobs={int(token): value for token, value in message["logprobs"].items()})
    if "likelihood" in message:
        return replace(made, likelihood=Likelihood(message["likelihood"], message["greedy"]))
    return replace(made, text=message["text"], finish=message["finish"])
