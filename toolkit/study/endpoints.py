"""The numbers of a study: what is measured of every kept model, and the endpoints that compare two arms.

Every value is measured on the probe prompts, which no arm trains on and which are the same for all arms and seeds.
An endpoint gives one number per seed: the treatment's minus the control's, both after their last training.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Measure:
    """A number of one model. title: as tables and charts name it. unit: of its value."""

    title: str
    unit: str
    meaning: str


@dataclass(frozen=True)
class Endpoint:
    """A difference of two arms. form: of the last model's value ("last"), or of its log ratio to M_0's ("log_ratio").

    A positive difference favors the treatment.
    """

    measure: str
    form: Literal["last", "log_ratio"]
    title: str
    unit: str


MEASURES = {
    "score": Measure("quality", "points", "mean score of the answers to a probe prompt, by the fixed judge"),
    "spread": Measure(
        "signal", "points", "best less worst score of the K answers to a probe prompt, by the fixed judge"
    ),
    "judge_accuracy": Measure(
        "judge accuracy",
        "share",
        "pairs of answers that the arm's own judge orders as the fixed judge; a tie counts half",
    ),
    "tokens": Measure("length", "tokens", "mean tokens of an answer to a probe prompt"),
    "kl": Measure("KL to M_0", "nats per answer", "mean of log pi(y) - log pi_0(y) over answers y of the model"),
    "coherence": Measure(
        "coherence",
        "-1 to 1",
        "mean cosine, weighted by norms, between the DPO directions of two probe pairs in the fixed judge's order; 0 "
        "by chance, whatever the number of pairs",
    ),
    "cosine": Measure(
        "cosine", "-1 to 1", "between the mean DPO directions of the own judge's probe pairs and of the fixed judge's"
    ),
    "yield": Measure("yield", "pairs per prompt", "of the pair set that trained the model"),
    "audit_gap": Measure(
        "audit gap", "points", "chosen less rejected by the fixed judge, of the pair set that trained it"
    ),
}
ENDPOINTS = {
    "quality": Endpoint("score", "last", "quality on the probe", "points"),
    "signal": Endpoint("spread", "log_ratio", "signal kept per prompt", "log ratio to M_0"),
    "coherence": Endpoint("coherence", "last", "coherence of probe pairs", "-1 to 1"),
    "cosine": Endpoint("cosine", "last", "cosine with the true ordering", "-1 to 1"),
}
GUARDS = ("tokens", "kl", "yield", "judge_accuracy")
