"""What others wrote is read, or refused in the toolkit's own words: damaged files, values of the wrong kind, any bytes.

Every error that is none of ours would be a traceback. The examples are always the same ones, but for `make fuzz`, which
draws TOOLKIT_FUZZ new ones for each.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.exchange.test_importing import CHAT, COMPLETIONS, SHAPES
from tests.judgments.test_verdict import cases
from toolkit.config import Prompts, known_keys, load
from toolkit.demonstrations.source import _read as read_demonstrations
from toolkit.engines import checkpoint
from toolkit.engines.toy import write_weights
from toolkit.errors import ToolkitError
from toolkit.evaluation.suite import load_suite
from toolkit.exchange.checkpoints import check_checkpoint
from toolkit.exchange.importing import import_pairs
from toolkit.exchange.manifest import checksums
from toolkit.exchange.published import import_responses, import_scores
from toolkit.judgments.choice import RANKS, Choices, parse_choice
from toolkit.judgments.rubric import load_pair_rubric, load_rubric
from toolkit.judgments.verdict import parse_verdict
from toolkit.prompts.source import load_prompts
from toolkit.recipes.comparison import load_comparison
from toolkit.store.database import Store

ROOT = Path(__file__).parents[1]
bounded = settings(
    derandomize="TOOLKIT_FUZZ" not in os.environ, database=None, deadline=None,
    max_examples=int(os.environ.get("TOOLKIT_FUZZ", 60)),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
HOSTILE = [
    b"\x00", b"\xff", b"\xed\xa0\x80", b"\n", b"\r", b'"', b"{", b"]", b",", b"=", b"null", b"NaN", b"-1e999",
    b"[" * 5000, b'{"a":' * 5000, b"9" * 5000, b"1979-05-27", b"{}", b"\\ud800", b"\xef\xbb\xbf",
]  # fmt: skip
edits = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 40), st.sampled_from(HOSTILE) | st.binary(max_size=6)))
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["\x00", "\ud800", "", "user", 10**400, "Human", "\n\nAssistant: x", [CHAT[0]], COMPLETIONS])
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)
COLUMNS = sorted({key for row, *_ in SHAPES.values() for key in row})
COLUMNS += ["system", "chosen_role", "judge", "pair_id", "chosen_score", "rejected_score", "score", "rating", "output"]
COLUMNS += ["generator", "answer", "messages", "justification", "id", "response", "draw"]
rows = st.tuples(
    st.sampled_from([row for row, *_ in SHAPES.values()]),
    st.dictionaries(st.sampled_from(COLUMNS), values, max_size=4),
    st.sets(st.sampled_from(COLUMNS), max_size=2),
).map(lambda made: {key: value for key, value in {**made[0], **made[1]}.items() if key not in made[2]})
tables = st.lists(rows | values, min_size=1, max_size=3).map(lambda rows: "\n".join(map(json.dumps, rows)).encode())


def damaged(data: bytes, changes: list[tuple[float, int, bytes]]) -> bytes:
    """The bytes with some of them replaced, place after place."""
    for place, length, new in changes:
        start = int(place * len(data))
        data = data[:start] + new + data[start + length :]
    return data


def damages(*originals: bytes) -> Any:
    """Damaged forms of these, or any bytes."""
    return st.builds(damaged, st.sampled_from(originals), edits) | st.binary(max_size=200)


def refused_or_read(read: Callable[[], object]) -> None:
    with suppress(ToolkitError):
        read()


def files(folder: str, pattern: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((ROOT / folder).glob(pattern))]


REPLIES = [reply.encode() for _, reply in cases()]


@bounded
@given(damages(*REPLIES).map(lambda data: data.decode("utf-8", "surrogateescape")), st.sampled_from(["stop", "length"]))
def test_a_damaged_reply_has_a_score_of_its_scale_or_a_reason(reply: str, finish: Any) -> None:
    verdict = parse_verdict(reply, finish, (0, 5))
    assert verdict.score is None or 0 <= verdict.score <= 5
    assert bool(verdict.reason) == (verdict.score is None)
    for form in (RANKS, "Better: {choice}", "{choice}"):
        parse_choice(reply, finish, Choices(form, "A", "B", "tie"))


TOML = [*files("recipes", "*.toml"), *files("benchmarks/suites", "*.toml")]


@bounded
@given(damages(*TOML))
@example(b"k = " + b"[" * 5000)
@example(b"k = " + b"9" * 5000)
@example(b"recipe = [1]\n[temporal]\nrecipe = [1]")
@example(b"common = 1\n[temporal]\niterations = 2")
@example(b"[a]\nkind = 'lm_eval'\ndata = '\\u0000'")
def test_a_damaged_recipe_comparison_or_suite_is_refused_in_our_words(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "r.toml"
    path.write_bytes(data)
    for reader in (load, load_comparison, load_suite):
        refused_or_read(lambda reader=reader: reader(path))


@bounded
@given(st.sampled_from(known_keys()) | st.text(max_size=12), st.text(max_size=12) | values.map(json.dumps))
@example("answers.k", "9" * 5000)
@example("answers.k", "[" * 5000)
@example("engine.options", "true")
@example("trainer.options", '["ds.param_dtype"]')
@example("engine.options", '{"dtype": ["bf16"]}')
def test_any_override_is_taken_or_refused_in_our_words(tmp_path: Path, key: str, value: str) -> None:
    path = tmp_path / "r.toml"
    path.write_text("iterations = 2\n")
    refused_or_read(lambda: load(path, [f"{key}={value}"]))


@pytest.fixture
def store() -> Iterator[Store]:
    with Store(None) as opened:
        yield opened


LINES = ["\n".join([json.dumps(row)] * 2).encode() for row, *_ in SHAPES.values()]


@bounded
@given(damages(*LINES) | tables, st.sampled_from([".jsonl", ".json", ".csv", ".jsonl.gz", ".parquet"]))
@example(b'{"prompt": "a", "chosen": "b", "rejected": "c", "score_chosen": 1' + b"0" * 400 + b"}", ".jsonl")
def test_a_damaged_file_of_pairs_is_imported_or_refused_and_leaves_a_whole_store(
    store: Store, tmp_path: Path, data: bytes, suffix: str
) -> None:
    path = tmp_path / f"d{suffix}"
    path.write_bytes(data)
    for act in (
        lambda: import_pairs(store, path, "set", "L"),
        lambda: import_responses(store, path, "m", "past", "L"),
        lambda: import_scores(store, path, "j", "L"),
    ):
        refused_or_read(act)
    assert store.query("SELECT 1 AS one FROM pair_contents WHERE stored IS DISTINCT FROM content") == []
    refused_or_read(lambda: read_demonstrations([str(path)]))


@bounded
@given(damages(b'{"prompt": "a"}\n{"messages": [{"role": "user", "content": "b"}]}\n') | tables)
@example(b'{"prompt": 1' + b"0" * 5000 + b"}")
def test_damaged_prompts_are_read_or_refused_with_their_place(tmp_path: Path, data: bytes) -> None:
    for name in ("p.jsonl", "p.txt"):
        (tmp_path / name).write_bytes(data)
        refused_or_read(lambda name=name: load_prompts(Prompts(source=str(tmp_path / name))))  # type: ignore[call-arg]


@bounded
@given(damages(*files("toolkit/judgments/rubrics", "*.txt")))
@example(b"scale: 0-" + b"9" * 5000 + b"\n[user]\n{instruction} {response} {fence}")
def test_a_damaged_rubric_is_refused_in_our_words(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "r.txt"
    path.write_bytes(data)
    refused_or_read(lambda: load_rubric(str(path)))
    refused_or_read(lambda: load_pair_rubric(str(path)))


@bounded
@given(st.dictionaries(st.sampled_from(["files", "rows", "shape", "made_by", "fingerprint"]), values, max_size=3))
def test_a_damaged_manifest_or_seal_is_refused_in_our_words(store: Store, tmp_path: Path, changes: Any) -> None:
    (tmp_path / "pairs.jsonl").write_bytes(LINES[-1])
    manifest = {"pair_set": "s@1", "fingerprint": "f", "rows": 1, "message": "", "models": [], "toolkit_version": "0"}
    manifest |= {"shape": "plain", "columns": [], "made_by": "temporal-toolkit"}
    manifest["files"] = checksums(tmp_path, ["pairs.jsonl"])
    (tmp_path / "manifest.json").write_text(json.dumps(manifest | changes))
    refused_or_read(lambda: import_pairs(store, tmp_path / "pairs.jsonl", "set", "L"))
    seal = {"model": "m", "name": "n", "weights": "w", "template": "t", "toolkit_version": "0", "made_by": "x"}
    (tmp_path / "checkpoint.json").write_text(json.dumps(seal | {"files": {}} | changes))
    (tmp_path / "config.json").write_text("{}")
    write_weights(tmp_path / "model.safetensors")
    refused_or_read(lambda: check_checkpoint(tmp_path))


CHECKPOINT = ["config.json", "tokenizer_config.json", "generation_config.json", "model.safetensors"]
CHECKPOINT += ["model.safetensors.index.json", "chat_template.jinja"]


@pytest.mark.parametrize("name", CHECKPOINT)
@bounded
@given(data=st.data())
def test_a_damaged_checkpoint_is_refused_in_our_words(tmp_path: Path, name: str, data: Any) -> None:
    for made in tmp_path.iterdir():
        made.unlink()
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    write_weights(tmp_path / "model.safetensors")
    file = tmp_path / name
    good = file.read_bytes() if file.exists() else b'{"weight_map": {"w": "model.safetensors"}}'
    file.write_bytes(data.draw(damages(good) | values.map(json.dumps).map(str.encode)))

    def known() -> None:
        checkpoint.verify(tmp_path)
        checkpoint.template_digest(tmp_path)
        checkpoint.has_template(tmp_path)

    refused_or_read(known)
