"""What OpenRLHF 0.11.2 is asked: a `TrainerJob` in, flags, command line and environment out. Pure but for
`check_version` and `environment`, which look at the machine.

The rows of `data` are rendered text already, so no chat template is applied by the trainer; DPO's reference is
always named, because OpenRLHF takes the policy itself where it is not.

Left out: resuming inside a training (OpenRLHF skips rows when it does), evaluation sets, packed samples, Weights &
Biases; `trainer.options` can still name their flags.
"""

from __future__ import annotations

import importlib.metadata
import os
import socket
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from toolkit import config
from toolkit.child_process import PYTHON, outside, program
from toolkit.errors import TrainerError
from toolkit.extras import INSTALL
from toolkit.precision import BFLOAT16, FLOAT16, FLOAT32, resolve_device, resolve_dtype
from toolkit.training import scripted
from toolkit.trust.argument_secrets import refuse_secrets
from toolkit.trust.consent import SCRIPTED

SUPPORTED = ("0.11.2",)
Values = dict[str, str | float | bool | tuple[str, ...]]
DPO, SFT, MERGE = "openrlhf.cli.train_dpo", "openrlhf.cli.train_sft", "openrlhf.cli.lora_combiner"
MACHINE = ("ds.", "logger.", "model.gradient_checkpointing")  # flags of on what is trained, and what is told of it
ADAPTER = ("ds.lora", "ds.load_in_4bit")  # they change what is trained
LORA_STAGE = 2  # in stage 3 OpenRLHF saves the adapter as a pickle, which nothing of ours would load
LAUNCHER = Path(__file__).with_name("launcher.py")


@dataclass(frozen=True)
class TrainerJob:
    """One training: policy and reference (checkpoint directories; none for SFT), data (JSONL with prompt, chosen,
    rejected or, for SFT, prompt, response), where the checkpoint (`output`) and the logs (`log_dir`) go.
    batch_size: rows per optimizer step."""

    policy: Path
    reference: Path | None
    data: Path
    output: Path
    log_dir: Path
    settings: config.Optimization
    trainer: config.Trainer
    device: str  # "cpu" or "gpu"
    batch_size: int
    lora: config.Lora

    @property
    def module(self) -> str:
        """The program of OpenRLHF that does it."""
        return SFT if self.reference is None else DPO

    @property
    def trained(self) -> Path:
        """Where the trainer saves: the checkpoint itself, or the adapter that is merged into it afterwards."""
        return self.log_dir / "adapter" if self.lora.rank else self.output

    @property
    def step_log(self) -> Path:
        return self.log_dir / "steps.jsonl"

    @property
    def micro_batch_size(self) -> int:
        """The largest divisor of a process' share of batch_size that is no larger than the one asked for: DeepSpeed
        takes no other. Of the devices on GPUs nothing is known here."""
        share = self.batch_size // self.processes
        largest = min(self.settings.micro_batch_size, share)
        return next(size for size in range(largest, 0, -1) if share % size == 0)

    @property
    def processes(self) -> int:
        """On a CPU, as many as asked for. Raises TrainerError where they cannot share a batch evenly."""
        count = self.trainer.processes if self.device == "cpu" else 1
        if self.batch_size % count:
            raise TrainerError(
                f"a batch of {self.batch_size} rows cannot be shared by {count} processes",
                where="trainer.processes",
                remedy=f"choose training.batch_size as a multiple of {count}, or fewer processes",
            )
        return count

    @property
    def dtype(self) -> str:
        """In which it is trained and saved."""
        return resolve_dtype(self.trainer.dtype, self.device)

    @property
    def interpreter(self) -> tuple[str, ...]:
        """What runs OpenRLHF's modules: a Python, or for the demo the stand-in in this package."""
        if self.trainer.python == SCRIPTED:
            return (*PYTHON, str(Path(scripted.__file__).resolve()))
        return (program(self.trainer.python) or sys.executable,)

    def absolute(self) -> TrainerJob:
        """The same job for a trainer that works in another folder."""
        paths = {name: getattr(self, name) for name in ("policy", "reference", "data", "output", "log_dir")}
        return replace(self, **{name: path.absolute() for name, path in paths.items() if path})


def learning_rate(settings: config.Optimization, trainer: config.Trainer) -> float:
    """The peak learning rate in the dtype of this training. Raises TrainerError where the recipe has none for it."""
    rates, dtype = settings.learning_rate, resolve_dtype(trainer.dtype, trainer.device)
    if isinstance(rates, float):
        return rates
    if dtype not in rates:
        raise TrainerError(
            f"no learning rate for training in {dtype}, only for {', '.join(rates)}",
            where="learning_rate",
            remedy=f"add one for {dtype}, give one number for every dtype, or name trainer.dtype",
        )
    return dict(rates)[dtype]


