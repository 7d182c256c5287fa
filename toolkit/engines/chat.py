"""The one place where a chat template is rendered: for generation, judging, training and evaluation.

What people and models wrote never acts as a control token. Ordinary text is rendered and encoded as one string;
where some content spells a control token (say "<|im_end|>"), the template's scaffolding and the contents are
encoded apart, the contents with `split_special_tokens`, so the spelled token becomes ordinary tokens.

`Chat.load` checks the contract between generation, trainer and evaluation, in token space: a template, an EOS, no
double BOS, the prompt a prefix of prompt + answer, and an assistant turn that ends in EOS.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from toolkit.errors import InputError

Messages = Sequence[Mapping[str, str]]
TOGETHER = 1024  # conversations encoded at once
_SEAM = re.compile("(?<=[a-zA-Z]) (?=[a-zA-Z])")  # between two words
_BRIDGE = 8  # seams: so many words are encoded as a part of what all texts share, and again as a part of each
_MARK = "\ue000{}\ue001"  # private-use characters around a number: stands in for a content while the template runs


class Chat:
    """A tokenizer with its template, checked. `eos_token` and `eos_id` end an assistant turn."""

    def __init__(self, tokenizer: Any, path: Path) -> None:
        self.tokenizer, self.path = tokenizer, path
        self.check_parts()
        self.eos_token: str = tokenizer.eos_token
        self.eos_id: int = tokenizer.eos_token_id
        self._special = re.compile("|".join(re.escape(text) for text in sorted(_specials(tokenizer), key=len)[::-1]))
        self._special_ids = frozenset(tokenizer.convert_tokens_to_ids(sorted(_specials(tokenizer))))
        self._cuts_words = _cuts_words(tokenizer)
        self.check()

    @classmethod
    def load(cls, path: Path, trust_remote_code: bool = False) -> Chat:
        """The chat of a checkpoint directory. Raises InputError where the contract does not hold."""
        os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")  # that torch is missing: no matter here
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch's, about a package of others
            from transformers import AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=trust_remote_code)
        except (OSError, ValueError) as error:
            raise InputError(
                f"no tokenizer: {error}", where=path, remedy="put the tokenizer files of the model into this directory"
            ) from error
        return cls(tokenizer, path)

    def text(self, messages: Messages, reply_start: str = "") -> str:
        """The conversation as text, up to where the assistant's reply begins, and `reply_start` after it."""
        for message in messages:
            _check_text(message["content"])
        return self._rendered(messages, add_generation_prompt=True) + reply_start

    def tokens(self, messages: Messages, reply_start: str = "") -> tuple[int, ...]:
        """The same as token ids, contents encoded as ordinary text."""
        return next(self.tokens_of([messages], reply_start))

    def tokens_of(self, conversations: Sequence[Messages], reply_start: str = "") -> Iterator[tuple[int, ...]]:
        """`tokens` of many, in order: encoded together, which takes all cores."""
        for start in range(0, len(conversations), TOGETHER):
            some = conversations[start : start + TOGETHER]
            plain = [not self._any_special(messages, reply_start) for messages in some]
            texts = [self.text(messages, reply_start) for messages, one in zip(some, plain, strict=True) if one]
            encoded = iter(self._encoded(texts))
            for messages, one in zip(some, plain, strict=True):
                yield next(encoded) if one else self._tokens_apart(messages, reply_start)

    def encode(self, text: str) -> tuple[int, ...]:
        """Rendered text as token ids; control tokens count as such, nothing is added."""
        return self._ids([text])[0]

    def contains_special(self, text: str) -> bool:
        """Whether the text spells one of the tokenizer's control tokens."""
        return bool(self._special.search(text))

    def score_positions(
        self, conversations: Sequence[Messages], lead: str, labels: Sequence[str]
    ) -> tuple[list[tuple[int, ...]], dict[str, int]]:
        """Tokens of each conversation up to where the assistant would write a label after `lead`, and the labels'
        tokens there.

        Every label is encoded in place behind the first conversation. The text behind a conversation's last control
        token is the same in all, and no token reaches across one, so the others are encoded once and cut alike.
        """
        if not conversations:
            return [], {}
        head, following = self._score_position(conversations[0], lead, labels)
        whole = list(self.tokens_of(conversations, lead + labels[0]))
        tail = self._behind_specials(whole[0])
        cut = len(whole[0]) - len(head)
        if tail and all(self._behind_specials(tokens) == tail for tokens in whole):
            return [tokens[:-cut] for tokens in whole], following
        apart = [self._score_position(messages, lead, labels) for messages in conversations]
        if any(found != following for _, found in apart):
            raise InputError(
                f"a label after {lead!r} has another token in another conversation",
                where=self.path,
                remedy="set judge.method = 'generated'",
            )
        return [tokens for tokens, _ in apart], following

    def _score_position(
        self, messages: Messages, lead: str, labels: Sequence[str]
    ) -> tuple[tuple[int, ...], dict[str, int]]:
        """By encoding every label in place: the longest common prefix, then one distinct token for each."""
        encoded = {label: self.tokens(messages, lead + label) for label in labels}
        first, last = min(encoded.values()), max(encoded.values())
        shared = _alike(first, last)
        following = {label: tokens[shared] for label, tokens in encoded.items() if len(tokens) > shared}
        if len(set(following.values())) != len(labels):
            raise InputError(
                f"the tokenizer has no single token for each of {', '.join(labels)} after {lead!r}",
                where=self.path,
                remedy="set judge.method = 'generated', or a rubric with another lead",
            )
        return first[:shared], following

    def _encoded(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """Rendered texts as token ids. What all of them begin with, a rubric for example, is encoded once.

        A tokenizer that cuts words apart before its vocabulary sees them looks no further than the next word, and no
        token reaches across a cut. So texts are divided between two words, a few words before they begin to differ.
        It is checked: those words must have the same tokens in each text, and the first and the last text, encoded
        whole, the tokens of their parts. Else, and for other tokenizers, every text is encoded whole.
        """
        seams = _seams(texts) if self._cuts_words else []
        if len(texts) < 3 or len(seams) < _BRIDGE:
            return self._ids(texts) if texts else []
        start, end = seams[-_BRIDGE], seams[-1]
        head, bridge, first, last = self._ids([texts[0][:start], texts[0][start:end], texts[0], texts[-1]])
        # The tokenizer is set up by the call above, and no one asks here where in the text its tokens lie.
        found = self.tokenizer.backend_tokenizer.encode_batch_fast(
            [text[start:] for text in texts], add_special_tokens=False
        )
        rests = [tuple(one.ids) for one in found]
        bridged = all(rest[: len(bridge)] == bridge for rest in rests)
        if bridged and (first, last) == (head + rests[0], head + rests[-1]):
            return [head + rest for rest in rests]
        return self._ids(texts)

    def _rendered(self, messages: Messages, **how: bool) -> str:
        try:
            rendered: str = self.tokenizer.apply_chat_template(list(messages), tokenize=False, **how)
        except Exception as error:  # a template is a program: whatever jinja, Python or its own raise_exception say
            said = f"{type(error).__name__}: {str(error)[:200]}"
            self._broken(f"it does not render a conversation: {said}", "mend it, or use another model's")
        return rendered

    def _ids(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        encoded = self.tokenizer(texts, add_special_tokens=False, return_attention_mask=False)
        return [tuple(ids) for ids in encoded["input_ids"]]

    def _any_special(self, messages: Messages, reply_start: str) -> bool:
        return any(map(self.contains_special, (*(message["content"] for message in messages), reply_start)))

    def _behind_specials(self, tokens: tuple[int, ...]) -> tuple[int, ...]:
        """What follows the last control token; empty where there is none."""
        last = next((i for i in range(len(tokens) - 1, -1, -1) if tokens[i] in self._special_ids), len(tokens))
        return tokens[last + 1 :]

    def check_parts(self) -> None:
        """A template and an EOS, without which nothing can be rendered or ended."""
        if not getattr(self.tokenizer, "chat_template", None):
            raise InputError(
                "the model has no chat template",
                where=self.path,
                remedy="use an instruction-tuned model, or add chat_template.jinja to its directory",
            )
        if self.tokenizer.eos_token is None:
            raise InputError(
                "the tokenizer has no EOS token", where=self.path, remedy="set eos_token in tokenizer_config.json"
            )

    def check(self) -> None:
        """The contract of the module's docstring, on a short conversation."""
        turn = [{"role": "user", "content": "Hello there."}]
        answered = [*turn, {"role": "assistant", "content": "Good morning to you."}]
        prompt = self.tokens(turn)
        whole = self.encode(self._rendered(answered))
        bos = self.tokenizer.bos_token_id
        if bos is not None and prompt[:2] == (bos, bos):
            self._broken("the prompt starts with two BOS tokens", "remove BOS from the template or from the tokenizer")
        if whole[: len(prompt)] != prompt:
            self._broken(
                "the prompt is no token prefix of prompt + answer, so a trainer would mask the wrong tokens",
                "use a template whose generation prompt is how an assistant turn begins",
            )
        if not self._ends_in_eos(whole):
            self._broken(
                f"an assistant turn does not end in EOS {self.eos_token!r}",
                "make the token that ends a turn the tokenizer's eos_token",
            )

    def _ends_in_eos(self, tokens: tuple[int, ...]) -> bool:
        while tokens and not self.tokenizer.decode([tokens[-1]]).strip():
            tokens = tokens[:-1]
        return bool(tokens) and tokens[-1] == self.eos_id

    def _tokens_apart(self, messages: Messages, reply_start: str) -> tuple[int, ...]:
        marked = [{**message, "content": _MARK.format(i)} for i, message in enumerate(messages)]
        scaffold = self.text(marked) + _MARK.format(len(messages))
        contents = [*(message["content"] for message in messages), reply_start]
        tokens: list[int] = []
        for part in re.split("(\ue000\\d+\ue001)", scaffold):
            if part.startswith("\ue000"):
                content = contents[int(part[1:-1])]
                _check_text(content)
                tokens += self.tokenizer(content, add_special_tokens=False, split_special_tokens=True)["input_ids"]
            else:
                tokens += self.encode(part)
        return tuple(tokens)

    def _broken(self, problem: str, remedy: str) -> NoReturn:
        raise InputError(f"chat template: {problem}", where=self.path, remedy=remedy)


def _specials(tokenizer: Any) -> set[str]:
    added = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    return added | set(tokenizer.all_special_tokens)


def _seams(texts: Sequence[str]) -> list[int]:
    """The places between two words in what all of the texts begin with."""
    first, last = min(texts, default=""), max(texts, default="")
    return [found.start() for found in _SEAM.finditer(first[: _alike(first, last)])]


def _alike(one: Sequence[Any], other: Sequence[Any]) -> int:
    """How far two sequences are the same."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _cuts_words(tokenizer: Any) -> bool:
    """Whether the tokenizer's first step, before its vocabulary, puts no two words into one piece."""
    backend, text = getattr(tokenizer, "backend_tokenizer", None), "one two three"
    if backend is None or backend.pre_tokenizer is None:
        return False
    if backend.normalizer is not None and backend.normalizer.normalize_str(text) != text:
        return False
    return all(len(text[start:end].split()) < 2 for _, (start, end) in backend.pre_tokenizer.pre_tokenize_str(text))


def _check_text(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(f"a lone surrogate in {text[:40]!r}", remedy="write the prompt as valid UTF-8") from error
