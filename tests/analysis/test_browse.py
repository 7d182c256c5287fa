"""`toolkit browse` in a real browser: sorted, filtered, clicked, photographed, and with nobody's text as markup.

The pages that other commands write are opened in it too, as files.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.analysis.conftest import EVIL
from toolkit.reporting.board.files import write_board
from toolkit.reporting.board.leaderboard import leaderboard
from toolkit.reporting.page.run_page import run_page, write_page
from toolkit.store.database import Store

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
WAIT = 120_000  # milliseconds: machines that run tests are busy
LAST = "What was dropped, and why"
PLANTED = f"{EVIL} <img src=http://example.invalid/p.png> <script>alert(1)</script> \"'><svg onload=alert(2)>"
TEXTS = "response.text prompt.text judgment.reply item.task score.task launch.run change.run"
SORTED = "SELECT p.chosen_text FROM pairs p WHERE pair_set = ? ORDER BY rejected_score, id LIMIT 2"


def browser_path(own: str) -> str:
    """A browser: TOOLKIT_BROWSER's, the machine's, or playwright's own. Skips where there is none."""
    found = [os.environ.get("TOOLKIT_BROWSER"), *map(shutil.which, NAMES), own]
    for path in found:
        if path and Path(path).exists():
            return path
    pytest.skip("no browser: install chromium, or name one in TOOLKIT_BROWSER")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        path = browser_path(playwright.chromium.executable_path)
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"], timeout=WAIT)
        yield browser
        browser.close()


Serve = Callable[..., tuple[str, subprocess.Popen[str]]]


@pytest.fixture(scope="module")
def serve() -> Iterator[Serve]:
    """Starts the command as a person would; all are ended in the end."""
    started: list[subprocess.Popen[str]] = []

    def start(store: Path, *words: str) -> tuple[str, subprocess.Popen[str]]:
        command = [sys.executable, "-m", "toolkit", "browse", "--no-open", "--json", "--store", str(store), *words]
        root = Path(__file__).parents[2]
        process = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout and process.stderr
        line = process.stdout.readline()
        assert line, process.stderr.read()
        return json.loads(line)["address"], process

    yield start
    for process in started:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def address(serve: Serve, diagnosed: Path) -> str:
    return serve(diagnosed)[0]


class Watched:
    """A page with what it asked other hosts and files for, and the dialogs that it opened."""

    def __init__(self, browser: Any, address: str, width: int = 1280) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 1000})
        self.page = self.context.new_page()
        self.page.set_default_timeout(WAIT)
        self.elsewhere: list[str] = []
        self.dialogs: list[str] = []
        self.page.on("request", self._note)
        self.page.on("dialog", self._close)
        self.page.goto(address, timeout=WAIT)

    def _note(self, request: Any) -> None:
        if not re.match(r"(http|ws)://127\.0\.0\.1:|data:|blob:", request.url):
            self.elsewhere.append(request.url)

    def _close(self, dialog: Any) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def ready(self) -> Any:
        self.page.get_by_role("heading", name=LAST).wait_for()
        return self.page


def says(page: Any, part: str, words: str) -> None:
    """Wait until this part of the page says so."""
    page.locator(f"[data-part={part}]").filter(has_text=words.strip()).wait_for()


def pick(page: Any, row: int, words: str) -> None:
    """Choose a row of the table. Sorting may draw the table anew just then and forget it: a person chooses again."""
    sync_api = pytest.importorskip("playwright.sync_api")
    shown = page.locator("[data-part=chosen-text]").filter(has_text=words.strip())
    for _ in range(6):
        page.locator("marimo-table tbody tr").nth(row).get_by_role("checkbox").check()
        try:
            shown.wait_for(timeout=WAIT / 6)
        except sync_api.TimeoutError:
            continue
        return
    says(page, "chosen-text", words)


def test_pairs_are_sorted_clicked_and_photographed(
    chromium: Any, address: str, diagnosed: Path, tmp_path: Path
) -> None:
    page = Watched(chromium, address).ready()
    page.get_by_text("largest first").click()
    page.get_by_label("Sort by").click()
    page.get_by_role("option", name="rejected_score", exact=True).click()
    with Store(diagnosed, read_only=True) as store:
        first, second = (row["chosen_text"] for row in store.query(SORTED, [chosen_set(page, store)]))
    assert first != second
    says(page, "chosen-text", first)
    pick(page, 1, second)
    page.screenshot(path=tmp_path / "pairs.png", full_page=True)
    assert (tmp_path / "pairs.png").stat().st_size > 10_000


def chosen_set(page: Any, store: Store) -> str:
    """The set that the page shows at first: the newest."""
    newest = str(store.query("SELECT id FROM pair_set WHERE size > 0 ORDER BY created DESC, id LIMIT 1")[0]["id"])
    assert page.get_by_text(newest).count()
    return newest


