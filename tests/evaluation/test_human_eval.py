"""HumanEval through our own chat, extractor and sandbox. The package's own solutions score full marks, others none."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import needs
from tests.judgments.speaking import speaking_lab
from toolkit.config import Recipe, parse
from toolkit.engines import embedded
from toolkit.errors import InputError, RecipeError
from toolkit.evaluation.human_eval import human_eval as home
from toolkit.evaluation.human_eval.human_eval import HumanEval, Problem, human_eval, read_problems
from toolkit.evaluation.sandbox.check import Limits, Verdict, check
from toolkit.evaluation.sandbox.probe import protection
from toolkit.lab import Lab
from toolkit.provenance import capture
from toolkit.records import Item, Score
from toolkit.store.database import Store

Build = Callable[..., Recipe]
ADD = {
    "task_id": "T/0",
    "prompt": 'def add(a, b):\n    """The sum of a and b."""\n',
    "entry_point": "add",
    "test": "def check(candidate):\n    assert candidate(1, 2) == 3\n",
}
# the test calls a helper that only the prompt defines
DOUBLE = {
    "task_id": "T/1",
    "prompt": 'def half(x):\n    return x // 2\n\n\ndef double(x):\n    """Twice x."""\n',
    "entry_point": "double",
    "test": "def check(candidate):\n    assert half(candidate(4)) == 4\n    assert half(double(6)) == 6\n",
}
RIGHT = {"add": "```python\ndef add(a, b):\n    return a + b\n```", "double": "```\n    return 2 * x\n```"}
QUICK = HumanEval(max_tokens=64, timeout=10)


@pytest.fixture(autouse=True)
def _ready() -> None:
    needs("human_eval")
    try:
        protection()
    except InputError as error:
        pytest.skip(error.problem)


@pytest.fixture
def ask(scripted_recipe: Build, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Evaluate a model that says this to the two problems above: function name -> reply, or its successive replies."""
    path = tmp_path / "problems.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in (ADD, DOUBLE)))
    labs: list[Lab] = []

    def run(said: dict[str, str | list[str]], *, planning: bool = False, **settings: Any) -> Any:
        recipe = scripted_recipe()

        def say(prompt: str) -> str:
            (name,) = [name for name in said if f"def {name}(" in prompt]
            reply = said[name]
            return reply if isinstance(reply, str) else reply.pop()

        if not labs:
            labs.append(speaking_lab(recipe, tmp_path / "s.duckdb", say, planning=planning))
        lab = labs[0]
        how = HumanEval(**{"max_tokens": 64, "timeout": 10, "problems": path} | settings)
        return lab, human_eval(lab, lab.model(recipe.model), how)

    yield run
    for lab in labs:
        lab.__exit__(None, None, None)


def values(scores: tuple[Score, ...]) -> dict[str, tuple[float | None, int | None]]:
    return {score.metric: (score.value, score.n) for score in scores}


def test_right_answers_score_one_and_are_stored_with_their_protocol(ask: Callable[..., Any]) -> None:
    lab, graded = ask(RIGHT)
    assert values(graded.scores) == {"pass@1": (1.0, 2), "extraction_failures": (0.0, 2), "timed_out": (0.0, 2)}
    assert [(item.question, item.value, item.detail) for item in graded.items] == [
        ("T/0", 1.0, "passed (fenced)"),
        ("T/1", 1.0, "passed (fenced)"),
    ]
    how = graded.scores[0].settings
    assert how["protocol"] == "chat" and how["protection"] == protection().text and len(how["data"]) == 64
    assert set(lab.store.find(Item, [item.id for item in graded.items])) == {item.id for item in graded.items}
    assert len(lab.store.find(Score, [score.id for score in graded.scores])) == 3


def test_each_way_to_fail_is_told_in_the_detail(ask: Callable[..., Any]) -> None:
    said = {"add": "I will not.", "double": "```python\ndef double(x):\n    return x\n```"}
    _, graded = ask(said)
    assert values(graded.scores) == {"pass@1": (0.0, 2), "extraction_failures": (0.5, 2), "timed_out": (0.0, 2)}
    assert [item.detail for item in graded.items] == ["no code (none)", "failed (fenced) AssertionError"]


