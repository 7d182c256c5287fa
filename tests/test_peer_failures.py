"""Every failure case that other tools taught us is held by tests that exist, or said not to arise here."""

from __future__ import annotations

import ast
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CASES = tomllib.loads((ROOT / "tests" / "cases" / "peers_failures.toml").read_text(encoding="utf-8"))


@cache
def collected(file: str) -> frozenset[str]:
    """The tests of a file that pytest collects: the functions of a test_*.py that start with test_."""
    path = ROOT / file
    if not (path.name.startswith("test_") and path.is_file()):
        return frozenset()
    functions = [node for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef)]
    return frozenset(function.name for function in functions if function.name.startswith("test_"))


def test_no_case_is_left_out() -> None:
    assert set(CASES) == {*(str(number) for number in range(1, 56)), "32b"}


@pytest.mark.parametrize("number", CASES)
def test_a_case_is_held_by_tests_that_exist_or_has_a_reason(number: str) -> None:
    case = CASES[number]
    assert set(case) <= {"what", "tests", "reason"} and case["what"]
    assert case.get("tests") or case.get("reason")
    for node in case.get("tests", ()):
        file, _, name = node.partition("::")
        assert name in collected(file), f"case {number}: no test {node}"
