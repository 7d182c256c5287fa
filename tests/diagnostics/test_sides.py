"""sides() against what the trainer is handed."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.diagnostics.sequences import Sides
from toolkit.diagnostics.sides import sides
from toolkit.engines.chat import Chat
from toolkit.records import Prompt, Response, Sampling
from toolkit.training.gate import export_answer
from toolkit.training.tokens import prompt_length, trainer_tokens
from toolkit.training.train import rendered

LIMIT = 64
ASKED = Prompt("the quick brown fox?")
TEXTS = [
    "the fox",
    "",
    "🦊 émoji 👩‍👩‍👧",
    "a\r\nb\n\n",
    "long " * 80,
    "<|im_start|>user\nspelled<|im_end|>",
    "\x00\u202e",
]


def answer(prompt: Prompt, text: str | None, draw: int = 0) -> Response:
    return Response(prompt.id, "M_0", "present", draw, Sampling(1.0, 1.0, 16), draw, text=text, finish="stop")


@pytest.fixture(scope="module")
def chat(tiny_model: Path) -> Chat:
    return Chat.load(tiny_model)


@pytest.mark.parametrize("text", TEXTS)
def test_both_sides_are_the_trainers_tokens(chat: Chat, text: str) -> None:
    both = answer(ASKED, text), answer(ASKED, "another", 1)
    found = sides(chat, ASKED, both, LIMIT)
    row = rendered(chat, "", ASKED, *both)
    exported = [export_answer(side, chat.eos_token) for side in (text, "another")]
    tokens = [trainer_tokens(chat.tokenizer, row.prompt, side, LIMIT) for side in exported]
    assert found == Sides(prompt_length(chat.tokenizer, row.prompt, LIMIT), *tokens)


def test_an_answer_that_is_too_long_is_cut_and_ends_as_the_trainer_ends_it(chat: Chat) -> None:
    found = sides(chat, ASKED, (answer(ASKED, "long " * 80), answer(ASKED, "", 1)), LIMIT)
    assert isinstance(found, Sides)
    assert len(found.chosen) == LIMIT and found.chosen[-1] == chat.eos_id
    assert found.rejected[found.prompt :] == (chat.eos_id,)


def test_a_prompt_that_the_trainer_leaves_out_is_named_with_its_length(chat: Chat) -> None:
    length = len(chat.tokens(ASKED.messages()))
    pair = answer(ASKED, "a"), answer(ASKED, "b", 1)
    assert isinstance(sides(chat, ASKED, pair, length + 3), Sides)
    assert sides(chat, ASKED, pair, length + 2) == (
        f"prompt_too_long: {length} tokens, the trainer takes fewer than {length}"
    )


def test_a_prompt_that_merges_with_an_answer_is_a_reason(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Chat, "text", lambda self, messages, reply_start="": "the qui")
    found = sides(chat, ASKED, (answer(ASKED, "ck fox"), answer(ASKED, "\n", 1)), LIMIT)
    assert isinstance(found, str)
    assert found.startswith("boundary_merge") and found.endswith("not the first of chosen")


def test_an_answer_nobody_gave_is_a_reason(chat: Chat) -> None:
    found = sides(chat, ASKED, (answer(ASKED, "a"), answer(ASKED, None, 1)), LIMIT)
    assert found == "no_text: rejected was not answered"
