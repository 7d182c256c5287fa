"""A suite: what a checkpoint is measured by. A TOML file with a table for each test.

    [gsm8k]                    # the test's own name: what its scores and leaderboard columns bear
    kind = "lm_eval"           # or human_eval, alpaca_eval, judged
    task = "gsm8k"             # the other keys are the fields of that kind's Settings
    data = "$TOOLKIT_DATA/gsm8k"

`$NAME` in a path (PATHS) is the environment's, where it names a file or folder that exists; no other text is expanded,
so a suite cannot send a variable anywhere. A table that names a task file or a server runs with --trust alone
(consent.py). evaluate() is the verb of recipes, `python -m toolkit evaluate` the same call.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from toolkit.config import read_toml
from toolkit.errors import RecipeError
from toolkit.evaluation import judged
from toolkit.evaluation.alpaca_eval import alpaca_eval
from toolkit.evaluation.answers import Graded
from toolkit.evaluation.human_eval import human_eval
from toolkit.evaluation.lm_eval import lm_eval
from toolkit.evaluation.probe import probe
from toolkit.lab import Lab
from toolkit.records import Model
from toolkit.redaction import SECRET_NAME
from toolkit.trust.consent import check_task, is_task_file

Run = Callable[[Lab, Model, Any], Graded]
KINDS: Mapping[str, tuple[Run, type[Any]]] = {
    "lm_eval": (lm_eval.lm_eval_task, lm_eval.Settings),
    "human_eval": (human_eval.human_eval, human_eval.HumanEval),
    "alpaca_eval": (alpaca_eval.alpaca_eval, alpaca_eval.Settings),
    "judged": (judged.judged, judged.Judged),
}
PATHS = ("data", "instructions", "references", "df_gamed", "questions", "baseline")
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
SHIPPED = (Path(__file__).parents[2] / "benchmarks" / "suites", Path(__file__).parents[1] / "_suites")


@dataclass(frozen=True)
class Test:
    """One test of a suite: its name there, its kind, and that kind's settings."""

    name: str
    kind: str
    settings: Any


def evaluate(lab: Lab, model: Model) -> None:
    """Measure the model on the probe prompts and by the recipe's suite, where it has them."""
    probe(lab, model)
    if lab.recipe.suite:
        for test in load_suite(Path(lab.recipe.suite), trusted=lab.trusted):
            run(lab, model, test)


def run(lab: Lab, model: Model, test: Test) -> Graded:
    """One test of one model; what is stored already is neither asked nor graded again."""
    function, _ = KINDS[test.kind]
    return function(lab, model, test.settings)


def load_suite(path: Path, limit: int | None = None, *, trusted: bool = False) -> tuple[Test, ...]:
    """The tests of a shipped suite of this name, or of a suite file. Raises RecipeError.

    trusted: it may name task files, which are programs, and servers.
    """
    named = [folder / f"{path.stem}.toml" for folder in SHIPPED]
    places = [*named, path] if str(path) == path.stem else [path, *named]  # a plain word is a shipped suite first
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        shipped = ", ".join(sorted({known.stem for folder in SHIPPED for known in folder.glob("*.toml")}))
        raise RecipeError(f"no suite {path}", remedy=f"name an existing TOML file, or one of {shipped}")
    trusted = trusted or file.parent in SHIPPED
    tests = tuple(_test(name, table, file, trusted) for name, table in read_toml(file).items())
    return tests if limit is None else tuple(replace(t, settings=replace(t.settings, limit=limit)) for t in tests)


def _test(name: str, table: Any, file: Path, trusted: bool) -> Test:
    where = f"{file}, table {name!r}"
    kind = str(table.get("kind")) if isinstance(table, Mapping) else "none"
    if kind not in KINDS:
        raise RecipeError(f"kind = {kind!r}", where=where, remedy=f"one of {', '.join(KINDS)}")
    check_task(table, where, trusted=trusted)
    fields = {key: _expanded(key, value, where) for key, value in table.items() if key != "kind"}
    settings = KINDS[kind][1]
    known = list(settings.__dataclass_fields__)
    if unknown := [key for key in fields if key not in known]:
        near = difflib.get_close_matches(unknown[0], known, n=1, cutoff=0.0)
        raise RecipeError(f"unknown key {unknown[0]!r}", where=where, remedy=f"did you mean {near[0]!r}?")
    fields.setdefault("name", name)
    try:
        return Test(name, kind, TypeAdapter(settings).validate_python(fields))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise RecipeError(
            f"{place} = {first['input']!r}: {first['msg']}", where=where, remedy=f"correct {place} in the suite"
        ) from error


def _expanded(key: str, value: Any, where: str) -> Any:
    """The value, with the variables of a path replaced."""
    if not isinstance(value, str) or not (key in PATHS or (key == "task" and is_task_file(value))):
        return value
    return _VARIABLE.sub(lambda match: _place(match[1] or match[2], where), value)


def _place(name: str, where: str) -> str:
    """The file or folder that a variable names. Whatever else it holds, a key for example, goes nowhere."""
    value = os.environ.get(name)
    if value is None or re.search(SECRET_NAME, name) or not Path(value).exists():
        problem = "is not set" if value is None else "is not the path of a file or folder that exists"
        remedy = "set it to the folder of this data, or write its path into the suite"
        raise RecipeError(f"${name} {problem}", where=where, remedy=remedy)
    return value
