"""Tasks of the Language Model Evaluation Harness (lm-eval 0.4.13), asked through our engines. Its one home.

The harness makes the prompts and grades; harness.py answers it, task_rows.py gives it local data. The harness' own
caches are not used: `use_cache` takes one model's answers for another's, and the json reader of `datasets` takes an
old file for a new one of the same age.

Stock sampling of few-shot examples draws on from question to question, so a question's prompt depends on how many came
before it. `limit` takes the first questions and leaves their prompts as they are; parts and shards are not offered.
`first_n` gives every question the same examples, which prefix caches like; it is another protocol than the stock one.

Where a task compares log-likelihoods there are no Responses. Scores and items enter the store together, so a protocol
that has a score is read back and nothing is asked; a run that was cut off computes its log-likelihoods again.

    python -m pytest tests/evaluation/test_lm_eval.py
"""

from __future__ import annotations

import hashlib
import inspect
import io
import json
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from toolkit.errors import InputError, RecipeError, ToolkitError
from toolkit.evaluation.aggregation import AGGREGATIONS as RESAMPLED
from toolkit.evaluation.answers import Graded, keep
from toolkit.evaluation.lm_eval.harness import Answerer, cut, graded, ordered
from toolkit.evaluation.lm_eval.task_rows import local
from toolkit.extras import need
from toolkit.identity import Json
from toolkit.lab import Lab
from toolkit.records import Item, Model, Score
from toolkit.trust.consent import is_task_file

FOR_TEXTS = ("bleu", "chrf", "ter", "median", "brier_score", "weighted_perplexity", "bits_per_byte")
_KINDS: dict[str, type[Any]] = {"score": Score, "item": Item}


@dataclass(frozen=True)
class Settings:
    """A task and its protocol.

    task: a name of the harness, or a YAML file, which is a program (consent.py). data: a file with the questions; a
    folder with a file for each split, as test.jsonl and train.jsonl; None for the hub. few_shot: None for the task's
    own number. chat: few-shot examples as turns of a dialogue, all in one turn, or no chat template at all
    (log-likelihoods only). max_tokens: of an answer, whatever the task says; the harness' default of 256 cuts long
    reasoning. seed: of the few-shot examples; 1234 is the harness' own. name: of the test, which its scores bear; ""
    for the task's.
    """

    task: str = "gsm8k"
    data: Path | None = None
    limit: int | None = None
    few_shot: int | None = None
    sampler: Literal["stock", "first_n"] = "stock"
    chat: Literal["turns", "one_turn", "none"] = "turns"
    max_tokens: int = 512
    seed: int = 1234
    name: str = ""

    def __post_init__(self) -> None:
        if (self.limit is not None and self.limit < 1) or (self.few_shot or 0) < 0:
            raise RecipeError(
                f"limit = {self.limit}, few_shot = {self.few_shot}",
                where=self.task,
                remedy="a limit is at least 1, few_shot at least 0; leave either out for all, or the task's own",
            )


def lm_eval_task(lab: Lab, model: Model, settings: Settings) -> Graded:
    """Scores and items of a task, one of each for every metric and filter ("strict-match"), and the share "[invalid]".

    Stored before they are returned. A plan notes what it would ask and returns what is stored, or nothing.
    """
    task = _load(settings)
    if task.OUTPUT_TYPE == "generate_until" and settings.chat == "none":
        raise InputError(f"{settings.task} asks for answers, and those are chats", remedy="set chat = 'turns'")
    protocol = _protocol(task, settings) | _asked(task, settings)
    name = settings.name or task.task_name
    if name != task.task_name:
        protocol["task"] = task.task_name
    if stored := _stored(lab, model, name, protocol):
        return stored
    engine = Answerer(lab, model, task.task_name, settings.max_tokens, settings.chat != "none")
    results = _evaluate(task, settings, engine.generate, engine.loglikelihood)
    if lab.planning:
        return Graded((), ())
    blank = Item(model.id, name, "", "", protocol)
    return keep(lab, graded(blank, results, engine.answered, _aggregations(task)))


