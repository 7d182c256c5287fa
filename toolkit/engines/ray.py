"""Workers on a Ray cluster, each with an engine of its own: requests go out in chunks, completions come as they finish.

The driver keeps what is unfinished. Where a worker or its node dies, its unfinished requests go to others and a new
worker is asked for; a request is given up after `engine.cluster.retries` further tries. A completion counts when it
has arrived here, once, so none is doubled and none lost; the store is written by the driver alone.

Plain actors, and not ray.data with a stateful class: an actor's loaded model outlives one call of `complete`, where
map_batches ends its workers with every data set and would load the weights again for answers, verdicts and each role;
and an actor's generator hands on single completions, where map_batches returns a batch when its slowest row is done.

Every node needs this package and the checkpoint at the same path; a worker whose weights differ refuses to start.
engine.device and engine.dtype are decided on the driver: "auto" on a driver without a GPU means CPU workers. Left out:
growing the cluster, which is Ray's own autoscaler's, and more than one vLLM worker on the cores of one CPU node.
"""

from __future__ import annotations

import os
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import chdir
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

from toolkit.child_process import empty_folder
from toolkit.config import Engine as Settings
from toolkit.engines.checkpoint import weights_digest
from toolkit.engines.local import open_local
from toolkit.engines.protocol import Completion, Engine, Request, Starting
from toolkit.engines.vllm import START_SECONDS
from toolkit.errors import EngineError
from toolkit.precision import resolve_device, resolve_dtype
from toolkit.redaction import hidden

HAND_ON_SECONDS = 0.1  # finished completions wait no longer than this for others to travel with
CLOSE_SECONDS = 10.0
LAST_LINES = 8


class Worker:
    """What runs on a node: one engine. Its generator yields completions in small groups."""

    def __init__(self, path: Path, settings: Settings, trust_remote_code: bool, weights: str) -> None:
        if (found := weights_digest(path)) != weights:
            raise EngineError(
                f"the checkpoint on this node has weights {found}, the driver's has {weights}",
                where=path,
                remedy="keep models on a file system that all nodes share, or copy this one again",
            )
        self._engine: Engine = open_local(path, settings, trust_remote_code)

    def ready(self) -> int:
        """The id of this process; it is told once the engine is loaded."""
        if isinstance(self._engine, Starting):
            self._engine.ready()
        return os.getpid()

    def complete(self, requests: list[Request]) -> Iterator[list[Completion]]:
        group: list[Completion] = []
        handed = time.monotonic()
        for completion in self._engine.complete(requests):
            group.append(completion)
            if time.monotonic() - handed > HAND_ON_SECONDS:
                yield group
                group, handed = [], time.monotonic()
        yield group

    def close(self) -> None:
        self._engine.close()


@dataclass(frozen=True)
class Job:
    """A chunk at work. unfinished: request id -> request, emptied as completions arrive."""

    worker: Any
    unfinished: dict[str, Request]


