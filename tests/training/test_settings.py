"""What OpenRLHF is asked: golden arguments, and the installed programs' own parsers as judges of them."""

from __future__ import annotations

import argparse
import ast
import importlib.metadata
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from toolkit import config
from toolkit.errors import TrainerError
from toolkit.training.settings import (
    LAUNCHER,
    TrainerJob,
    arguments,
    check,
    check_version,
    command,
    environment,
    learning_rate,
    merge_command,
)

ROOT = Path(__file__).parents[2]
JOB = TrainerJob(
    policy=Path("/models/policy"),
    reference=Path("/models/reference"),
    data=Path("/run/pairs.jsonl"),
    output=Path("/run/checkpoint"),
    log_dir=Path("/run"),
    settings=config.Training(),
    trainer=config.Trainer(dtype="bfloat16"),
    device="cpu",
    batch_size=32,
    lora=config.Lora(),
)
SFT_JOB = replace(JOB, reference=None, data=Path("/run/demonstrations.jsonl"), settings=config.Sft())
GOLDEN_CPU = """
--model.model_name_or_path=/models/policy
--ref.model_name_or_path=/models/reference
--data.prompt_key=prompt
--data.chosen_key=chosen
--data.rejected_key=rejected
--model.beta=0.1
--data.dataset=/run/pairs.jsonl
--data.max_len=2048
--train.batch_size=32
--train.micro_batch_size=1
--train.max_epochs=1
--train.seed=42
--adam.lr=5e-07
--lr_scheduler=cosine_with_min_lr
--lr_warmup_ratio=0.1
--min_lr_ratio=0.0
--max_norm=1.0
--ds.zero_stage=0
--ds.attn_implementation=sdpa
--ckpt.output_dir=/run/checkpoint
--logger.tensorboard_dir=/run/tensorboard
"""


def on_gpu(**trainer: Any) -> TrainerJob:
    return replace(JOB, device="gpu", trainer=config.Trainer(**{"dtype": "bfloat16"} | trainer))


def test_the_paper_settings_become_exactly_these_arguments() -> None:
    assert arguments(JOB) == GOLDEN_CPU.split()


def test_the_paper_recipe_asks_for_a_plain_cosine_and_the_small_ones_for_what_they_were_measured_with() -> None:
    rates = {}
    for name in ("temporal", "quick", "sft"):
        recipe = config.load(ROOT / "recipes" / f"{name}.toml")
        jobs = (replace(JOB, settings=recipe.training), replace(SFT_JOB, settings=recipe.sft))
        rates[name] = [word for job in jobs for word in arguments(job) if word.startswith("--min_lr_ratio")]
    assert rates["temporal"] == ["--min_lr_ratio=0.0"] * 2
    assert rates["quick"] == ["--min_lr_ratio=0.1", "--min_lr_ratio=0.0"]  # quick.toml has no SFT
    assert rates["sft"] == ["--min_lr_ratio=0.1"] * 2


def test_a_gpu_adds_checkpointing_and_its_own_stage_and_attention() -> None:
    added = set(arguments(on_gpu(attention="flash_attention_2"))) - set(arguments(JOB))
    assert added == {
        "--model.gradient_checkpointing_enable",
        "--ds.zero_stage=3",
        "--ds.attn_implementation=flash_attention_2",
    }


def test_float32_is_the_launchers_business_and_float16_openrlhfs() -> None:
    single, half = (replace(JOB, trainer=config.Trainer(dtype=dtype)) for dtype in ("float32", "float16"))
    assert "--toolkit.float32" in command(single) and arguments(single) == GOLDEN_CPU.split()
    assert "--toolkit.float32" not in command(half) and "--ds.param_dtype=fp16" in command(half)
    for job, word in ((single, "--toolkit.float32"), (half, "--ds.param_dtype=fp16")):
        assert word in merge_command(replace(job, lora=config.Lora(rank=4)))
    gpu = replace(single, device="gpu")
    assert "--toolkit.float32" in command(gpu) and "--toolkit.cpu" not in command(gpu)


