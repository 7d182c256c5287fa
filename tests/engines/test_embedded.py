"""The embedded model as transformers, vLLM and OpenRLHF will read it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import needs
from toolkit.engines import checkpoint, embedded
from toolkit.engines.chat import Chat
from toolkit.errors import InputError


def test_a_missing_package_is_named_with_the_line_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOOLKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(embedded, "PACKAGE", "no_such_package")
    with pytest.raises(InputError, match="no_such_package") as caught:
        embedded.prepare()
    assert "pip install" in caught.value.remedy
    assert not embedded.prepared().exists()


def test_a_broken_conversion_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF but not really")
    monkeypatch.setenv("TOOLKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(embedded, "packaged", lambda: tmp_path / "broken.gguf")
    with pytest.raises(InputError, match="could not be prepared"):
        embedded.prepare()
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.real
def test_the_prepared_model_is_a_complete_checkpoint_with_one_opinion_of_its_end() -> None:
    needs("torch", embedded.PACKAGE)
    path = embedded.prepare()
    checkpoint.verify(path)
    chat = Chat.load(path)
    config = json.loads((path / "config.json").read_text())
    generation = json.loads((path / "generation_config.json").read_text())
    assert chat.eos_token == "<|im_end|>"
    assert {chat.eos_id, config["eos_token_id"], generation["eos_token_id"]} == {2}
    assert chat.tokenizer.pad_token_id == config["pad_token_id"] == 0
    assert [chat.tokenizer.decode([token]) for token in chat.encode("2024")] == ["2", "0", "2", "4"]
    assert chat.tokenizer.decode(chat.encode(" two  spaces\n\ttab")) == " two  spaces\n\ttab"
