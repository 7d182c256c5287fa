"""The expected score: the mean of the points under the judge's token probabilities at the score position.

    score = sum_s s * p(s) / sum_s p(s)        mass = sum_s p(s)        s over the points of the rubric

One forward pass and no parsing, so a model that never keeps a format still gives an order. The rubric asks for a
justification first, and the score is read where none was written: this is another judge than the written one. `mass`
is the probability that the judge gave to any score at all; it is stored with every verdict, and below `judge.min_mass`
the verdict is unreadable.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

from toolkit.judgments.verdict import Verdict


@dataclass(frozen=True)
class Expected:
    """Probability of each label (not normalised) and their sum."""

    probabilities: Mapping[str, float]
    mass: float

    def verdict(self, min_mass: float = 0.0) -> Verdict:
        """The mean score; unreadable where the labels together have less than `min_mass`, or no finite probability."""
        if not math.isfinite(self.mass) or self.mass <= 0:
            return Verdict("unreadable", reason=f"the labels have probability {self.mass}")
        if self.mass < min_mass:
            return Verdict(
                "unreadable", reason=f"the labels have probability {self.mass:.4f}, judge.min_mass is {min_mass:g}"
            )
        mean = sum(int(label) * p for label, p in self.probabilities.items()) / self.mass
        return Verdict("scored", round(mean, 9))

    def as_reply(self) -> str:
        """What is kept as the judge's reply: the probabilities, as JSON."""
        finite = {label: round(p, 6) if math.isfinite(p) else None for label, p in self.probabilities.items()}
        return json.dumps({"probabilities": finite, "mass": round(self.mass, 6) if math.isfinite(self.mass) else None})


def expected_score(logprobs: Mapping[int, float], labels: Mapping[str, int]) -> Expected:
    """From token id -> log-probability and label -> token id."""
    probabilities = {
        label: math.exp(logprobs[token]) if token in logprobs else math.nan for label, token in labels.items()
    }
    return Expected(probabilities, sum(probabilities.values()))
