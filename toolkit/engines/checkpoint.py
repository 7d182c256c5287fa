"""Checkpoints on disk: checked and identified without loading them. Safetensors only; pickles are refused.

Torch and transformers are not needed: a safetensors file is an 8-byte little-endian header length, a JSON header
with the byte range of each tensor, and the bytes (https://huggingface.co/docs/safetensors).
"""

from __future__ import annotations

import json
import math
import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.errors import InputError, OutputError
from toolkit.identity import content_id, file_digest
from toolkit.trust.consent import FLAG
from toolkit.trust.paths import check_links, check_target, copy_file
from toolkit.trust.safe_files import sync

TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "merges.txt", "tokenizer.model", "generation_config.json",
)  # fmt: skip
LONGEST = 100_000_000  # bytes of a safetensors header, as the format has it
# What may name code of the checkpoint's own, which OpenRLHF runs unasked: it trusts whatever it loads.
NAMING_CODE = ("config.json", "tokenizer_config.json", "processor_config.json", "preprocessor_config.json")
WEIGHTS_INDEX = "model.safetensors.index.json"
DAMAGED = "the file was cut off or damaged: copy or train it again"
_RELATIVE = re.compile(r"^\s*from\s+\.(\w+)\s+import", re.MULTILINE)
OUTCOME = "outcome.json"  # what the trainer said, beside the weights of a finished training


def verify(path: Path, *, trust_remote_code: bool = False) -> None:
    """Raises InputError unless the directory holds a complete checkpoint that is safe to load."""
    _refuse_special_files(path)
    check_links(path)
    _check_settings(path / "tokenizer_config.json")
    _refuse_code(path, trust_remote_code)
    if (path / "adapter_config.json").exists():
        raise InputError(
            "an adapter lies beside the weights, which some loaders add to them and others do not",
            where=path / "adapter_config.json",
            remedy="merge it into the weights (peft: merge_and_unload), or remove it with its safetensors",
        )
    files = sorted(path.glob("*.safetensors"))
    if not files:
        pickled = [file.name for pattern in ("*.bin", "*.pt", "*.pth") for file in path.glob(pattern)]
        what = f"only pickled weights ({', '.join(pickled[:3])})" if pickled else "no weights"
        raise InputError(f"{what}, no *.safetensors", where=path, remedy="save the model with save_pretrained()")
    index = path / WEIGHTS_INDEX
    named = _shards(index) if index.exists() else {"model.safetensors"}  # what a loader takes; else it takes a pickle
    if missing := named - {file.name for file in files}:
        raise InputError(f"{min(missing)} is missing", where=path, remedy="copy the whole checkpoint again")
    for file in files:
        _verify_shard(file)


def _refuse_special_files(path: Path) -> None:
    """A pipe or a device in place of a file would be waited for, without an end."""
    for file in path.iterdir() if path.is_dir() else ():
        if file.exists() and not file.is_file() and not file.is_dir():
            raise InputError(f"{file.name} is no ordinary file", where=path, remedy="copy the whole checkpoint again")


def _refuse_code(path: Path, trusted: bool) -> None:
    """The user may trust code in the checkpoint's folder; code of another repository is in no digest."""
    kernel = _kernel(_config(path))
    if kernel:
        raise InputError(
            f"the checkpoint wants an attention kernel of the hub ({kernel!r}), which is a program",
            where=path / "config.json",
            remedy="remove attn_implementation from its config.json",
        )
    for file, named in _code(path).items():
        if any("--" in name for name in _leaves(named)):
            remedy = "download that repository, read its code, and copy it next to the weights"
            raise InputError("the checkpoint wants to run code of another repository", where=file, remedy=remedy)
        if not trusted:
            raise InputError(
                "the checkpoint wants to run its own code (auto_map)",
                where=file,
                remedy="read that code; if you trust it, add --set trust_remote_code=true to the command line "
                f"(for diagnose: {FLAG})",
            )


def _code(path: Path) -> dict[Path, Any]:
    """The files of a checkpoint that name code of its own, with what they name."""
    files = (path / name for name in NAMING_CODE)
    found = {file: _json(file).get("auto_map") for file in files if file.exists()}
    return {file: named for file, named in found.items() if named is not None}


def _kernel(config: Any) -> str:
    """The attention kernel of the hub that a configuration, or a part of it, names: OWNER/NAME."""
    if not isinstance(config, dict):
        return ""
    own = [value for key, value in config.items() if "attn_implementation" in key]
    named = [name for name in _leaves(own) if "/" in name]
    return named[0] if named else next(filter(None, map(_kernel, config.values())), "")


