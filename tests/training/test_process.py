"""The trainer's process: its steps are heard as they end, its death is told, and nothing of it survives ours."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from toolkit import config
from toolkit.errors import TrainerError
from toolkit.training.process import StepLog, TrainerJob, run_trainer

PROMPT = "<|im_start|>user\nthe quick {}?<|im_end|>\n<|im_start|>assistant\n"
VERSION = 'if [ "$1" = -c ]; then echo 0.11.2; exit; fi\n'


def write_rows(path: Path, count: int) -> None:
    words = ["one", "two", "three", "red", "blue", "fox", "dog", "sun"]
    lines = [
        {"prompt": PROMPT.format(i), "chosen": f"the {words[i % 8]} fox<|im_end|>", "rejected": f"{i} no<|im_end|>"}
        for i in range(count)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


@pytest.fixture
def job(tmp_path: Path, tiny_model: Path, fake_python: Path) -> TrainerJob:
    write_rows(tmp_path / "pairs.jsonl", 10)
    return TrainerJob(
        policy=tiny_model,
        reference=tiny_model,
        data=tmp_path / "pairs.jsonl",
        output=tmp_path / "checkpoint",
        log_dir=tmp_path / "log",
        settings=config.Training(batch_size=4, epochs=2, max_length=128, learning_rate=1e-3, warmup_ratio=0),
        trainer=config.Trainer(python=str(fake_python)),
        device="cpu",
        batch_size=4,
        lora=config.Lora(),
    )


def script(folder: Path, body: str) -> config.Trainer:
    """A trainer.python that knows its version and then runs this shell text."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{VERSION}{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return config.Trainer(python=str(path))


def gone(process: int, within: float = 5.0) -> bool:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


def wait_for(path: Path) -> str:
    for _ in range(200):
        if path.exists() and path.read_text():
            return path.read_text()
        time.sleep(0.05)
    raise AssertionError(f"{path} was never written")


def test_every_whole_batch_is_one_step_heard_in_order(job: TrainerJob) -> None:
    heard: list[float | None] = []
    result = run_trainer(job, lambda step: heard.append(step["step"]))
    assert heard == [1, 2, 3, 4]
    assert [step["step"] for step in result.steps] == heard and result.rows == 10
    assert (job.log_dir / "trainer.log").exists()


def test_a_trainer_that_dies_is_told_with_its_last_words_and_its_log(
    job: TrainerJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCRIPTED_TRAINER_FAIL", "exit")
    with pytest.raises(TrainerError, match="exit code 1 after 0 of 4 steps") as caught:
        run_trainer(job, lambda _: None)
    assert "out of memory, says the scripted trainer" in str(caught.value)
    assert caught.value.where == str(job.log_dir / "trainer.log")


def test_a_trainer_that_was_killed_is_told_so(job: TrainerJob, tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match="killed by signal 9") as caught:
        run_trainer(replace(job, trainer=script(tmp_path, "kill -9 $$")), lambda _: None)
    assert "memory" in caught.value.remedy


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ([], "kept -1 of 10"),
        ([{"event": "rows", "rows": 9}], "kept 9 of 10 pairs"),
        ([{"event": "rows", "rows": 10}, {"event": "saved"}], "made 0 of 4 steps"),
        ([{"event": "rows", "rows": 10}, *({"event": "step", "loss": 1.0} for _ in range(4))], "did not save"),
        ([{"event": "rows", "rows": 10}, {"event": "step", "step": 1, "loss": None}], "loss of step 1 is not a number"),
    ],
)
def test_a_trainer_that_ends_well_but_did_not_do_all_is_refused(
    job: TrainerJob, tmp_path: Path, lines: list[dict[str, object]], problem: str
) -> None:
    (tmp_path / "steps").write_text("".join(json.dumps(line) + "\n" for line in lines))
    copy = f"cp {tmp_path}/steps {job.step_log}"
    with pytest.raises(TrainerError, match=problem):
        run_trainer(replace(job, trainer=script(tmp_path, copy)), lambda _: None)


