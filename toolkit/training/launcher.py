"""Runs OpenRLHF's own trainer program inside the trainer process, with a step log and, on a CPU, a few patches.

    python launcher.py --toolkit.step_log=FILE [--toolkit.cpu] [--toolkit.float32] [--toolkit.watch=PID] MODULE FLAGS...

MODULE (openrlhf.cli.train_dpo, train_sft or lora_combiner) runs unmodified as `__main__` with FLAGS. The options are
arguments, not environment variables, because the DeepSpeed launcher carries arguments to every node but no variables;
it also puts `--local_rank=N` first, which is handed on.

This file imports nothing of the toolkit, so that the interpreter of another environment can run it by path.
It is the one file that imports OpenRLHF.

Left out: any change of the loss, the optimizer, the order of the data or the saved weights. One bound is set
everywhere: an epoch is whole optimizer steps (`whole_steps`). `--toolkit.float32` trains in float32, for which OpenRLHF
has no flag; weights are saved in the dtype they were trained in.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import math
import os
import runpy
import signal
import sys
import threading
import time
import types
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from typing import Any

WATCH_SECONDS = 1.0
# Whose steps are logged, and the value by which its per-batch numbers are known among all that are reduced.
TRAINERS = {
    "openrlhf.cli.train_dpo": ("openrlhf.trainer.dpo_trainer", "DPOTrainer", "chosen_reward"),
    "openrlhf.cli.train_sft": ("openrlhf.trainer.sft_trainer", "SFTTrainer", "gpt_loss"),
}
DATA_PROCESSES = None  # OpenRLHF forks 8 to tokenise; None is this process, faster on few cores

# Imported by openrlhf.models at load, called only with packed samples, which need the real package.
FLASH_NAMES = {
    "flash_attn": (),
    "flash_attn.bert_padding": ("index_first_axis", "pad_input", "rearrange", "unpad_input"),
    "flash_attn.utils": (),
    "flash_attn.utils.distributed": ("all_gather",),
}


def main(argv: list[str]) -> None:
    """Apply the options, then become MODULE."""
    started = time.time()
    options, module, flags = parse(argv)
    if "watch" in options:
        threading.Thread(target=watch, args=(int(options["watch"]),), daemon=True).start()
    if "cpu" in options:
        patch_imports()
    stub_flash_attention()
    if "cpu" in options:
        patch_cpu()
    if "float32" in options:
        patch_float32()
    whole_steps()
    if "step_log" in options:
        log_steps(module, options["step_log"], started)
    sys.argv = [module, *flags]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def parse(argv: list[str]) -> tuple[dict[str, str], str, list[str]]:
    """(options, module, flags). A `--local_rank=N` before the module goes to the flags."""
    options: dict[str, str] = {}
    flags = []
    for index, word in enumerate(argv):
        if word.startswith("--toolkit."):
            name, _, value = word.removeprefix("--toolkit.").partition("=")
            options[name] = value
        elif word.startswith("--local_rank"):
            flags.append(word)
        else:
            return options, word, flags + argv[index + 1 :]
    raise SystemExit("launcher: no module to run was named")


def watch(parent: int) -> None:
    """Kill this process group once the process that asked for the training is gone.

    Polling, because the kernel's parent-death signal follows a thread, and only from parent to child: the
    DeepSpeed launcher stands between us.
    """
    while alive(parent):
        time.sleep(WATCH_SECONDS)
    os.killpg(0, signal.SIGKILL)


def alive(process: int) -> bool:
    """Whether this process runs. One that has ended and was not waited for yet does not."""
    try:
        os.kill(process, 0)
        with open(f"/proc/{process}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except FileNotFoundError:  # no /proc, or it went away just now, which the next look will tell
        return True


def stub_flash_attention() -> None:
    """Let openrlhf.models load where flash-attn is not installed; the stubs are gone again afterwards.

    flash-attn compiles CUDA and cannot be had on a CPU. Other packages look for it by name, so the stubs must not
    outlive the import; they carry no version, by which transformers tells them from the package.
    """
    if importlib.util.find_spec("flash_attn") is not None:
        return

    def missing(*_: object, **__: object) -> None:
        raise RuntimeError("packed samples need the flash-attn package, which is not installed")

    for name, members in FLASH_NAMES.items():
        stub = importlib.util.module_from_spec(ModuleSpec(name, None, is_package=True))
        for member in members:
            setattr(stub, member, missing)
        sys.modules[name] = stub
    import openrlhf.models  # noqa: F401

    for name in FLASH_NAMES:
        del sys.modules[name]


def patch_imports() -> None:
    """Leave out imports of transformers that training never uses.

    scikit-learn serves assisted generation alone; without it 15 s of imports are left of 17 s on 2 cores.
    """
    sys.modules.setdefault("sklearn", None)  # type: ignore[arg-type]


def patch_cpu() -> None:
    """Make the names that OpenRLHF and DeepSpeed use for a GPU mean the CPU, and ask for no compiler.

    Only what their modules see is changed: torch itself stays whole.
    """
    import deepspeed
    import openrlhf.utils.deepspeed.deepspeed as strategy
    from openrlhf.datasets import RewardDataset, SFTDataset

    # Two operators that DeepSpeed would compile (4 minutes at first use): a shared-memory all-reduce,
    # for which gloo stands in, and its fused Adam, for which torch's AdamW stands in.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    train_config = strategy.get_train_ds_config

    def config_with_torch_adam(*args: Any, **kwargs: Any) -> dict[str, Any]:
        config: dict[str, Any] = train_config(*args, **kwargs)
        if config.get("optimizer", {}).get("type") == "AdamW":
            config["optimizer"]["params"]["torch_adam"] = True
        return config

    strategy.get_train_ds_config = config_with_torch_adam
    mesh = strategy.init_device_mesh
    strategy.init_device_mesh = lambda _, *args, **kwargs: mesh("cpu", *args, **kwargs)
    strategy.torch = CpuTorch(strategy.torch)
    strategy.torch_dist_barrier_and_cuda_sync = strategy.dist.barrier
    for kind in (RewardDataset, SFTDataset):
        set_default(kind.__init__, "num_processors", DATA_PROCESSES)


def patch_float32() -> None:
    """Make OpenRLHF's "bf16" mean float32, and keep the gradient norm that DeepSpeed clips by.

    OpenRLHF's --ds.param_dtype takes bf16 and fp16 only. DeepSpeed trains in float32 where neither is enabled. It then
    clips by the norm of the whole gradient and drops that norm, so OpenRLHF would log 0.
    """
    import openrlhf.utils.deepspeed.deepspeed as strategy
    import openrlhf.utils.utils as utils
    import torch
    from deepspeed.runtime import engine

    utils.convert_to_torch_dtype = lambda _: torch.float32
    for name in ("get_train_ds_config", "get_eval_ds_config"):
        setattr(strategy, name, without_bf16(getattr(strategy, name)))
    clip = engine.clip_grad_norm_
    norms: list[Any] = []

    def clip_and_keep(*args: Any, **kwargs: Any) -> Any:
        norms[:] = [clip(*args, **kwargs)]
        return norms[0]

    def clip_fp32_gradients(original: Callable[..., Any], owner: Any) -> None:
        original(owner)
        owner._global_grad_norm = norms[0]

    engine.clip_grad_norm_ = clip_and_keep
    wrap(engine.DeepSpeedEngine, "clip_fp32_gradients", clip_fp32_gradients)


def without_bf16(original: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """The same DeepSpeed configuration with bfloat16 off."""

    def config(*args: Any, **kwargs: Any) -> dict[str, Any]:
        return original(*args, **kwargs) | {"bf16": {"enabled": False}}

    return config


def set_default(function: Any, name: str, value: Any) -> None:
    """Give a parameter of a function another default. ValueError where it has no such parameter."""
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    place = names.index(name) - len(names)
    defaults = list(function.__defaults__)
    defaults[place] = value
    function.__defaults__ = tuple(defaults)


class CpuTorch:
    """torch as openrlhf.utils.deepspeed.deepspeed sees it: `torch.cuda` answers for the CPU."""

    class cuda:
        @staticmethod
        def set_device(_: object) -> None: ...

        @staticmethod
        def empty_cache() -> None: ...

        @staticmethod
        def current_device() -> str:
            return "cpu"

    def __init__(self, torch: types.ModuleType) -> None:
        self._torch = torch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._torch, name)


def whole_steps() -> None:
    """Let every epoch end with its last whole optimizer step, as OpenRLHF's learning-rate schedule assumes.

    Its sampler drops only what does not fill a micro-batch; the rest is carried into the next epoch's steps, so
    that 12 pairs in batches of 8 make 3 steps in 2 epochs on a schedule of 2, at whose end the rate climbs again.
    The rows left out differ from epoch to epoch.
    """
    from openrlhf.utils.deepspeed.deepspeed import DeepspeedStrategy

    def setup_dataloader(original: Callable[..., Any], strategy: Any, *args: Any, **kwargs: Any) -> Any:
        loader = original(strategy, *args, **kwargs)
        sampler = loader.sampler
        if sampler.drop_last:  # the training set; an evaluation set is seen whole
            sampler.total_size = len(loader.dataset) // strategy.train_batch_size * strategy.train_batch_size
            sampler.num_samples = sampler.total_size // sampler.num_replicas
        return loader

    wrap(DeepspeedStrategy, "setup_dataloader", setup_dataloader)


def log_steps(module: str, path: str, started: float) -> None:
    """Write one JSON line to `path`, on rank 0, when training begins, after each optimizer step, and at the end.

    OpenRLHF's own log has the last micro-batch's rewards and loss, of one pair where micro_batch_size is 1.
    Here `loss`, `acc` and the rewards are means over all rows of the step and all devices (SFT's loss: over their
    answers' tokens, as it is trained on); `grad_norm` (of the
    whole step, before clipping) is the last micro-batch's, which closes the step. `lr` is the rate the step was
    made with, where OpenRLHF logs the next one: with a warm-up the first step's is 0.
    Lines: {"event": "rows", "rows": dataset length}, {"event": "step", "step": 1...}, {"event": "saved"}.
    `seconds` counts from the start of this process; null stands for NaN and infinity.
    """
    from openrlhf.utils.deepspeed.deepspeed import DeepspeedStrategy

    home, name, mark = TRAINERS[module]
    trainer_class = getattr(importlib.import_module(home), name)
    seen: list[dict[str, float]] = []
    rates: list[float] = []

    def write(strategy: Any, event: str, values: dict[str, float]) -> None:
        if strategy.is_rank_0():
            known = {name: value if math.isfinite(value) else None for name, value in values.items()}
            line = {"event": event, **known, "seconds": round(time.time() - started, 3)}
            with open(path, "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    def fit(original: Callable[..., Any], trainer: Any, *args: Any, **kwargs: Any) -> Any:
        rates.append(trainer.scheduler.get_last_lr()[0])
        write(trainer.strategy, "rows", {"rows": len(trainer.train_dataloader.dataset)})
        return original(trainer, *args, **kwargs)

    def all_reduce(original: Callable[..., Any], strategy: Any, data: Any, *args: Any, **kwargs: Any) -> Any:
        reduced = original(strategy, data, *args, **kwargs)
        if isinstance(data, dict) and mark in data:
            seen.append(dict(reduced))
        return reduced

    def save_logs(original: Callable[..., Any], trainer: Any, args: Any, step: int, *rest: Any, **kwargs: Any) -> Any:
        means = {name: sum(one[name] for one in seen) / len(seen) for name in seen[0]}
        if "gpt_loss" in means:
            means["loss"] = means.pop("gpt_loss")
        means.update(grad_norm=seen[-1]["grad_norm"], lr=rates.pop())
        rates.append(seen[-1]["lr"])
        seen.clear()
        write(trainer.strategy, "step", {"step": step, **means})
        return original(trainer, args, step, *rest, **kwargs)

    def save_model(original: Callable[..., Any], strategy: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(strategy, *args, **kwargs)
        write(strategy, "saved", {})
        return result

    for owner, name, wrapper in (
        (trainer_class, "fit", fit),
        (DeepspeedStrategy, "all_reduce", all_reduce),
        (trainer_class, "save_logs_and_checkpoints", save_logs),
        (DeepspeedStrategy, "save_model", save_model),
    ):
        wrap(owner, name, wrapper)


def wrap(owner: type, name: str, wrapper: Callable[..., Any]) -> None:
    """Replace `owner.name` by `wrapper(original, self, ...)`. AttributeError where it does not exist."""
    original = getattr(owner, name)
    setattr(owner, name, lambda self, *args, **kwargs: wrapper(original, self, *args, **kwargs))


if __name__ == "__main__":
    main(sys.argv[1:])
