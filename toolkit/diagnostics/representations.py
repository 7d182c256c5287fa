"""Features of an answer, pooled, and the two numbers that compare those of a pair. Pure formulas, in float64.

A sequence of T tokens, the first P of them the prompt's, has the features h_0 .. h_{T-1} at one depth. Position t
holds token t and predicts token t+1, so the answer's tokens lie at P .. T-1 and are predicted at P-1 .. T-2. Pooled are

    predicting   the sum over P-1 .. T-2, the features whose product with the head gives the answer its probability
    mean         the mean over P .. T-1, the answer's own tokens, its end included
    last         h_{T-2}, the last token before the end: it has read the whole answer. The end itself is one token for
                 every answer, and its feature says mostly so

Padding comes after T-1 and is never read, and other sequences of the batch are not either.

CHES, the centered hidden embedding similarity of Razin et al., Unintentional Unalignment (https://arxiv.org/abs/2410.08847,
definition 2), with s the sum called predicting, in the last layer:

    ches            = <s_chosen, s_rejected> - |s_chosen|^2
    ches_normalized = the same of s / n, n being the T-P predictions summed

It is high where a DPO step is likely to take probability from the chosen answer too. Their code (ches/ches.py in
github.com/princeton-nlp/unintentional-unalignment) sums over the same positions of a sequence that fills its row;
in a padded one it takes in the padding and drops its last column instead of the answer's end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Pooled:
    """One answer's features at one depth: three vectors of float64, and how many tokens the answer has."""

    predicting: Tensor
    mean: Tensor
    last: Tensor
    tokens: int


def pool(features: Tensor, prompt: int, length: int) -> Tensor:
    """predicting, mean and last, stacked, of a row of features (positions, width) that may be longer than `length`."""
    import torch

    row = features[prompt - 1 : length].double()
    return torch.stack([row[:-1].sum(0), row[1:].mean(0), row[-2]])


def cosine(one: Tensor, other: Tensor) -> float:
    """NaN where a vector is zero."""
    return float(one @ other / (one.norm() * other.norm()))


def ches(chosen: Pooled, rejected: Pooled) -> float:
    """Two answers of the same features have 0."""
    return float(chosen.predicting @ (rejected.predicting - chosen.predicting))


def ches_normalized(chosen: Pooled, rejected: Pooled) -> float:
    """CHES of the means; it does not grow with the length of the answers."""
    mean = chosen.predicting / chosen.tokens
    return float(mean @ (rejected.predicting / rejected.tokens - mean))
