"""generate(): K answers of one model to every prompt of a part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from toolkit.engines.protocol import Request
from toolkit.errors import InputError
from toolkit.identity import derive_seed
from toolkit.lab import Lab, Step
from toolkit.records import Model, Prompt, Response, Role


def generate(lab: Lab, model: Model, prompts: Sequence[Prompt], role: Role = "present") -> list[Response]:
    """K responses per prompt, prompt by prompt. Stored ones are reused; a plan returns them without text.

    Raises InputError for a prompt that leaves no room for an answer, before anything is generated.
    """
    texts = {prompt.id: prompt for prompt in prompts}
    label = f"answers of {model.name} as {role}"
    asked = ask(lab, model, prompts, role)
    made = lab.fulfil(label, asked, lambda missing: answered(lab, model, missing, texts))
    most = (len(asked) - made.cached) * lab.recipe.answers.max_tokens
    stats = {"tokens": sum(r.tokens or 0 for r in made.records), "cut": sum(r.finish == "length" for r in made.records)}
    lab.note(Step(lab.iteration, "generate", label, model.id, len(asked), made.cached, made.seconds, most, stats))
    return made.records


def ask(lab: Lab, model: Model, prompts: Sequence[Prompt], role: Role) -> list[Response]:
    """The requests: every sampling seed derives from (run seed, prompt, model, role, draw)."""
    sampling = lab.recipe.answers.sampling
    return [
        Response(
            prompt=prompt.id,
            model=model.id,
            role=role,
            draw=draw,
            sampling=sampling,
            seed=derive_seed(lab.recipe.seed, prompt.id, model.id, role, draw),
        )
        for prompt in prompts
        for draw in range(lab.recipe.answers.k)
    ]


def answered(lab: Lab, model: Model, missing: list[Response], prompts: Mapping[str, Prompt]) -> Iterator[Response]:
    """Every request with its answer, as they finish. Raises InputError for a prompt too long, before any is made."""
    lab.engine(model)  # starts while the tokenizer is loaded
    most = {response.prompt: response.sampling.max_tokens for response in missing if response.sampling}
    tokens = _rendered(lab, model, [(prompts[prompt], room) for prompt, room in most.items()])
    asked = {response.id: response for response in missing}
    requests = [Request(r.id, tokens[r.prompt], r.sampling, r.seed or 0) for r in missing if r.sampling]
    for done in lab.complete(model, requests):
        response = asked[done.id]
        yield replace(
            response,
            text=done.text,
            tokens=done.tokens,
            prompt_tokens=len(tokens[response.prompt]),
            finish=done.finish,
        )


def _rendered(lab: Lab, model: Model, asked: Sequence[tuple[Prompt, int]]) -> dict[str, tuple[int, ...]]:
    """Token ids by prompt id, of prompts and the most tokens of an answer to each."""
    found = {}
    every = lab.chat(model).tokens_of([prompt.messages() for prompt, _ in asked])
    for (prompt, answer), tokens in zip(asked, every, strict=True):
        room = lab.recipe.engine.max_model_len - answer
        if len(tokens) > room:
            raise InputError(
                f"prompt {prompt.text[:60]!r}... has {len(tokens)} tokens, {room} fit beside an answer",
                where=prompt.source,
                remedy="shorten or remove it, lower max_tokens of its answers, or raise engine.max_model_len",
            )
        found[prompt.id] = tokens
    return found
