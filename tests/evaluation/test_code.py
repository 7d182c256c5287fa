from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.evaluation.human_eval.code import completion, defines, extract_code

BLOCKS = (Path(__file__).parents[1] / "cases" / "code.txt").read_text(encoding="utf-8").split("\n===\n")
PROMPT = 'def add(a, b):\n    """The sum of a and b."""\n'
PIECES = [
    "```",
    "```python",
    "~~~",
    "\n",
    "def add(a, b):",
    "    return a + b",
    "import x",
    "'''",
    "\\",
    "(",
    "\r\n",
    "> ",
]


def cases() -> list[tuple[str, str, str]]:
    found = []
    for block in BLOCKS:
        head, _, rest = "\n".join(line for line in block.split("\n") if not line.startswith("# ")).partition("\n")
        reply, _, code = ("\n" + rest).partition("\n---")
        found.append((head, reply.removeprefix("\n").replace("\\r", "\r"), code.strip("\n")))
    return found


@pytest.mark.parametrize(
    ("expected", "reply", "code"), cases(), ids=[f"{i}-{reply[:24]!r}" for i, (_, reply, _) in enumerate(cases())]
)
def test_code_is_found_as_its_case_says(expected: str, reply: str, code: str) -> None:
    found, form = expected.split()
    got = extract_code(reply, "add")
    assert (got.found, got.text) == (found, code)
    if form != "-":
        assert defines(got.text, "add") == (form == "whole")


@pytest.mark.parametrize(
    "code",
    [
        "def add(a, b):\n    return a + b",
        "    return a + b",
        "return a + b",
        "total = a + b\n    return total",
        "    total = a + b\n    return total",
        "if a:\n    return a + b\nreturn b",
        "add = lambda a, b: a + b",
        "import math\n\ndef add(a, b):\n    return a + b",
    ],
)
def test_whole_functions_and_bodies_complete_a_prompt_alike(code: str) -> None:
    space: dict[str, object] = {}
    exec(PROMPT + completion(code, "add"), space)
    assert space["add"](2, 3) == 5  # type: ignore[operator]


def test_a_call_or_a_longer_name_is_no_definition() -> None:
    assert not defines("add(1, 2)\nprint(add == add)", "add")
    assert not defines("def add_all(xs): ...", "add")
    assert not defines("class A:\n    def add(self): ...", "add")


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=8), max_size=30).map("".join))
def test_no_reply_breaks_the_extractor(reply: str) -> None:
    got = extract_code(reply, "add")
    assert (got.text == "") == (got.found == "none")
    assert "\r\n" not in got.text


@pytest.mark.parametrize("line", ["def add(a, b):\n", "```python\n", "import x\n", "(\n", "@\n", "    (\n"])
def test_a_long_reply_is_read_in_time(line: str) -> None:
    start = time.process_time()
    extract_code(line * 2000, "add")
    assert time.process_time() - start < 10
