"""constraint_prompts(): generated prompts whose answers a function can check (judgments/rewards/constraints.py).

    Write a few lines about a river. Use at most 40 words. Do not use commas. Use the word "stone". Do not use digits.

Each prompt has four of the ten constraints of FORMS, none of which excludes another. `read_constraints` reads them back
from the text of any prompt that states them in these words.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

from toolkit.identity import derive_seed

EACH = 4  # constraints of a prompt
FORMS = {
    "most_words": "Use at most {} words.",
    "sentences": "Write exactly {} sentences.",
    "no_commas": "Do not use commas.",
    "lower_case": "Write everything in lower case.",
    "first_word": 'Start with the word "{}".',
    "contains": 'Use the word "{}".',
    "question": "End with a question mark.",
    "exclamation": "End with an exclamation mark.",
    "no_digits": "Do not use digits.",
    "bullets": 'Write exactly {} bullet points, each on a line that starts with "- ".',
}
EXCLUSIVE = ({"question", "exclamation"}, {"bullets", "sentences"}, {"bullets", "first_word"})
_NUMBERS = {"most_words": range(20, 61, 5), "sentences": range(2, 6), "bullets": range(2, 6)}
_TOPICS = (
    "a river", "the morning", "a train ride", "an old house", "the sea in winter", "a market", "growing tomatoes",
    "learning to swim", "a lost key", "the night sky", "baking bread", "a long walk", "a library", "rain in the city",
    "a bicycle", "an orchard", "a school day", "moving to a new town", "a broken clock", "a letter from a friend",
    "mending a coat", "a mountain hut", "the first snow", "a harbor", "a garden", "a bridge", "keeping bees",
    "a family dinner", "a quiet room", "a small museum",
)  # fmt: skip
_FIRST = ("today", "sometimes", "people", "every", "once", "perhaps", "when", "there", "many", "after")
_CONTAINED = (
    "stone", "light", "water", "bread", "window", "paper", "green", "friend", "music", "road", "summer", "hand",
)  # fmt: skip
_PATTERNS = {kind: re.compile(re.escape(form).replace(r"\{\}", r"(\w+)")) for kind, form in FORMS.items()}


def constraint_prompts(count: int) -> Iterator[str]:
    """So many different prompts, always the same ones: fewer are the first of more. A recipe's seed shuffles them."""
    generator = random.Random(derive_seed("constraints", 0))
    seen: set[str] = set()
    while len(seen) < count:
        text = " ".join([f"Write a few lines about {generator.choice(_TOPICS)}.", *_constraints(generator)])
        if text not in seen:
            seen.add(text)
            yield text


def read_constraints(prompt: str) -> list[tuple[str, str]]:
    """(kind, value) of every constraint that the prompt states, in the order of FORMS; the value may be ""."""
    return [
        (kind, match[1] if match.groups() else "")
        for kind, pattern in _PATTERNS.items()
        for match in pattern.finditer(prompt)
    ]


def _constraints(generator: random.Random) -> list[str]:
    kinds: list[str] = []
    for kind in generator.sample(sorted(FORMS), len(FORMS)):
        if len(kinds) < EACH and not any(kind in pair and pair & set(kinds) for pair in EXCLUSIVE):
            kinds.append(kind)
    return [FORMS[kind].format(_value(kind, generator)) for kind in kinds]


def _value(kind: str, generator: random.Random) -> str:
    words = {"first_word": _FIRST, "contains": _CONTAINED}
    return generator.choice(words[kind]) if kind in words else str(generator.choice(_NUMBERS.get(kind, (0,))))
