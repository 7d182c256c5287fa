"""The vLLM engine: its child's environment and death, and, marked real, its answers against transformers."""

from __future__ import annotations

import json
import math
import os
import shutil
import stat
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import needs
from toolkit import config
from toolkit.engines import embedded
from toolkit.engines.chat import Chat
from toolkit.engines.protocol import Completion, Engine, Likelihood, Request
from toolkit.engines.transformers import TransformersEngine
from toolkit.engines.vllm import VllmEngine, arguments, environment
from toolkit.engines.vllm_child.serving import waves
from toolkit.errors import EngineError
from toolkit.records import Sampling

GREEDY = Sampling(0.0, 1.0, 24)
READY = "read settings; echo '{\"ready\": true}'\n"


def child(folder: Path, body: str, timeout: int = 60) -> config.Engine:
    """An engine.python that plays the child with this shell text."""
    script = folder / "python"
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return config.Engine(python=str(script), device="cpu", timeout=timeout, max_model_len=64)


def requests(count: int) -> list[Request]:
    return [Request(f"r{i}", (1, 2, 3), GREEDY, i) for i in range(count)]


def test_answers_come_as_they_finish(tmp_path: Path) -> None:
    told = (
        '{"id": "r1", "text": "b", "tokens": 2, "finish": "stop"}',
        '{"id": "r0", "logprobs": {"7": -1.5}, "tokens": 1, "reused": 2}',
        '{"id": "r2", "tokens": 1, "likelihood": -2.5, "greedy": true}',
    )
    says = "; ".join(f"echo '{line}'" for line in told)
    engine = VllmEngine(tmp_path, child(tmp_path, f"{READY}read batch; {says}; read end"))
    first, second, third = engine.complete(requests(3))
    engine.close()
    assert (first.id, first.text, first.finish) == ("r1", "b", "stop")
    assert (second.id, second.logprobs, second.reused) == ("r0", {7: -1.5}, 2)
    assert (third.id, third.likelihood) == ("r2", Likelihood(-2.5, True))


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("echo 'no such model' >&2; exit 3", "ended with exit code 3: no such model"),
        (f"{READY}read batch; kill -9 $$", "killed by signal 9"),
        (f'{READY}read batch; printf \'{{"id": "r\'; kill -9 $$', "killed by signal 9"),  # while it wrote
        (f"{READY}read batch; exec sleep 60", "said nothing for 1 s"),
    ],
)
def test_a_child_that_dies_or_hangs_is_told_with_a_remedy(tmp_path: Path, body: str, told: str) -> None:
    with pytest.raises(EngineError, match=told) as caught:
        list(VllmEngine(tmp_path, child(tmp_path, body, 1 if "nothing for 1 s" in told else 60)).complete(requests(1)))
    assert "run again" in caught.value.remedy


def test_a_child_that_could_not_start_is_told_again_at_once_to_whoever_asks_again(tmp_path: Path) -> None:
    engine = VllmEngine(tmp_path, child(tmp_path, "read settings; echo 'no such model' >&2; exit 3"))
    started = time.monotonic()
    for _ in range(2):
        with pytest.raises(EngineError, match="ended with exit code 3: no such model"):
            engine.ready()
    assert time.monotonic() - started < 60  # of the 1,200 s that a start may take
    engine.close()


def test_what_others_share_goes_ahead() -> None:
    draws = [{"id": name, "tokens": [int(name == "c")], "score_tokens": []} for name in "abcd"]
    verdicts = [{"id": name, "tokens": [9, place], "score_tokens": [5]} for place, name in enumerate("abcd")]
    told = {len(some): ["".join(r["id"] for r in wave) for wave in waves(some)] for some in (draws, verdicts[:3], [])}
    assert told == {4: ["ac", "bd"], 3: ["a", "bc"], 0: []}
    assert [len(wave) for wave in waves(verdicts[:1])] == [1], "a step without a request would wait for ever"


