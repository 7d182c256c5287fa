"""A reward function as the judge: `judge.reward = "FILE.py:FUNCTION"`, for tasks whose answers can be checked.

    def FUNCTION(prompt: str, answer: str, label: str | None) -> float | None

"toolkit:constraints" and "toolkit:noise" are shipped (rewards/): the positive and the negative control.
label is the prompt's reference answer (`prompts.label`), None where there is none. The function must depend on these
three alone: its score is kept by the digests of its file and of the labels, and never asked for again. What raises,
returns None or no finite number is an unreadable verdict with its reason, never a score.

The file is the user's own code and runs in this process, with all its rights. Left out: a time limit.
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from toolkit.config import Prompts
from toolkit.errors import InputError
from toolkit.identity import content_id, file_digest
from toolkit.lab import Lab
from toolkit.prompts import constraints
from toolkit.prompts.source import load_labels
from toolkit.records import Judgment, Model, Prompt, Response
from toolkit.trust.consent import SHIPPED_REWARDS

MOST = 1e6  # as large as the selection in SQL can order
_REWARDS = Path(__file__).with_name("rewards")
_IMPORTED = {"constraints": (Path(constraints.__file__),)}  # by a shipped function, and so part of the judge


def reward_model(reward: str, prompts: Prompts) -> Model:
    """The judge's record: the function's name, and digests of its file and of the labels if any; it has no weights."""
    path, function = _named(reward)
    if reward in SHIPPED_REWARDS:
        return Model(reward, "", f"reward:{file_digest([path, *_IMPORTED.get(function, ())])}:{function}", "reward")
    judge = f"reward:{hashlib.sha256(path.read_bytes()).hexdigest()[:24]}:{function}"
    if labels := load_labels(prompts):
        judge += f":{content_id('labels', dict(labels))}"
    return Model(f"{path.name}:{function}", str(path), judge, "reward")


def reward(lab: Lab, reward: str, missing: list[tuple[Judgment, Response]]) -> Iterator[Judgment]:
    """Every requested verdict, by the function. Raises InputError where the file or the function is missing."""
    score = load_function(reward)
    prompts = lab.store.find(Prompt, {response.prompt for _, response in missing})
    labels = {} if reward in SHIPPED_REWARDS else load_labels(lab.recipe.prompts)
    for judgment, response in missing:
        yield _verdict(judgment, score, _arguments(prompts[response.prompt], response, labels))


def load_function(reward: str) -> Callable[..., Any]:
    """The function in its file. Raises InputError."""
    path, name = _named(reward)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None  # it ends in .py
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise InputError(
            f"{path.name} does not load: {type(error).__name__}: {error}", where=path, remedy="mend the file"
        ) from error
    function = getattr(module, name, None)
    if not callable(function):
        raise InputError(f"no function {name!r} in {path.name}", where="judge.reward", remedy="name one that is there")
    return function  # type: ignore[no-any-return]


def _arguments(prompt: Prompt, response: Response, labels: Mapping[str, str]) -> dict[str, str | None]:
    return {"prompt": prompt.as_text(), "answer": response.text or "", "label": labels.get(prompt.id)}


def _verdict(judgment: Judgment, function: Callable[..., Any], arguments: Mapping[str, str | None]) -> Judgment:
    try:
        value = function(**arguments)
    except Exception as error:  # a bad answer must not end the run
        return replace(judgment, reply="", status="unreadable", reason=f"{type(error).__name__}: {str(error)[:200]}")
    reply = repr(value)[:200]
    if isinstance(value, bool):
        value = float(value)
    if not isinstance(value, int | float) or not math.isfinite(value):
        return replace(judgment, reply=reply, status="unreadable", reason=f"the function returned {reply}")
    if abs(value) > MOST:
        return replace(judgment, reply=reply, status="out_of_range", reason=f"{reply} is beyond {MOST:g}")
    return replace(judgment, reply=reply, status="scored", score=round(float(value), 9))


def _named(reward: str) -> tuple[Path, str]:
    file, colon, function = reward.rpartition(":")
    if reward in SHIPPED_REWARDS:
        return _REWARDS / f"{function}.py", function
    path = Path(file).expanduser()
    if not colon or path.suffix != ".py" or not function.isidentifier():
        raise InputError(
            f"judge.reward = {reward!r}",
            remedy="name a file and a function, as rewards.py:exact, or toolkit:constraints or toolkit:noise",
        )
    if not path.is_file():
        raise InputError(f"no reward file {path}", where="judge.reward", remedy="name an existing Python file")
    return path, function
