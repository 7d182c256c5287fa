"""Serves a notebook over a store to this machine alone: python -m toolkit browse.

It listens on 127.0.0.1 and asks for the token that the printed address bears, so no other user of the machine, and no
page that is open in the same browser, reads the store. Nothing comes from the network. The notebook opens the store
for reading and for each question anew, so a run may write meanwhile.
"""

from __future__ import annotations

import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import webbrowser
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from toolkit.child_process import PYTHON, environment
from toolkit.commands.common import DEFAULT, JsonOption, StoreOption, end, say
from toolkit.errors import InputError
from toolkit.extras import need
from toolkit.store.serving import open_reader

FOLDERS = (Path(__file__).parents[2] / "analysis", Path(__file__).parents[1] / "_analysis")
HOST = "127.0.0.1"
START_SECONDS = 60.0


class Notebook(StrEnum):
    """A notebook of analysis/ by what it is about."""

    gap = "gap"
    gradient = "gradient"
    leaderboard = "leaderboard"
    pairs = "pairs"


FILES = {
    Notebook.gap: "01_quality_gap.py",
    Notebook.gradient: "02_gradient_collapse.py",
    Notebook.leaderboard: "03_leaderboard.py",
    Notebook.pairs: "04_pair_browser.py",
}


def browse(
    notebook: Annotated[Notebook, typer.Option(help="What to look at.")] = Notebook.pairs,
    store: StoreOption = DEFAULT,
    port: Annotated[int, typer.Option(help="Where to listen; 0 takes a free one.", min=0, max=65535)] = 0,
    open_: Annotated[bool, typer.Option("--open/--no-open", help="Open it in the browser of this machine.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Pairs, gaps, gradients and scores in the browser, read-only, until Ctrl+C: browse --notebook gap."""
    end(lambda: _browse(notebook, store, (port, open_), as_json))


def find_notebook(notebook: Notebook) -> Path:
    """The file, of a checkout or of an installed package."""
    for folder in FOLDERS:
        if (folder / FILES[notebook]).exists():
            return folder / FILES[notebook]
    raise InputError(f"no file {FILES[notebook]}", where=FOLDERS[-1], remedy="install the package again")


def _browse(notebook: Notebook, store: Path, how: tuple[int, bool], as_json: bool) -> None:
    open_reader(store).close()  # an error here is told before a page is
    for package in ("marimo", "altair"):
        need(package, "browse", "notebooks")
    (port, opens), token = how, secrets.token_urlsafe(24)
    port = _free_port(port)
    folder = tempfile.TemporaryDirectory(prefix="browse-")
    server = _serve(_alone(find_notebook(notebook), Path(folder.name)), store, port, token)
    try:
        _await(server, port)
        address = f"http://{HOST}:{port}/?access_token={token}"
        row = {"notebook": notebook.value, "store": str(store), "address": address}
        say([f"{notebook} of {store}: {address}", "Ctrl+C ends it"], row, as_json=as_json)
        sys.stdout.flush()
        if opens:
            webbrowser.open(_door(Path(folder.name), address))
        server.wait()
    except KeyboardInterrupt:
        pass
    finally:
        server.terminate()
        server.wait()
        folder.cleanup()


def _serve(notebook: Path, store: Path, port: int, token: str) -> subprocess.Popen[Any]:
    """The server's process. The token goes through its input: the arguments of a process are anyone's to read."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that who ends this process ends the server too
    command = [*PYTHON, "-m", "marimo", "--quiet", "run", str(notebook), "--headless", "--host", HOST]
    command += ["--port", str(port), "--token", "--token-password-file", "-", "--", "--store", str(store.resolve())]
    server = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, cwd=notebook.parent, env=environment()
    )
    assert server.stdin is not None
    server.stdin.write(token)
    server.stdin.close()
    return server


def _alone(notebook: Path, folder: Path) -> Path:
    """A copy of the notebook in this private folder, with empty settings: marimo takes the nearest .marimo.toml of the
    current folder and its parents, and the nearest pyproject.toml and .env of the notebook's."""
    for name in (".marimo.toml", "pyproject.toml", ".env"):
        (folder / name).touch()
    return Path(shutil.copy(notebook, folder))


def _door(folder: Path, address: str) -> str:
    """A page in this folder of one's own that leads on to the address: a browser's arguments, too, are anyone's."""
    page = folder / "browse.html"
    page.write_text(f'<!doctype html><meta http-equiv="refresh" content="0; url={address}">', encoding="utf-8")
    return page.as_uri()


def _await(server: subprocess.Popen[Any], port: int) -> None:
    """Until the server listens."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and server.poll() is None:
        with socket.socket() as asked:
            if asked.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.05)
    raise InputError(
        f"the server did not start on port {port}", remedy="see its message above, or choose another --port"
    )


def _free_port(port: int) -> int:
    """This port where nobody has it, or for 0 any; marimo alone would take the next one without a word."""
    with socket.socket() as asked:
        asked.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            asked.bind((HOST, port))
        except OSError as error:
            raise InputError(f"cannot listen: {error}", where=f"port {port}", remedy="choose another --port") from error
        return int(asked.getsockname()[1])
