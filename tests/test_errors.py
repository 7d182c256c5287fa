from __future__ import annotations

import ast
from pathlib import Path

import pytest

from toolkit.errors import StoreLocked, ToolkitError, exit_codes

ROOT = Path(__file__).parents[1] / "toolkit"
NAMES = {"ToolkitError", "StoreLocked", *(kind.__name__ for kind in ToolkitError.__subclasses__())}


def raised() -> list[tuple[str, ast.Call]]:
    """Every call that makes an error of ours, with its place."""
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in NAMES:
                found.append((f"{path.relative_to(ROOT)}:{node.lineno}", node))
    return found


def test_every_error_that_is_raised_gives_a_remedy() -> None:
    assert len(raised()) > 100
    for place, call in raised():
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        assert "remedy" in given, place
        assert not (isinstance(given["remedy"], ast.Constant) and not given["remedy"].value), place


def test_an_error_without_a_remedy_cannot_be_made() -> None:
    with pytest.raises(TypeError):
        ToolkitError("wrong")  # type: ignore[call-arg]


def test_each_kind_has_an_exit_code_and_a_meaning_of_its_own_and_a_locked_store_that_of_the_store() -> None:
    kinds = [ToolkitError, *ToolkitError.__subclasses__()]
    assert len({kind.exit_code for kind in kinds}) == len({kind.meaning for kind in kinds}) == len(kinds)
    assert {kind.exit_code for kind in kinds} <= set(exit_codes())
    assert StoreLocked.exit_code == 4


def test_a_message_has_its_three_parts() -> None:
    error = ToolkitError("answers.k = 0", where="quick.toml", remedy="set it to 1 or more")
    assert str(error).splitlines() == ["answers.k = 0", "  where:  quick.toml", "  remedy: set it to 1 or more"]
