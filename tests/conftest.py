"""Shared fixtures: a tiny model directory, a scripted lab on it, and the scripted trainer.

Fakes stand at process borders only: the scripted engine instead of vLLM, and the scripted trainer as the
interpreter that would run OpenRLHF. Store, selection, gate, hand-off, resume and report run for real.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
from collections.abc import Callable
from functools import cache
from pathlib import Path

import hypothesis
import pytest

from toolkit.config import Recipe, parse
from toolkit.engines import toy
from toolkit.training import scripted

hypothesis.settings.register_profile("untimed", deadline=None)  # an example may wait for a busy machine
hypothesis.settings.load_profile("untimed")


def pytest_configure() -> None:
    """Ctrl-C interrupts, also where a shell runs the tests in the background and has it ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Workers take whole files, so that what a file shares is made once; all files that load a model go to one worker:
    two engines and a trainer together need more memory than the smallest machine has."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "real" if loads_a_model(config.rootpath / file) else file

    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What loads a model comes first: it takes longest."""
    items.sort(key=lambda item: not loads_a_model(item.path))


@cache
def loads_a_model(file: Path) -> bool:
    return "mark.real" in file.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint directory that everything but an engine with real arithmetic accepts."""
    return toy.make(tmp_path_factory.mktemp("tiny") / "tiny-model")


@pytest.fixture(scope="session")
def network_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with a network of random weights (41,000 parameters), for what measures one."""
    needs("torch")
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("network") / "tiny-network"
    shutil.copytree(tiny_model, folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=600, hidden_size=32, intermediate_size=64, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, eos_token_id=2, pad_token_id=0, tie_word_embeddings=True, initializer_range=0.2,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def fake_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An 'interpreter' for trainer.python that runs the scripted trainer."""
    return scripted.interpreter(tmp_path_factory.mktemp("bin") / "python")


@pytest.fixture
def scripted_recipe(tiny_model: Path, tmp_path: Path) -> Callable[..., Recipe]:
    """A small recipe on the scripted engine and trainer; keywords replace whole sections' fields. The dtype is named,
    so that ids, and what the scripted engine says by them, are the same on every processor."""
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("".join(f"question number {i}?\n" for i in range(24)))

    def build(**sections: object) -> Recipe:
        data: dict[str, object] = {
            "model": str(tiny_model),
            "prompts": {"source": str(prompts), "part_size": 6},
            "answers": {"k": 3, "max_tokens": 16},
            "judge": {"method": "expected"},
            "training": {"batch_size": 4, "small_sets": "shrink", "learning_rate": 1e-5},
            "gate": {"max_dropped": 0.5},
            "engine": {"kind": "scripted"},
            "trainer": {"python": "scripted", "device": "cpu", "dtype": "float32"},
        }
        for name, section in sections.items():
            known = data.get(name)
            data[name] = {**known, **section} if isinstance(known, dict) and isinstance(section, dict) else section
        return parse(data)

    return build


def needs(*packages: str) -> None:
    """Skip, with the reason, where one of these packages is not installed. Nothing is imported."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")


@pytest.fixture
def data_folder() -> Path:
    """Public test data named by TOOLKIT_DATA; tests that need it skip where it is absent."""
    folder = os.environ.get("TOOLKIT_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("TOOLKIT_DATA names no folder with the public test data")
    return Path(folder)