def replay(settings: Settings, texts: Sequence[str], author: str = "replayed") -> tuple[Item, ...]:
    """The harness' grades of texts that exist already, one for each question in order; no engine, nothing stored.

    The published 175B solutions of GSM8K get their official labels by flexible-extract, 1319 of 1319, and 0 by
    strict-match: that filter wants "#### 18", the format of the few-shot examples, which those solutions never saw.
    """
    task = _load(replace(settings, few_shot=0))
    wanted = min(len(task.eval_docs), settings.limit or len(task.eval_docs))
    if len(texts) != wanted:
        raise InputError(
            f"{len(texts)} texts for {wanted} questions of {settings.task}",
            where=settings.data or "the hub",
            remedy="give one text for each question, in the order of the questions",
        )

    def told(requests: list[Any]) -> list[str]:
        return [cut(texts[request.doc_id], request) for request in requests]

    def untold(requests: list[Any]) -> list[tuple[float, bool]]:
        raise InputError(f"{settings.task} compares log-likelihoods", remedy="evaluate a model on it")

    results = _evaluate(task, settings, told, untold)
    protocol = _protocol(task, settings) | {"answers": "replayed"}
    blank = Item(Model.external(author).id, task.task_name, "", "", protocol)
    return graded(blank, results, {}, _aggregations(task)).items


# the harness


def _load(settings: Settings) -> Any:
    """The task, new each time: evaluating with one object twice draws other few-shot examples."""
    need("lm_eval", f"the test {settings.task}", "eval")
    from lm_eval.tasks import TaskManager

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    try:
        with _metrics_of_packages():
            config = _configured(_stock(settings.task), settings)
            _refuse_folder(config, settings)
            (task,) = TaskManager(include_defaults=False).load(config)["tasks"].values()
    except ToolkitError:
        raise
    except Exception as error:  # whatever a template, a metric or a reader raises
        raise InputError(
            f"lm-eval cannot load {settings.task}: {type(error).__name__}: {str(error)[:300]}",
            where=settings.data or "the hub",
            remedy="give the rows the fields of the task's published data set",
        ) from error
    if (shots := task.config.num_fewshot) and shots > len(found := list(task.fewshot_docs())):
        raise InputError(
            f"{settings.task} shows {shots} examples, there are {len(found)}",
            where=settings.data or "the hub",
            remedy="lower few_shot, or add rows",
        )
    task.set_fewshot_seed(settings.seed)
    return task


@contextmanager
def _metrics_of_packages() -> Iterator[None]:
    """`evaluate` takes a metric's name for a folder of the current one first, and runs the file in it: refused here."""
    import evaluate

    stock = evaluate.load

    def load(path: str, *more: Any, **named: Any) -> Any:
        if Path(path).exists():
            remedy = "work in another folder, or rename it"
            raise InputError(f"{path} in the current folder would run in place of the metric", remedy=remedy)
        return stock(path, *more, **named)

    evaluate.load = load
    try:
        yield
    finally:
        evaluate.load = stock


def _refuse_folder(config: Mapping[str, Any], settings: Settings) -> None:
    """`datasets` takes a data set's name for a folder of the current one first: its rows would be asked in silence."""
    name = str(config.get("dataset_path") or "")
    if name and settings.data is None and not is_task_file(settings.task) and Path(name).exists():
        raise InputError(
            f"{name} in the current folder would be taken in place of the data set of {settings.task}",
            where=Path(name).absolute(),
            remedy="work in another folder, rename it, or name it as data",
        )


def _stock(name: str) -> dict[str, Any]:
    """The task's configuration. Its own Python is imported late: that of HumanEval asks the network for a metric."""
    from lm_eval.tasks._yaml_loader import load_yaml

    path = _yaml(name)
    config: dict[str, Any] = load_yaml(path, resolve_func=False) if path else {}
    if not path or not isinstance(config.get("task"), str) or "class" in config:
        raise InputError(
            f"{name!r} is no single YAML task of lm-eval {version('lm_eval')}",
            remedy="name one (python -m lm_eval ls tasks) or a YAML file; of a group, name the tasks",
        )
    if config.get("unsafe_code"):
        raise InputError(
            f"{name} runs what a model wrote, which lm-eval does without a sandbox",
            where=path,
            remedy="use the toolkit's own task for HumanEval, or leave the task out",
        )
    return dict(load_yaml(path))


def _yaml(name: str) -> Path | None:
    """Where the task is written. A scan of all tasks takes 22 s, so files of the task's name are tried first."""
    if is_task_file(name):
        given = Path(name).expanduser()
        return given if given.is_file() else None
    if set(name) & set("/\\*?["):  # a path or a pattern would leave the harness' own folder
        return None
    import lm_eval
    from lm_eval.tasks import TaskManager
    from lm_eval.tasks._yaml_loader import load_yaml

    for path in sorted((Path(lm_eval.__file__).parent / "tasks").rglob(f"{name}.yaml")):
        if load_yaml(path, resolve_func=False).get("task") == name:
            return path
    entry = TaskManager().task_index.get(name)
    return entry.yaml_path if entry else None