def _leaves(value: Any) -> Iterator[str]:
    """Every text in a JSON value."""
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _leaves(part)
    elif isinstance(value, str):
        yield value


def _check_settings(settings: Path) -> None:
    """vocab_file, fast_tokenizer_files and the like: a tokenizer reads the file that they name."""
    for key, value in (_json(settings) if settings.is_file() else {}).items():
        for name in value if isinstance(value, list) else [value]:
            if key.endswith(("_file", "_files")) and isinstance(name, str) and name:
                check_target(settings.parent, name, f"{settings}, key {key!r}")


def files(path: Path) -> list[str]:
    """The names of the files that make up the checkpoint. Of code, those alone that auto_map names."""
    names = ["config.json", WEIGHTS_INDEX, *TOKENIZER_FILES, *code_files(path)]
    weights = [file.name for file in path.glob("*.safetensors")]
    return sorted({*weights, *(name for name in names if (path / name).is_file())})


def code_files(path: Path) -> set[str]:
    """The files of code here that auto_map names (modeling_x.py for "modeling_x.Model"), and those that they import."""
    modules = set()
    for settings in (_json(path / name) for name in NAMING_CODE if (path / name).is_file()):
        auto_map = settings.get("auto_map")
        for value in auto_map.values() if isinstance(auto_map, dict) else ():
            references = value if isinstance(value, list) else [value]
            modules |= {f"{text.partition('.')[0]}.py" for text in references if isinstance(text, str)}
    return _with_imports(path, {name for name in modules if re.fullmatch(r"\w+\.py", name)})


def _with_imports(path: Path, names: set[str]) -> set[str]:
    """The same with the modules of the folder that they import by a dot, as transformers loads them."""
    texts = [_text(path / name) for name in sorted(names) if (path / name).is_file()]
    more = {f"{module}.py" for text in texts for module in _RELATIVE.findall(text)} - names
    return _with_imports(path, names | more) if more else names


def is_trained(path: Path) -> bool:
    """Whether a training of ours left this directory: the trainer's outcome lies inside."""
    return (path / OUTCOME).exists()


def weights_digest(path: Path) -> str:
    """Identity of the weights: SHA-256 over the safetensors files."""
    return file_digest(path.glob("*.safetensors"))


def parameters(path: Path) -> int:
    """How many numbers the weights hold. A head that is tied to the embeddings is no weight of its own."""
    return sum(_header(file)[0] for file in path.glob("*.safetensors"))


@dataclass(frozen=True)
class Shape:
    """Number of blocks, width of the hidden states and of the MLP's inner layer, by config.json; 0: not named."""

    blocks: int
    hidden: int
    inner: int


def shape_of(path: Path) -> Shape:
    """The model's shape, under the names that its family has for them."""
    config = _config(path)
    config = config.get("text_config") or config

    def first(*names: str) -> int:
        return next((int(config[name]) for name in names if config.get(name)), 0)

    hidden = first("hidden_size", "n_embd")
    return Shape(first("num_hidden_layers", "n_layer"), hidden, first("intermediate_size", "n_inner") or 4 * hidden)


def refuse_scripted(path: Path, name: str) -> None:
    """Raise InputError where this is the toy of `toolkit demo` and the tests: weights of one number, by which the
    scripted engine alone answers. A directory that is not there is left to whoever opens it."""
    if (path / "scripted.json").is_file() and parameters(path) == 1:
        raise InputError(
            f"{name} is a scripted model: its answers and scores are made up, and it has no network to measure",
            where=path,
            remedy="measure a run of a real model; `toolkit demo` shows the commands that need none",
        )


def template_digest(path: Path) -> str:
    """Identity of what decides rendering and stopping, by content: the same after saving again.

    Where the checkpoint names code of its own, that code counts too.
    """
    settings = _json(path / "tokenizer_config.json") if (path / "tokenizer_config.json").exists() else {}
    generation = _json(path / "generation_config.json") if (path / "generation_config.json").exists() else {}
    separate = path / "chat_template.jinja"
    content = {
        "tokenizer": file_digest(path / name for name in TOKENIZER_FILES[:1] if (path / name).exists()),
        "slow": file_digest(path / name for name in TOKENIZER_FILES[4:8] if (path / name).exists()),
        "template": _text(separate) if separate.exists() else settings.get("chat_template"),
        "tokens": {key: settings.get(key) for key in ("bos_token", "eos_token", "pad_token", "add_bos_token")},
        "stop": generation.get("eos_token_id"),
    }
    if code := _code(path):
        content["auto_map"] = {file.name: named for file, named in code.items()}
        content["code"] = {
            name: file_digest([path / name]) for name in sorted(code_files(path)) if (path / name).exists()
        }
    return content_id("template", json.loads(json.dumps(content)))


