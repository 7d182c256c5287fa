"""A toy checkpoint: a tokenizer, a chat template, and weights of one number.

All but an engine with real arithmetic takes it for a model: checks, ids, rendering, the token gate, the hand-off. The
scripted engine answers by it, in the tests and in `toolkit demo`.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
ENDS = {"eos_token_id": 2, "pad_token_id": 0}  # places in SPECIAL


def make(folder: Path) -> Path:
    """Write the checkpoint into this folder, the same one each time."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tokenizer(folder)
    write_weights(folder / "model.safetensors")
    config = {"model_type": "llama", "vocab_size": 600, **ENDS}
    for name, content in (("config", config), ("generation_config", ENDS), ("scripted", {"salt": "M_0"})):
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def write_tokenizer(folder: Path) -> None:
    """A byte-level BPE tokenizer with ChatML control tokens; digits are single tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["the quick brown fox", "user assistant system Score: 3"] * 4, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "chat_template": TEMPLATE,
        "model_max_length": 2048,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")


def write_weights(path: Path, value: float = 0.5) -> None:
    """A valid safetensors file of one number, written by hand so that no library is needed."""
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + struct.pack("<f", value))