def _configured(stock: dict[str, Any], settings: Settings) -> dict[str, Any]:
    own = stock.get("num_fewshot") or 0
    if settings.few_shot and stock.get("num_fewshot") == 0:
        raise InputError(
            f"{settings.task} brings its own examples; few_shot = {settings.few_shot} has no place there",
            remedy="leave few_shot out",
        )
    config = stock | {"num_fewshot": own if settings.few_shot is None else settings.few_shot}
    if settings.sampler != "stock":
        config["fewshot_config"] = (stock.get("fewshot_config") or {}) | {"sampler": settings.sampler}
    return config if settings.data is None else config | local(config, settings.data)


def _evaluate(task: Any, settings: Settings, generate: Callable[..., Any], loglikelihood: Callable[..., Any]) -> Any:
    """The harness' results. A conversation goes through it as JSON: it is rendered by us, where it is answered."""
    from lm_eval.api.model import LM
    from lm_eval.evaluator import evaluate

    ours = sys.stderr

    class Asked(LM):  # type: ignore[misc]
        tokenizer_name = ""

        def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
            return json.dumps(chat_history)

        def generate_until(self, requests: list[Any]) -> list[str]:
            with redirect_stderr(ours):
                return list(generate(requests))

        def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
            with redirect_stderr(ours):
                return list(loglikelihood(requests))

        def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
            raise InputError(f"{settings.task} measures whole texts, which is not offered", remedy="name another task")

    with redirect_stderr(io.StringIO()):  # its progress bars; what our engines say is let through
        return evaluate(
            Asked(),
            {"tasks": {task.task_name: task}},
            limit=settings.limit,
            bootstrap_iters=0,  # intervals are made from the items, with a seed of their own
            apply_chat_template=settings.chat != "none",
            fewshot_as_multiturn=settings.chat == "turns",
        )


def _aggregations(task: Any) -> dict[str, str]:
    """The aggregation of every metric that is not a mean over items, by the harness' name; "its own" for a function."""
    from lm_eval.api.registry import get_aggregation

    named = {get_aggregation(name): name for name in ("mean", "nanmean", "bypass", *RESAMPLED, *FOR_TEXTS)}
    found = {metric: named.get(function, "its own") for metric, function in task.aggregation().items()}
    return {metric: name for metric, name in found.items() if name not in ("mean", "nanmean")}


# what is kept


def _protocol(task: Any, settings: Settings) -> dict[str, Json]:
    """What decides the grades, whoever answered: the rows, the task's configuration, the harness."""
    return {
        "data": _digest(task.eval_docs),
        "config": _digest([_stock(settings.task)]),
        "limit": settings.limit,
        "lm_eval": version("lm_eval"),
    }


def _asked(task: Any, settings: Settings) -> dict[str, Json]:
    """What decides the prompts and the answers."""
    shots = task.config.num_fewshot
    return {
        "few_shot": shots,
        "examples": _digest(task.fewshot_docs()) if shots else None,
        "sampler": str(task.fewshot_cfg.sampler) if shots else None,
        "seed": settings.seed if shots else None,
        "chat": settings.chat,
        "max_tokens": settings.max_tokens if task.OUTPUT_TYPE == "generate_until" else None,
    }


def _digest(rows: Iterable[Mapping[str, Any]]) -> str:
    """SHA-256 over the rows in their order; a function counts by its source."""
    total = hashlib.sha256()
    for row in rows:
        total.update(json.dumps(row, sort_keys=True, default=_source).encode() + b"\n")
    return total.hexdigest()


def _source(value: Any) -> str:
    return inspect.getsource(value) if callable(value) else str(value)


def _stored(lab: Lab, model: Model, task: str, protocol: Mapping[str, Json]) -> Graded | None:
    where = "WHERE model = ? AND task = ? AND settings::VARCHAR = ?"
    told = [model.id, task, json.dumps(protocol, sort_keys=True, ensure_ascii=False)]
    ids = {kind: [row["id"] for row in lab.store.query(f"SELECT id FROM {kind} {where}", told)] for kind in _KINDS}
    if not ids["score"]:
        return None
    scores, items = (lab.store.find(kind, ids[name]) for name, kind in _KINDS.items())
    return ordered(scores.values(), items.values())
