"""The lab: one store, the engines and the provenance of a launch, opened together.

Every verb of a recipe (generate, judge, pair, train) takes the lab first. It knows three things for them:
what is stored already (`fulfil`: running again is resuming), which engine serves a model (`engine`), and
whether this is a plan (`planning`: nothing is loaded, made or written; the verbs only say what they would do).
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, TypeVar

from toolkit.config import Recipe
from toolkit.engines import checkpoint, find
from toolkit.engines.chat import Chat
from toolkit.engines.pool import EnginePool
from toolkit.engines.protocol import Completion, Engine, Request, Starting
from toolkit.errors import InputError
from toolkit.precision import FLOAT32, computes, resolve_recipe, rounding, warnings
from toolkit.progress import Progress
from toolkit.provenance import Launch
from toolkit.records import Comparison, Judgment, Metric, Model, Response
from toolkit.redaction import hidden, redact_mapping
from toolkit.safe_text import one_line
from toolkit.store.database import Store
from toolkit.store.launches import begin
from toolkit.store.serving import Server
from toolkit.trust.paths import inside

Answerable = TypeVar("Answerable", Response, Judgment, Comparison, Metric)
TRUSTING = "warning: trust_remote_code is on: code that lies beside a model's weights runs as you"
FLUSH_SECONDS = 0.2  # finished rows wait no longer than this for their transaction


@dataclass(frozen=True)
class Step:
    """What one verb call did, or in a plan would do. `new_tokens` is the most it may generate."""

    iteration: int
    stage: str
    label: str
    subject: str
    total: int
    cached: int
    seconds: float = 0.0
    new_tokens: int = 0
    stats: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Fulfilled(Generic[Answerable]):
    """Answers in the order of their requests, how many were stored before, and the seconds it took."""

    records: list[Answerable]
    cached: int
    seconds: float


class Lab:
    """Opened with `with Lab(...) as lab`; closing ends the engines and the store."""

    def __init__(
        self, recipe: Recipe, store: Store, launch: Launch, *, planning: bool = False, trusted: bool = False
    ) -> None:
        """trusted: a suite that the recipe names may bring task files, which are programs (consent.py)."""
        self.recipe = resolve_recipe(recipe)
        self.store, self.planning, self.trusted = store, planning, trusted
        engine = {"engine": self.recipe.engine.dtype} if computes(self.recipe.engine) else {}
        dtypes = {**engine, "trainer": self.recipe.trainer.dtype}
        self.launch = replace(launch, hardware={**launch.hardware, "dtype": dtypes})
        self.folder = store.path.parent if store.path else Path.cwd()
        self.engines = EnginePool(self.recipe.engine, trust_remote_code=recipe.trust_remote_code)
        self.iteration = 0
        self.steps: list[Step] = []
        self.foreseen: set[str] = set()  # by a plan, and by those before it in a comparison: ids of what would be made
        self.past: Model | None = None
        self.bases: Mapping[str, Model] = {}  # stored base models by `called`, for a plan that reads no checkpoint
        self._chats: dict[str, Chat] = {}
        self._measured: dict[str, float] = defaultdict(int)
        self._starting = False
        if recipe.trust_remote_code:
            print(TRUSTING, file=sys.stderr)
        self._server = None if planning else Server(store)
        if not planning:
            begin(store, self.launch)
            for line in warnings(recipe):
                print(line, file=sys.stderr, flush=True)

    def __enter__(self) -> Lab:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.engines.close()
        if self._server:
            self._server.close()
        self.store.close()

    # models

    def model(self, name: str, called: str = "") -> Model:
        """The base model of this name: embedded, a directory, or a hub id. `called` M_0 it is the recipe's past."""
        if called in self.bases:
            base = self.bases[called]
        elif self.planning and not find.is_local(name):
            base = Model(called or name, name, weights="planned", template="planned")
        else:
            path = find.resolve(name)
            checkpoint.verify(path, trust_remote_code=self.recipe.trust_remote_code)
            weights, template = checkpoint.weights_digest(path), checkpoint.template_digest(path)
            base = Model(called or path.name, str(path), weights, template)
        if not self.planning:
            self.store.add([base], launch=self.launch.id)
        return self.starts_from(base) if called == "M_0" else base

    def starts_from(self, model: Model) -> Model:
        """Make this model the recipe's M_0, the past."""
        self.past = model
        stats = {"name": "M_0"}
        self.note(Step(self.iteration, "start", f"M_0 is {model.path or model.name}", model.id, 1, 1, stats=stats))
        return model

    def path(self, model: Model) -> Path:
        """Where the checkpoint lies: trained ones beside the store, base models where they were found."""
        return inside(self.folder, model.path, model.name) if model.training else self.folder / model.path

    def unchanged(self, model: Model) -> Path:
        """Where the checkpoint lies, complete, with the weights and template it was stored with. Raises InputError."""
        path = self._rendering(model)
        if checkpoint.weights_digest(path) != model.weights:
            raise _changed(f"the weights of {model.name} ({model.id})", path)
        return path

    def _rendering(self, model: Model) -> Path:
        """The same without a look at every weight."""
        path = self.path(model)
        checkpoint.verify(path, trust_remote_code=self.recipe.trust_remote_code)
        if checkpoint.template_digest(path) != model.template:
            raise _changed(f"the tokenizer or template of {model.name} ({model.id})", path)
        return path

    def chat(self, model: Model) -> Chat:
        """The chat template of this model, loaded and checked once for each distinct one. Raises InputError."""
        if model.template not in self._chats:
            # Most of it is importing transformers, 5.6 s on two cores; an engine takes longer to start.
            with self.timing("start_seconds" if self._starting else "tokenizer_seconds"):
                self._chats[model.template] = Chat.load(self._rendering(model), self.recipe.trust_remote_code)
        return self._chats[model.template]

    def engine(self, model: Model) -> Engine:
        """The engine that serves this checkpoint, after its weights were found unchanged; it may still be starting."""
        if new := not self.engines.has(model.id):
            with self.timing("check_seconds"):
                self.unchanged(model)
            settings = self.recipe.engine
            told = f"{self.iteration} starting {settings.kind} with {one_line(model.name)}"
            told += f" in {settings.dtype}" if computes(settings) else ""
            if computes(settings) and settings.dtype != FLOAT32 == checkpoint.trained_dtype(self.path(model)):
                told += "\n" + rounding(one_line(model.name), settings.dtype)
            print(told, file=sys.stderr, flush=True)
        with self.timing("start_seconds"):
            engine = self.engines.get(model.id, self.path(model))
        self._starting |= new and isinstance(engine, Starting)
        return engine

    def complete(self, model: Model, requests: Sequence[Request]) -> Iterator[Completion]:
        """Completions of this checkpoint, as they finish.

        The step that is noted next tells the tokens, and the seconds that were spent waiting for the engine.
        """
        lengths = {request.id: len(request.tokens) for request in requests}
        engine = self.engine(model)
        with self.timing("start_seconds"):
            if isinstance(engine, Starting):
                engine.ready()
        self._starting = False
        completions = engine.complete(requests)
        while True:
            with self.timing("engine_seconds"):
                done = next(completions, None)
            if done is None:
                return
            self._measured["prompt_tokens"] += lengths[done.id]
            self._measured["prompt_tokens_reused"] += done.reused
            self._measured["new_tokens"] += done.tokens
            yield done

    @contextmanager
    def timing(self, name: str) -> Iterator[None]:
        """The seconds of what runs inside, told by the step that is noted next."""
        started = time.monotonic()
        yield
        self._measured[name] += time.monotonic() - started

    # work

    def fulfil(
        self, label: str, requests: Sequence[Answerable], work: Callable[[list[Answerable]], Iterator[Answerable]]
    ) -> Fulfilled[Answerable]:
        """Every request with its answer, in order: stored ones as they are, missing ones from `work`.

        Answers are stored as they arrive. In a plan, missing ones come back unanswered.
        """
        kind = type(requests[0]) if requests else Response
        found = self.store.find(kind, [request.id for request in requests])
        missing = [request for request in requests if request.id not in found]
        progress = Progress(one_line(f"{self.iteration} {label}"), len(requests), len(found))
        cached = len(found)
        if self.planning:
            self.foresee(request.id for request in missing)
        elif missing:
            for answer in self._stored(work(missing)):
                found[answer.id] = answer
                progress.advance()
        if not self.planning:
            progress.finish()
        return Fulfilled([found.get(request.id, request) for request in requests], cached, progress.seconds)

    def foresee(self, ids: Iterable[str]) -> None:
        """In a plan: these would be made. The step that is noted next tells how many were foreseen before: `shared`."""
        wanted = set(ids)
        if shared := len(wanted & self.foreseen):
            self._measured["shared"] += shared
        self.foreseen |= wanted

    def note(self, step: Step) -> None:
        """Keep what a verb call did. A label may name a model by its address."""
        measured = {name: round(value, 3) for name, value in self._measured.items()}
        stats = {**redact_mapping(step.stats), **measured}
        step = replace(step, label=hidden(step.label), subject=hidden(step.subject), stats=stats)
        self._measured.clear()
        self.steps.append(step)
        if not self.planning:
            row = {**vars(step), "launch": self.launch.id, "position": len(self.steps)}
            self.store.insert("step", [row])

    def _stored(self, answers: Iterator[Answerable]) -> Iterator[Answerable]:
        waiting: list[Answerable] = []
        flushed = time.monotonic()
        try:
            for answer in answers:
                waiting.append(answer)
                if time.monotonic() - flushed > FLUSH_SECONDS:
                    self.store.add(waiting, launch=self.launch.id)
                    waiting, flushed = [], time.monotonic()
                yield answer
        finally:
            self.store.add(waiting, launch=self.launch.id)


def _changed(what: str, path: Path) -> InputError:
    remedy = "restore the checkpoint from a backup, or start a new store"
    return InputError(f"{what} changed since they were stored", where=path, remedy=remedy)