def test_an_old_step_log_is_not_taken_for_the_new_one(job: TrainerJob) -> None:
    job.log_dir.mkdir()
    job.step_log.write_text(json.dumps({"event": "step", "step": 99, "loss": 0.1}) + "\n")
    assert 99 not in [step["step"] for step in run_trainer(job, lambda _: None).steps]


def test_a_half_written_line_waits_for_its_end(tmp_path: Path) -> None:
    path = tmp_path / "steps.jsonl"
    log = StepLog(path)
    assert log.advance() == []
    path.write_text('{"event": "rows", "rows": 3}\n{"event": "step", "lo')
    assert log.advance() == [] and log.rows == 3
    with path.open("a") as file:
        file.write('ss": 0.5}\n{"event": "saved"}\n')
    assert log.advance() == [{"loss": 0.5}] and log.saved
    assert log.advance() == []


@pytest.mark.parametrize("line", ['{"event": "step", "lo{"event": "saved"}', "[]", "7", "\xff"])
def test_a_line_of_the_step_log_that_is_no_step_is_told_with_its_place(tmp_path: Path, line: str) -> None:
    path = tmp_path / "steps.jsonl"
    path.write_text(f'{{"event": "rows", "rows": 3}}\n{line}\n', encoding="latin-1")
    with pytest.raises(TrainerError, match="is no step of a training") as told:
        StepLog(path).advance()
    assert (told.value.where, "same command again" in told.value.remedy) == (str(path), True)


def test_an_interrupt_ends_the_trainer_and_its_children(job: TrainerJob, tmp_path: Path) -> None:
    body = f'sleep 60 & echo $! > {tmp_path}/child; echo \'{{"event": "step", "loss": 1}}\' > {job.step_log}; wait'

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_trainer(replace(job, trainer=script(tmp_path, body)), interrupt)
    assert gone(int((tmp_path / "child").read_text()))


def test_the_trainer_ends_itself_when_its_parent_was_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen(["sleep", "60"])  # killed below and not waited for, as in a container without init
    code = f"from toolkit.training.launcher import watch; watch({parent.pid})"
    watcher = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    time.sleep(2)
    assert watcher.poll() is None
    parent.kill()
    assert watcher.wait(10) == -signal.SIGKILL
    parent.wait()