def check(recipe: config.Recipe) -> None:
    """Raise TrainerError for what no training on this machine can compute, before anything is generated."""
    device = resolve_device(recipe.trainer.device)
    dtype = resolve_dtype(recipe.trainer.dtype, device)
    for settings in (recipe.training, *([recipe.sft] if recipe.sft.data else [])):
        learning_rate(settings, recipe.trainer)
    if dtype == FLOAT16 and device == "cpu":
        raise TrainerError(
            "DeepSpeed does not train in float16 on a CPU",
            where="trainer.dtype",
            remedy="set trainer.dtype = 'auto' or 'float32'",
        )
    if recipe.lora.load_in_4bit and dtype != BFLOAT16:
        raise TrainerError(
            f"4-bit weights are trained in bfloat16 alone, not in {dtype}",
            where="lora.load_in_4bit",
            remedy="set trainer.dtype = 'bfloat16', or lora.load_in_4bit = false",
        )


def of_machine(flag: str) -> bool:
    """Whether a flag of `trainer.options` says nothing of what is trained. Any other is part of the training's id."""
    return flag.startswith(MACHINE) and not flag.startswith(ADAPTER)


def arguments(job: TrainerJob) -> list[str]:
    """The flags of `train_dpo` or `train_sft`, one `--name=value` each. Raises TrainerError for a path it would
    misread, for settings that the machine cannot run, and for an option that replaces what is to be trained."""
    settings, on_cpu = job.settings, job.device == "cpu"
    stage = min(job.trainer.zero_stage, LORA_STAGE) if job.lora.rank else job.trainer.zero_stage
    values: Values = {
        "model.model_name_or_path": str(job.policy),
        **_task(job),
        "data.dataset": _data_path(job.data),
        "data.max_len": settings.max_length,
        "train.batch_size": job.batch_size,
        "train.micro_batch_size": job.micro_batch_size,
        "train.max_epochs": settings.epochs,
        "train.seed": settings.seed,
        "adam.lr": learning_rate(settings, job.trainer),
        "lr_scheduler": settings.scheduler,
        "lr_warmup_ratio": settings.warmup_ratio,
        "min_lr_ratio": settings.min_lr_ratio,
        "max_norm": settings.max_grad_norm,
        "ds.zero_stage": 0 if on_cpu else stage,
        "ds.attn_implementation": "sdpa" if on_cpu else job.trainer.attention,
        "model.gradient_checkpointing_enable": job.trainer.gradient_checkpointing and not on_cpu,
        "ckpt.output_dir": str(job.trained),
        "logger.tensorboard_dir": str(job.log_dir / "tensorboard"),
    }
    if job.dtype == FLOAT16:
        values["ds.param_dtype"] = "fp16"
    values |= _adapter(job)
    if replaced := sorted(flag for flag in values.keys() & job.trainer.options.keys() if not of_machine(flag)):
        raise TrainerError(
            f"{', '.join(replaced)} would be trained with, and stored as what the recipe asks for",
            where="trainer.options",
            remedy="set the recipe's own field: [training], [sft] or [lora]",
        )
    refuse_secrets({"trainer": job.trainer.model_dump(mode="json")})  # of a recipe that no command loaded
    values |= job.trainer.options
    return [flag for name, value in values.items() for flag in _flag(name, value)]


def _task(job: TrainerJob) -> Values:
    """What only DPO or only SFT is told. The empty template keeps SFT from adding its own words to a prompt."""
    if job.reference is None:
        return {"data.input_key": "prompt", "data.output_key": "response", "data.input_template": ""}
    assert isinstance(job.settings, config.Training)  # a reference is DPO's
    return {
        "ref.model_name_or_path": str(job.reference),
        "data.prompt_key": "prompt",
        "data.chosen_key": "chosen",
        "data.rejected_key": "rejected",
        "model.beta": job.settings.beta,
    }


def _adapter(job: TrainerJob) -> Values:
    lora = job.lora
    if lora.load_in_4bit and (job.device == "cpu" or not lora.rank):
        raise TrainerError(
            f"lora.load_in_4bit with lora.rank = {lora.rank} on a {job.device.upper()}",
            where="lora",
            remedy="4-bit weights need a GPU and lora.rank > 0: set both, or lora.load_in_4bit = false",
        )
    if not lora.rank:
        return {}
    values: Values = {"ds.lora.rank": lora.rank, "ds.lora.alpha": lora.alpha, "ds.lora.dropout": lora.dropout}
    values["ds.load_in_4bit"] = lora.load_in_4bit
    return values | ({"ds.lora.target_modules": lora.target_modules} if lora.target_modules else {})


def merge_command(job: TrainerJob) -> list[str]:
    """OpenRLHF's own merge of the saved adapter into the policy's weights, in the same launcher."""
    options = _launcher_options(job)
    paths = {"model_path": job.policy, "lora_path": job.trained, "output_path": job.output}
    dtype = ["--ds.param_dtype=fp16"] if job.dtype == FLOAT16 else []
    return [
        *job.interpreter,
        str(LAUNCHER),
        *options,
        MERGE,
        *(f"--{name}={path}" for name, path in paths.items()),
        *dtype,
    ]


