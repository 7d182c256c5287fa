"""transformers as a fallback where vLLM is not installed: exact, simple, and several times slower.

Each request samples with its own generator, so a batch's composition changes a text only through floating point.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.config import Engine as Settings
from toolkit.engines.network import load_network
from toolkit.engines.protocol import Completion, Likelihood, Request
from toolkit.errors import EngineError
from toolkit.extras import need
from toolkit.precision import resolve_device, resolve_dtype

if TYPE_CHECKING:
    import torch


class TransformersEngine:
    """One checkpoint in this process."""

    def __init__(self, path: Path, settings: Settings, trust_remote_code: bool = False) -> None:
        need("torch", "engine.kind = 'transformers'", "cpu", EngineError)
        from transformers import AutoTokenizer

        device = resolve_device(settings.device)
        self._device = "cuda" if device == "gpu" else "cpu"
        self._batch = min(settings.max_num_seqs, 64)
        self._context = settings.max_model_len
        self._model = load_network(
            path, resolve_dtype(settings.dtype, device), self._device, trust_remote_code=trust_remote_code
        )
        self._tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=trust_remote_code)
        stops = self._model.generation_config.eos_token_id
        self._stops = set(stops if isinstance(stops, list) else [stops]) | {self._tokenizer.eos_token_id}

    def complete(self, requests: Sequence[Request]) -> Iterator[Completion]:
        for request in requests:
            new = request.new_tokens
            if len(request.tokens) + new > self._context:
                raise EngineError(
                    f"a request of {len(request.tokens)} + {new} tokens exceeds {self._context}",
                    where=request.id,
                    remedy="raise engine.max_model_len or lower max_tokens",
                )
        ordered = sorted(requests, key=lambda request: len(request.tokens))
        for start in range(0, len(ordered), self._batch):
            batch = ordered[start : start + self._batch]
            scoring = [request for request in batch if request.score_tokens]
            measuring = [request for request in batch if request.continuation]
            writing = [request for request in batch if not request.score_tokens and not request.continuation]
            for work, part in ((self._score, scoring), (self._measure, measuring), (self._write, writing)):
                if part:
                    yield from work(part)

    def close(self) -> None:
        """Drop the weights."""
        del self._model

    def _score(self, batch: list[Request]) -> list[Completion]:
        import torch

        with torch.inference_mode():
            ids, mask = self._padded([request.tokens for request in batch])
            logits = self._model(input_ids=ids, attention_mask=mask, logits_to_keep=1).logits[:, -1].float()
            logprobs = torch.log_softmax(logits, dim=-1)
        return [
            Completion(request.id, tokens=1, logprobs={t: float(row[t]) for t in request.score_tokens})
            for request, row in zip(batch, logprobs, strict=True)
        ]

    def _measure(self, batch: list[Request]) -> list[Completion]:
        """Each token of the continuation is predicted by the logits one place before it."""
        import torch

        longest = max(len(request.continuation) for request in batch)
        with torch.inference_mode():
            ids, mask = self._padded([request.tokens + request.continuation for request in batch])
            logits = self._model(input_ids=ids, attention_mask=mask, logits_to_keep=longest + 1).logits
        return [_likelihood(request, row) for request, row in zip(batch, logits, strict=True)]

    def _write(self, batch: list[Request]) -> list[Completion]:
        import torch

        generators = [torch.Generator().manual_seed(request.seed) for request in batch]
        made: list[list[int]] = [[] for _ in batch]
        open_rows = set(range(len(batch)))
        with torch.inference_mode():
            ids, mask = self._padded([request.tokens for request in batch])
            cache = None
            while open_rows:
                output = self._model(
                    input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True, logits_to_keep=1
                )
                cache, logits = output.past_key_values, output.logits[:, -1].float().cpu()
                following = [self._tokenizer.eos_token_id] * len(batch)
                for row in sorted(open_rows):
                    following[row] = _sample(logits[row], batch[row], generators[row])
                    made[row].append(following[row])
                    if following[row] in self._stops or len(made[row]) >= batch[row].sampling.max_tokens:
                        open_rows.discard(row)
                ids = torch.tensor(following, device=self._device)[:, None]
                mask = torch.cat([mask, mask.new_ones(len(batch), 1)], dim=1)
        return [self._completion(request, tokens) for request, tokens in zip(batch, made, strict=True)]

    def _padded(self, rows: list[tuple[int, ...]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids and mask, [rows, longest], padded on the left."""
        import torch

        longest = max(len(tokens) for tokens in rows)
        ids = torch.zeros(len(rows), longest, dtype=torch.long)
        mask = torch.zeros(len(rows), longest, dtype=torch.long)
        for row, tokens in enumerate(rows):
            ids[row, longest - len(tokens) :] = torch.tensor(tokens)
            mask[row, longest - len(tokens) :] = 1
        return ids.to(self._device), mask.to(self._device)

    def _completion(self, request: Request, tokens: list[int]) -> Completion:
        text = self._tokenizer.decode(tokens, skip_special_tokens=True)
        return Completion(request.id, text, len(tokens), "stop" if tokens[-1] in self._stops else "length")


def _likelihood(request: Request, logits: torch.Tensor) -> Completion:
    """logits: [at least one more than the continuation, vocabulary], the last row being of the last token."""
    import torch

    wanted = torch.tensor(request.continuation, device=logits.device)
    places = logits[-len(wanted) - 1 : -1].float()
    logprobs = torch.log_softmax(places, dim=-1).gather(1, wanted[:, None])
    greedy = bool((places.argmax(dim=-1) == wanted).all())
    return Completion(request.id, tokens=1, likelihood=Likelihood(float(logprobs.double().sum()), greedy))


def _sample(logits: torch.Tensor, request: Request, generator: torch.Generator) -> int:
    """Temperature, then nucleus: the smallest set of tokens whose probability reaches top_p."""
    import torch

    sampling = request.sampling
    if sampling.temperature == 0:
        return int(logits.argmax())
    probabilities = torch.softmax(logits / sampling.temperature, dim=-1)
    if sampling.top_p < 1:
        ordered, index = probabilities.sort(descending=True)
        outside = ordered.cumsum(0) - ordered >= sampling.top_p
        probabilities[index[outside]] = 0
    return int(torch.multinomial(probabilities, 1, generator=generator))
