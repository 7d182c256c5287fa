"""The process that holds vLLM: JSON lines in on standard input, JSON lines out on what was standard output.

Run by file path with the environment set beforehand; imports nothing of the toolkit, so it also runs in another
environment. First line in: {"arguments": {...}} for vllm.LLM; first line out: {"ready": true}. Then a batch is a line
{"requests": [{"id", "tokens", "temperature", "top_p", "max_tokens", "seed", "score_tokens", "continuation"}]},
answered by one line a completion, as it finishes; {"swap": path} takes another checkpoint's weights and is answered by
{"differs": why not, or ""} (weights.py). With "sampling:SeededDraws" among the arguments' logits_processors, tokens are
drawn by sampling.py. Ends when its input ends.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any, TextIO

DRAWS = "sampling:SeededDraws"  # beside this file, which is no package in the child


def main() -> None:
    die_with_parent()
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # PYTHONSAFEPATH keeps it out
    out = own_output()
    settings = json.loads(sys.stdin.readline())
    from vllm import LLM

    llm = LLM(**settings["arguments"])
    drawn = DRAWS in (settings["arguments"].get("logits_processors") or ())
    say(out, {"ready": True})
    for line in sys.stdin:
        message = json.loads(line)
        if "swap" in message:
            say(out, {"differs": swapped(llm, message["swap"])})
        else:
            serve(llm, message["requests"], out, drawn=drawn)


def swapped(llm: Any, path: str) -> str:
    """Whatever goes wrong is a reason to start a new engine, and told as one."""
    from weights import swap  # type: ignore[import-not-found]

    try:
        return str(swap(llm, path))
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def serve(llm: Any, requests: list[dict[str, Any]], out: TextIO, *, drawn: bool = False) -> None:
    """All requests at once: what finishes makes room for the next. Only what a step computed is found by later ones."""
    engine, asked = llm.llm_engine, {request["id"]: request for request in requests}
    for wave in waves(requests):
        for request in wave:
            tokens = request["tokens"] + request["continuation"]
            engine.add_request(request["id"], {"prompt_token_ids": tokens}, parameters(request, drawn))
        step(engine, asked, out)
    while engine.has_unfinished_requests():
        step(engine, asked, out)


def waves(requests: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Who goes ahead, so that the others find what they share with it in the prefix cache.

    Verdicts share the rubric: one of them (3.5 -> 7 verdicts/s: 424 tokens, 300 shared, SmolLM2-135M, two cores). Draws
    share their prompt: the first of each.
    """
    scoring = any(request["score_tokens"] for request in requests[:1])
    known: set[tuple[int, ...]] = set()
    ahead: list[dict[str, Any]] = []
    behind: list[dict[str, Any]] = []
    for request in requests:
        tokens = tuple(request["tokens"])
        (behind if (known if scoring else tokens in known) else ahead).append(request)
        known.add(tokens)
    yield from filter(None, (ahead, behind))  # a step without a request would wait for ever


def step(engine: Any, asked: dict[str, dict[str, Any]], out: TextIO) -> None:
    for output in engine.step():
        if output.finished:
            say(out, answer(output, asked.pop(output.request_id)))


def parameters(request: dict[str, Any], drawn: bool) -> Any:
    from vllm import SamplingParams

    if request["score_tokens"]:
        return SamplingParams(
            max_tokens=1, temperature=0.0, logprob_token_ids=request["score_tokens"], detokenize=False
        )
    if request["continuation"]:  # such a request reads nothing of the prefix cache: vLLM computes all its tokens
        return SamplingParams(max_tokens=1, temperature=0.0, prompt_logprobs=0, detokenize=False)
    asked = {name: request[name] for name in ("temperature", "top_p", "max_tokens", "seed")}
    if drawn and request["temperature"]:
        from sampling import seeded  # type: ignore[import-not-found]

        return seeded(**asked)
    return SamplingParams(**asked)


def answer(output: Any, request: dict[str, Any]) -> dict[str, Any]:
    made, score_tokens = output.outputs[0], request["score_tokens"]
    if request["continuation"]:
        return likelihood(output, request["continuation"])
    told = {"id": output.request_id, "tokens": len(made.token_ids), "reused": output.num_cached_tokens or 0}
    if score_tokens:
        found = made.logprobs[0]
        return told | {"logprobs": {token: found[token].logprob for token in score_tokens}}
    finish = "length" if made.finish_reason == "length" else "stop"
    return told | {"text": made.text, "finish": finish}


def likelihood(output: Any, continuation: list[int]) -> dict[str, Any]:
    places = output.prompt_logprobs[-len(continuation) :]
    found = [place[token] for place, token in zip(places, continuation, strict=True)]
    total, greedy = sum(one.logprob for one in found), all(one.rank == 1 for one in found)
    return {"id": output.request_id, "tokens": 1, "likelihood": total, "greedy": greedy}


def own_output() -> TextIO:
    """The original standard output for this protocol alone; whatever else is printed goes to standard error."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return out


def say(out: TextIO, message: dict[str, Any]) -> None:
    out.write(json.dumps(message) + "\n")
    out.flush()


def die_with_parent() -> None:
    """On Linux the kernel ends this process when its parent is killed; elsewhere the end of its input does."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


if __name__ == "__main__":
    main()
