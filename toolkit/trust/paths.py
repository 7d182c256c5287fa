"""Checks of what a stranger's file may name: names that become parts of paths, paths out of an index, and links.

A name is checked at the start of a command, before any work. A path out of a manifest or an index must stay in its
folder. A link in a folder that leads out of it is refused; the snapshots of the Hugging Face hub, whose links lead to
the blobs of the same repository, are the exception. Nothing here changes a file, but `copy_file` writes its target.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from toolkit.errors import InputError, ToolkitError
from toolkit.safe_text import one_line

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
RULE = "use letters, digits, '_', '.' and '-', at most 64, and no '.' or '-' first"
LABEL = 200  # characters of a name that becomes no part of a path


def check_name(name: str, what: str, where: object = "", error: type[ToolkitError] = InputError) -> str:
    """The name, which may become part of a path. Raises `error` where it could leave a folder or forge a line."""
    if not NAME.fullmatch(name):
        raise error(f"{_shown(name)} cannot be the name of {what}", where=where, remedy=RULE)
    return name


def check_label(name: str, what: str, where: object = "") -> str:
    """A name that is shown and stored only, for example a published model's: one printable line."""
    if not name.strip() or not name.isprintable() or len(name) > LABEL:
        remedy = f"use one line of printable characters, at most {LABEL}"
        raise InputError(f"{_shown(name)} cannot be the name of {what}", where=where, remedy=remedy)
    return name


def file_stem(name: str) -> str:
    """A file name for a stored name, which nobody checked: the name itself, or a safe one with its digest."""
    if NAME.fullmatch(name):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{re.sub(r'[^A-Za-z0-9_]', '_', name)[:40] or '_'}-{digest}"


def check_member(name: str, where: object) -> str:
    """A path that an index or a manifest names, which must stay in the folder of the index. Raises InputError."""
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\\" in name or not name.isprintable():
        raise InputError(
            f"{_shown(name)} is not a path inside this folder", where=where, remedy="do not use it; ask who made it"
        )
    return name


def member(folder: Path, name: str, where: object = "") -> Path:
    """The file of this name in the folder, or what is missing there. Raises InputError where it leads out of it, or is
    no ordinary file."""
    path = folder / check_member(name, where or folder)
    _check_entry(path, Path(os.path.realpath(folder)))
    return path


def check_target(folder: Path, name: str, where: object) -> None:
    """Raise InputError where a setting in this folder names a file of this machine outside of the folder."""
    target = Path(os.path.realpath(folder / name))
    root = Path(os.path.realpath(folder))
    if os.path.lexists(target) and not (target.is_relative_to(root) or _is_blob(target, root)):
        raise InputError(f"{_shown(name)} is a file outside of this folder", where=where, remedy="remove the setting")


def check_links(folder: Path) -> None:
    """Raise InputError for a link in this folder that leads out of it, and for what is neither file nor folder."""
    root = Path(os.path.realpath(folder))
    for path in _entries(root):
        _check_entry(path, root)


def refuse_links(folder: Path) -> None:
    """Raise InputError where a folder that the toolkit alone writes into is a link, or has one that leads out of it."""
    if folder.is_symlink():
        raise InputError(f"{_shown(folder.name)} is a link", where=folder, remedy="remove the link")
    check_links(folder)


def output_folder(base: Path, *names: str) -> Path:
    """The folder under `base` that the toolkit writes into. Raises InputError where a link leads elsewhere."""
    folder = base.joinpath(*names)
    if not Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(base)):
        raise InputError(
            f"{folder} is a link that leads out of {base}", where=os.path.realpath(folder), remedy="remove the link"
        )
    return folder


def inside(folder: Path, name: str, what: str) -> Path:
    """The path of what a store says lies next to it. Links are allowed: a large disk may hold models/."""
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise InputError(
            f"the store places {what} at {_shown(name)}, which is not in its folder",
            where=folder,
            remedy="do not use this store; ask who made it",
        )
    return folder / name


def check_owner(folder: Path) -> None:
    """Raise InputError for a folder that another user placed where every user of this machine may write."""
    owner, shared = folder.stat().st_uid, folder.parent.stat().st_mode & stat.S_IWOTH
    if shared and owner not in (os.geteuid(), 0):
        raise InputError(
            f"another user (id {owner}) made this folder, in a folder that everybody can write into",
            where=folder,
            remedy="set TOOLKIT_CACHE to a folder of your own",
        )


def check_ordinary(path: Path, where: object = "") -> None:
    """Raise InputError for a pipe, a socket or a device: reading it could wait without an end."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise InputError(f"{_shown(str(path))} is not an ordinary file", where=where, remedy="name a file or folder")


def copy_file(folder: Path, name: str, target: Path) -> None:
    """Copy one ordinary file of the folder. A link is followed only where `member` allows it."""
    source = os.path.realpath(member(folder, name))
    handle = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)  # a pipe would be waited for without an end
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise _not_ordinary(folder / name)
        with target.open("xb") as copy:
            shutil.copyfileobj(file, copy)


def _entries(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        yield from (Path(folder, name) for name in sorted((*folders, *files)))


def _check_entry(path: Path, root: Path) -> None:
    target = Path(os.path.realpath(path))
    if not (target.is_relative_to(root) or _is_blob(target, root)):
        raise InputError(
            f"{_shown(path.name)} is a link that leads out of its folder, to {_shown(str(target))}",
            where=path,
            remedy="copy the file itself into the folder where you trust it",
        )
    if target.exists() and not (target.is_file() or target.is_dir()):
        raise _not_ordinary(path)


def _is_blob(target: Path, root: Path) -> bool:
    """Whether a snapshot of the hub links to a blob of its own repository."""
    return root.parent.name == "snapshots" and target.parent == root.parents[1] / "blobs"


def _not_ordinary(path: Path) -> InputError:
    return InputError(f"{_shown(path.name)} is not an ordinary file", where=path, remedy="remove it")


def _shown(name: str) -> str:
    return repr(one_line(name, 80))
