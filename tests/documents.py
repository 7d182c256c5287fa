"""A Markdown page as something to follow: its blocks in order, each typed, written, run or left out with a reason.

    sh       every line is typed: the toolkit's own commands in this process, recipes by the scripted engine or, where
             their recipe is another, only planned, for few prompts
    python   run, one block after the other in one namespace; the recipe "quick" is the one by the scripted engine
    sql      asked
    toml     read as a recipe
    title=   any language: the file that a reader would write, for the blocks behind it
    <!-- not run: why -->  before a block: it is left out

A block without a language is told by its first word. Others (text, json, console) are what was printed.
"""

from __future__ import annotations

import os
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
import urllib.request
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from toolkit.config import parse
from toolkit.store.database import Store

ROOT = Path(__file__).parents[1]
STORE = Path("runs/store.duckdb")
RUN = ("sh", "python", "sql", "toml")
ENGINES = ("evaluate", "judge-quality", "rescore")  # commands that start an engine
_WORDS = (
    ("sh", r"(\$ )?(python3?|toolkit|make|pip|uv|export|ray|sbatch|git|docker|\.venv/\S+) "),
    ("python", r"(from|import) \w"),
    ("sql", r"(SELECT|FROM|WITH) "),
)


@dataclass(frozen=True)
class Block:
    """title: the file it is, "" for none. skipped: why it is not run."""

    language: str
    title: str
    text: str
    skipped: str


def read(page: Path) -> str:
    """The page with the files it includes."""
    text = page.read_text(encoding="utf-8")
    return re.sub(r'^--8<-- "(.+)"$', lambda named: (ROOT / named[1]).read_text(encoding="utf-8"), text, flags=re.M)


def blocks(text: str) -> Iterator[Block]:
    skipped = ""
    for token in MarkdownIt("commonmark").parse(text):
        if token.type == "html_block":
            reason = re.fullmatch(r"<!-- not run: (.+?) -->", token.content.strip(), re.S)
            skipped = reason[1] if reason else ""
        elif token.type in ("fence", "code_block"):
            language, _, more = token.info.partition(" ")
            title = re.search(r'title="(.+?)"', more)
            yield Block(language or told_by(token.content), title[1] if title else "", token.content, skipped)
            skipped = ""
        elif token.type in ("heading_open", "paragraph_open"):
            skipped = ""


def told_by(text: str) -> str:
    """The language that a block's first word betrays."""
    return next((language for language, words in _WORDS if re.match(words, text)), "")


def links(text: str) -> Iterator[str]:
    for token in _tokens(MarkdownIt("commonmark").parse(text)):
        if token.type in ("link_open", "image"):
            yield str(token.attrs.get("href") or token.attrs.get("src"))


def named(text: str) -> Iterator[str]:
    """What stands in the text as code: names of files, tests, columns ..."""
    return (token.content for token in _tokens(MarkdownIt("commonmark").parse(text)) if token.type == "code_inline")


def _tokens(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from _tokens(token.children or [])


def follow(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Do in the working folder, in the page's order, what its blocks say."""
    names: dict[str, Any] = {}
    for block in blocks(text):
        if block.skipped or (block.language not in RUN and not block.title):
            continue
        if block.title:
            Path(block.title).write_text(block.text, encoding="utf-8")
        elif block.language == "sh":
            for line in lines(block.text):
                assert typed(line, capsys), f"nothing was said to: {line}"
        elif block.language == "python":
            text = block.text.replace(', "quick")', ', "quick.toml")')  # as for ENGINES: no engine with a model
            exec(compile(text, "the page", "exec"), names)
        elif block.language == "sql":
            with Store(STORE, read_only=True) as store:
                assert store.query(block.text), f"no rows: {block.text}"
        else:
            parse(tomllib.loads(block.text))


def lines(text: str) -> Iterator[list[str]]:
    """The words of each line, without comment, prompt sign and what it is piped into."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line.removeprefix("$ ").partition(" | ")[0], comments=True)
        if words:
            yield words


def typed(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What the command printed. It fails where the command does."""
    match words:
        case ["python3", "bootstrap.py", "-m", "pytest", *_]:
            return "these are the tests"
        case ["export", setting]:
            name, _, value = setting.partition("=")
            os.environ[name] = value
            return value
        case ["python3" | "python", "bootstrap.py", *rest] | ["python" | ".venv/bin/python", *rest]:
            return python(rest, capsys)
        case ["toolkit", *rest]:
            return python(["-m", "toolkit", *rest], capsys)
    raise AssertionError(f"no way to try {shlex.join(words)!r}: say <!-- not run: why --> before its block")


def python(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """`python WORDS` in this process; what would load a model is planned or asked of the scripted engine."""
    if words[:3] == ["-m", "toolkit", "browse"]:
        return served(words)
    if words[:3] == ["-m", "toolkit", "evaluate"]:  # by a suite that needs no public data
        words = [word if word != "quick" else "maths.toml" for word in words]
    if words[:2] == ["-m", "toolkit"] and words[2] in ENGINES and "--config" not in words:
        words = [*words, "--config", "quick.toml"]  # of the working folder, by the scripted engine
    if is_recipe(words) and not scripted(words):
        small = ["--set", "prompts.part_size=2"] if "toolkit.recipes.compare" not in words else []
        words = [*words, *small, *(["--plan"] if "--plan" not in words else [])]
    capsys.readouterr()
    code = called(words)
    said = capsys.readouterr()
    assert code == 0, f"{shlex.join(words)} ended with {code}: {said.err}"
    assert "--plan" not in words or re.search(r"\d trainings", said.out), f"no plan: {said.out}"
    return said.out


def is_recipe(words: list[str]) -> bool:
    return words[0] != "-m" or words[1].startswith("toolkit.recipes.")


def scripted(words: list[str]) -> bool:
    """Whether the recipe file it names is one of the working folder's, by the scripted engine."""
    config = Path(words[words.index("--config") + 1] if "--config" in words else "")
    return config.is_file() and 'kind = "scripted"' in config.read_text(encoding="utf-8")


def called(words: list[str]) -> int:
    """The exit code of a module or a file run as __main__."""
    module = words[0] == "-m"
    before, sys.argv = sys.argv, words[1:] if module else words
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # "found in sys.modules": it was imported before
            if module:
                runpy.run_module(words[1], run_name="__main__", alter_sys=True)
            else:
                runpy.run_path(words[0], run_name="__main__")
    except SystemExit as ended:
        return int(ended.code or 0)
    finally:
        sys.argv = before
    return 0


def served(words: list[str]) -> str:
    """The address that `browse` prints, if it answers; the command serves until it is ended."""
    with subprocess.Popen([sys.executable, *words, "--no-open"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        address = re.search(r"http://\S+", process.stdout.readline())
        try:
            assert address and urllib.request.urlopen(address[0]).status == 200
            return address[0]
        finally:
            process.terminate()
