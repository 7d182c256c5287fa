"""extract_code(): the Python program in a chat model's reply, and how it was found.

Fenced blocks come first; of several, the last one that defines the function that was asked for, since a model corrects
itself downwards. Without a fence the reply may be code itself, with prose before and after it, or a function's body.
Nothing is repaired: a program that does not compile fails where it is run. Left out: joining several blocks, code that
stands on the line of its fence, other languages.
"""

from __future__ import annotations

import ast
import re
import textwrap
from dataclasses import dataclass
from typing import Literal

Found = Literal["fenced", "unclosed", "bare", "none"]
ATTEMPTS = 50  # at most so many places are tried: a long reply takes no longer
PYTHON = ("", "python", "python3", "py", "py3")
_OPENING = re.compile(r"^([ \t>]*)(`{3,}|~{3,})[ \t]*([^\s`]*)[^`\n]*$")
_START = re.compile(r"^(def |async def |class |import |from \S+ import |@)")


@dataclass(frozen=True)
class Code:
    """text: the code, "" where none was found."""

    text: str
    found: Found


def extract_code(reply: str, function: str) -> Code:
    """The code of this reply that is to define `function`, or to be its body."""
    lines = reply.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    blocks = _blocks(lines)
    if blocks:
        wanted = [block for block in blocks if defines(block.text, function)]
        return wanted[-1] if wanted else blocks[0]
    return _bare(lines)


def defines(code: str, function: str) -> bool:
    """Whether this code defines the function at its top, as far as a line tells."""
    name = re.escape(function)
    return re.search(rf"^(async +def|def) +{name}\b|^{name} *(:[^=\n]*)?=[^=]", code, re.MULTILINE) is not None


def completion(code: str, function: str) -> str:
    """What to put behind a prompt that ends in the function's docstring: the whole again, or its body alone."""
    if defines(code, function):
        return "\n" + code
    return "\n" + textwrap.indent(_aligned(code), "    ")


def _blocks(lines: list[str]) -> list[Code]:
    """The Python blocks in their order; those that hold nothing are left out."""
    found, position = [], 0
    while position < len(lines):
        opening = _OPENING.match(lines[position])
        position += 1
        if not opening:
            continue
        indent, fence, language = opening.groups()
        end = _closing(lines, position, fence)
        if language.lower() in PYTHON:
            text = "\n".join(line.removeprefix(indent) for line in lines[position:end]).strip("\n")
            found.append(Code(text, "fenced" if end < len(lines) else "unclosed"))
        position = end + 1
    return [block for block in found if block.text.strip()]


def _closing(lines: list[str], start: int, fence: str) -> int:
    """The line that closes this fence, or the end."""
    for position in range(start, len(lines)):
        line = lines[position].strip(" \t>")
        if len(line) >= len(fence) and set(line) == {fence[0]}:
            return position
    return len(lines)


def _bare(lines: list[str]) -> Code:
    """A reply without a fence: from its first line of code as far as it compiles, or a function's body."""
    starts = [position for position, line in enumerate(lines) if _START.match(line)]
    for start in starts[:ATTEMPTS]:
        if text := _longest(lines[start:]):
            return Code(text, "bare")
    text = "\n".join(lines).strip("\n")
    return Code(text, "bare") if _is_body(text) else Code("", "none")


def _longest(lines: list[str]) -> str:
    """The beginning that compiles and does more than import: what follows the first error is prose."""
    for _ in range(ATTEMPTS):
        try:
            tree = ast.parse("\n".join(lines))
        except SyntaxError as error:
            lines = _before(lines, (error.lineno or 1) - 1)
        except (ValueError, RecursionError, MemoryError):
            return ""
        else:
            return "" if _only_imports(tree) else "\n".join(lines).strip("\n")
    return ""


def _before(lines: list[str], end: int) -> list[str]:
    """Those before the statement at the margin that holds this line, or none."""
    end = min(end, len(lines) - 1)
    while end > 0 and (not lines[end] or lines[end][0].isspace()):
        end -= 1
    return lines[: max(end, 0)]


def _only_imports(tree: ast.Module) -> bool:
    return all(isinstance(node, ast.Import | ast.ImportFrom) for node in tree.body)


def _is_body(text: str) -> bool:
    """Whether this is what stands under a `def`: statements with a return among them."""
    tree = _parsed("def function():\n" + textwrap.indent(_aligned(text), "    "))
    return tree is not None and any(isinstance(node, ast.Return) for node in ast.walk(tree))


def _aligned(text: str) -> str:
    """A body with its first line at the margin, also where only the first line lost its indent."""
    aligned = textwrap.dedent(text)
    first, _, rest = aligned.partition("\n")
    if rest and not first.startswith((" ", "\t")) and not first.rstrip().endswith(":") and _indented(rest):
        return first + "\n" + textwrap.dedent(rest)
    return aligned


def _indented(rest: str) -> bool:
    return all(line.startswith((" ", "\t")) for line in rest.split("\n") if line.strip())


def _parsed(text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
