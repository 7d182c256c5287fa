"""toolkit:noise, the negative control: a number that has nothing to do with the answer's quality.

As a selecting judge it shows what selection alone does to a gap; as `judge.audit` its gap is 0 up to chance.
"""

from __future__ import annotations

import hashlib
import json


def noise(prompt: str, answer: str, label: str | None) -> float:
    """A hash of prompt and answer, uniform in [0, 1). Equal answers to a prompt have equal scores."""
    digest = hashlib.sha256(json.dumps([prompt, answer]).encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
