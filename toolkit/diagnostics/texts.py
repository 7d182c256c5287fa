"""text_metrics(): how far apart two answers are as texts. No model and no tokenizer is asked.

ROUGE-L after Lin (2004), https://aclanthology.org/W04-1013: with c and r words in the two texts and l in their
longest common subsequence, precision l/c and recall l/r, so F = 2l / (c + r). Words are those of the package
rouge-score, runs of a-z and 0-9 of the text in lower case, without stemming; a test compares the two. For 1,000 pairs
of 2,000 characters the package took 18 s and this 0.1 s.

Left out: the difference in tokens, which needs a tokenizer.
"""

from __future__ import annotations

import math
import re

from rapidfuzz.distance import LCSseq, Levenshtein

WORD = re.compile("[a-z0-9]+")


def text_metrics(chosen: str, rejected: str) -> dict[str, float]:
    """length_gap: characters (code points), chosen - rejected; edit_distance: Levenshtein / length of the longer;
    rouge_l: F, NaN where neither text has a word of ROUGE's (another script, or nothing at all)."""
    return {
        "length_gap": float(len(chosen) - len(rejected)),
        "edit_distance": Levenshtein.normalized_distance(chosen, rejected),
        "rouge_l": rouge_l(chosen, rejected),
    }


def rouge_l(one: str, other: str) -> float:
    """Symmetric in its arguments, as F is."""
    words = [WORD.findall(text.lower()) for text in (one, other)]
    total = sum(map(len, words))
    return 2 * LCSseq.similarity(*words) / total if total else math.nan
