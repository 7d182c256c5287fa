"""Whoever types a page of the documentation, or the README, from top to bottom comes to its end."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock
from urllib.parse import urlsplit

import pytest

from tests.documents import ROOT, RUN, STORE, blocks, called, follow, lines, links, named, read, told_by
from tests.test_peer_failures import collected
from toolkit.config import Recipe
from toolkit.recipes.commented import commented

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
FOR_CONTRIBUTORS = (ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md")  # read, not typed: their blocks are `make`'s
FILE = re.compile(r"[\w.*-]*/[\w.*/-]*|[\w*-]+\.(py|toml|txt|md|json|sql)")
PRINTED = ("text", "json", "console", "math")
FIRST = "-m toolkit.recipes.temporal --iters 2"


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


OVERSTATED = (  # each was printed once, and the data did not carry it
    "paired tests on every table", "paired tests between iterations", "so the gap is wider", "not to blame",
    "could only have shown", "shows in four of five runs", "2410.05779",
)  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_no_page_claims_what_the_numbers_do_not_carry(page: Path) -> None:
    text = " ".join(page.read_text(encoding="utf-8").split())
    assert [words for words in OVERSTATED if words in text] == []


def test_every_finished_entry_of_the_log_has_its_correction_below_it() -> None:
    entries = (ROOT / "analysis" / "LOG.md").read_text(encoding="utf-8").split("\n## ")[1:]
    early = [entry for entry in entries if entry < "2026-11-27"]
    assert len(early) == 3 and all(entry.count("\nCorrection, 2026-12-01.") == 1 for entry in early)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, fake_python: Path) -> Path:
    """A working folder after the tutorial's first command, by the scripted engine; `quick.toml` there is its recipe."""
    folder = tmp_path_factory.mktemp("first")
    for shared in ("recipes", "benchmarks", "analysis"):
        (folder / shared).symlink_to(ROOT / shared)
    (folder / "DIR").symlink_to(tiny_model)
    return folder


@pytest.fixture
def folder(
    tmp_path: Path, scripted_recipe: Callable[..., Recipe], first: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A copy of it, where the names that pages take for granted exist."""
    if not (first / STORE).exists():
        monkeypatch.chdir(first)
        make(first, scripted_recipe)
    copy = tmp_path / "page"
    shutil.copytree(first, copy, symlinks=True)
    monkeypatch.chdir(copy)
    with mock.patch.dict(os.environ):  # a page may export
        yield copy


def make(folder: Path, scripted_recipe: Callable[..., Recipe]) -> None:
    prompts = [{"prompt": f"question {i}?"} for i in range(64)]
    written("prompts.jsonl", prompts)
    recipe = scripted_recipe(name="quick", model=str(folder / "DIR"), prompts={"source": str(folder / "prompts.jsonl")})
    (folder / "quick.toml").write_text(commented(recipe, []))
    written("gold.jsonl", [{"prompt": "one?", "chosen": "one", "rejected": "two"}])
    written("maths.jsonl", [{"question": "What is 1 + 1?", "answer": "1 + 1 = 2 #### 2"}])
    Path("maths.toml").write_text("[maths]\nkind = 'lm_eval'\ndata = 'maths.jsonl'\nfew_shot = 0\nmax_tokens = 16\n")
    assert called([*FIRST.split(), "--config", "quick.toml"]) == 0
    assert called(["-m", "toolkit", "import", "gold.jsonl", "held_out"]) == 0
    for worker in ("a.duckdb", "b.duckdb"):
        shutil.copy(STORE, worker)


def written(path: str, rows: list[dict[str, str]]) -> None:
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_page_can_be_followed_to_its_end(folder: Path, page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    follow(read(page), capsys)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_of_a_page_is_run_or_says_why_not(page: Path) -> None:
    found = list(blocks(read(page)))
    for block in found:
        told = block.language in RUN or block.skipped or block.title
        assert told or not told_by(block.text), f"a command as {block.language or 'nothing'}: {block.text}"
        assert told or block.language in ("", *PRINTED), block.language
        used = "".join(other.text for other in found if other is not block and not other.skipped)
        assert not block.title or block.skipped or block.title in used, f"{block.title} is written and never used"


@pytest.mark.parametrize("page", [*PAGES, *FOR_CONTRIBUTORS], ids=name)
def test_a_link_of_a_page_is_an_address_or_a_file(page: Path) -> None:
    """Those between the pages, and their anchors, are checked as mkdocs builds them."""
    for link in links(page.read_text(encoding="utf-8")):
        parts = urlsplit(link)
        if parts.scheme:
            assert parts.scheme == "https" and re.fullmatch(r"[\w-]+(\.[\w-]+)+", parts.netloc), link
        elif parts.path and "docs" not in page.parts:
            assert (page.parent / parts.path).exists(), link


@pytest.mark.parametrize("page", FOR_CONTRIBUTORS, ids=name)
def test_a_file_that_is_named_for_contributors_exists(page: Path) -> None:
    files = [word for word in named(read(page)) if FILE.fullmatch(word)]
    assert len(files) > 3
    for file in files:
        assert any(any(folder.glob(file)) for folder in (ROOT, ROOT / "toolkit")), file


@pytest.mark.parametrize("page", [*PAGES, *FOR_CONTRIBUTORS], ids=name)
def test_a_test_that_a_page_names_exists(page: Path) -> None:
    """As file::test, or as ::test of the file that was named before."""
    file = ""
    for word in named(read(page)):
        if re.fullmatch(r"(tests/[\w/]+/)?test_\w+\.py(::\w+)?|::\w+", word):
            before, _, test = word.partition("::")
            file = before or file
            assert collected(file), f"no tests in {file!r}"
            assert not test or test in collected(file), f"no test {file}::{test}"


def test_every_part_of_recovery_but_the_backup_names_its_test() -> None:
    text = read(ROOT / "docs" / "howto" / "recovery.md")
    parts = [part for part in text.split("\n## ")[1:] if not part.startswith("What to back up")]
    assert [part.splitlines()[0] for part in parts if not re.search(r"^Tests?: ", part, re.M)] == []


def test_the_first_command_of_readme_and_tutorial_is_the_one_that_was_typed() -> None:
    for page in (ROOT / "README.md", ROOT / "docs" / "tutorial.md"):
        typed = [line for block in blocks(read(page)) if block.language == "sh" for line in lines(block.text)]
        assert ["python3", "bootstrap.py", *FIRST.split()] in typed
