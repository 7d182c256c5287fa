from __future__ import annotations

import json

import pytest

from toolkit.hardware import has_gpu
from toolkit.provenance import capture
from toolkit.redaction import redact, redact_mapping


@pytest.mark.parametrize(
    ("argument", "shown"),
    [
        ("--set=engine.api_key=sk-12345678", "--set=engine.api_key=***"),
        ("OPENAI_API_KEY=abc", "OPENAI_API_KEY=***"),
        ("token=abc", "token=***"),
        ("answers.k=4", "answers.k=4"),
        ("--logger.wandb.key=0123456789abcdef", "--logger.wandb.key=***"),
        ("--data.prompt_key=prompt", "--data.prompt_key=prompt"),
        ("http://user@host/hf_abcdefgh123", "http://***@host/***"),
        ("engine.base_url=http://me:my:p@ss@host:80/v1", "engine.base_url=http://***@host:80/v1"),
        ("http://host:8000/v1?a=1&api-key=abc#x", "http://host:8000/v1?a=1&api-key=***"),
    ],
)
def test_secrets_of_the_command_line_are_not_kept(argument: str, shown: str) -> None:
    assert redact([argument]) == (shown,)


def test_secrets_inside_a_recipe_are_not_kept_however_deep() -> None:
    recipe = {"engine": {"options": {"hf_token": "abc", "max_num_seqs": 4}}, "model": "ghp_0123456789abc"}
    clean = redact_mapping(recipe)
    assert clean == {"engine": {"options": {"hf_token": "***", "max_num_seqs": 4}}, "model": "***"}


def test_what_the_environment_holds_as_a_secret_is_found_wherever_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef")
    assert redact(["--set", "trainer.options.name=at 0123456789abcdef"]) == ("--set", "trainer.options.name=at ***")
    assert redact_mapping({"engine": {"base_url": "http://0123456789abcdef@host"}}) == {
        "engine": {"base_url": "http://***@host"}
    }
    monkeypatch.setenv("WANDB_API_KEY", 'a "key" of ö')
    assert redact_mapping({"options": ['at a "key" of ö'], "k": 1}) == {"options": ["at ***"], "k": 1}


def test_a_launch_says_on_what_it_runs_and_is_plain_json() -> None:
    launch = capture("name", {"answers": {"k": 1}})
    assert launch.run == "name"
    assert launch.versions["python"]
    assert launch.versions["duckdb"]
    assert launch.hardware["cores"] >= 1
    json.dumps(vars(launch))
    assert capture("name", {}).id != launch.id


def test_no_visible_device_means_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert not has_gpu()
