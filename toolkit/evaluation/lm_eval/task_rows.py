"""Local data for a task of the harness: its splits out of a file or folder, without its readers and their cache."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.errors import InputError
from toolkit.reading import read_lines

SPLITS = ("test_split", "validation_split", "training_split", "fewshot_split")


def local(config: Mapping[str, Any], data: Path) -> dict[str, Any]:
    """What makes the task read this data: its rows, and None for splits that are neither there nor needed."""
    from datasets import Dataset, DatasetDict

    if not data.exists():
        raise InputError(f"no file or folder {data}", remedy="name the task's data, or leave data out for the hub")
    asked = config.get("test_split") or config.get("validation_split")
    shown = config.get("fewshot_split") or config.get("training_split") or config.get("validation_split")
    shows = bool(config["num_fewshot"]) and not (config.get("fewshot_config") or {}).get("samples")
    rows = {name: _rows(data, name, name == asked) for name in dict.fromkeys(config.get(key) for key in SPLITS) if name}
    for split in [asked, *([shown] if shows else [])]:
        if not rows.get(split or ""):
            raise InputError(
                f"{config['task']} needs rows of its split {split!r}",
                where=data,
                remedy=f"name a folder with {split}.jsonl in it" + (", or few_shot = 0" if split != asked else ""),
            )
    tables = {name: Dataset.from_list(found) for name, found in rows.items() if found}
    absent = {key: None for key in SPLITS if config.get(key) not in tables}
    return {"custom_dataset": lambda **_: DatasetDict(tables), **absent}


def _rows(data: Path, split: str, alone: bool) -> list[dict[str, Any]]:
    """alone: whether a single file holds this split."""
    if (data / "dataset_dict.json").exists():
        sources = [f"{data}:{split}"] if (data / split).is_dir() else []
    elif data.is_dir():
        sources = [str(path) for path in sorted(data.iterdir()) if path.name.startswith((f"{split}.", f"{split}-"))]
    else:
        sources = [str(data)] if alone else []
    lines = [line for source in sources for line in read_lines(source)]
    for line in lines:
        if line.row is None:
            raise InputError(f"no row: {line.problem}", where=line.place, remedy="mend the line or take it out")
    return [dict(line.row or {}) for line in lines]
