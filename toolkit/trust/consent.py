"""Consent: what a file names runs code or reaches a server only on this user's word, given on the command line.

A recipe, a suite and a task file may come from a stranger. Each of them is data until the user adds `--trust`, or types
the field itself with --set. A recipe that is stored in a store never counts as consent. Callers from Python pass
`trusted=True`: their code is the user's own.

Left out: what a user's own script does, and the environment of this process.
"""

from __future__ import annotations

import ipaddress
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from toolkit.errors import RecipeError
from toolkit.safe_text import one_line

FLAG = "--trust"
SCRIPTED = "scripted"  # trainer.python of the demo: the toolkit's own stand-in, so it needs no consent
SHIPPED_REWARDS = ("toolkit:noise", "toolkit:constraints")  # the toolkit's own functions (judgments/rewards)
KEY_VARIABLE = "OPENAI_API_KEY"  # the only key variable that a file may name without consent
DTYPES = ("dtype", "ds.param_dtype")  # options that config.py moves to the field dtype
# Options of the trainer that name folders, data sets, models and accounts, whatever their values.
_NAMING = ("ckpt.", "data.", "ref.", "eval.", "logger.")
_OPTIONS = ("engine.options", "trainer.options")
_HERE = ("", "auto", "local")  # Ray's words for a cluster of this user's own choice
REMEDY = f"read it; if you trust it, add {FLAG}"

TrustOption = Annotated[
    bool, typer.Option(FLAG, help="Run the code and use the servers that the recipe, suite or checkpoint names.")
]


def check_recipe(data: Mapping[str, Any], changes: Sequence[str], where: object, *, trusted: bool) -> None:
    """Raise RecipeError where a recipe file names code or a server that `changes` do not name, unless it is trusted."""
    rest = _without(data, [change.partition("=")[0].strip() for change in changes])
    own = named(rest)
    if own and not trusted:
        values = "; ".join(f"{key} = {_value(rest, key)!r}" for key in own)
        raise RecipeError(
            f"the recipe file names code or a server: {values}",
            where=where,
            remedy=f"{REMEDY}, or type the field on the command line: --set {own[0]}=VALUE",
        )


def named(data: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The dotted keys of a recipe, or of a comparison's tables, by which a file would run code or reach a server."""
    keys = [f"{prefix}{key}" for key, value in _fields(data) if _needs_consent(key, value)]
    if not prefix:
        tables = {name: table for name, table in data.items() if isinstance(table, Mapping)}
        keys += [key for name, table in tables.items() for key in named(table, f"{name}.")]
    return keys


def check_task(table: Mapping[str, Any], where: object, *, trusted: bool) -> None:
    """Raise RecipeError where a table of a suite file names code or a server, unless it is trusted."""
    task, key = str(table.get("task", "")), str(table.get("key_variable", KEY_VARIABLE))
    found = {"task": task} if is_task_file(task) else {}
    found |= {"base_url": str(table["base_url"])} if _is_remote(table.get("base_url")) else {}
    found |= {"key_variable": key} if key != KEY_VARIABLE else {}
    served = table.get("kind") == "alpaca_eval" and table.get("judge", "local") != "local"
    found |= {"judge": str(table["judge"])} if served and not table.get("base_url") else {}  # asks a paid server
    if found and not trusted:
        values = "; ".join(f"{name} = {value!r}" for name, value in found.items())
        raise RecipeError(f"the suite names code or a server: {values}", where=where, remedy=REMEDY)


def is_task_file(task: str) -> bool:
    """Whether an lm-eval task is a YAML file of the user's: a program, by `!function` and by its templates."""
    return Path(task).suffix.lower() in (".yaml", ".yml")


def in_arguments(arguments: Sequence[str]) -> list[str]:
    """The words of a stored command line that would be consent if somebody typed it."""
    words = list(arguments)
    script = Path(words[0]) if words else Path()
    foreign = [] if script.parts[-3:-1] == ("toolkit", "recipes") or not words else [f"the script {script}"]
    after = [(word, words[place + 1]) for place, word in enumerate(words[:-1]) if word == "--set"]
    sets = [(word, word.removeprefix("--set=")) for word in words if word.startswith("--set=")] + after
    consenting = [change for _, change in sets if _is_code(change)]
    return [*foreign, *(word for word in words if word == FLAG), *consenting]


@cache
def announce(address: str, key_variable: str) -> None:
    """Print, once and before the first request, which host gets texts and the key of which variable."""
    held = f"the key in {key_variable}" if os.environ.get(key_variable) else f"no key ({key_variable} is not set)"
    print(f"requests go to {one_line(host_of(address))} with {held}", file=sys.stderr, flush=True)


def host_of(address: str) -> str:
    """Host and port of an address, without a name or a key that stands in it."""
    try:
        return urlsplit(address).netloc.rpartition("@")[2] or "no host"
    except ValueError:
        return "no host"


def _fields(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every value with its dotted key; options stay together."""
    for name, value in data.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and key not in _OPTIONS:
            yield from _fields(value, f"{key}.")
        else:
            yield key, value


def _needs_consent(key: str, value: Any) -> bool:
    match key:
        case "trust_remote_code":
            return value is not False
        case "judge.reward" | "judge.audit.reward":
            return bool(value) and value not in SHIPPED_REWARDS
        case "engine.python" | "trainer.launcher" | "trainer.hostfile":
            return bool(value)
        case "trainer.python":
            return value not in ("", SCRIPTED)
        case "trainer.attention":  # OWNER/NAME is a kernel of the hub: a program
            return "/" in str(value)
        case "engine.cluster.address":
            return value not in _HERE
        case "engine.options" | "trainer.options":
            return not isinstance(value, Mapping) or any(_is_risky(name, word) for name, word in value.items())
        case "engine.base_url" | "judge.base_url" | "judge.audit.base_url":
            return _is_remote(value)
        case "judge.key_variable" | "judge.audit.key_variable":
            return bool(value != KEY_VARIABLE)
    return False


def _is_risky(name: str, value: Any) -> bool:
    """Numbers and switches tune an engine or a trainer; texts name classes, files and servers."""
    if name in DTYPES:
        return False
    return isinstance(value, str | Mapping) or "trust" in str(name).lower() or str(name).startswith(_NAMING)


def _is_remote(address: Any) -> bool:
    if not isinstance(address, str):
        return address is not None
    try:
        host = urlsplit(address).hostname or ""
        return bool(address) and host != "localhost" and not _is_this_machine(host)
    except ValueError:
        return True


def _is_this_machine(host: str) -> bool:
    """A loopback address, or 0.0.0.0, by which a server of this machine names itself."""
    try:
        return (address := ipaddress.ip_address(host)).is_loopback or address.is_unspecified
    except ValueError:
        return False


def _is_code(change: str) -> bool:
    """Whether a --set change names code or a server, in a recipe or in a comparison's table."""
    key, _, text = change.partition("=")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    for name in reversed(key.strip().split(".")):
        value = {name: value}
    return bool(named(value))


def _without(data: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    """A recipe file's data without what the command line sets: the user's own word stands there."""
    rest = json.loads(json.dumps(data, default=str))
    for key in keys:
        *sections, last = key.split(".")
        table = rest
        for place, section in enumerate(sections):
            if not isinstance(table, dict):
                break
            table.pop(".".join([*sections[place:], last]), None)  # an option's name has dots of its own
            table = table.get(section)
        if isinstance(table, dict):
            table.pop(last, None)
    return dict(rest)


def _value(data: Mapping[str, Any], key: str) -> Any:
    for name in key.split("."):
        data = data.get(name, {}) if isinstance(data, Mapping) else {}
    return data
