"""How a pair is written in each export shape. Every row also carries the columns EXTRA, which trainers leave alone.

    openrlhf, trl, hf   prompt, chosen, rejected as messages. OpenRLHF 0.11.2 (datasets/reward_dataset.py) renders
                        prompt + chosen: --data.apply_chat_template --data.prompt_key prompt
    trl-implicit        chosen, rejected: the whole conversations
    sharegpt            LLaMA-Factory, which reads the folder as it is: dataset_dir names it, dataset the pair set; it
                        leaves out dialogues in which user and assistant do not take turns
    parquet, jsonl      prompt, chosen, rejected as text, history as messages

Texts are written as they are: nothing is stripped, rendered or ended.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from toolkit.errors import RecipeError

EXTRA = (
    "pair_id", "chosen_id", "rejected_id", "chosen_score", "rejected_score", "chosen_role", "rejected_role",
    "chosen_model", "rejected_model", "judge",
)  # fmt: skip
INFO = "dataset_info.json"
Row = Mapping[str, Any]
_WORDS = {"user": "human", "assistant": "gpt"}


@dataclass(frozen=True)
class Layout:
    """say: a row of the store (exporting.py) in the shape's own columns; file: name of its data, "" for a folder."""

    shape: str
    file: str
    columns: tuple[str, ...]
    say: Callable[[Row], dict[str, Any]]

    def row(self, row: Row) -> dict[str, Any]:
        return self.say(row) | {name: row[name] for name in EXTRA}


def layout(shape: str) -> Layout:
    """The layout of a shape. Raises RecipeError."""
    for known in LAYOUTS:
        if known.shape == shape:
            return known
    names = ", ".join(known.shape for known in LAYOUTS)
    raise RecipeError(f"no export shape {shape!r}", remedy=f"use one of {names}")


def dataset_info(name: str, file: str) -> str:
    """What LLaMA-Factory looks for beside the data: the file of a data set, and what its columns mean.

    https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md, preference data in ShareGPT's form.
    """
    columns = {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"}
    told = {"file_name": file, "formatting": "sharegpt", "ranking": True, "columns": columns}
    return json.dumps({name: told}, indent=2) + "\n"


def _history(row: Row) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in json.loads(row["history"])]


def _asked(row: Row) -> list[dict[str, str]]:
    return [*_history(row), {"role": "user", "content": row["prompt"]}]


def _answer(row: Row, side: str) -> dict[str, str]:
    return {"role": "assistant", "content": row[side]}


def _messages(row: Row) -> dict[str, Any]:
    return {"prompt": _asked(row), "chosen": [_answer(row, "chosen")], "rejected": [_answer(row, "rejected")]}


def _conversations(row: Row) -> dict[str, Any]:
    return {side: [*_asked(row), _answer(row, side)] for side in ("chosen", "rejected")}


def _sharegpt(row: Row) -> dict[str, Any]:
    turns = [_renamed(message) for message in _asked(row)]
    return {"conversations": turns} | {side: _renamed(_answer(row, side)) for side in ("chosen", "rejected")}


def _renamed(message: Mapping[str, str]) -> dict[str, str]:
    return {"from": _WORDS.get(message["role"], message["role"]), "value": message["content"]}


def _plain(row: Row) -> dict[str, Any]:
    return {"prompt": row["prompt"], "history": _history(row), "chosen": row["chosen"], "rejected": row["rejected"]}


_THREE = ("prompt", "chosen", "rejected")
_FOUR = ("prompt", "history", "chosen", "rejected")
LAYOUTS = (
    Layout("openrlhf", "pairs.jsonl", _THREE, _messages),
    Layout("trl", "pairs.jsonl", _THREE, _messages),
    Layout("trl-implicit", "pairs.jsonl", ("chosen", "rejected"), _conversations),
    Layout("sharegpt", "pairs.jsonl", ("conversations", "chosen", "rejected"), _sharegpt),
    Layout("hf", "", _THREE, _messages),
    Layout("parquet", "pairs.parquet", _FOUR, _plain),
    Layout("jsonl", "pairs.jsonl", _FOUR, _plain),
)