def test_a_request_beyond_the_context_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    engine = VllmEngine(tmp_path, child(tmp_path, f"{READY}read batch"))
    with pytest.raises(EngineError, match="60 \\+ 24 tokens exceeds 64"):
        list(engine.complete([Request("r", tuple(range(60)), GREEDY, 0)]))
    engine.close()


def test_a_continuation_counts_in_the_context(tmp_path: Path) -> None:
    engine = VllmEngine(tmp_path, child(tmp_path, f"{READY}read batch"))
    with pytest.raises(EngineError, match="60 \\+ 5 tokens exceeds 64"):
        list(engine.complete([Request("r", tuple(range(60)), GREEDY, 0, continuation=(1, 2, 3, 4))]))
    engine.close()


def test_closing_ends_a_child_that_does_not_listen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolkit.engines.vllm.CLOSE_SECONDS", 0.2)
    engine = VllmEngine(tmp_path, child(tmp_path, f"{READY}exec sleep 60"))
    started = time.monotonic()
    engine.close()
    assert time.monotonic() - started < 10
    assert not engine.log.exists()


def test_a_child_starts_beside_other_work_and_is_not_waited_for_when_nobody_asked_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "go")
    body = f"read settings; read go < {tmp_path / 'go'}; echo '{{\"ready\": true}}'; read end"
    slow = VllmEngine(tmp_path, child(tmp_path, body))
    (tmp_path / "go").write_text("go\n")  # whoever waited for it before would wait for ever
    slow.ready()
    slow.close()
    started = time.monotonic()
    never = VllmEngine(tmp_path, child(tmp_path, "exec sleep 60"))
    never.close()
    assert time.monotonic() - started < 10
    assert not never.log.exists()


def checkpoint(folder: Path, **config_of: object) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"hidden_size": 8, **config_of}))
    return folder


def test_weights_are_swapped_into_the_same_network_on_a_cpu_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = checkpoint(tmp_path / "a"), checkpoint(tmp_path / "b", use_cache=False)
    wide = checkpoint(tmp_path / "wide", hidden_size=16)
    says = "; ".join(["read swap", 'echo \'{"differs": ""}\'', "read swap", 'echo \'{"differs": "lm_head"}\''])
    settings = child(tmp_path, f"{READY}{says}; read end")
    engine = VllmEngine(a, settings)
    assert not engine.swap(wide)
    assert (engine.swap(b), engine.path) == (True, b)
    assert (engine.swap(a), engine.path) == (False, b)
    assert "did not take the weights: lm_head" in capsys.readouterr().err
    engine.close()
    for setting in ({"device": "gpu"}, {"swap": False}):
        engine = VllmEngine(a, settings.model_copy(update=setting))
        assert not engine.swap(b)
        engine.close()


