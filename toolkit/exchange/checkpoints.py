"""A stored model as a folder that others load: its files, a card for people, and checkpoint.json by which it is known.

What a trainer left beside the weights for the toolkit alone is not exported. A folder is made under another name and
renamed, so it is there whole or not at all.
"""

from __future__ import annotations

import json
import shutil
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

NAME = "checkpoint.json"
_FILES = ("*.safetensors", "model.safetensors.index.json", "config.json", *checkpoint.TOKENIZER_FILES, "*.py")


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
    if target.exists():
        raise InputError(f"{target} is there already", remedy="remove it, or name another place")
    checkpoint.verify(path, trust_remote_code=True)  # nothing of it is run here
    _same(model.weights, model.template, path, f"{model.name} ({model.id})")
    partial = target.with_name(f".{target.name}.partial")
    with writing(target):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        names = sorted({file.name for pattern in _FILES for file in path.glob(pattern)})
        for name in names:
            shutil.copyfile(path / name, partial / name)
        files = checksums(partial, names)
        sealed = Sealed(model.id, model.name, model.weights, model.template, __version__, files)
        (partial / NAME).write_text(json.dumps(asdict(sealed), indent=2) + "\n", encoding="utf-8")
        (partial / CARD).write_text(card, encoding="utf-8")
        checkpoint.promote(partial, target)
    return target


def check_checkpoint(folder: Path) -> Sealed:
    """The seal of an exported checkpoint whose files are as they left. Raises InputError where one is not."""
    sealed = _read(folder / NAME)
    checkpoint.verify(folder, trust_remote_code=True)
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
        return TypeAdapter(Sealed).validate_python(data)
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
