"""The data card (README.md) of an exported data set: what it holds, where it comes from, how to read it."""

from __future__ import annotations

from pathlib import Path

from toolkit.exchange.layouts import EXTRA
from toolkit.exchange.manifest import Manifest
from toolkit.safe_text import one_line

NAME = "README.md"
FROM_DISK = """from datasets import load_from_disk

    pairs = load_from_disk("this folder")"""
FROM_FILE = """from datasets import load_dataset

    pairs = load_dataset("this folder", split="train")"""


def card(manifest: Manifest, reading: str = "") -> str:
    """Markdown with the front matter that the hub reads. What the toolkit does not know is left to be filled in.

    reading: the Python lines that read the data; where none are given, those for a folder on this machine.
    """
    saved = manifest.shape == "hf"  # by save_to_disk; of other folders load_dataset would take manifest.json for rows
    configs = "" if saved else f"configs:\n- config_name: default\n  data_files: {', '.join(manifest.files)}\n"
    reading = reading or (FROM_DISK if saved else FROM_FILE)
    models = "\n".join(
        f"- {one_line(model['name'] or '', 120)} (template {model['template'] or 'not known'})"
        for model in manifest.models
    )
    columns = [f"`{name}`" for name in manifest.columns]
    *others, last = columns[: -len(EXTRA)] or [""]
    own = f"{', '.join(others)} and {last}"
    return f"""---
task_categories:
- text-generation
tags:
- preference
- dpo
{configs}---

# {manifest.pair_set}

{manifest.rows} preference pairs: one prompt, a chosen and a rejected answer each.

- Version: {manifest.pair_set}, fingerprint `{manifest.fingerprint}`
- Message: {one_line(manifest.message, 400) or "none"}
- Written by {manifest.made_by} {manifest.toolkit_version}, shape {manifest.shape}
- Licence, languages and intended use: not known to the toolkit; say them here before you publish

## Answers by

{models}

## Columns

{", ".join(columns)}

{own} are what trainers read. Ids, scores, roles, models and judge say where a pair comes
from; no score means that none was given. Texts are as the models wrote them.

## Reading it

    {reading}
"""


def untouched(path: Path, manifest: Manifest) -> bool:
    """Whether the card is still what the export of this manifest wrote, so that no words of anybody's are in it."""
    return path.is_file() and path.read_bytes() == card(manifest).encode()


def from_hub(repo: str) -> str:
    """The lines that read the data of a repository of the hub, and the one that brings them into a store."""
    return (
        f'from datasets import load_dataset\n\n    pairs = load_dataset({repo!r}, split="train")\n\n'
        f"Into a store, checked against the fingerprint: `python -m toolkit pull {repo} NAME`"
    )