def write_model(folder: Path, tokens: int) -> None:
    """A random Llama of 2 layers with tied embeddings, beside the tokenizer that is there."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    ids = {"eos_token_id": 2, "pad_token_id": 0, "bos_token_id": None}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=tokens, tie_word_embeddings=True, **shape, **ids))
    model.to(torch.bfloat16).save_pretrained(folder)  # type: ignore[arg-type]


@pytest.fixture
def real_job(job: TrainerJob, tiny_model: Path, tmp_path: Path) -> Callable[[int], TrainerJob]:
    pytest.importorskip("openrlhf", reason="OpenRLHF is not installed")
    import shutil

    policy = tmp_path / "policy"
    shutil.copytree(tiny_model, policy)
    write_model(policy, 600)

    def build(rows: int) -> TrainerJob:
        write_rows(job.data, rows)
        return replace(job, policy=policy, reference=policy, trainer=config.Trainer())

    return build


def in_dtype(job: TrainerJob, dtype: config.Dtype, **trainer: int) -> TrainerJob:
    return replace(job, trainer=config.Trainer(dtype=dtype, **trainer))  # type: ignore[arg-type]


@pytest.mark.real
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_openrlhf_trains_a_tiny_llama_on_a_cpu_and_tells_every_step(
    real_job: Callable[[int], TrainerJob], dtype: config.Dtype
) -> None:
    from safetensors.torch import load_file

    job = in_dtype(real_job(10), dtype)
    result = run_trainer(job, lambda _: None)
    assert result.rows == 10 and len(result.steps) == 4, "two rows an epoch are beyond the last batch"
    first, last = result.steps[0], result.steps[-1]
    assert {"loss", "acc", "chosen_reward", "reject_reward", "grad_norm", "lr"} <= first.keys()
    assert first["loss"] == pytest.approx(0.6931, abs=1e-3), "policy and reference are one model before the first step"
    assert first["lr"] == pytest.approx(1e-3, rel=1e-2) and (last["lr"] or 1) < (first["lr"] or 0)
    assert (first["grad_norm"] or 0) > 0 and (last["loss"] or 1) < 0.69
    saved = {str(tensor.dtype) for tensor in load_file(job.output / "model.safetensors").values()}
    assert saved == {f"torch.{dtype}"} and json.loads((job.output / "config.json").read_text())["dtype"] == dtype
    assert not (job.log_dir / "datasets").exists()


@pytest.mark.real
def test_a_first_step_in_float32_is_clipped_and_made_as_our_own_arithmetic_makes_it(
    real_job: Callable[[int], TrainerJob],
) -> None:
    """Adam's first step is lr * g / (|g| + eps) for the clipped g. A clip far below eps = 1e-8 makes it nearly linear
    in g: without the clip, or with another norm, every weight would differ."""
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    settings = config.Training(
        batch_size=4, epochs=1, max_length=128, learning_rate=1e-3, warmup_ratio=0, max_grad_norm=1e-7
    )
    job = replace(in_dtype(real_job(4), "float32"), settings=settings)
    (step,) = run_trainer(job, lambda _: None).steps
    model = AutoModelForCausalLM.from_pretrained(job.policy, dtype=torch.float64)
    ratio = torch.stack([answer_logprob(model, job, row, "chosen") - answer_logprob(model, job, row, "rejected")
                         for row in map(json.loads, job.data.read_text().splitlines())])  # fmt: skip
    loss = -torch.nn.functional.logsigmoid(settings.beta * (ratio - ratio.detach())).mean()
    loss.backward()
    norm = torch.cat([parameter.grad.flatten() for parameter in model.parameters()]).norm()
    assert step["loss"] == pytest.approx(float(loss.detach()), rel=1e-6)
    assert step["grad_norm"] == pytest.approx(float(norm), rel=1e-5)
    trained = load_file(job.output / "model.safetensors")
    for name, parameter in model.named_parameters():
        clipped = parameter.grad * (settings.max_grad_norm / norm)
        expected = -1e-3 * clipped / (clipped.abs() + 1e-8)
        moved = trained[name].double() - parameter.detach()
        rounding = 2 * torch.finfo(torch.float32).eps * parameter.detach().abs().max()
        assert float((moved - expected).abs().max()) < 1e-3 * float(expected.abs().max()) + float(rounding), name
    del model


def answer_logprob(model: object, job: TrainerJob, row: dict[str, str], side: str) -> object:
    """Sum of the log-probabilities of an answer's tokens, with a gradient."""
    import torch
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(job.policy)
    start = len(tokenizer(row["prompt"], add_special_tokens=False)["input_ids"])
    ids = tokenizer(row["prompt"] + row[side], add_special_tokens=False)["input_ids"]
    logits = model(torch.tensor([ids])).logits[0, start - 1 : -1]  # type: ignore[operator]
    return logits.log_softmax(-1).gather(1, torch.tensor(ids[start:])[:, None]).sum()


