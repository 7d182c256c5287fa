"""sides(): two answers to one prompt as the tokens that DPO trains on, or why they cannot be measured.

Rendering, end and cut are the trainer's own (toolkit.training): a pair that was trained on is measured on the same
tokens. The token gate refuses more than this: a pair it dropped for what it is worth to the trainer (equal texts, an
answer that was cut) is still measured here.
"""

from __future__ import annotations

from toolkit.diagnostics.sequences import Sides
from toolkit.engines.chat import Chat
from toolkit.records import Prompt, Response
from toolkit.training.gate import side
from toolkit.training.tokens import ANSWER_ROOM, encode, keeps_row
from toolkit.training.train import rendered


def sides(chat: Chat, prompt: Prompt, answers: tuple[Response, Response], max_length: int) -> Sides | str:
    """The (chosen, rejected) answers, each side of at most `max_length` tokens and ending in EOS, or a reason in the
    token gate's words."""
    names = ("chosen", "rejected")
    if silent := [name for name, answer in zip(names, answers, strict=True) if answer.text is None]:
        return f"no_text: {' and '.join(silent)} was not answered"
    row = rendered(chat, "", prompt, *answers)
    asked = encode(chat.tokenizer, row.prompt)
    if not keeps_row(len(asked), max_length):
        return f"prompt_too_long: {len(asked)} tokens, the trainer takes fewer than {max_length - ANSWER_ROOM}"
    both = [side(row, name, chat.tokenizer, max_length) for name in names]
    if merged := [one.name for one in both if one.trained[: len(asked)] != asked]:
        return f"boundary_merge: the {len(asked)} prompt tokens are not the first of {' and '.join(merged)}"
    return Sides(len(asked), both[0].trained, both[1].trained)