def command(job: TrainerJob) -> list[str]:
    """The whole command line: one process on a CPU, the DeepSpeed launcher for several and on GPUs.

    Everywhere launcher.py becomes the program, so the step log is one code path. Over several nodes every node
    needs this file and the paths of the job at the same place.
    """
    options = [f"--toolkit.step_log={job.step_log}", *_launcher_options(job)]
    if job.trainer.hostfile:
        return [
            *_deepspeed(job),
            "--hostfile",
            job.trainer.hostfile,
            str(LAUNCHER),
            *options,
            job.module,
            *arguments(job),
        ]
    options.append(f"--toolkit.watch={os.getpid()}")
    alone = job.device == "cpu" and job.processes == 1
    start = list(job.interpreter) if alone else [*_deepspeed(job), "--master_port", str(free_port())]
    return [*start, str(LAUNCHER), *options, job.module, *arguments(job)]


def _launcher_options(job: TrainerJob) -> list[str]:
    """What OpenRLHF has no flag for, and launcher.py does: a CPU, and float32."""
    cpu = ["--toolkit.cpu"] if job.device == "cpu" else []
    return [*cpu, "--toolkit.float32"] if job.dtype == FLOAT32 else cpu


def environment(job: TrainerJob) -> dict[str, str]:
    """The trainer's environment: this process's, without the hub, and for one process on a CPU as rank 0 of 1."""
    variables = outside()
    variables.setdefault("DS_ENV_FILE", str(Path.home() / ".deepspeed_env"))  # else one in the current folder counts
    variables |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    variables |= {"PYTHONUNBUFFERED": "1", "HF_DATASETS_CACHE": str(job.log_dir / "datasets")}
    if job.device == "cpu":
        variables["DS_ACCELERATOR"] = "cpu"
        if job.processes == 1:
            variables |= {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}
            variables |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        variables.setdefault("OMP_NUM_THREADS", str(max(len(os.sched_getaffinity(0)) // job.processes, 1)))
        # glibc gives large blocks back at once and faults them in again: a forward pass of 1,500 tokens takes
        # 3.3 s so and 2.1 s with these, on 2 cores.
        variables |= {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**34)}
    return variables


def check_version(python: str = "") -> str:
    """The OpenRLHF version that this interpreter has installed, without importing it ('' is this interpreter).

    Raises TrainerError for a missing version and for one whose flags are not known: they were renamed in 0.10.2.
    """
    version = _installed(python)
    if version in SUPPORTED:
        return version
    known = " or ".join(SUPPORTED)
    problem = f"OpenRLHF {version} has flags this toolkit does not know" if version else "OpenRLHF is not installed"
    raise TrainerError(
        problem,
        where=python or sys.executable,
        remedy=f"{INSTALL['cpu']}; or name with trainer.python an interpreter, of Python 3.11 or 3.12, that has "
        f"openrlhf=={known}",
    )


def free_port() -> int:
    """A TCP port that nothing listens on at this moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _installed(python: str) -> str:
    if python == SCRIPTED:
        return SUPPORTED[0]
    if not python:
        try:
            return importlib.metadata.version("openrlhf")
        except importlib.metadata.PackageNotFoundError:
            return ""
    ask = "import importlib.metadata as m; print(next((d.version for d in m.distributions(name='openrlhf')), ''))"
    try:
        command = [program(python), "-c", ask]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=outside())
    except (OSError, subprocess.SubprocessError) as error:
        raise TrainerError(
            f"trainer.python = {python!r} does not run: {error}",
            where="trainer.python",
            remedy="name the python of the environment that holds OpenRLHF",
        ) from error
    return answer.stdout.strip()


def _deepspeed(job: TrainerJob) -> list[str]:
    start = [*job.interpreter, "-m", "deepspeed.launcher.runner", *job.trainer.launcher]
    devices = job.processes if job.device == "cpu" else job.trainer.gpus
    return [*start, "--num_gpus", str(devices)] if devices else start  # DeepSpeed's word for CPU processes too


def _flag(name: str, value: str | float | bool | tuple[str, ...]) -> list[str]:
    if isinstance(value, tuple):
        return [f"--{name}", *value]
    if value is True:
        return [f"--{name}"]
    return [] if value is False else [f"--{name}={value}"]


def _data_path(path: Path) -> str:
    for sign, meaning in ((",", "splits it into two data sets"), ("@", "takes what follows for a folder")):
        if sign in str(path):
            raise TrainerError(
                f"the data path holds {sign!r}, at which OpenRLHF {meaning}",
                where=path,
                remedy="run the toolkit with a working directory without this sign in its path",
            )
    return str(path)
