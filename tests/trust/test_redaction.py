"""Every made-up secret in every way that a text is written; and what must stay readable."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.trust.secrets_corpus import Secret, secrets
from toolkit.config import known_keys, load
from toolkit.redaction import MASK, hidden, redact, redact_file, redact_mapping, secret_name
from toolkit.secret_patterns import KEYS

ROOT = Path(__file__).parents[2]
ALL = secrets()
KINDS = Counter(secret.kind for secret in ALL)
Write = Callable[[Secret], str]


def recall(leaked: Iterable[Secret]) -> str:
    """What a failing test prints: of each kind that leaks, how many of how many were hidden."""
    missed = Counter(secret.kind for secret in leaked)
    return "\n".join(f"{kind}: {KINDS[kind] - n} of {KINDS[kind]} hidden" for kind, n in sorted(missed.items()))


def flag(secret: Secret) -> str:
    return "--" + secret.name.lower().replace("_", "-")


# A secret of a kind that its form gives away, or that brings its own context.
TEXTS: dict[str, Write] = {
    "alone": lambda s: s.text,
    "log line": lambda s: f"2026-01-01 12:00:00 INFO loader: {s.text} was taken",
    "json": lambda s: json.dumps({"message": f"failed: {s.text}", "n": 1}),
    "json in json": lambda s: json.dumps({"body": json.dumps({"message": f"failed {s.text} twice"})}),
    "exception": lambda s: f"ValueError: cannot use {s.text!r} here",
    "spelled lines": lambda s: repr(f"first\n{s.text}\nlast"),
    "quoted": lambda s: f"'{s.text}'",
    "lines": lambda s: f"first\n{s.text}\nlast",
    "markdown": lambda s: f"| a | `{s.text}` |",
}
# Any secret, after its name.
NAMED: dict[str, Write] = {
    "shell": lambda s: f"export {s.name}={shlex.quote(s.value)}",
    "python": lambda s: repr({s.name: s.value, "n": 1}),
    "json": lambda s: json.dumps({"outer": {s.name: s.value}}),
    "json in json": lambda s: json.dumps({"body": json.dumps({s.name: s.value, "n": 1})}),
    "json list": lambda s: json.dumps({f"{s.name}": [s.value, s.value]}),
    "toml": lambda s: f"{s.name} = {json.dumps(s.value)}\nk = 4",
    "yaml": lambda s: f"options:\n  {s.name}: {s.value}\n  k: 4",
    "two words": lambda s: f"python train.py {flag(s)} {s.value} --k 4",
    "one word": lambda s: f"python train.py {flag(s)}={s.value} --k 4",
    "query": lambda s: f"GET https://host.example/v1?a=1&{s.name}={quote(s.value, '')}&b=2",
}


def test_the_corpus_is_as_large_as_it_is_to_be() -> None:
    assert len(ALL) >= 100 and len(KINDS) >= 30
    assert len({secret.value for secret in ALL}) == len(ALL)


@pytest.mark.parametrize("way", TEXTS)
def test_no_secret_stays_in_a_text(way: str) -> None:
    leaked = [secret for secret in ALL if secret.leaks(hidden(TEXTS[way](secret)))]
    assert not leaked, recall(leaked)


@pytest.mark.parametrize("way", NAMED)
def test_no_secret_stays_behind_its_name(way: str) -> None:
    leaked = [secret for secret in ALL if secret.leaks(hidden(NAMED[way](secret)))]
    assert not leaked, recall(leaked)


def test_no_secret_stays_in_arguments() -> None:
    leaked = []
    for secret in ALL:
        setting = f"engine.options.{secret.name}={secret.value}"
        line = ["run", "--set", setting, f"--set={setting}", flag(secret), secret.value, secret.text]
        line += [f"--set=engine.options={json.dumps({secret.name: [secret.value]})}"]
        leaked += [secret] if secret.leaks(" ".join(redact(line))) else []
    assert not leaked, recall(leaked)


def test_models_and_files_that_only_resemble_keys_keep_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = "org/s" + "k-Model7b-Instruct-v2"
    (tmp_path / "my-token=1.toml").touch()
    monkeypatch.chdir(tmp_path)
    line = [
        "run",
        "--model",
        model,
        "--config",
        "my-token=1.toml",
        "--set",
        f"model={model}",
        f"--set=judge.by={model}",
    ]
    assert redact(line) == tuple(line)
    settings = {"model": model, "judge": {"by": model}, "config": {"reference": model}}
    assert redact_mapping(settings) == settings
    monkeypatch.setenv("DB_PASS", "Model7b-Instruct")
    assert MASK in redact(line)[2] and MASK in redact_mapping(settings)["model"]
    monkeypatch.delenv("DB_PASS")
    assert redact(["--model", model.partition("/")[2]]) == ("--model", MASK)


def test_a_login_of_two_words_is_hidden_and_a_user_s_number_is_not() -> None:
    assert redact(["curl", "-u", "me:Pa55word/9", "-u", "1000:1000"]) == ("curl", "-u", f"me:{MASK}", "-u", "1000:1000")


def test_no_secret_stays_in_settings_however_deep() -> None:
    leaked = []
    for secret in ALL:
        below = {secret.name: secret.value, "list": [secret.text], secret.text: 1}
        settings = {"options": below, "credentials": {"a": [secret.value], "b": {"c": secret.value}}}
        leaked += [secret] if secret.leaks(json.dumps(redact_mapping(settings))) else []
    assert not leaked, recall(leaked)


def test_what_the_environment_holds_is_hidden_wherever_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    leaked = []
    for secret in ALL:
        name = secret.name.replace(".", "_").replace("-", "_")
        monkeypatch.setenv(name, secret.value)
        spelled = (secret.value, quote(secret.value, ""), json.dumps(secret.value))
        texts = [f"the server repeated{before}{text}." for text in spelled for before in (" ", "_")]
        leaked += [secret] if any(secret.leaks(hidden(text)) for text in texts) and secret_name(name) else []
        monkeypatch.delenv(name)
    assert not leaked, recall(leaked)


@pytest.mark.parametrize("kind", KEYS)
def test_every_form_is_in_use(kind: str) -> None:
    """A form is a regular expression that compiles and does not match the empty text or a sentence."""
    assert hidden("") == "" and KEYS[kind]


@pytest.mark.parametrize(
    "name",
    [
        "OPENAI_API_KEY", "OPENAI_API_KEYS", "GH_PAT", "DB_PASS", "AZURE_CREDENTIALS", "HF_TOKENS",
        "REDIS_AUTH", "cookie",
        "GOOGLE_CREDENTIAL", "MYSQL_PASSWD", "SSH_PASSPHRASE", "SITE_COOKIE", "SESSION",
        "SIGNING_PRIVATE_KEY", "apiKey",
        "CONNECTION_STRING", "SENTRY_DSN", "PGPASSWORD", "MYSQL_PWD", "API_KEY_2", "TOKEN_PROD", "x-api-key",
        "api_keys",
        "tokens", "credentials", "auth", "passwd", "AccountKey", "SharedAccessKey", "logger.wandb.key", "use_wandb",
        "DOCKER_AUTH_CONFIG_JSON_SECRET", "accessToken", "SECRET_KEY_BASE", "AWS_SESSION_TOKEN", "client_secret",
    ],
)  # fmt: skip
def test_a_secret_s_name_is_known(name: str) -> None:
    assert secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "data.prompt_key", "data.chosen_key", "data.label_key", "chosen_key", "prompt_key", "max_tokens", "new_tokens",
        "prompt_tokens", "eos_token", "pad_token", "special_tokens", "score_tokens",
        "max_num_batched_tokens", "tokenizer",
        "key_variable", "judge.key_variable", "PWD", "OLDPWD", "DESKTOP_SESSION", "XDG_SESSION_ID",
        "SSH_AUTH_SOCK", "monkey",
        "forward_pass", "author", "primary_key", "sort_key", "tokens_per_second", "model", "fingerprint",
        "weights", "path",
        *known_keys(),
    ],
)  # fmt: skip
def test_what_only_sounds_like_a_secret_is_none(name: str) -> None:
    assert not secret_name(name)


@pytest.mark.parametrize(
    "text",
    [
        "tokens: 512, max_tokens: 1024, new_tokens=64", 'eos_token "<|im_end|>"', '{"eos_token": "<|im_end|>"}',
        "--data.prompt_key=prompt --data.chosen_key=chosen", "temperature = 1.0, top_p = 0.9, seed = 42",
        "HuggingFaceTB/SmolLM2-135M-Instruct", "smollm2-135m-instruct", "meta-llama/Llama-3.1-8B-Instruct", "sk-learn",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "guided@2", "20261130T204114-1a2b3c4d",
        "sha256:e3b0c44298fc1c149afbf4c8996fb924", "run key-ablation-3 of password-free-baseline", "use hf_transfer",
        "huggingface_hub.hf_hub_download()", "the token: the last of the prompt", "password: keep it to yourself",
        "set the variable OPENAI_API_KEY, or --set judge.key_variable=OPENAI_API_KEY", "key=len", "tokens=[1, 2, 3]",
        "http://localhost:8000/v1", "http://host:8000/v1/@user", "https://example.com/a?page=2&sort_key=name",
        "Basic understanding of the task", "Bearer of bad news arrived", "wandb==0.16.1",
        "session ended with exit code 1",
        "loss 0.693, accuracy 0.500, gradient 1.2e-05", "trainer.options = {'ds.adam_offload' = true}", "api_key = ''",
        "M_0 -> M_1 on guided@1", "/home/me/.cache/huggingface/token", "HF_TOKEN=${HF_TOKEN}", "OPENAI_API_KEY=EMPTY",
        "author: Ada Lovelace", "git commit eb899b5d0c6f1a2b3c4d5e6f708192a3b4c5d6e7", "the key idea: answers first",
    ],
)  # fmt: skip
def test_what_is_no_secret_stays(text: str) -> None:
    assert hidden(text) == text
    assert redact_mapping({"description": text}) == {"description": text}


def test_nothing_of_recipes_and_documents_is_taken_for_a_secret() -> None:
    paths = [
        path for folder in ("docs", "recipes") for form in ("*.md", "*.toml") for path in (ROOT / folder).rglob(form)
    ]
    paths += list(ROOT.glob("*.md"))
    changed = [path for path in paths if hidden(text := path.read_text(encoding="utf-8")) != text]
    assert len(paths) > 30 and not changed


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.toml")), ids=lambda path: path.stem)
def test_a_redacted_recipe_is_the_same_recipe(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        recipe = load(path)
    except Exception:  # a comparison's file is no single recipe
        pytest.skip("no single recipe")
    monkeypatch.setenv("DB_PASS", "generated")  # a word that a choice of the recipe is, too
    assert type(recipe).model_validate(redact_mapping(recipe.resolved())) == recipe


def test_numbers_are_hidden_where_they_cannot_be_counts() -> None:
    settings = {"password": 12345678, "api_key": 1, "tokens": 512, "keys": 3, "use_wandb": True, "session": 4}
    shown = {"password": MASK, "api_key": MASK, "tokens": 512, "keys": 3, "use_wandb": True, "session": 4}
    assert redact_mapping(settings) == shown


def test_a_file_is_redacted_in_place_for_this_user_alone(tmp_path: Path) -> None:
    log = tmp_path / "child.log"
    log.write_text("\n".join(secret.text for secret in ALL))
    text = redact_file(log)
    assert log.read_text() == text and log.stat().st_mode & 0o777 == 0o600 and list(tmp_path.iterdir()) == [log]
    leaked = [secret for secret in ALL if secret.leaks(text)]
    assert not leaked, recall(leaked)


def test_a_long_text_takes_no_long_time() -> None:
    """Words without an end, addresses and quotes without a close: nothing here goes up with the square."""
    import time

    for part in ("a", "http://", "a=b,", '"', "ey", "-----BEGIN PRIVATE KEY-----", "a:", "token=", "[{", "://a:"):
        started = time.monotonic()
        hidden(part * (100_000 // len(part)))
        assert time.monotonic() - started < 5, part
