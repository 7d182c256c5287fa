"""Rates: what earlier launches measured of each stage, in a store or in rates.toml, and the arithmetic beside it.

A row of either is a stage on a machine with a model: how much was asked for, and the seconds that it took.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from toolkit.engines import checkpoint, embedded, find
from toolkit.errors import InputError, RecipeError
from toolkit.precision import kind
from toolkit.store.database import Store

_TABLE = Path(__file__).with_name("rates.toml")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([bm])(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True)
class Hardware:
    """So many devices of a kind: 8xH100 is eight GPUs, 2xcpu two cores."""

    count: int
    name: str

    def __str__(self) -> str:
        return f"{self.count}x{self.name}"

    @property
    def unit(self) -> str:
        return "core" if self.name == "cpu" else "GPU"


@dataclass(frozen=True)
class Measured:
    """A stage as it was run. method: of judging or training; most: the most tokens of an answer, None for training;
    dtype: what it computed in, "slow bfloat16" on a CPU without instructions for it; read: prompt tokens, or those
    trained on; reused: of them, what was not computed; seconds: without the starts."""

    hardware: Hardware
    engine: str
    stage: str
    model: str
    method: str
    steps: int
    requests: int
    read: int
    reused: int
    written: int
    seconds: float
    start_seconds: float
    source: str
    most: int | None = None
    dtype: str = "bfloat16"

    @property
    def computed(self) -> int:
        return self.read - self.reused + self.written


@cache
def table() -> Mapping[str, Any]:
    """rates.toml."""
    return tomllib.loads(_TABLE.read_text(encoding="utf-8"))


def hardware(text: str) -> Hardware:
    """What `8xH100` means. Raises RecipeError for a device that rates.toml does not know."""
    count, _, name = text.partition("x")
    known = {device.casefold(): device for device in table()["flops"]}
    if not count.isdigit() or int(count) < 1 or name.casefold() not in known:
        raise RecipeError(
            f"--hardware {text!r}",
            remedy=f"write for example 8xH100 or 2xcpu (cores); known: {', '.join(known.values())}",
        )
    return Hardware(int(count), known[name.casefold()])


def measured(store: Store) -> list[Measured]:
    """What was measured: first by this store's launches, then what rates.toml holds."""
    own = map(_of_store, store.named("stage_rates"))
    others = (Measured(**row | {"hardware": hardware(row["hardware"])}) for row in table().get("measured", ()))
    return [row for row in (*own, *others) if row.requests and row.seconds]


def parameters(model: str) -> float:
    """How many parameters a model has: counted where it is on disk, else read off its name (8b, 135m)."""
    if find.is_local(model):
        return checkpoint.parameters(_folder(model))
    if not (said := _SIZE.findall(model)):
        raise InputError(
            f"nothing tells the size of {model!r}",
            where="--hardware",
            remedy="name its directory, or write a name with its size, as in llama-8b",
        )
    number, unit = said[-1]
    return float(number) * (1e9 if unit in "bB" else 1e6)


def saved(model: str) -> float:
    """How many numbers a checkpoint trained from it holds: OpenRLHF saves a head that is tied once more."""
    config = json.loads((_folder(model) / "config.json").read_text("utf-8")) if find.is_local(model) else {}
    head = config["vocab_size"] * config["hidden_size"] if config.get("tie_word_embeddings") else 0
    return parameters(model) + head


def _folder(model: str) -> Path:
    return embedded.prepared() if model == embedded.NAME else Path(model)


def _of_store(row: dict[str, Any]) -> Measured:
    machine, parallel = json.loads(row.pop("hardware")), row.pop("parallel")
    gpus = machine.get("gpus") or []
    if gpus:
        name = next((known for known in table()["flops"] if known in gpus[0]), gpus[0])
        devices = Hardware(min(parallel or len(gpus), len(gpus)), name)
    else:
        devices = Hardware(machine.get("cores") or 1, "cpu")
        if (sets := machine.get("instruction_sets")) is not None:
            row["dtype"] = kind(row["dtype"], [] if machine.get("limits") else sets)
    return Measured(**row, hardware=devices, source="this store")
