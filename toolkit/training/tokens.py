"""What OpenRLHF 0.11.2 makes of a rendered pair: the same tokens as its data set, before any training.

Source: `process_data` and `__getitem__` of `RewardDataset` (openrlhf/datasets/reward_dataset.py) with `is_dpo`,
without a chat template. Each side is prompt + answer, without trailing newlines, and with " " + EOS after it
unless it ends in EOS; its tokens are cut to `max_length`, and the last one is overwritten by EOS. A prompt of
`max_length` - 2 or more tokens takes its row out of the data set, without a word.

A `real` test compares this with the installed trainer, token for token.
"""

from __future__ import annotations

from typing import Any

ANSWER_ROOM = 2  # OpenRLHF keeps a row only where its prompt leaves more tokens than this


def trainer_text(eos: str, prompt: str, answer: str) -> str:
    """The text that the trainer tokenises for one side of a row."""
    text = (prompt + answer).rstrip("\n")
    return text if text.endswith(eos) else f"{text} {eos}"


def encode(tokenizer: Any, text: str, max_length: int | None = None) -> tuple[int, ...]:
    """Token ids of rendered text, nothing added; cut to `max_length` on the tokenizer's truncation side."""
    cut = {} if max_length is None else {"max_length": max_length, "truncation": True}
    return tuple(tokenizer(text, add_special_tokens=False, padding=False, **cut)["input_ids"])


def trainer_tokens(tokenizer: Any, prompt: str, answer: str, max_length: int) -> tuple[int, ...]:
    """The token ids of one side of a row, as the trainer's data set gives them: at most `max_length`."""
    tokens = encode(tokenizer, trainer_text(tokenizer.eos_token, prompt, answer), max_length)
    return (*tokens[:-1], tokenizer.eos_token_id)


def prompt_length(tokenizer: Any, prompt: str, max_length: int) -> int:
    """How many leading tokens of both sides the trainer's loss leaves out."""
    return len(encode(tokenizer, prompt, max_length))


def keeps_row(prompt_tokens: int, max_length: int) -> bool:
    """Whether the trainer keeps a row whose prompt has this many tokens."""
    return prompt_tokens < max_length - ANSWER_ROOM