def test_a_cpu_child_has_bound_threads_and_a_gpu_child_has_none() -> None:
    cpu, gpu = environment(config.Engine(), "cpu"), environment(config.Engine(), "gpu")
    assert cpu["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"
    assert len(cpu["VLLM_CPU_OMP_THREADS_BIND"].split(",")) == int(cpu["OMP_NUM_THREADS"])
    assert "VLLM_CPU_OMP_THREADS_BIND" not in gpu
    assert cpu["HF_HUB_OFFLINE"] == gpu["HF_HUB_OFFLINE"] == "1"


def test_parallel_settings_and_options_reach_vllm_and_remote_code_stays_off() -> None:
    settings = config.Engine(tensor_parallel_size=4, pipeline_parallel_size=2, options={"gpu_memory_utilization": 0.8})
    asked = arguments(Path("/m"), settings, "gpu", trust_remote_code=False)
    assert (asked["tensor_parallel_size"], asked["pipeline_parallel_size"]) == (4, 2)
    assert asked["gpu_memory_utilization"] == 0.8
    assert asked["trust_remote_code"] is False
    assert asked["load_format"] == "safetensors"
    assert "enforce_eager" not in asked


QUESTIONS = ["What is the capital of France?", "Name a colour.", "Count to five.", "What do bees make?"]


@pytest.fixture(scope="module")
def small_model() -> Path:
    needs("torch", embedded.PACKAGE)
    return embedded.prepare()


@pytest.fixture(scope="module")
def engines(small_model: Path) -> Iterator[dict[str, Engine]]:
    needs("vllm")
    settings = config.Engine(dtype="float32", max_model_len=512, max_num_seqs=16, device="cpu")
    made: dict[str, Engine] = {
        "vllm": VllmEngine(small_model, settings),
        "transformers": TransformersEngine(small_model, settings),
    }
    yield made
    for engine in made.values():
        engine.close()


@pytest.mark.real
def test_vllm_and_transformers_answer_and_score_alike(small_model: Path, engines: dict[str, Engine]) -> None:
    chat = Chat.load(small_model)
    prompts = [chat.tokens([{"role": "user", "content": question}]) for question in QUESTIONS]
    written = [Request(f"w{i}", tokens, GREEDY, i) for i, tokens in enumerate(prompts)]
    labels = tuple(chat.encode(digit)[0] for digit in "012345")
    scored = [Request(f"s{i}", tokens, GREEDY, i, labels) for i, tokens in enumerate(prompts)]
    ours, theirs = (
        {done.id: done for batch in (written, scored) for done in engines[name].complete(batch)}
        for name in ("vllm", "transformers")
    )
    assert {name: done.text for name, done in ours.items()} == {name: done.text for name, done in theirs.items()}
    assert "Paris" in ours["w0"].text
    for request in scored:
        assert ours[request.id].logprobs == pytest.approx(theirs[request.id].logprobs, abs=2e-3)


@pytest.mark.real
def test_vllm_and_transformers_find_a_continuation_equally_likely(
    small_model: Path, engines: dict[str, Engine]
) -> None:
    chat = Chat.load(small_model)
    prompt = chat.tokens([{"role": "user", "content": QUESTIONS[0]}])
    (said,) = engines["transformers"].complete([Request("said", prompt, GREEDY, 0)])
    texts = {"said": said.text, "true": "Paris.", "false": "The capital of France is a banana.", "one": "A"}
    asked = [Request(name, prompt, GREEDY, 0, continuation=chat.encode(text)) for name, text in texts.items()]
    ours, theirs = (
        {done.id: done.likelihood for twice in (asked, asked) for done in engines[name].complete(twice)}
        for name in ("vllm", "transformers")
    )
    for name in texts:
        mine, other = ours[name], theirs[name]
        assert mine is not None and other is not None
        assert mine.logprob == pytest.approx(other.logprob, abs=5e-3)
        assert mine.greedy == other.greedy == (name == "said")


@pytest.mark.real
def test_one_token_is_as_likely_as_its_score(small_model: Path, engines: dict[str, Engine]) -> None:
    chat = Chat.load(small_model)
    prompt, token = chat.tokens([{"role": "user", "content": QUESTIONS[2]}]), chat.encode("1")[0]
    for engine in engines.values():
        (scored,) = engine.complete([Request("s", prompt, GREEDY, 0, (token,))])
        (measured,) = engine.complete([Request("m", prompt, GREEDY, 0, continuation=(token,))])
        assert scored.logprobs is not None and measured.likelihood is not None
        assert measured.likelihood.logprob == pytest.approx(scored.logprobs[token], abs=2e-3)


@pytest.mark.real
def test_a_seed_gives_the_same_text_alone_and_in_company(small_model: Path, engines: dict[str, Engine]) -> None:
    chat = Chat.load(small_model)
    warm = Sampling(1.0, 1.0, 16)
    batch = [Request(f"r{i}", chat.tokens([{"role": "user", "content": QUESTIONS[0]}]), warm, i) for i in range(8)]
    for engine in engines.values():
        together = {done.id: done.text for done in engine.complete(batch)}
        assert len(set(together.values())) > 1, "draws with different seeds are different answers"
        (alone,) = engine.complete([batch[3]])
        assert alone.text == together["r3"]


@pytest.mark.real
def test_a_token_is_drawn_as_often_as_it_is_probable(small_model: Path, engines: dict[str, Engine]) -> None:
    chat, asked, warm = Chat.load(small_model), 512, Sampling(1.0, 1.0, 1)
    prompt = chat.tokens([{"role": "user", "content": QUESTIONS[1]}])
    drawn = Counter(
        done.text for done in engines["vllm"].complete([Request(f"{i}", prompt, warm, i) for i in range(asked)])
    )
    tokens = {word: chat.encode(word) for word, count in drawn.items() if count >= 10}
    words = {word: found[0] for word, found in tokens.items() if len(found) == 1}
    (scored,) = engines["vllm"].complete([Request("scored", prompt, GREEDY, 0, tuple(words.values()))])
    assert scored.logprobs is not None and len(words) > 5
    for word, token in words.items():
        expected = asked * math.exp(scored.logprobs[token])
        assert abs(drawn[word] - expected) < 4 * math.sqrt(expected), word


@pytest.mark.real
@pytest.mark.parametrize(("dtype", "saved"), [("auto", "bfloat16"), ("float32", "float32")])
def test_a_running_engine_takes_other_weights_as_exactly_as_a_new_one(
    dtype: config.Dtype, saved: str, small_model: Path, tmp_path: Path
) -> None:
    """Where a training is in float32, M_0 lies in bfloat16 and all later checkpoints in float32."""
    needs("vllm")
    chat, warm = Chat.load(small_model), Sampling(1.0, 1.0, 24)
    long = chat.tokens([{"role": "user", "content": " ".join(QUESTIONS * 12)}])  # several blocks of the prefix cache
    prompts = [*(chat.tokens([{"role": "user", "content": question}]) for question in QUESTIONS), long]
    batches = [
        [
            Request(f"{i} {sampling}", tokens, sampling, i)
            for i, tokens in enumerate(prompts)
            for sampling in (GREEDY, warm)
        ],
        [Request(f"{i}", tokens, GREEDY, i, (5, 6)) for i, tokens in enumerate(prompts)],
    ]

    def answers(engine: Engine) -> dict[str, Completion]:
        return {done.id: done for batch in batches for done in engine.complete(batch)}

    other = disturbed(small_model, tmp_path / "other", saved)
    settings = config.Engine(max_model_len=512, max_num_seqs=16, device="cpu", dtype=dtype)
    fresh = {}
    for path in (other, small_model):
        engine = VllmEngine(path, settings)
        fresh[path] = answers(engine)
        if path == other:
            engine.close()
    for path in (other, small_model):
        assert engine.swap(path)
        assert answers(engine) == fresh[path]
    engine.close()
    assert not any(fresh[small_model][name] == answer for name, answer in fresh[other].items() if " " not in name)


def disturbed(model: Path, target: Path, dtype: str) -> Path:
    """The checkpoint with a little noise on every weight, the tied table included, saved in this dtype."""
    import torch
    from safetensors.torch import load_file, save_file

    shutil.copytree(model, target)
    torch.manual_seed(0)
    weights = load_file(target / "model.safetensors")
    noisy = {
        name: weight + 0.02 * weight.float().std() * torch.randn_like(weight, dtype=torch.float32)
        for name, weight in weights.items()
    }
    noisy = {name: weight.to(getattr(torch, dtype)) for name, weight in noisy.items()}
    save_file(noisy, target / "model.safetensors", {"format": "pt"})
    settings = json.loads((target / "config.json").read_text())
    (target / "config.json").write_text(json.dumps(settings | {"dtype": dtype}))
    return target