def same_but_weights(one: Path, other: Path) -> bool:
    """Whether both hold the same network with the same tokenizer. The dtype of the file does not count, nor does what a
    trainer writes about itself: an engine converts weights to its own dtype."""
    ignored = ("use_cache", "transformers_version", "_name_or_path", "dtype", "torch_dtype")
    a, b = ({key: value for key, value in _config(path).items() if key not in ignored} for path in (one, other))
    return a == b and template_digest(one) == template_digest(other)


def trained_dtype(path: Path) -> str:
    """The dtype that a training of ours saved; "" for any other checkpoint."""
    return str(_config(path).get("dtype", "")) if is_trained(path) else ""


def has_template(path: Path) -> bool:
    """Whether the directory holds a chat template."""
    settings = path / "tokenizer_config.json"
    return (path / "chat_template.jinja").exists() or (settings.exists() and bool(_json(settings).get("chat_template")))


def adopt_tokenizer(source: Path, target: Path) -> None:
    """Give a trained checkpoint the tokenizer, template and stop tokens of its parent, file by file."""
    for name in TOKENIZER_FILES:
        (target / name).unlink(missing_ok=True)
        if (source / name).exists():
            copy_file(source, name, target / name)


def promote(work: Path, final: Path) -> None:
    """Make a finished directory appear under its final name: everything synced, then one rename. What has that name
    already is never removed. Raises OutputError."""
    for file in work.iterdir():
        if file.is_file():
            sync(file)
    sync(work)
    refuse_existing(final)
    work.rename(final)
    sync(final.parent)


def refuse_existing(final: Path) -> None:
    """Raise OutputError where something has the name that a checkpoint is about to get."""
    if os.path.lexists(final):
        remedy = "move it away and run the same command again"
        raise OutputError("this is not a checkpoint that the toolkit finished", where=final, remedy=remedy)


def _verify_shard(file: Path) -> None:
    _, wanted = _header(file)
    if wanted != (size := file.stat().st_size):
        raise InputError(
            f"{file.name} has {size} bytes, its safetensors header says {wanted}", where=file, remedy=DAMAGED
        )


def _header(file: Path) -> tuple[int, int]:
    """(how many numbers, how many bytes) a safetensors file has by its header. Raises InputError for a bad one."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        start = opened.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= min(size - 8, LONGEST):
            raise InputError(f"{file.name} has no valid safetensors header", where=file, remedy=DAMAGED)
        try:
            header = json.loads(opened.read(length))
            tensors = [entry for name, entry in header.items() if name != "__metadata__"]
            numbers = sum(math.prod(entry["shape"]) for entry in tensors)
            return numbers, 8 + length + max((entry["data_offsets"][1] for entry in tensors), default=0)
        except (ValueError, RecursionError, AttributeError, TypeError, LookupError, ArithmeticError) as error:
            raise InputError(f"{file.name} has no readable safetensors header", where=file, remedy=DAMAGED) from error


def _shards(index: Path) -> set[str]:
    """The names of the files that an index says hold the weights."""
    weights = _json(index).get("weight_map")
    if not isinstance(weights, dict):
        raise InputError("no weight_map", where=index, remedy="copy the whole checkpoint again")
    return {str(name) for name in weights.values()}


def _config(path: Path) -> dict[str, Any]:
    if not path.is_dir():
        raise InputError(f"no checkpoint directory {path}", remedy="restore it, or name another model")
    if not (path / "config.json").exists():
        raise InputError("no config.json", where=path, remedy="name the directory that save_pretrained() wrote")
    return _json(path / "config.json")


def _json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        raise InputError(f"not valid JSON: {error}", where=path, remedy="copy the checkpoint again") from error
    if not isinstance(data, dict):
        raise InputError("no JSON object", where=path, remedy="copy the checkpoint again")
    return data


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"not UTF-8: {error}", where=path, remedy="copy the checkpoint again") from error