@pytest.mark.parametrize(
    ("dtype", "rates", "rate"),
    [
        ("float32", {"float32": 5e-6, "bfloat16": 2e-5}, 5e-6),
        ("bfloat16", {"bfloat16": 2e-5}, 2e-5),
        ("bfloat16", 1e-6, 1e-6),
    ],
)
def test_each_dtype_may_have_a_learning_rate_of_its_own(dtype: config.Dtype, rates: Any, rate: float) -> None:
    job = replace(JOB, settings=config.Training(learning_rate=rates), trainer=config.Trainer(dtype=dtype))
    assert f"--adam.lr={rate}" in arguments(job)


def test_a_rate_that_is_set_replaces_those_of_every_dtype() -> None:
    recipe = config.load(ROOT / "recipes" / "quick.toml", ("training.learning_rate=1e-6",))
    assert {learning_rate(recipe.training, config.Trainer(dtype=dtype)) for dtype in ("bfloat16", "float32")} == {1e-6}


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"training": {"learning_rate": {"float32": 1e-6}}, "trainer": {"dtype": "bfloat16"}}, "no learning rate"),
        ({"trainer": {"dtype": "float16"}}, "float16 on a CPU"),
        (
            {"trainer": {"dtype": "float32", "device": "gpu"}, "lora": {"rank": 4, "load_in_4bit": True}},
            "4-bit weights",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_generated(fields: dict[str, Any], problem: str) -> None:
    recipe = config.parse({"trainer": {"device": "cpu"}} | fields)
    with pytest.raises(TrainerError, match=problem):
        check(recipe)


def test_further_options_are_appended_and_replace_ours() -> None:
    job = on_gpu(options={"ds.adam_offload": True, "ds.zero_stage": 2, "ds.packing_samples": False})
    words = arguments(job)
    assert "--ds.adam_offload" in words and "--ds.zero_stage=2" in words
    assert "--ds.zero_stage=3" not in words and not any("packing" in word for word in words)


@pytest.mark.parametrize(
    "flag", ["model.beta", "adam.lr", "train.max_epochs", "data.max_len", "ref.model_name_or_path"]
)
def test_an_option_that_would_train_something_else_than_the_trainings_id_says_is_refused(flag: str) -> None:
    """What is trained is known by the recipe's fields: another value would be stored, and found again, as theirs."""
    with pytest.raises(TrainerError, match=flag):
        arguments(on_gpu(options={flag: 1}))


@pytest.mark.parametrize("sign", [",", "@"])
def test_a_data_path_that_openrlhf_would_take_apart_is_refused(sign: str) -> None:
    with pytest.raises(TrainerError, match="data path holds"):
        arguments(replace(JOB, data=Path(f"/run{sign}2/pairs.jsonl")))


@pytest.mark.parametrize(("asked", "batch", "given"), [(1, 32, 1), (8, 32, 8), (5, 32, 4), (8, 6, 6), (4, 7, 1)])
def test_the_micro_batch_always_divides_the_batch(asked: int, batch: int, given: int) -> None:
    job = replace(JOB, batch_size=batch, settings=config.Training(micro_batch_size=asked))
    assert job.micro_batch_size == given


def test_the_cpu_runs_the_launcher_file_and_a_gpu_the_same_file_through_deepspeed() -> None:
    cpu, gpu = command(JOB), command(on_gpu(gpus=4, python="/other/python"))
    assert cpu[1] == str(LAUNCHER) and "--toolkit.cpu" in cpu
    assert gpu[:5] == ["/other/python", "-m", "deepspeed.launcher.runner", "--num_gpus", "4"]
    assert str(LAUNCHER) in gpu and "--toolkit.cpu" not in gpu


def test_several_nodes_are_not_told_to_watch_a_process_they_do_not_have() -> None:
    words = command(on_gpu(hostfile="/etc/hosts.ds"))
    assert words[words.index("--hostfile") + 1] == "/etc/hosts.ds"
    assert not any(word.startswith("--toolkit.watch") for word in words)


def test_the_cpu_trainer_is_rank_0_of_1_on_a_port_of_its_own_and_offline() -> None:
    first, second = environment(JOB), environment(JOB)
    assert first["RANK"] == "0" and first["WORLD_SIZE"] == "1" and first["DS_ACCELERATOR"] == "cpu"
    assert first["HF_HUB_OFFLINE"] == "1"
    assert first["MASTER_PORT"] != second["MASTER_PORT"]


def test_several_nodes_are_launched_by_exactly_these_words() -> None:
    job = on_gpu(hostfile="/shared/hostfile", gpus=8, launcher=("--master_addr=a", "--master_port=29501"))
    words = command(replace(job, trainer=job.trainer.model_copy(update={"python": "/shared/.venv/bin/python"})))
    assert words[: words.index(str(LAUNCHER))] == [
        "/shared/.venv/bin/python", "-m", "deepspeed.launcher.runner", "--master_addr=a", "--master_port=29501",
        "--num_gpus", "8", "--hostfile", "/shared/hostfile",
    ]  # fmt: skip
    rest = words[words.index(str(LAUNCHER)) + 1 :]
    assert rest == ["--toolkit.step_log=/run/steps.jsonl", "openrlhf.cli.train_dpo", *arguments(job)]


def test_several_cpu_processes_share_a_batch_evenly_or_are_refused() -> None:
    job = replace(JOB, trainer=config.Trainer(processes=2), settings=config.Training(micro_batch_size=32))
    words, variables = command(job), environment(job)
    assert words[1:5] == ["-m", "deepspeed.launcher.runner", "--num_gpus", "2"] and "--toolkit.cpu" in words
    assert job.micro_batch_size == 16 and "RANK" not in variables and variables["DS_ACCELERATOR"] == "cpu"
    with pytest.raises(TrainerError, match="33 rows cannot be shared by 2 processes"):
        command(replace(job, batch_size=33))


def fake_interpreter(folder: Path, text: str) -> str:
    script = folder / "python"
    script.write_text(f"#!/bin/sh\n{text}\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return str(script)


@pytest.mark.parametrize(
    ("says", "problem"), [("echo 0.9.5", "0.9.5 has flags"), ("echo", "not installed"), ("exit 3", "does not run")]
)
def test_an_unknown_or_missing_openrlhf_is_refused_with_the_version_to_install(
    tmp_path: Path, says: str, problem: str
) -> None:
    with pytest.raises(TrainerError, match=problem) as caught:
        check_version(fake_interpreter(tmp_path, says))
    assert "openrlhf==0.11.2" in caught.value.remedy or "trainer" in caught.value.where


def test_an_interpreter_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match="no-python"):
        check_version(str(tmp_path / "no-python"))


def test_a_supported_version_is_told(tmp_path: Path) -> None:
    assert check_version(fake_interpreter(tmp_path, "echo 0.11.2")) == "0.11.2"


def installed_parser(program: str) -> argparse.ArgumentParser:
    """The parser that the installed program builds, taken from its source without importing it."""
    files = importlib.metadata.files("openrlhf") or []
    source = next(file for file in files if str(file) == f"openrlhf/cli/{program}.py").read_text()
    main = next(node for node in ast.parse(source).body if isinstance(node, ast.If))
    last = next(i for i, node in enumerate(main.body) if "parse_args" in ast.unparse(node))
    scope: dict[str, Any] = {}
    exec("import argparse\nfrom datetime import datetime", scope)
    exec("\n".join(ast.unparse(node) for node in main.body[:last]), scope)
    parser: argparse.ArgumentParser = scope["parser"]
    return parser


@pytest.mark.real
@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_the_installed_train_dpo_reads_every_argument_as_meant(device: Any) -> None:
    read = vars(installed_parser("train_dpo").parse_args(arguments(replace(JOB, device=device))))
    assert read["ref.model_name_or_path"] == "/models/reference"
    assert read["data.max_len"] == 2048 and read["train.batch_size"] == 32
    assert read["adam.lr"] == 5e-7 and read["lr_warmup_ratio"] == 0.1 and read["max_norm"] == 1.0
    assert read["data.apply_chat_template"] is False
    assert read["model.gradient_checkpointing_enable"] is (device == "gpu")


@pytest.mark.real
@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_the_installed_train_sft_reads_every_argument_as_meant(device: Any) -> None:
    read = vars(installed_parser("train_sft").parse_args(arguments(replace(SFT_JOB, device=device))))
    assert (read["data.input_key"], read["data.output_key"], read["data.input_template"]) == ("prompt", "response", "")
    assert read["train.max_epochs"] == 3 and read["adam.lr"] == 2e-6 and read["train.batch_size"] == 32


@pytest.mark.real
@pytest.mark.parametrize("job", [JOB, SFT_JOB], ids=["dpo", "sft"])
def test_the_installed_programs_read_the_adapter_as_meant(job: TrainerJob) -> None:
    program = job.module.rpartition(".")[2]
    lora = config.Lora(rank=8, alpha=32, dropout=0.05, target_modules=("q_proj", "v_proj"))
    read = vars(installed_parser(program).parse_args(arguments(replace(job, device="gpu", lora=lora))))
    assert (read["ds.lora.rank"], read["ds.lora.alpha"], read["ds.lora.dropout"]) == (8, 32, 0.05)
    assert read["ds.lora.target_modules"] == ["q_proj", "v_proj"] and read["ds.load_in_4bit"] is False
    assert read["ds.zero_stage"] == 2, "stage 3 pickles the adapter"


def test_4_bit_weights_are_refused_where_they_cannot_run() -> None:
    for job, lora in ((JOB, {"rank": 8}), (on_gpu(), {"rank": 0})):
        with pytest.raises(TrainerError, match="load_in_4bit"):
            arguments(replace(job, lora=config.Lora(load_in_4bit=True, **lora)))


def test_the_merge_is_asked_of_openrlhf_in_the_same_interpreter() -> None:
    words = merge_command(replace(JOB, lora=config.Lora(rank=8)))
    assert words[1:4] == [str(LAUNCHER), "--toolkit.cpu", "openrlhf.cli.lora_combiner"]
    assert words[4:] == ["--model_path=/models/policy", "--lora_path=/run/adapter", "--output_path=/run/checkpoint"]


@pytest.mark.real
def test_the_installed_deepspeed_launcher_reads_our_options_and_hands_on_the_rest() -> None:
    from deepspeed.launcher.runner import parse_args  # type: ignore[import-untyped]

    words = command(on_gpu(gpus=2))
    read = parse_args(words[3:])
    assert read.user_script == str(LAUNCHER) and read.num_gpus == 2 and not read.module
    assert read.user_args[-1] == arguments(JOB)[-1]


@pytest.mark.real
def test_the_installed_deepspeed_reads_several_nodes_as_meant() -> None:
    from deepspeed.launcher.runner import fetch_hostfile, parse_args

    hosts = ROOT / "recipes" / "cluster" / "hostfile"
    words = command(on_gpu(hostfile=str(hosts), launcher=("--master_port=29501", "--include=node-1:0,1@node-2")))
    read = parse_args(words[3:])
    assert (read.hostfile, read.master_port, read.include) == (str(hosts), 29501, "node-1:0,1@node-2")
    assert read.user_script == str(LAUNCHER) and read.user_args[1:] == ["openrlhf.cli.train_dpo", *arguments(on_gpu())]
    assert dict(fetch_hostfile(read.hostfile)) == {"node-1": 8, "node-2": 8}


@pytest.mark.real
def test_the_openrlhf_of_this_environment_is_supported() -> None:
    assert check_version() == importlib.metadata.version("openrlhf")