def test_a_response_with_a_script_is_text_and_nothing_is_fetched_from_elsewhere(
    chromium: Any, serve: Serve, imported: Path, tmp_path: Path
) -> None:
    watched = Watched(chromium, serve(imported)[0])
    page = watched.ready()
    page.get_by_label("Text contains").fill("good 3 <script>")
    page.get_by_label("Text contains").press("Enter")
    page.get_by_text("1 pairs.").wait_for()
    says(page, "chosen-text", f"good 3 {EVIL}")
    says(page, "diff", "<script>")
    assert page.evaluate("typeof window.pwned") == "undefined"
    assert page.locator("img[src=x]").count() == 0
    page.screenshot(path=tmp_path / "script.png")
    assert watched.elsewhere == []


@pytest.fixture(scope="module")
def written(diagnosed: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The report and the leaderboard of a store in which every text that a model, a file or a person gave is evil."""
    folder = tmp_path_factory.mktemp("written")
    shutil.copy(diagnosed, folder / "s.duckdb")
    with Store(folder / "s.duckdb") as store:
        for table, column in (text.split(".") for text in TEXTS.split()):
            store.query(f"UPDATE {table} SET {column} = {column} || ?", [PLANTED])
        report = write_page(run_page(store, f"temporal{PLANTED}"), folder)
        board = write_board(leaderboard([store]), folder)
    return {path.stem.partition("-")[0]: path for path in (*report, *board) if path.suffix == ".html"}


@pytest.mark.parametrize(
    ("kind", "place"), [("report", ".chosen > .text"), ("leaderboard", "td"), ("leaderboard", "li")]
)
def test_a_page_on_disk_shows_planted_markup_as_text_and_asks_for_nothing_but_itself(
    chromium: Any, written: dict[str, Path], kind: str, place: str
) -> None:
    address = written[kind].as_uri()
    watched = Watched(chromium, address)
    assert watched.page.evaluate("typeof window.pwned") == "undefined"
    assert watched.page.locator("img, [onload], [onerror]").count() == 0
    assert (watched.elsewhere, watched.dialogs) == ([address], [])
    assert watched.page.locator(place).filter(has_text=PLANTED).first.is_visible()


def test_the_page_fits_a_phone(chromium: Any, address: str) -> None:
    page = Watched(chromium, address, width=390).ready()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    left, right = (page.locator(f"[data-part={side}]").bounding_box() for side in ("chosen", "rejected"))
    assert left["x"] + left["width"] <= 390
    assert right["y"] >= left["y"] + left["height"]


@pytest.mark.parametrize("notebook", ["gap", "gradient", "leaderboard"])
def test_the_other_notebooks_open_and_fetch_nothing_from_elsewhere(
    chromium: Any, serve: Serve, diagnosed: Path, notebook: str
) -> None:
    watched = Watched(chromium, serve(diagnosed, "--notebook", notebook)[0])
    watched.page.locator("marimo-vega, .vega-embed").first.wait_for()
    assert watched.elsewhere == []


def test_a_wrong_token_gets_nothing_of_the_store(chromium: Any, address: str) -> None:
    for wrong in (address.partition("?")[0], address[:-4] + "nope"):
        page = Watched(chromium, wrong).page
        page.locator("input[type=password]").wait_for()
        assert "Pairs of" not in page.content()
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(address.partition("?")[0] + "api/status")


def test_browse_listens_on_this_machine_alone_and_ends_with_its_server(serve: Serve, plain: Path) -> None:
    address, process = serve(plain)
    port = int(re.search(r":(\d+)/", address)[1])  # type: ignore[index]
    assert not answers("127.0.0.2", port)
    assert answers("127.0.0.1", port)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0
    assert not answers("127.0.0.1", port)


def test_the_token_is_in_no_argument_of_the_browser_that_is_opened(
    serve: Serve, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, opened = tmp_path / "browser", tmp_path / "opened"
    script.write_text(f'#!/bin/sh\nread -r page < "${{1#file://}}"\necho "$1 $page" > {opened}.half\n')
    script.write_text(f"{script.read_text()}mv {opened}.half {opened}\n")
    script.chmod(0o700)
    monkeypatch.setenv("BROWSER", f"{script} %s")
    address, process = serve(plain, "--open")
    until = time.monotonic() + 60
    while not opened.exists() and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 0
    argument, page = opened.read_text(encoding="utf-8").split(" ", 1)
    assert (address in argument, address in page) == (False, True)
    assert not Path(argument.removeprefix("file://")).exists()


def answers(host: str, port: int) -> bool:
    with socket.socket() as asked:
        return asked.connect_ex((host, port)) == 0


def test_a_port_in_use_and_a_missing_store_are_refused_with_the_remedy(plain: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for store, words in ((plain, "choose another --port"), (tmp_path / "none.duckdb", "none.duckdb")):
            command = [sys.executable, "-m", "toolkit", "browse", "--no-open", "--port", port, "--store", str(store)]
            root = Path(__file__).parents[2]
            done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=300)
            assert done.returncode == 3 + (store is not plain), done.stderr
            assert words in done.stderr
