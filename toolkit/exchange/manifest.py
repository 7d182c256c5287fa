"""manifest.json beside an export: which version it is, and the checksums by which drift is found."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from toolkit.errors import InputError
from toolkit.trust.paths import member

NAME = "manifest.json"
MAKER = "temporal-toolkit"


@dataclass(frozen=True)
class Manifest:
    """files: name in the folder -> sha256. models: name, id and template digest of who answered; None: not known."""

    pair_set: str
    fingerprint: str
    rows: int
    message: str
    models: Sequence[Mapping[str, str | None]]
    toolkit_version: str
    shape: str
    columns: Sequence[str]
    files: Mapping[str, str]
    made_by: str = MAKER

    def write(self, folder: Path) -> None:
        text = json.dumps(asdict(self), ensure_ascii=False, indent=2)
        (folder / NAME).write_text(text + "\n", encoding="utf-8")


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of an export in this folder; None where there is none or another program's."""
    path = folder / NAME
    if not path.is_file():
        return None
    remedy = "restore it, or remove it to import the data without a check"
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict) or data.get("made_by") != MAKER:
            return None
        if missing := {field.name for field in fields(Manifest)} ^ set(data):
            raise InputError(f"other fields than expected: {', '.join(sorted(missing))}", where=path, remedy=remedy)
        manifest = TypeAdapter(Manifest).validate_python(data)
        for name in manifest.files:
            member(folder, name, path)
        return manifest
    except (ValueError, RecursionError) as error:
        raise InputError(f"the manifest cannot be read: {error}", where=path, remedy=remedy) from error


def checksums(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """sha256 of each file, by name."""
    sums = {}
    for name in sorted(names):
        with (folder / name).open("rb") as file:
            sums[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return sums


def check_files(manifest: Manifest, folder: Path) -> None:
    """Raise InputError where a file is not the one that was exported."""
    for name, wanted in manifest.files.items():
        if not (folder / name).is_file():
            raise drift(manifest, folder, f"{name} is missing")
        if checksums(folder, [name])[name] != wanted:
            raise drift(manifest, folder, f"{name} has another sha256")


def drift(manifest: Manifest, folder: Path, what: str) -> InputError:
    """The error for data that are not what its manifest says."""
    return InputError(
        f"the export of {manifest.pair_set} has drifted: {what}",
        where=folder / NAME,
        remedy="export again; or, if the change is meant, remove manifest.json and import the data as they are",
    )
