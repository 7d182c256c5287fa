"""What is accepted as a checkpoint, and what of it is its identity."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from toolkit.engines import checkpoint, find
from toolkit.errors import InputError, OutputError


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    shutil.copytree(tiny_model, tmp_path / "model")
    return tmp_path / "model"


def cut(path: Path) -> None:
    weights = path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])


def grow(path: Path) -> None:
    with (path / "model.safetensors").open("ab") as file:
        file.write(b"x")


def pickle_only(path: Path) -> None:
    (path / "model.safetensors").rename(path / "pytorch_model.bin")


def claim_a_shard(path: Path) -> None:
    index = {"weight_map": {"w": "model.safetensors", "v": "model-00002.safetensors"}}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))


def hide_a_pickle(path: Path) -> None:
    (path / "model.safetensors").rename(path / "other.safetensors")  # which no loader takes
    (path / "pytorch_model.bin").write_bytes(b"a pickle")


def bring_code(path: Path) -> None:
    (path / "config.json").write_text(json.dumps({"auto_map": {"AutoModel": "evil.Model"}}))


def bring_a_tokenizers_code(path: Path) -> None:
    """Which OpenRLHF would run: it trusts every tokenizer."""
    settings = json.loads((path / "tokenizer_config.json").read_text())
    settings["auto_map"] = {"AutoTokenizer": ["evil.Tokenizer", None]}
    (path / "tokenizer_config.json").write_text(json.dumps(settings))


def huge_header(path: Path) -> None:
    (path / "model.safetensors").write_bytes(struct.pack("<Q", 2**60) + b"{}")


def long_header(path: Path) -> None:
    with (path / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", 2**40 - 8))
        file.truncate(2**40)  # it takes no room on the disk


def endless_shape(path: Path) -> None:
    header = b'{"w": {"shape": [1.5, 1' + b"0" * 400 + b'], "data_offsets": [0, 4]}}'
    (path / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)


def bring_an_adapter(path: Path) -> None:
    (path / "adapter_config.json").write_text("{}")


def garbage_header(path: Path) -> None:
    (path / "model.safetensors").write_bytes(struct.pack("<Q", 4) + b"\xff\xfe\x00{")


def test_parameters_are_counted_over_all_shards_by_the_headers_alone(model: Path) -> None:
    header = json.dumps({"__metadata__": {}, "v": {"dtype": "F32", "shape": [3, 5], "data_offsets": [0, 60]}}).encode()
    shard = struct.pack("<Q", len(header)) + header
    (model / "model-00002.safetensors").write_bytes(shard)
    assert checkpoint.parameters(model) == 1 + 15


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda path: shutil.rmtree(path), "no checkpoint directory"),
        (lambda path: (path / "config.json").unlink(), "no config.json"),
        (lambda path: (path / "config.json").write_text("{"), "not valid JSON"),
        (lambda path: (path / "model.safetensors").unlink(), "no weights"),
        (pickle_only, "only pickled weights"),
        (hide_a_pickle, "model.safetensors is missing"),
        (claim_a_shard, "model-00002.safetensors is missing"),
        (cut, "its safetensors header says"),
        (grow, "its safetensors header says"),
        (huge_header, "no valid safetensors header"),
        (long_header, "no valid safetensors header"),
        (endless_shape, "no readable safetensors header"),
        (bring_an_adapter, "an adapter lies beside the weights"),
        (garbage_header, "no readable safetensors header"),
        (bring_a_tokenizers_code, "wants to run its own code"),
        (bring_code, "its own code"),
    ],
)
def test_a_damaged_or_unsafe_checkpoint_is_refused(model: Path, damage: Callable[[Path], object], told: str) -> None:
    checkpoint.verify(model)
    damage(model)
    with pytest.raises(InputError, match=told) as caught:
        checkpoint.verify(model)
    assert caught.value.remedy


def test_remote_code_is_accepted_where_it_was_asked_for(model: Path) -> None:
    bring_code(model)
    checkpoint.verify(model, trust_remote_code=True)


@pytest.mark.parametrize("name", ["no/such/place", "./nowhere", "/nowhere", "a word"])
def test_a_name_that_is_neither_directory_nor_hub_id_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="no model"):
        find.resolve(name)


def test_a_hub_id_that_cannot_be_had_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="neither a directory nor"):
        find.resolve("someone/some-model")


def test_the_template_digest_sees_template_and_stop_tokens_and_nothing_else(model: Path) -> None:
    before = checkpoint.template_digest(model)
    settings = json.loads((model / "tokenizer_config.json").read_text())
    (model / "tokenizer_config.json").write_text(json.dumps({**settings, "transformers_version": "9"}, indent=3))
    (model / "README.md").write_text("a card")
    assert checkpoint.template_digest(model) == before
    (model / "chat_template.jinja").write_text(settings["chat_template"] + " ")
    assert checkpoint.template_digest(model) != before
    (model / "chat_template.jinja").unlink()
    (model / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 0]}))
    assert checkpoint.template_digest(model) != before


def test_the_weights_digest_sees_every_byte(model: Path) -> None:
    before = checkpoint.weights_digest(model)
    weights = bytearray((model / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (model / "model.safetensors").write_bytes(weights)
    assert checkpoint.weights_digest(model) != before


def test_a_trained_checkpoint_gets_its_parents_tokenizer_and_loses_its_own(model: Path, tmp_path: Path) -> None:
    trained = tmp_path / "trained"
    shutil.copytree(model, trained)
    (trained / "chat_template.jinja").write_text("another template")
    (trained / "special_tokens_map.json").write_text("{}")
    checkpoint.adopt_tokenizer(model, trained)
    assert checkpoint.template_digest(trained) == checkpoint.template_digest(model)
    assert not (trained / "special_tokens_map.json").exists()


def test_promoting_replaces_nothing(model: Path, tmp_path: Path) -> None:
    final = tmp_path / "final"
    final.mkdir()
    (final / "left-over").write_text("x")
    with pytest.raises(OutputError, match="not a checkpoint that the toolkit finished"):
        checkpoint.promote(model, final)
    assert [path.name for path in final.iterdir()] == ["left-over"] and model.is_dir()
