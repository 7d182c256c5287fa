"""What `engines.py` measures, one contender a process: engines_contenders.py NAME JSON. Prints one JSON line.

    toolkit        the quick recipe's generation: rendering, vLLM in its child, storing
    raw            vllm.LLM.generate with the toolkit's arguments and environment, the same tokens and seeds
    own_seeds      the same, tokens drawn by vLLM itself in place of vllm_child/sampling.py
    box            vllm.LLM.generate as it comes: no setting but the model and the size of its cache (else it wants
                   92 % of the machine's memory for itself)
    transformers   generate() over one padded batch, in the toolkit's dtype
    judge          expected scores of those answers, by the toolkit
    judge_alone    the same with vLLM's prefix caching off
    life           an engine's start, and the same engine taking the weights of a copy of the checkpoint

Starts are told apart from the work. Prompts are the starter ones, M_0 the embedded model.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from clock import Clock, peak

from toolkit.config import Recipe, load
from toolkit.engines import embedded
from toolkit.engines.vllm import VllmEngine, arguments, environment
from toolkit.judgments.judge import judge as judged
from toolkit.lab import Lab
from toolkit.prompts.split import split
from toolkit.provenance import capture
from toolkit.records import Model, Prompt, Response
from toolkit.responses.generate import ask, generate
from toolkit.store.database import Store

Found = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]
PREPARED = "BENCHMARK_ENVIRONMENT_IS_SET"


def opened(folder: Path, asked: Found, *changes: str) -> tuple[Lab, Model, list[Prompt]]:
    sizes = (f"prompts.part_size={asked['prompts']}", f"answers.k={asked['k']}", "iterations=1", "engine.device=cpu")
    changes = (f"engine.dtype={asked.get('dtype', 'auto')}", *changes)
    recipe: Recipe = load(ROOT / "recipes" / "quick.toml", (*sizes, *changes))
    lab = Lab(recipe, Store(folder / "store.duckdb"), capture("benchmark", {}))
    model = lab.model(recipe.model, called="M_0")
    lab.chat(model)  # a run loads it once
    return lab, model, next(iter(split(lab, recipe.prompts, 1)))


def toolkit(folder: Path, asked: Found) -> Found:
    clock, (lab, model, prompts) = Clock(), opened(folder, asked)
    with lab:
        with clock.measure("start_seconds"):
            started(lab, model)
        with clock.measure():
            answers = generate(lab, model, prompts)
        return clock.seconds | told(answers)


def started(lab: Lab, model: Model) -> VllmEngine:
    """The engine, once it serves; a run renders prompts meanwhile."""
    engine = lab.engine(model)
    assert isinstance(engine, VllmEngine)
    engine.ready()
    return engine


def judge(folder: Path, asked: Found, *changes: str) -> Found:
    clock, (lab, model, prompts) = Clock(), opened(folder, asked, *changes)
    with lab:
        answers = generate(lab, model, prompts)  # which started the engine
        with clock.measure():
            judged(lab, model, answers)
        stats = lab.steps[-1].stats
    return clock.seconds | {"verdicts": len(answers), **{name: stats[name] for name in stats if "prompt" in name}}


def judge_alone(folder: Path, asked: Found) -> Found:
    return judge(folder, asked, "engine.options.enable_prefix_caching=false")


def raw(folder: Path, asked: Found, **changes: Any) -> Found:
    lab, model, prompts = opened(folder, asked)
    with lab:
        if PREPARED not in os.environ:
            lab.store.close()
            own = environment(lab.recipe.engine, "cpu") | {PREPARED: "1"}
            os.execve(sys.executable, [sys.executable, *sys.argv], own)
        made = arguments(lab.path(model), lab.recipe.engine, "cpu", False) | changes
        return vllm(made, rendered(lab, model, prompts), asked)


def own_seeds(folder: Path, asked: Found) -> Found:
    return raw(folder, asked, logits_processors=[])


def box(folder: Path, asked: Found) -> Found:
    lab, model, prompts = opened(folder, asked)
    with lab:
        os.environ["VLLM_CPU_KVCACHE_SPACE"] = "2"
        return vllm({"model": str(lab.path(model))}, rendered(lab, model, prompts), asked)


def rendered(lab: Lab, model: Model, prompts: list[Prompt]) -> list[tuple[tuple[int, ...], int]]:
    """Tokens and seed of every request."""
    tokens = {prompt.id: lab.chat(model).tokens(prompt.messages()) for prompt in prompts}
    return [(tokens[request.prompt], request.seed or 0) for request in ask(lab, model, prompts, "present")]


def vllm(made: Found, requests: list[tuple[tuple[int, ...], int]], asked: Found) -> Found:
    clock, most = Clock(), asked["most"]
    sys.path.append(str(ROOT / "toolkit" / "engines" / "vllm_child"))
    with clock.measure("start_seconds"):
        from vllm import LLM, SamplingParams

        llm = LLM(**made)
    prompts = [{"prompt_token_ids": list(tokens)} for tokens, _ in requests]
    if made.get("logits_processors"):
        from sampling import seeded

        sampling = [seeded(temperature=1.0, top_p=1.0, max_tokens=most, seed=seed) for _, seed in requests]
    else:
        sampling = [SamplingParams(temperature=1.0, max_tokens=most, seed=seed) for _, seed in requests]
    with clock.measure():
        done = llm.generate(prompts, sampling, use_tqdm=False)
    texts = [one.outputs[0].text for one in done]
    return clock.seconds | {"tokens": sum(len(one.outputs[0].token_ids) for one in done), "texts": texts}


def transformers(folder: Path, asked: Found) -> Found:
    lab, model, prompts = opened(folder, asked)
    with lab:
        requests = ask(lab, model, prompts, "present")
        chat, path, dtype = lab.chat(model), lab.path(model), lab.recipe.engine.dtype
    import torch
    from transformers import AutoModelForCausalLM

    clock, texts = Clock(), {prompt.id: chat.text(prompt.messages()) for prompt in prompts}
    with clock.measure("start_seconds"):
        network = AutoModelForCausalLM.from_pretrained(path, use_safetensors=True, dtype=getattr(torch, dtype)).eval()
    tokenizer = chat.tokenizer
    tokenizer.padding_side = "left"
    torch.manual_seed(0)
    with clock.measure(), torch.no_grad():
        batch = tokenizer(
            [texts[r.prompt] for r in requests], padding=True, return_tensors="pt", add_special_tokens=False
        )
        made = network.generate(**batch, do_sample=True, temperature=1.0, top_k=0, max_new_tokens=asked["most"])
    new = made[:, batch["input_ids"].shape[1] :].tolist()
    return clock.seconds | {
        "tokens": sum(row.index(chat.eos_id) + 1 if chat.eos_id in row else len(row) for row in new)
    }


def life(folder: Path, asked: Found) -> Found:
    lab, model, _ = opened(folder, asked)
    with lab:
        copy = folder / "copy"
        shutil.copytree(lab.path(model), copy)
        starting = time.perf_counter()
        engine = started(lab, model)
        swapping = time.perf_counter()
        taken = engine.swap(copy)
        ended = time.perf_counter()
    if not taken:
        raise SystemExit("the running engine did not take the weights")
    return {"start_seconds": round(swapping - starting, 3), "seconds": round(ended - swapping, 3)}


def told(answers: list[Response]) -> Found:
    return {"tokens": sum(one.tokens or 0 for one in answers), "texts": [one.text for one in answers]}


CONTENDERS: dict[str, Callable[[Path, Found], Found]] = {
    one.__name__: one for one in (toolkit, raw, own_seeds, box, transformers, judge, judge_alone, life)
}


def main() -> None:
    embedded.prepare()
    folder = Path(tempfile.mkdtemp(prefix="engines-benchmark-"))
    found = CONTENDERS[sys.argv[1]](folder, json.loads(sys.argv[2]))
    shutil.rmtree(folder)
    if "tokens" in found:
        found["tokens_per_second"] = round(found["tokens"] / found["seconds"], 1)
    print(json.dumps(found | {"peak_mb": peak()}))


if __name__ == "__main__":
    main()
