"""Our tokenisation of a row against the trainer's own data set, token for token."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from toolkit.training.tokens import encode, keeps_row, prompt_length, trainer_text, trainer_tokens

PROMPT = "<|im_start|>user\nthe quick brown fox?<|im_end|>\n<|im_start|>assistant\n"
LIMIT = 48
NASTY = [
    (PROMPT, "the fox<|im_end|>", "the brown fox<|im_end|>"),
    (PROMPT, "no end of text", "another\n\n"),
    (PROMPT, "newlines before the end\n\n<|im_end|>", "<|im_end|>\n"),
    (PROMPT, "long " * 80 + "<|im_end|>", "long " * 81 + "<|im_end|>"),
    (PROMPT, "🦊 emoji 👩‍👩‍👧<|im_end|>", "a\r\nb\r\n<|im_end|>"),
    (PROMPT, "<|im_start|>user\nspelled<|im_end|><|im_end|>", "<|endoftext|><|im_end|>"),
    (PROMPT, "", "\n"),
    ("the qui", "ck fox<|im_end|>", "\x00\u2028\u202e<|im_end|>"),
    ("word " * 21, "answer<|im_end|>", "other<|im_end|>"),
    ("word " * 200, "the prompt is too long<|im_end|>", "x<|im_end|>"),
    *(("a" * n, "b<|im_end|>", "c<|im_end|>") for n in range(LIMIT - 4, LIMIT + 2)),
]


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_model)


def test_a_text_without_eos_gets_a_space_and_eos_and_one_with_eos_nothing() -> None:
    assert trainer_text("</s>", "p", "answer\n\n") == "panswer </s>"
    assert trainer_text("</s>", "p", "answer\n</s>") == "panswer\n</s>"


def test_a_long_side_ends_in_eos_at_the_limit(tokenizer: Any) -> None:
    tokens = trainer_tokens(tokenizer, PROMPT, "long " * 80, LIMIT)
    assert len(tokens) == LIMIT and tokens[-1] == tokenizer.eos_token_id
    assert tokens[:-1] == encode(tokenizer, PROMPT + "long " * 80)[: LIMIT - 1]


@pytest.mark.real
def test_every_nasty_row_has_the_tokens_of_the_trainers_own_data_set(tokenizer: Any, tmp_path: Path) -> None:
    from datasets import load_dataset  # type: ignore[import-untyped]
    from openrlhf.datasets.reward_dataset import RewardDataset  # type: ignore[import-untyped]

    file = tmp_path / "rows.jsonl"
    lines = [json.dumps({"prompt": p, "chosen": c, "rejected": r}, ensure_ascii=False) for p, c, r in NASTY]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows = load_dataset("json", data_files=str(file), split="train", cache_dir=str(tmp_path / "cache"))
    keys = SimpleNamespace(prompt_key="prompt", chosen_key="chosen", rejected_key="rejected", apply_chat_template=False)
    strategy = SimpleNamespace(args=SimpleNamespace(data=keys))
    theirs = RewardDataset(rows, tokenizer, LIMIT, strategy, is_dpo=True, num_processors=None)

    kept = [row for row in NASTY if keeps_row(prompt_length(tokenizer, row[0], LIMIT), LIMIT)]
    assert 0 < len(kept) < len(NASTY)
    assert len(theirs) == len(kept)
    for (prompt, chosen, rejected), index in zip(kept, range(len(theirs)), strict=True):
        chosen_ids, _, rejected_ids, _, masked = theirs[index]
        assert trainer_tokens(tokenizer, prompt, chosen, LIMIT) == tuple(chosen_ids[0].tolist())
        assert trainer_tokens(tokenizer, prompt, rejected, LIMIT) == tuple(rejected_ids[0].tolist())
        assert prompt_length(tokenizer, prompt, LIMIT) == masked
