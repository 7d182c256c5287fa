"""Log-probabilities of tokens from last-layer features, exact and in slices.

A model's logits at all positions of a batch would be its largest tensor by far. Here the head sees only the features
that predict a token of an answer, and only so many at once that their logits are at most SLICE numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from toolkit.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

SLICE = 2**24  # 64 MiB in float32
CHECKED = 8  # tokens on which the head is compared with the model


@dataclass(frozen=True)
class Head:
    """What makes logits of features: the output embeddings, then a scale or a cap where the architecture has one."""

    output: Any
    scale: float
    cap: float | None

    def __call__(self, features: Tensor) -> Tensor:
        import torch

        logits: Tensor = self.output(features)
        logits = logits if self.scale == 1 else logits * self.scale
        return torch.tanh(logits / self.cap) * self.cap if self.cap else logits

    def logprobs(self, features: Tensor, targets: Tensor) -> Tensor:
        """log pi(target) for each row of features, in float32."""
        import torch

        rows = max(1, SLICE // self.output.weight.shape[0])
        parts = zip(features.split(rows), targets.split(rows), strict=True)
        return torch.cat([_logprobs(self(part).float(), wanted) for part, wanted in parts])


def _logprobs(logits: Tensor, targets: Tensor) -> Tensor:
    """A log-softmax by logsumexp, as the trainer takes it. On a CPU torch's cross_entropy and log_softmax are no faster
    and add up 49,152 terms in a row: 4e-6 nats too many a token on average, where this is 3e-8 off."""
    return logits.gather(1, targets[:, None])[:, 0] - logits.logsumexp(1)


def head_of(model: Any, tokens: Tensor) -> Head:
    """The head by the model's configuration, checked on the start of `tokens` against the model's own logits.

    InputError where they differ: an architecture that does something to its logits that is not known here.
    """
    import torch

    config = model.config.get_text_config()
    scale = getattr(config, "logit_scale", None) or 1 / (getattr(config, "logits_scaling", None) or 1)
    head = Head(model.get_output_embeddings(), scale, getattr(config, "final_logit_softcapping", None))
    start = tokens[None, :CHECKED]
    own = model(input_ids=start, use_cache=False).logits.float()
    made = head(model.base_model(input_ids=start, use_cache=False).last_hidden_state).float()
    if made.shape != own.shape or not torch.allclose(made, own, rtol=1e-3, atol=1e-3, equal_nan=True):
        raise InputError(
            f"the logits of {type(model).__name__} are not what its output embeddings make of its last features",
            where="log-probabilities of the diagnostics",
            remedy="teach toolkit/diagnostics/head.py what this architecture does after its head",
        )
    return head