@pytest.mark.real
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_two_processes_share_each_batch_and_learn_what_one_learns(
    real_job: Callable[[int], TrainerJob], dtype: config.Dtype
) -> None:
    import torch
    from safetensors.torch import load_file

    one = in_dtype(real_job(10), dtype)
    two = replace(one, output=one.output.with_name("two"), log_dir=one.log_dir.with_name("log-two"))
    two = in_dtype(two, dtype, processes=2)
    alone, shared = run_trainer(one, lambda _: None), run_trainer(two, lambda _: None)
    assert shared.rows == 10 and len(shared.steps) == len(alone.steps) == 4
    assert shared.steps[0]["loss"] == pytest.approx(0.6931, abs=1e-3)
    assert shared.steps[-1]["loss"] == pytest.approx(alone.steps[-1]["loss"], abs=0.02)
    assert shared.steps[0]["grad_norm"] == pytest.approx(alone.steps[0]["grad_norm"], rel=0.02)
    before, by_one, by_two = (
        load_file(folder / "model.safetensors") for folder in (one.policy, one.output, two.output)
    )
    moved = [torch.cat([(made[name] - before[name]).flatten() for name in before]) for made in (by_one, by_two)]
    assert float(torch.cosine_similarity(*(move.double() for move in moved), dim=0)) > 0.999


@pytest.mark.real
def test_a_broken_row_is_a_trainer_error_with_the_trainers_words(real_job: Callable[[int], TrainerJob]) -> None:
    job = real_job(8)
    job.data.write_text(job.data.read_text() + '{"prompt": "cut o')
    with pytest.raises(TrainerError, match="exit code 1 after 0 of 4 steps") as caught:
        run_trainer(job, lambda _: None)
    assert "JSON" in str(caught.value) and os.path.exists(caught.value.where)


def write_demonstrations(path: Path, count: int) -> list[tuple[str, str]]:
    rows = [(PROMPT.format(i), f"the {i} quick brown fox" + " fox" * i + "<|im_end|>") for i in range(count)]
    path.write_text("".join(json.dumps({"prompt": p, "response": r}) + "\n" for p, r in rows), encoding="utf-8")
    return rows


def loss_of(policy: Path, rows: list[tuple[str, str]]) -> float:
    """Mean negative log-likelihood over the answers' tokens of all rows, one row at a time."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(policy)
    model = AutoModelForCausalLM.from_pretrained(policy, dtype=torch.bfloat16)
    total, count = 0.0, 0
    for prompt, response in rows:
        ids = tokenizer(prompt + response, return_tensors="pt", add_special_tokens=False)["input_ids"]
        start = len(tokenizer(prompt, add_special_tokens=False)["input_ids"])
        with torch.no_grad():
            logs = model(ids).logits.float().log_softmax(-1)[0, start - 1 : -1]
        total -= float(logs.gather(1, ids[0, start:, None]).sum())
        count += ids.shape[1] - start
    return total / count


@pytest.mark.real
def test_openrlhfs_sft_has_the_loss_of_the_answers_tokens_and_lowers_it(
    real_job: Callable[[int], TrainerJob],
) -> None:
    job = real_job(1)
    rows = write_demonstrations(job.data, 4)
    sft = config.Sft(batch_size=4, micro_batch_size=2, epochs=3, max_length=128, learning_rate=5e-3, warmup_ratio=0)
    result = run_trainer(replace(job, reference=None, settings=sft), lambda _: None)
    assert result.rows == 4 and len(result.steps) == 3
    assert result.steps[0]["loss"] == pytest.approx(loss_of(job.policy, rows), abs=0.02)
    assert loss_of(job.output, rows) < (result.steps[0]["loss"] or 0) - 0.1


@pytest.mark.real
def test_an_adapter_is_merged_into_a_checkpoint_of_the_policys_shape(real_job: Callable[[int], TrainerJob]) -> None:
    from safetensors.torch import load_file

    job = replace(real_job(8), lora=config.Lora(rank=4, alpha=64))
    run_trainer(job, lambda _: None)
    before, after = (load_file(folder / "model.safetensors") for folder in (job.policy, job.output))
    assert set(after) == set(before)
    changed = {name for name in before if not before[name].equal(after[name])}
    assert changed and all("proj" in name for name in changed), "linear layers alone, and they did learn"
    assert not (job.log_dir / "adapter").exists()
