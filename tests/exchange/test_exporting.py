"""Every export shape comes back as it left, whatever the texts; drift is found; a killed export leaves nothing."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import textwrap
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from toolkit.errors import InputError, RecipeError
from toolkit.exchange import exporting
from toolkit.exchange.exporting import export_pairs
from toolkit.exchange.importing import import_pairs
from toolkit.exchange.layouts import EXTRA, LAYOUTS
from toolkit.pairs.versions import freeze
from toolkit.records import Model, Pair, PairSet, Prompt, Response, Role, Sampling, pair_content
from toolkit.store.database import Store

NAMES = [layout.shape for layout in LAYOUTS]
BASE = Model("M_0", "models/base", "weights", "template-digest")
SAMPLING = Sampling(0.7, 0.9, 16)
ODD = ["", " ", "\n", "\r\n", "\r", " a ", '"', "'", "\\", "\x00", "\u2028", "\x85", "<|im_end|>", "\n\nAssistant: x",
       "\n\nHuman:", "é", "é", "😀", "\u202e", "a,b\n", "None", "null", "{}", "[]", "\ufeff", "\ufdd0"]  # fmt: skip
texts = st.one_of(st.sampled_from(ODD), st.lists(st.sampled_from(ODD), max_size=4).map("".join), st.text(max_size=12))
turns = st.tuples(st.sampled_from(["user", "assistant", "system"]), texts)
scores = st.one_of(
    st.just((None, None)),
    st.tuples(st.floats(-10, 10), st.floats(0.001, 10)).map(lambda it: (round(it[0] + it[1], 9), round(it[0], 9))),
)
roles = st.sampled_from(["past", "present", "future", "unknown"])
rows = st.tuples(st.lists(turns, max_size=3), texts, texts, texts, scores, roles, roles)


def frozen(store: Store, name: str, *said: tuple[Any, ...]) -> PairSet:
    """Generated answers as a recipe makes them, from rows (history, prompt, chosen, rejected, scores, roles)."""
    store.add([BASE], launch="L")
    pairs = {}
    for history, text, chosen, rejected, (high, low), one, other in said:
        prompt = Prompt(text, "made", tuple(history))
        sides = [answer(prompt, chosen, one, 0), answer(prompt, rejected, other, 1)]
        content = pair_content(prompt.id, (chosen, rejected), (high, low), (one, other))
        pair = Pair(prompt.id, sides[0].id, sides[1].id, high, low, one, other, BASE.id if high else None, content)
        store.add([prompt], launch="L")
        store.add(sides, launch="L")
        pairs[prompt.id] = pair
    return freeze(store, PairSet(name, 0, 1, tuple(pairs.values()), message="made"), "L")[0]


def answer(prompt: Prompt, text: str, role: Role, draw: int) -> Response:
    seed = zlib.crc32(text.encode())
    return Response(prompt.id, BASE.id, role, draw, SAMPLING, seed, text=text, tokens=1, prompt_tokens=1, finish="stop")


ROW = ([("user", "Hi"), ("assistant", "Yes")], " Why?\n", " good\r\n", "bad\n\n", (4.5, 1.0), "future", "past")
ANOTHER = ([], "Who?", "me", "you", (None, None), "unknown", "unknown")


@pytest.fixture
def store() -> Iterator[Store]:
    with Store(None) as opened:
        yield opened


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.mark.parametrize("shape", NAMES)
@given(said=st.lists(rows, min_size=1, max_size=4))
@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_export_comes_back_with_the_fingerprint_it_left_with(folder: Path, shape: str, said: list[Any]) -> None:
    with Store(None) as store, Store(None) as empty:
        left = frozen(store, "set", *said)
        target = export_pairs(store, "set", folder / shape, shape)
        again, _, counts = import_pairs(store, target, "again", "L2")
        elsewhere, _, _ = import_pairs(empty, target, "set", "L")
        shutil.rmtree(target)
        assert left.fingerprint == again.fingerprint == elsewhere.fingerprint
        assert {pair.id for pair in again.pairs} == {pair.id for pair in left.pairs}
        assert not counts
        assert texts_of(store, "set@1") == texts_of(empty, "set@1")


def texts_of(store: Store, version: str) -> list[dict[str, Any]]:
    return store.query(
        "SELECT p.history, p.text, x.chosen_text, x.rejected_text, x.chosen_score, x.rejected_score, x.chosen_role "
        "FROM pairs x JOIN prompt p ON p.id = x.prompt WHERE x.pair_set = ? ORDER BY ALL",
        [version],
    )


@pytest.mark.parametrize("shape", NAMES)
def test_a_store_that_knows_the_ids_keeps_its_own_pairs_and_answers(store: Store, tmp_path: Path, shape: str) -> None:
    left = frozen(store, "set", ROW, ANOTHER)
    before = {table: store.query(f"FROM {table} ORDER BY ALL") for table in ("prompt", "response", "pair", "model")}
    again, found, _ = import_pairs(store, export_pairs(store, "set", tmp_path / "out", shape), "again", "L2")
    assert not found
    assert set(again.pairs) == set(left.pairs)
    assert {table: store.query(f"FROM {table} ORDER BY ALL") for table in before} == before


def test_an_edited_answer_is_a_new_one_and_the_other_side_keeps_its_lineage(store: Store, tmp_path: Path) -> None:
    left = frozen(store, "set", ROW)
    path = export_pairs(store, "set", tmp_path / "out", "jsonl") / "pairs.jsonl"
    (path.parent / "manifest.json").unlink()
    row = json.loads(path.read_text()) | {"chosen": "edited"}
    path.write_text(json.dumps(row))
    edited, _, _ = import_pairs(store, path, "edited", "L2")
    assert edited.pairs[0].rejected == left.pairs[0].rejected
    assert edited.pairs[0].chosen != left.pairs[0].chosen
    assert edited.pairs[0].id != left.pairs[0].id


@pytest.mark.parametrize("shape", NAMES)
def test_every_export_carries_the_extra_columns_and_a_manifest(store: Store, tmp_path: Path, shape: str) -> None:
    left = frozen(store, "set", ROW, ANOTHER)
    target = export_pairs(store, "set@1", tmp_path / "out", shape)
    manifest = json.loads((target / "manifest.json").read_text())
    assert (manifest["pair_set"], manifest["fingerprint"], manifest["rows"]) == ("set@1", left.fingerprint, 2)
    assert manifest["models"] == [{"name": "M_0", "id": BASE.id, "template": "template-digest"}]
    assert (manifest["shape"], manifest["message"]) == (shape, "made")
    assert set(EXTRA) <= set(manifest["columns"])
    assert not list(tmp_path.glob(".*"))
    if (target / "pairs.jsonl").exists():
        rows = [json.loads(line) for line in (target / "pairs.jsonl").open()]
        assert all(list(row) == manifest["columns"] for row in rows)
        (scored,) = [row for row in rows if row["chosen_score"]]
        assert (scored["chosen_role"], scored["rejected_model"], scored["judge"]) == ("future", "M_0", "M_0")


@pytest.mark.parametrize("shape", ["openrlhf", "trl", "hf"])
def test_what_a_trainer_renders_ends_in_the_very_answer(
    store: Store, tmp_path: Path, tiny_model: Path, shape: str
) -> None:
    """As openrlhf.datasets.reward_dataset.preprocess_data of OpenRLHF 0.11.2 does with --data.apply_chat_template."""
    datasets, transformers = pytest.importorskip("datasets"), pytest.importorskip("transformers")
    frozen(store, "set", ROW)
    target = export_pairs(store, "set", tmp_path / "out", shape)
    if shape == "hf":
        (row,) = datasets.load_from_disk(str(target))
    else:
        cache = str(tmp_path / "cache")
        (row,) = datasets.load_dataset("json", data_files=str(target / "pairs.jsonl"), split="train", cache_dir=cache)
    render = transformers.AutoTokenizer.from_pretrained(tiny_model).apply_chat_template
    prompt = render(row["prompt"], tokenize=False, add_generation_prompt=True)
    chosen = render(row["prompt"] + row["chosen"], tokenize=False)[len(prompt) :]
    assert chosen == " good\r\n<|im_end|>\n"
    assert prompt.endswith("<|im_start|>user\n Why?\n<|im_end|>\n<|im_start|>assistant\n")


def test_llama_factory_finds_its_turns(store: Store, tmp_path: Path) -> None:
    frozen(store, "set", ROW)
    row = json.loads((export_pairs(store, "set", tmp_path / "out", "sharegpt") / "pairs.jsonl").read_text())
    assert [turn["from"] for turn in row["conversations"]] == ["human", "gpt", "human"]
    assert row["chosen"] == {"from": "gpt", "value": " good\r\n"}


def test_llama_factory_reads_the_folder_as_it_is(store: Store, tmp_path: Path) -> None:
    """As llamafactory/data/parser.py and converter.py do: the data set by name, its file, then its columns by name."""
    frozen(store, "set", ROW, ANOTHER)
    folder = export_pairs(store, "set", tmp_path / "out", "sharegpt")
    ((name, told),) = json.loads((folder / "dataset_info.json").read_text()).items()
    assert (name, told["formatting"], told["ranking"]) == ("set", "sharegpt", True)
    rows = [json.loads(line) for line in (folder / told["file_name"]).open()]
    assert len(rows) == 2
    for row in rows:
        sides = [row[told["columns"][side]] for side in ("chosen", "rejected")]
        assert all(side["from"] == "gpt" for side in sides)
        words = [turn["from"] for turn in row[told["columns"]["messages"]]]
        assert words == ["human", "gpt"] * (len(words) // 2) + ["human"]
    assert export_pairs(store, "set", folder, "trl") == folder, "an export of ours, so it may be replaced"
    assert not (folder / "dataset_info.json").exists()


def test_a_dataset_info_that_no_export_wrote_is_not_overwritten(store: Store, tmp_path: Path) -> None:
    frozen(store, "set", ROW)
    folder = export_pairs(store, "set", tmp_path / "out", "trl")
    (folder / "dataset_info.json").write_text("mine")
    with pytest.raises(InputError, match="not from an earlier export"):
        export_pairs(store, "set", folder, "sharegpt")


def test_the_same_version_gives_the_same_bytes(store: Store, tmp_path: Path) -> None:
    frozen(store, "set", ROW, ANOTHER)
    one, two = (export_pairs(store, "set", tmp_path / name, "jsonl") / "pairs.jsonl" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_an_export_in_batches_is_whole(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "BATCH", 3)
    left = frozen(store, "set", *[([], f"q{i}", "a", "b", (2.0, 1.0), "present", "past") for i in range(10)])
    for shape in NAMES:
        made, _, _ = import_pairs(store, export_pairs(store, "set", tmp_path / shape, shape), "again", "L")
        assert (made.fingerprint, len(made.pairs)) == (left.fingerprint, 10)


@pytest.mark.parametrize("name", ["pairs.jsonl", "pairs.parquet"])
def test_a_file_may_be_named_instead_of_a_folder(store: Store, tmp_path: Path, name: str) -> None:
    left = frozen(store, "set", ROW, ANOTHER)
    shape = "parquet" if name.endswith("parquet") else "trl"
    for _ in range(2):
        path = export_pairs(store, "set", tmp_path / name, shape)
        assert sorted(p.name for p in tmp_path.glob("[!.]*")) == ["manifest.json", name]
    assert import_pairs(store, path, "again", "L")[0].fingerprint == left.fingerprint
    with pytest.raises(InputError, match=r"\.csv"):
        export_pairs(store, "set", tmp_path / "pairs.csv", shape)


@pytest.mark.parametrize("shape", NAMES)
def test_drift_from_the_manifest_is_an_error(store: Store, tmp_path: Path, shape: str) -> None:
    frozen(store, "set", ROW, ANOTHER)
    target = export_pairs(store, "set", tmp_path / "out", shape)
    data = next(path for path in target.iterdir() if path.suffix in {".jsonl", ".parquet", ".arrow"})
    data.write_bytes(data.read_bytes().replace(b"bad", b"sad"))
    with pytest.raises(InputError, match="another sha256"):
        import_pairs(store, target, "again", "L")
    data.unlink()
    with pytest.raises(InputError, match="is missing"):
        import_pairs(store, target, "again", "L")


@pytest.mark.parametrize(("field", "value"), [("rows", 3), ("fingerprint", "0" * 24)])
def test_a_manifest_that_promises_other_pairs_is_an_error(
    store: Store, tmp_path: Path, field: str, value: object
) -> None:
    frozen(store, "set", ROW, ANOTHER)
    target = export_pairs(store, "set", tmp_path / "out", "trl")
    path = target / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(InputError, match="has drifted"):
        import_pairs(store, target, "again", "L")
    assert store.query("FROM pair_set WHERE name = 'again'") == []


def test_what_no_export_wrote_is_not_overwritten(store: Store, tmp_path: Path) -> None:
    frozen(store, "set", ROW)
    own = tmp_path / "own"
    own.mkdir()
    export_pairs(store, "set", own, "trl")
    (own / "notes.txt").write_text("mine")
    (tmp_path / "data.jsonl").write_text("mine")
    (tmp_path / "plain").write_text("mine")
    for target in (own, tmp_path / "data.jsonl", tmp_path / "plain"):
        with pytest.raises(InputError, match="not from an earlier export"):
            export_pairs(store, "set", target, "trl")
    assert (own / "notes.txt").read_text() == (tmp_path / "data.jsonl").read_text() == "mine"


def test_an_earlier_export_is_replaced_in_another_shape(store: Store, tmp_path: Path) -> None:
    frozen(store, "set", ROW)
    for shape in ("hf", "parquet", "trl", "hf"):
        target = export_pairs(store, "set", tmp_path / "out", shape)
        assert json.loads((target / "manifest.json").read_text())["shape"] == shape
        assert f"shape {shape}\n" in (target / "README.md").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("shape", NAMES)
def test_the_lines_of_a_card_read_the_pairs_beside_it(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: str
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    frozen(store, "set", ROW, ANOTHER)
    target = export_pairs(store, "set", tmp_path / "out", shape)
    told, _, lines = (target / "README.md").read_text().rpartition("## Reading it\n")
    read: dict[str, Any] = {}
    exec(textwrap.dedent(lines).replace("this folder", str(target)), read)
    columns = json.loads((target / "manifest.json").read_text())["columns"]
    assert (read["pairs"].num_rows, read["pairs"].column_names) == (2, columns)
    (said,) = re.findall("(.+) are what trainers read", told)
    assert re.findall("`(.+?)`", said) == [name for name in columns if name not in EXTRA]


@pytest.mark.parametrize("shape", ["trl", "hf"])
def test_a_card_that_somebody_completed_is_not_overwritten(store: Store, tmp_path: Path, shape: str) -> None:
    frozen(store, "set", ROW)
    card = export_pairs(store, "set", tmp_path / "out", shape) / "README.md"
    card.write_text(card.read_text() + "Licence: mine\n")
    with pytest.raises(InputError, match=r"README\.md is not from an earlier export to this place, or was completed"):
        export_pairs(store, "set", tmp_path / "out", shape)
    assert card.read_text().endswith("Licence: mine\n")


def test_an_export_into_a_file_leaves_the_readme_beside_it_alone(store: Store, tmp_path: Path) -> None:
    frozen(store, "set", ROW)
    (tmp_path / "README.md").write_text("mine")
    for _ in range(2):
        export_pairs(store, "set", tmp_path / "pairs.jsonl", "trl")
    assert (tmp_path / "README.md").read_text() == "mine"
    with pytest.raises(InputError, match=r"README\.md is not from an earlier export"):
        export_pairs(store, "set", tmp_path, "trl")


@pytest.mark.parametrize("target", ["out", "out.jsonl"])
def test_a_killed_export_leaves_the_earlier_one(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    frozen(store, "set", ROW)
    export_pairs(store, "set", tmp_path / target, "trl")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    frozen(store, "set", ROW, ANOTHER)

    def dies(*arguments: object) -> Iterator[Any]:
        yield []
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(exporting, "_batches", dies)
        with pytest.raises(KeyboardInterrupt):
            export_pairs(store, "set", tmp_path / target, "trl")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_what_a_killed_export_left_is_cleared_away(store: Store, tmp_path: Path) -> None:
    frozen(store, "set", ROW)
    export_pairs(store, "set", tmp_path / "out", "trl")
    for left in (".temporal-toolkit-export-abcd1234", ".out.partial"):
        (tmp_path / left).mkdir()
        (tmp_path / left / "pairs.jsonl").write_text("half")
    export_pairs(store, "set", tmp_path / "out", "trl")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.partial", "out"]  # the second may be anybody's


def test_an_unknown_shape_or_version_is_named(store: Store, tmp_path: Path) -> None:
    frozen(store, "set", ROW)
    with pytest.raises(RecipeError, match="no export shape 'xlsx'"):
        export_pairs(store, "set", tmp_path / "out", "xlsx")
    with pytest.raises(InputError, match="no version '7' of set"):
        export_pairs(store, "set@7", tmp_path / "out", "trl")
