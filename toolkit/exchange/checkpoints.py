"""A stored model as a folder that others load: its files, a card for people, and checkpoint.json by which it is known.

Files come from a list (`checkpoint.files`), as ordinary files; code only where auto_map names it. A folder is written
in a temporary folder and renamed, so it is there whole or not at all.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from toolkit import __version__
from toolkit.engines import checkpoint
from toolkit.errors import InputError, writing
from toolkit.exchange.card import NAME as CARD
from toolkit.exchange.manifest import MAKER, checksums
from toolkit.records import Model
from toolkit.trust.paths import check_member, copy_file
from toolkit.trust.safe_files import clear_abandoned, locked, scratch, write_synced

NAME = "checkpoint.json"


@dataclass(frozen=True)
class Sealed:
    """What checkpoint.json says: the model's identity, and the sha256 of every file."""

    model: str
    name: str
    weights: str
    template: str
    toolkit_version: str
    files: dict[str, str]
    made_by: str = MAKER


def export_checkpoint(model: Model, path: Path, target: Path, card: str) -> Path:
    """Copy the checkpoint at `path` with its card. Raises InputError where it changed, or something is in the way."""
    target = target.expanduser().resolve()
    refuse_existing(target)
    checkpoint.verify(path, trust_remote_code=True)  # nothing of it is run here
    _same(model.weights, model.template, path, f"{model.name} ({model.id})")
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        clear_abandoned(target.parent, "checkpoint")
        with scratch(target.parent, "checkpoint") as aside:
            partial = aside / "new"
            partial.mkdir()
            names = checkpoint.files(path)
            for name in names:
                copy_file(path, name, partial / name)
            _same(model.weights, model.template, partial, f"{model.name} ({model.id})")
            files = checksums(partial, names)
            sealed = Sealed(model.id, model.name, model.weights, model.template, __version__, files)
            write_synced(partial / NAME, json.dumps(asdict(sealed), indent=2) + "\n")
            write_synced(partial / CARD, card)
            with locked(target.parent):
                refuse_existing(target)  # again: another export may have been there meanwhile
                checkpoint.promote(partial, target)
    return target


def refuse_existing(target: Path) -> None:
    """Raise InputError where something has this name."""
    if os.path.lexists(target):
        raise InputError(f"{target} is there already", remedy="remove it, or name another place")


def check_checkpoint(folder: Path) -> Sealed:
    """The seal of an exported checkpoint whose files are as they left. Raises InputError where one is not."""
    sealed = _read(folder / NAME)
    checkpoint.verify(folder, trust_remote_code=True)
    if strange := sorted(set(sealed.files) - set(checkpoint.files(folder))):
        raise InputError(
            f"{NAME} names {strange[0]!r}, which is not part of a checkpoint",
            where=folder / NAME,
            remedy="do not use it; ask who made it",
        )
    for name, wanted in sealed.files.items():
        if not (folder / name).is_file() or checksums(folder, [name])[name] != wanted:
            raise _changed(f"{name} of {sealed.name}", folder)
    _same(sealed.weights, sealed.template, folder, sealed.name)
    return sealed


def _read(path: Path) -> Sealed:
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
        if set(data) != {field.name for field in fields(Sealed)}:
            raise ValueError("other fields than expected")
        sealed = TypeAdapter(Sealed).validate_python(data)
        for name in sealed.files:
            check_member(name, path)
        return sealed
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise InputError(
            f"no checkpoint that the toolkit exported: {error}", where=path, remedy="use it by its hub id: --model ID"
        ) from error


def _same(weights: str, template: str, folder: Path, called: str) -> None:
    if checkpoint.weights_digest(folder) != weights:
        raise _changed(f"the weights of {called}", folder)
    if checkpoint.template_digest(folder) != template:
        raise _changed(f"the tokenizer or template of {called}", folder)


def _changed(what: str, folder: Path) -> InputError:
    return InputError(f"{what} changed since they were stored", where=folder, remedy="copy or train the model again")
