"""The data card (README.md) of an exported data set: what it holds, where it comes from, how to read it."""

from __future__ import annotations

from toolkit.exchange.manifest import Manifest
from toolkit.safe_text import one_line

NAME = "README.md"
FROM_DISK = """from datasets import load_from_disk

    pairs = load_from_disk("this folder")"""


def card(manifest: Manifest, reading: str = FROM_DISK) -> str:
    """Markdown with the front matter that the hub reads. What the toolkit does not know is left to be filled in.

    reading: the Python lines that read the data.
    """
    models = "\n".join(
        f"- {one_line(model['name'] or '', 120)} (template {model['template'] or 'not known'})"
        for model in manifest.models
    )
    columns = ", ".join(f"`{name}`" for name in manifest.columns)
    return f"""---
task_categories:
- text-generation
tags:
- preference
- dpo
---

# {manifest.pair_set}

{manifest.rows} preference pairs: one prompt, a chosen and a rejected answer each.

- Version: {manifest.pair_set}, fingerprint `{manifest.fingerprint}`
- Message: {one_line(manifest.message, 400) or "none"}
- Written by {manifest.made_by} {manifest.toolkit_version}, shape {manifest.shape}
- Licence, languages and intended use: not known to the toolkit; say them here before you publish

## Answers by

{models}

## Columns

{columns}

`prompt`, `chosen` and `rejected` are what trainers read. Ids, scores, roles, models and judge say where a pair comes
from; no score means that none was given. Texts are as the models wrote them.

## Reading it

    {reading}
"""


def from_hub(repo: str) -> str:
    """The lines that read the data of a repository of the hub, and the one that brings them into a store."""
    return (
        f'from datasets import load_dataset\n\n    pairs = load_dataset({repo!r}, split="train")\n\n'
        f"Into a store, checked against the fingerprint: `python -m toolkit pull {repo} NAME`"
    )
