"""Files written so that nothing is lost: aside and then renamed, by a single writer, and only over files of its own.

A temporary folder has the toolkit's prefix, and its maker holds a lock on it as long as it lives: a folder of this form
that nobody holds was left by a killed process (`abandoned`). Files that are written again (reports, event files) stand
in RECORD with their sha256: a file that is not what the record says is somebody's, and keeps its content under another
name. Locks are of the operating system and end with their process; a file system without them gets none.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from toolkit.errors import OutputError, writing
from toolkit.safe_text import one_line

PREFIX = ".temporal-toolkit-"
RECORD = f"{PREFIX}written.json"
_SCRATCH = re.compile(re.escape(PREFIX) + r"[a-z]+-[a-z0-9_]{8}")
LOCK_SECONDS = 600.0
REMEMBERED = 4  # digests of one file: a kill between record and rename leaves the one before


@contextmanager
def scratch(folder: Path, purpose: str) -> Iterator[Path]:
    """A temporary folder in this folder, held while it is used and gone afterwards. purpose: lower-case letters.

    What is yielded lies in the held one, so that it can be locked, and has the permissions of any new folder."""
    path, handle = _claim(folder, purpose)
    try:
        (path / "work").mkdir()
        yield path / "work"
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(handle)


def abandoned(folder: Path) -> list[Path]:
    """Temporary folders of the toolkit that this user's killed processes left here."""
    return [path for path in sorted(folder.iterdir()) if _SCRATCH.fullmatch(path.name) and _free(path)]


def remove_abandoned(path: Path) -> bool:
    """Remove such a folder, unless somebody holds it after all; whether it was removed."""
    handle = _held(path) if _SCRATCH.fullmatch(path.name) else None
    if handle is None:
        return False
    try:
        shutil.rmtree(path)
    finally:
        os.close(handle)
    return True


def clear_abandoned(folder: Path, purpose: str) -> None:
    """Remove what killed processes left of this purpose."""
    for path in abandoned(folder):
        if path.name.startswith(f"{PREFIX}{purpose}-"):
            remove_abandoned(path)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """No other process of the toolkit replaces anything in this folder meanwhile; a second one waits."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _wait(handle, folder)
        yield
    finally:
        os.close(handle)


def is_locked(file: Path) -> bool:
    """Whether a living process holds a lock on this file or folder, or the file system has no locks."""
    handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def write_files(folder: Path, texts: Mapping[str, str]) -> list[Path]:
    """Write texts under these names into the folder, all aside first; their paths.

    An earlier file that the toolkit wrote is replaced; any other keeps its content as NAME.kept-1. Raises OutputError.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder), scratch(folder, "write") as aside:
            for name, text in texts.items():
                write_synced(aside / name, text)
            move_in(aside, folder, list(texts))
    return [folder / name for name in texts]


def move_in(aside: Path, folder: Path, names: list[str], *, proven: bool = False) -> None:
    """Move finished files into the folder, each in one step, and record them. The caller holds the folder's lock.
    proven: earlier files of these names are the toolkit's, by other evidence than the record."""
    record = read_record(folder)
    for name in () if proven else names:
        _keep(folder / name, record.get(name, []))
    for name in names:
        record[name] = [*record.get(name, []), _digest(aside / name)][-REMEMBERED:]
    write_record(folder, record, aside)
    for name in names:
        os.replace(aside / name, folder / name)
    sync(folder)


def write_file(path: Path, text: str) -> None:
    """Write a file that the user named: complete, or the old one stays as it was."""
    target = Path(os.path.realpath(path))
    with writing(path):
        if target.exists() and not target.is_file():  # a device or a pipe
            target.write_text(text, encoding="utf-8")
            return
        with scratch(target.parent, "write") as aside:
            write_synced(aside / target.name, text)
            os.replace(aside / target.name, target)


def write_synced(path: Path, text: str) -> None:
    with path.open("x", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def read_record(folder: Path) -> dict[str, list[str]]:
    """name -> sha256 of what the toolkit wrote there; empty where nothing can be proven."""
    try:
        data = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        return {str(name): [str(digest) for digest in digests] for name, digests in data.items()}
    except (OSError, ValueError, RecursionError, AttributeError, TypeError):
        return {}


def write_record(folder: Path, record: Mapping[str, list[str]], aside: Path) -> None:
    write_synced(aside / RECORD, json.dumps(record, indent=1, sort_keys=True) + "\n")
    os.replace(aside / RECORD, folder / RECORD)


def is_recorded(path: Path) -> bool:
    """Whether the toolkit wrote this file, and nobody has changed it since."""
    return _is_ours(path, read_record(path.parent).get(path.name, []))


def sync(path: Path) -> None:
    """What a file holds, or which files a folder holds, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _keep(path: Path, digests: list[str]) -> None:
    """Give a file that the toolkit did not write, or that was changed since, another name."""
    if not os.path.lexists(path) or _is_ours(path, digests):
        return
    if path.is_dir() and not path.is_symlink():
        raise OutputError("a folder is in the way", where=path, remedy="move it, or write elsewhere with --out")
    number = 1
    while os.path.lexists(kept := path.with_name(f"{path.name}.kept-{number}")):
        number += 1
    path.rename(kept)
    print(f"{one_line(str(path))} was not written by the toolkit: kept as {one_line(kept.name)}", file=sys.stderr)


def _is_ours(path: Path, digests: list[str]) -> bool:
    return stat.S_ISREG(path.lstat().st_mode) and _digest(path) in digests


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _claim(folder: Path, purpose: str) -> tuple[Path, int]:
    """A new folder and the handle that holds it. Where `remove_abandoned` came between, another one."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{purpose}-", dir=folder))
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            continue
        except OSError:  # a file system without locks
            return path, handle
        if path.exists():
            return path, handle
        os.close(handle)


def _free(path: Path) -> bool:
    handle = _held(path)
    if handle is not None:
        os.close(handle)
    return handle is not None


def _held(path: Path) -> int | None:
    """A handle that holds this folder; None where it is not this user's folder, or somebody else holds it."""
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        return None
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


def _wait(handle: int, folder: Path) -> None:
    until, waiting = time.monotonic() + LOCK_SECONDS, False
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() > until:
                remedy = "wait until it ends, or name another folder"
                raise OutputError("another process writes here", where=folder, remedy=remedy) from error
        except OSError:  # a file system without locks
            return
        if not waiting:
            print(f"waiting: another process writes in {one_line(str(folder))}", file=sys.stderr, flush=True)
        waiting = True
        time.sleep(0.05)