class RayEngine:
    """One checkpoint served by `engine.cluster.workers` actors. Raises EngineError with a worker's last words."""

    def __init__(self, path: Path, settings: Settings, trust_remote_code: bool = False) -> None:
        self.path, self.settings = path, settings
        self._ray = connect(settings)
        self._spec = (path.absolute(), inner(settings), trust_remote_code, weights_digest(path))
        self._starting: dict[Any, Any] = {}  # the reference that says it is loaded -> worker
        self._idle: list[Any] = []
        self._failed_starts = 0
        self._staff(settings.cluster.workers)

    def complete(self, requests: Sequence[Request]) -> Iterator[Completion]:
        copies = Counter(request.id for request in requests)
        different = {request.id: request for request in requests}.values()
        waiting = sorted(different, key=lambda request: request.tokens)  # a shared prefix is computed by one worker
        busy: dict[Any, Job] = {}
        tries: Counter[str] = Counter()
        try:
            while waiting or busy:
                while waiting and self._idle:
                    job = Job(self._idle.pop(), {request.id: request for request in self._chunk(waiting)})
                    busy[self._start(job)] = job
                for ready in self._wait(busy):
                    if ready in self._starting:
                        self._arrived(ready)
                    else:
                        for completion in self._collect(ready, busy, waiting, tries):
                            yield from repeat(completion, copies[completion.id])
        finally:
            for job in busy.values():  # the caller stopped in the middle: what they still write nobody reads
                self._ray.kill(job.worker)
            self._staff(len(busy))

    def close(self) -> None:
        """End the workers and wait until their memory is back."""
        workers = [*self._idle, *self._starting.values()]
        closing = [worker.close.remote() for worker in self._idle]
        if closing:
            self._ray.wait(closing, num_returns=len(closing), timeout=CLOSE_SECONDS)
        for worker in workers:
            self._ray.kill(worker)
        self._idle, self._starting = [], {}

    def _staff(self, count: int) -> None:
        """Ask for so many new workers; they start when the cluster has room."""
        for _ in range(count):
            worker = self._ray.remote(Worker).options(**resources(self.settings)).remote(*self._spec)
            self._starting[worker.ready.remote()] = worker

    def _start(self, job: Job) -> Any:
        return job.worker.complete.options(num_returns="streaming").remote(list(job.unfinished.values()))

    def _chunk(self, waiting: list[Request]) -> list[Request]:
        """The next requests: half of a worker's share of what is left, so that the last chunks end together, but enough
        to fill its batch; draws of one prompt stay together."""
        left, workers = len(waiting), self.settings.cluster.workers
        size = max(left // (2 * workers), min(self.settings.max_num_seqs, -(-left // workers)))
        while size < left and waiting[size].tokens == waiting[size - 1].tokens:
            size += 1
        chunk, waiting[:] = waiting[:size], waiting[size:]
        return chunk

    def _wait(self, busy: dict[Any, Job]) -> list[Any]:
        """What has news: a stream with completions, or a worker that is loaded or could not be."""
        seconds = self.settings.timeout if busy else START_SECONDS
        ready, _ = self._ray.wait([*busy, *self._starting], num_returns=1, timeout=seconds, fetch_local=False)
        if not ready:
            at = self.settings.cluster.address or os.environ.get("RAY_ADDRESS") or "the cluster on this machine"
            raise EngineError(
                f"{len(busy)} busy and {len(self._starting)} starting Ray workers said nothing for {seconds:.0f} s",
                where=at,
                remedy="see `ray status` for nodes and free resources; lower engine.cluster.cpus or .workers, or raise "
                "engine.timeout; finished answers are stored, so run again",
            )
        return list(ready)

    def _arrived(self, ready: Any) -> None:
        worker = self._starting.pop(ready)
        try:
            self._ray.get(ready)
        except self._ray.exceptions.RayError as error:
            self._failed_starts += 1
            if self._failed_starts > self.settings.cluster.retries:
                raise self._gave_up(f"{self._failed_starts} workers did not start", error) from error
            self._staff(1)
        else:
            self._failed_starts = 0
            self._idle.append(worker)

    def _collect(
        self, stream: Any, busy: dict[Any, Job], waiting: list[Request], tries: Counter[str]
    ) -> Iterator[Completion]:
        """The completions that have arrived; a stream that ends frees its worker, one that breaks replaces it."""
        job = busy[stream]
        try:
            group = self._ray.get(next(stream))
        except StopIteration:
            self._idle.append(busy.pop(stream).worker)
            waiting += self._again(job, tries, None)
        except self._ray.exceptions.RayError as error:
            self._ray.kill(busy.pop(stream).worker)
            self._staff(1)
            waiting[:0] = self._again(job, tries, error)
        else:
            yield from (one for one in group if job.unfinished.pop(one.id, None))

    def _again(self, job: Job, tries: Counter[str], error: Exception | None) -> list[Request]:
        """What the job left unfinished, to be given to others. Raises EngineError after too many tries."""
        tries.update(job.unfinished.keys())
        most = max((tries[request] for request in job.unfinished), default=0)
        if most > self.settings.cluster.retries:
            raise self._gave_up(f"{len(job.unfinished)} requests were tried {most} times", error)
        return list(job.unfinished.values())

    def _gave_up(self, problem: str, error: Exception | None) -> EngineError:
        lines = [line for line in hidden(str(error or "left unanswered")).splitlines() if line.strip()]
        words = "\n    ".join(line[:300] for line in lines[-LAST_LINES:])
        return EngineError(
            f"{problem} on Ray; the last worker's words:\n    {words}",
            where=self.path,
            remedy="mend what they name, or raise engine.cluster.retries where nodes come and go; finished answers are "
            "stored, so run again",
        )


def connect(settings: Settings) -> Any:
    """Ray, connected once in this process: to engine.cluster.address, RAY_ADDRESS, a cluster that runs on this
    machine, or one started here. Raises EngineError."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read when a cluster starts
    try:
        import ray

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of how a worker without GPUs will be kept from seeing one
            if not ray.is_initialized():
                with chdir(empty_folder()):  # Ray lets workers import from where it was started
                    ray.init(address=settings.cluster.address or None, log_to_driver=False, logging_level="ERROR")
    except ImportError as error:
        raise EngineError(
            "engine.kind = 'ray' needs Ray, which is not installed", remedy="pip install ray, which OpenRLHF brings too"
        ) from error
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise EngineError(
            f"no Ray cluster: {error}",
            where=settings.cluster.address or os.environ.get("RAY_ADDRESS", ""),
            remedy="start one with `ray start --head`, or name its address with engine.cluster.address",
        ) from error
    return ray


def inner(settings: Settings) -> Settings:
    """What a worker's own engine is told."""
    device = resolve_device(settings.device)
    dtype = resolve_dtype(settings.dtype, device)
    return settings.model_copy(update={"kind": settings.cluster.inner, "device": device, "dtype": dtype})


def resources(settings: Settings) -> dict[str, Any]:
    """What Ray reserves for a worker. It spreads them over the nodes and never starts one again by itself: a worker
    that came back would know nothing of the requests that were taken from it."""
    parts = settings.tensor_parallel_size * settings.pipeline_parallel_size * settings.data_parallel_size
    gpus = parts if resolve_device(settings.device) == "gpu" else 0
    kept = {"max_restarts": 0, "max_task_retries": 0, "scheduling_strategy": "SPREAD"}
    return {"num_cpus": settings.cluster.cpus, "num_gpus": gpus, **kept}