def test_an_answer_without_end_is_counted_as_timed_out(
    ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = {True: Limits(seconds=2), False: Limits(seconds=60)}
    monkeypatch.setattr(home, "check", lambda asked, _, by: check(asked, limits["while True" in asked.program], by))
    _, graded = ask(RIGHT | {"add": "```python\ndef add(a, b):\n    while True: pass\n```"})
    assert values(graded.scores)["timed_out"] == (0.5, 2)
    assert graded.items[0].detail == "timed out (fenced) after 2 seconds"


def test_what_is_stored_is_not_run_again(ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    _, before = ask(RIGHT)
    monkeypatch.setattr(home, "check", lambda *_: pytest.fail("run again"))
    _, after = ask(RIGHT)
    assert after == before


def test_other_settings_are_other_scores(ask: Callable[..., Any]) -> None:
    _, two = ask(RIGHT)
    _, one = ask(RIGHT, limit=1)
    _, slow = ask(RIGHT, timeout=11)
    assert len({graded.scores[0].id for graded in (two, one, slow)}) == 3
    assert [item.question for item in one.items] == ["T/0"]


def test_pass_at_k_of_draws_is_the_unbiased_estimate(ask: Callable[..., Any]) -> None:
    wrong = "```\ndef add(a, b): return 0\n```"
    said = {"add": [RIGHT["add"], wrong, wrong], "double": RIGHT["double"]}
    _, graded = ask(said, draws=3, temperature=0.8, k=(1, 2, 3))
    found = values(graded.scores)
    assert found["pass@1"][0] == pytest.approx((1 / 3 + 1) / 2)
    assert found["pass@2"][0] == pytest.approx((2 / 3 + 1) / 2)
    assert found["pass@3"] == (1.0, 2)
    assert found["timed_out"] == (0.0, 6)
    assert {item.question for item in graded.items} == {"T/0", "T/0#1", "T/0#2", "T/1", "T/1#1", "T/1#2"}


def test_a_plan_answers_and_grades_nothing(ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home, "check", lambda *_: pytest.fail("run in a plan"))
    lab, graded = ask({}, planning=True)
    assert graded.scores == graded.items == ()
    assert [(step.stage, step.total) for step in lab.steps][-1] == ("evaluate", 2)


@pytest.mark.parametrize(
    "settings",
    [
        {"timeout": 3},
        {"k": (2,)},
        {"k": ()},
        {"draws": 2},
        {"workers": 0},
        {"limit": 0},
    ],
)
def test_settings_that_would_mislead_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match="remedy"):
        HumanEval(**settings)


@pytest.mark.parametrize("text", ["", "{", '{"task_id": "T/0"}\n', "[1]\n"])
def test_a_file_of_other_things_is_refused_by_name(text: str, tmp_path: Path) -> None:
    (tmp_path / "odd.jsonl").write_text(text)
    with pytest.raises(InputError, match=r"odd\.jsonl"):
        read_problems(tmp_path / "odd.jsonl")
    with pytest.raises(InputError, match="missing"):
        read_problems(tmp_path / "missing.jsonl")


def verdicts(problems: list[Problem], codes: list[str], seconds: float = 20) -> list[Verdict]:
    shield = protection()
    with ThreadPoolExecutor(2) as pool:
        one = lambda pair: check(pair[0].check(pair[1]), Limits(seconds), shield.mechanism)  # noqa: E731
        return list(pool.map(one, zip(problems, codes, strict=True)))


def test_every_solution_of_the_package_passes_and_no_empty_one() -> None:
    from human_eval.data import read_problems as raw

    problems = read_problems(None)
    rows = list(raw().values())
    assert len(problems) == 164
    found = verdicts(problems, [row["prompt"] + row["canonical_solution"] for row in rows])
    assert [(p.name, v) for p, v in zip(problems, found, strict=True) if v.kind != "passed"] == []
    found = verdicts(problems, [row["canonical_solution"] for row in rows])
    assert [(p.name, v) for p, v in zip(problems, found, strict=True) if v.kind != "passed"] == []
    for body in ("pass", "return None"):
        found = verdicts(problems, [f"    {body}"] * 164)
        assert [p.name for p, v in zip(problems, found, strict=True) if v.kind == "passed"] == []


def test_a_file_of_the_same_problems_has_the_same_digest(data_folder: Path) -> None:
    file = data_folder / "humaneval" / "HumanEval.jsonl.gz"
    assert home.digest(read_problems(file)) == home.digest(read_problems(None))


def test_the_packages_example_samples_score_the_half_that_its_readme_tells(data_folder: Path) -> None:
    folder = data_folder / "humaneval"
    (problem,) = read_problems(folder / "example_problem.jsonl")
    rows = [json.loads(line) for line in (folder / "example_samples.jsonl").read_text().splitlines()]
    found = verdicts([problem] * len(rows), [row["completion"] for row in rows], seconds=5)  # one sleeps for 10
    assert len(rows) == 6 and sum(verdict.kind == "passed" for verdict in found) == 3


@pytest.mark.real
def test_a_small_model_is_evaluated_once_and_found_again(tmp_path: Path) -> None:
    needs("torch", embedded.PACKAGE)
    engine = {"kind": "transformers", "device": "cpu"}
    recipe = parse({"model": embedded.NAME, "engine": engine, "prompts": {"source": "none.txt"}})
    settings = HumanEval(limit=8, max_tokens=120)
    with Lab(recipe, Store(tmp_path / "s.duckdb"), capture("test", recipe.resolved())) as lab:
        model = lab.model(recipe.model)
        first = human_eval(lab, model, settings)
        again = human_eval(lab, model, settings)
    assert first == again
    assert len(first.items) == 8
    assert values(first.scores)["pass@1"][0] == sum(item.value or 0 for item in first.items) / 8
    assert (values(first.scores)["extraction_failures"][0] or 0) < 0.5  # it writes fenced code
