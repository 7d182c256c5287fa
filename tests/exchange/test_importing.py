"""Rows of every shape, each reason for setting one aside, and what a stopped or repeated import leaves."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from toolkit.errors import InputError, RecipeError
from toolkit.exchange import importing
from toolkit.exchange.importing import find_shape, import_pairs
from toolkit.records import Model, PairSet, Prompt, Response
from toolkit.store.database import Store

HH = "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Why?\n\nAssistant:"
TURNS = (("user", "Hi"), ("assistant", "Hello"), ("user", "Why?"))
CHAT = [{"role": role, "content": content} for role, content in TURNS]
GOOD, BAD = ({"role": "assistant", "content": text} for text in ("good", "bad"))
PLAIN = {"prompt": "Why?", "chosen": "good", "rejected": "bad"}


def completion(text: str, ratings: Sequence[str], overall: float | None, model: str) -> dict[str, Any]:
    aspects = ("helpfulness", "honesty", "instruction_following", "truthfulness")
    annotations = {aspect: {"Rating": rating} for aspect, rating in zip(aspects, ratings, strict=False)}
    return {"response": text, "model": model, "annotations": annotations, "overall_score": overall}


COMPLETIONS = [
    completion("middle", "4444", 7.0, "m"),
    completion("bad", "1111", 10.0, "w"),
    completion("good", "5554", 8.5, "b"),
]
ONE = (("user", "Why?"),)
NONE = (None, None)
SHAPES: dict[str, tuple[dict[str, Any], Any, Any, Any]] = {
    "hh-rlhf": ({"chosen": f"{HH} good", "rejected": f"{HH} bad"}, TURNS, NONE, NONE),
    "ultrafeedback": (
        {"prompt": "Why?", "chosen": [CHAT[2], GOOD], "rejected": [CHAT[2], BAD],
         "score_chosen": 8.5, "score_rejected": 3},
        ONE, (8.5, 3.0), NONE,
    ),
    "ultrafeedback-raw": ({"instruction": "Why?", "completions": COMPLETIONS}, ONE, (4.75, 1.0), ("b", "w")),
    "distilabel": (
        {"instruction": "Why?", "generations": ["bad", "x", "good"], "ratings": [1, None, 4.5],
         "generation_models": ["w", "n", "b"]},
        ONE, (4.5, 1.0), ("b", "w"),
    ),
    "sharegpt": (
        {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"},
                           {"from": "human", "value": "Why?"}],
         "chosen": {"from": "gpt", "value": "good"}, "rejected": {"from": "gpt", "value": "bad"}},
        TURNS, NONE, NONE,
    ),
    "trl": ({"prompt": CHAT, "chosen": [GOOD], "rejected": [BAD]}, TURNS, NONE, NONE),
    "trl-implicit": ({"chosen": [*CHAT, GOOD], "rejected": [*CHAT, BAD]}, TURNS, NONE, NONE),
    "plain": (
        PLAIN | {"history": CHAT[:2], "chosen_rating": 2, "rejected_rating": 1,
                 "chosen-model": "b", "rejected-model": "w"},
        TURNS, (2.0, 1.0), ("b", "w"),
    ),
}  # fmt: skip


@pytest.fixture
def store() -> Iterator[Store]:
    with Store(None) as opened:
        yield opened


def write(path: Path, *rows: object) -> Path:
    """JSON lines; a text is written as it is."""
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def said(store: Store, made: PairSet) -> list[tuple[Any, ...]]:
    """(turns, sides, scores, models) of every pair, as the store holds them."""
    found = []
    for pair in made.pairs:
        prompt = store.find(Prompt, [pair.prompt])[pair.prompt]
        answers = store.find(Response, [pair.chosen, pair.rejected])
        sides = [answers[identifier] for identifier in (pair.chosen, pair.rejected)]
        models = store.find(Model, [side.model for side in sides])
        names = tuple(models[side.model].name for side in sides)
        turns = (*prompt.history, ("user", prompt.text))
        found.append((turns, tuple(s.text for s in sides), (pair.chosen_score, pair.rejected_score), names))
    return found


def aside(store: Store) -> list[tuple[str, str]]:
    rows = store.query("SELECT place, reason FROM rejected_row ORDER BY place")
    return [(row["place"], row["reason"]) for row in rows]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_row_of_each_shape_is_found_and_says_what_it_says(store: Store, tmp_path: Path, shape: str) -> None:
    row, turns, scores, models = SHAPES[shape]
    path = write(tmp_path / "d.jsonl", row)
    made, found, counts = import_pairs(store, path, "set", "L")
    names = tuple(name or "unknown" for name in models)
    assert said(store, made) == [(turns, ("good", "bad"), scores, names)]
    assert (find_shape(path), found, dict(counts)) == (shape, False, {})
    assert f"as {shape}" in made.message


def test_an_imported_answer_claims_no_sampling_role_or_judge(store: Store, tmp_path: Path) -> None:
    made, _, _ = import_pairs(store, write(tmp_path / "d.jsonl", PLAIN), "set", "L")
    answer = store.find(Response, [made.pairs[0].chosen])[made.pairs[0].chosen]
    assert (answer.sampling, answer.seed, answer.role, answer.tokens) == (None, None, "unknown", None)
    assert made.pairs[0].judge is None
    assert store.query("SELECT source FROM prompt") == [{"source": "d.jsonl:1"}]


def test_a_role_and_a_judge_that_the_file_tells_are_kept(store: Store, tmp_path: Path) -> None:
    row = PLAIN | {"chosen_role": "future", "rejected_role": "assistant", "judge": "J"}
    made, _, _ = import_pairs(store, write(tmp_path / "d.jsonl", row), "set", "L")
    (pair,) = made.pairs
    assert (pair.chosen_role, pair.rejected_role, pair.judge) == ("future", "unknown", Model.external("J").id)


@pytest.mark.parametrize(
    "row",
    [PLAIN, {"prompt": CHAT, "chosen": [GOOD], "rejected": [BAD]}, {"chosen": [*CHAT, GOOD], "rejected": [*CHAT, BAD]}],
)
def test_openrlhf_rows_are_read_with_and_without_a_prompt(store: Store, tmp_path: Path, row: object) -> None:
    made, _, _ = import_pairs(store, write(tmp_path / "d.jsonl", row), "set", "L", shape="openrlhf")
    assert said(store, made)[0][1] == ("good", "bad")


def test_overall_scores_rank_only_where_fine_grained_ones_are_missing(store: Store, tmp_path: Path) -> None:
    answers = [completion("bad", ["N/A"], 3.0, "w"), completion("good", [], 6.0, "b")]
    path = write(tmp_path / "d.jsonl", {"instruction": "Why?", "completions": answers})
    made, _, _ = import_pairs(store, path, "set", "L")
    assert said(store, made) == [(ONE, ("good", "bad"), (6.0, 3.0), ("b", "w"))]


FLAWS: list[tuple[str, object]] = [
    ("broken_json", '{"prompt": "Why?", "chosen": '),
    ("broken_json", '["a", "list"]'),
    ("broken_json", "[" * 100_000),
    ("missing_field", {"prompt": "Why?", "chosen": "good"}),
    ("missing_field", PLAIN | {"rejected": None}),
    ("missing_field", PLAIN | {"score_chosen": "high", "score_rejected": 1}),
    ("missing_field", PLAIN | {"score_chosen": float("nan"), "score_rejected": 1}),
    ("missing_field", PLAIN | {"chosen": [CHAT[0]]}),
    ("prompt_mismatch", {"chosen": [*CHAT, GOOD], "rejected": [CHAT[0], BAD]}),
    ("prompt_mismatch", {"prompt": "Where?", "chosen": [*CHAT, GOOD], "rejected": [*CHAT, BAD]}),
    ("empty_prompt", PLAIN | {"prompt": " \n"}),
    ("empty_prompt", {"prompt": CHAT[:2], "chosen": [GOOD], "rejected": [BAD]}),
    ("empty_side", PLAIN | {"chosen": ""}),
    ("empty_side", PLAIN | {"rejected": "\t\n"}),
    ("identical_sides", PLAIN | {"rejected": "good"}),
    ("identical_sides", PLAIN | {"rejected": "good\n\n"}),
    ("not_ordered", PLAIN | {"score_chosen": 1, "score_rejected": 1.0}),
    ("not_ordered", PLAIN | {"score_chosen": 1, "score_rejected": 2}),
    ("duplicate", {"prompt": "first", "chosen": "good", "rejected": "bad", "score_chosen": 2, "score_rejected": 1}),
    ("bad_text", PLAIN | {"chosen": "nul \x00"}),
    ("bad_text", '{"prompt": "Why?", "chosen": "half \\ud83d", "rejected": "bad"}'),
]


@pytest.mark.parametrize(("reason", "row"), FLAWS)
def test_a_row_that_is_no_pair_is_kept_with_its_reason(store: Store, tmp_path: Path, reason: str, row: object) -> None:
    first, last = PLAIN | {"prompt": "first"}, PLAIN | {"prompt": "last"}
    path = write(tmp_path / "d.jsonl", first, row, last)
    made, _, counts = import_pairs(store, path, "set", "L", shape="openrlhf")
    assert (len(made.pairs), dict(counts)) == (2, {reason: 1})
    kept = store.query("FROM rejected_row")
    assert [(r["pair_set"], r["place"], r["reason"], r["launch"]) for r in kept] == [
        ("set@1", "d.jsonl:2", reason, "L")
    ]
    assert kept[0]["row"] == path.read_text().splitlines()[1]


def test_a_tie_among_rated_answers_is_not_ordered(store: Store, tmp_path: Path) -> None:
    tied = {"instruction": "Tie?", "generations": ["a", "b"], "ratings": [3, 3]}
    single = {"instruction": "One?", "generations": ["a", "b"], "ratings": [3, None]}
    path = write(tmp_path / "d.jsonl", SHAPES["distilabel"][0], tied, single)
    _, _, counts = import_pairs(store, path, "set", "L")
    assert counts == {"not_ordered": 1, "missing_field": 1}


def test_bytes_that_are_no_utf8_set_one_row_aside(store: Store, tmp_path: Path) -> None:
    path = write(tmp_path / "d.jsonl", PLAIN)
    path.write_bytes(path.read_bytes() + b'{"prompt": "\xff", "chosen": "a", "rejected": "b"}\r\n')
    _, _, counts = import_pairs(store, path, "set", "L")
    assert counts == {"bad_text": 1}
    assert "\\udcff" in store.query("SELECT row FROM rejected_row")[0]["row"]


def test_half_a_billionth_gives_one_fingerprint_in_python_and_in_sql(store: Store, tmp_path: Path) -> None:
    row = PLAIN | {"score_chosen": 1 + 2**-10, "score_rejected": 2**-10}
    made, _, _ = import_pairs(store, write(tmp_path / "d.jsonl", row), "set", "L")
    contents = store.query("SELECT stored = content AS same FROM pair_contents")
    assert (contents, made.pairs[0].chosen_score) == ([{"same": True}], 1.000976562)


def test_the_same_file_again_makes_no_version_and_no_double_rows(store: Store, tmp_path: Path) -> None:
    path = write(tmp_path / "d.jsonl", PLAIN, "broken", PLAIN)
    first, _, _ = import_pairs(store, path, "set", "L1")
    tables = ("prompt", "response", "pair", "pair_set", "pair_set_change", "rejected_row", "model")
    before = {table: store.query(f"FROM {table} ORDER BY ALL") for table in tables}
    second, found, counts = import_pairs(store, path, "set", "L2", message="again")
    assert found
    assert (second, counts) == (first, {"broken_json": 1, "duplicate": 1})
    assert {table: store.query(f"FROM {table} ORDER BY ALL") for table in tables} == before


def test_an_import_that_stops_half_way_leaves_nothing(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [PLAIN | {"prompt": str(i)} for i in range(9)]
    path = write(tmp_path / "d.jsonl", "broken", *rows)
    adopt, calls = importing.adopt, []

    def dies(*arguments: Any) -> list[str]:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return adopt(*arguments)

    monkeypatch.setattr(importing, "BATCH", 3)
    monkeypatch.setattr(importing, "adopt", dies)
    with pytest.raises(KeyboardInterrupt):
        import_pairs(store, path, "set", "L")
    for table in ("prompt", "response", "pair", "pair_set", "rejected_row", "model"):
        assert store.query(f"FROM {table}") == []
    made, found, _ = import_pairs(store, path, "set", "L")
    assert (made.id, len(made.pairs), found) == ("set@1", 9, False)


def test_a_duplicate_is_found_across_batches(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "BATCH", 2)
    rows = [PLAIN | {"prompt": str(i % 5)} for i in range(7)]
    made, _, _ = import_pairs(store, write(tmp_path / "d.jsonl", *rows), "set", "L")
    assert (len(made.pairs), aside(store)) == (5, [("d.jsonl:6", "duplicate"), ("d.jsonl:7", "duplicate")])


def test_no_pair_at_all_is_an_error_with_the_counts(store: Store, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2 broken_json, 1 empty_side"):
        import_pairs(store, write(tmp_path / "d.jsonl", "x", "y", PLAIN | {"chosen": ""}), "set", "L")
    with pytest.raises(InputError, match="no rows"):
        import_pairs(store, write(tmp_path / "empty.jsonl"), "set", "L")
    assert store.query("FROM rejected_row") == []


def test_an_unknown_shape_names_the_columns_found(store: Store, tmp_path: Path) -> None:
    path = write(tmp_path / "d.jsonl", {"query": "q", "better": "a"}, {"query": "q", "worse": "b"})
    with pytest.raises(InputError, match="query, better, worse"):
        import_pairs(store, path, "set", "L")
    with pytest.raises(RecipeError, match="no shape 'hh'"):
        import_pairs(store, path, "set", "L", shape="hh")


NASTY = PLAIN | {"prompt": ' "q", \r\nnext\u2028line ', "chosen": "a\rb, 'c'\n", "rejected": "<|im_end|>😀"}


def test_every_kind_of_file_gives_the_same_set(store: Store, tmp_path: Path) -> None:
    datasets, parquet = pytest.importorskip("datasets"), pytest.importorskip("pyarrow.parquet")
    rows = [NASTY, PLAIN]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + text)
    (tmp_path / "lines.json").write_bytes(text)
    (tmp_path / "array.json").write_text(json.dumps(rows))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(text))
    with (tmp_path / "a.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(PLAIN))
        table.writeheader()
        table.writerows(rows)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress((tmp_path / "a.csv").read_bytes()))
    data = datasets.Dataset.from_list(rows)
    parquet.write_table(data.data.table, tmp_path / "a.parquet")
    data.save_to_disk(str(tmp_path / "folder"))
    datasets.DatasetDict({"train": data, "test": data.select([0])}).save_to_disk(str(tmp_path / "dict"))
    names = ["a.jsonl", "lines.json", "array.json", "a.jsonl.gz", "a.csv", "a.csv.gz", "a.parquet", "folder", "dict"]
    versions = {name: import_pairs(store, tmp_path / name, "set", "L")[0].id for name in names}
    assert set(versions.values()) == {"set@1"}
    assert len(import_pairs(store, f"{tmp_path / 'dict'}:test", "half", "L")[0].pairs) == 1
    assert said(store, import_pairs(store, f"{tmp_path / 'dict'}:test", "half", "L")[0])[0][:2] == (
        (("user", NASTY["prompt"]),),
        (NASTY["chosen"], NASTY["rejected"]),
    )


def test_a_hub_id_is_read_through_datasets(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    asked = []

    def load(name: str, **more: object) -> list[dict[str, str]]:
        asked.append((name, more["split"]))
        return [PLAIN]

    monkeypatch.setattr(datasets, "load_dataset", load)
    import_pairs(store, "owner/name", "set", "L")
    import_pairs(store, "owner/name:test", "set", "L")
    assert asked == [("owner/name", "train"), ("owner/name", "test")]
    assert store.query("SELECT source FROM prompt") == [{"source": "owner/name:1"}]


def test_what_cannot_be_read_is_named(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow
    from pyarrow import parquet

    write(tmp_path / "pairs.jsonl", *[PLAIN | {"prompt": f"{i} {i**9}"} for i in range(2000)])
    whole = gzip.compress((tmp_path / "pairs.jsonl").read_bytes())
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "a.parquet").write_bytes(b"garbage")
    (tmp_path / "a.xlsx").write_bytes(b"")
    late = pyarrow.array([2**62], pyarrow.timestamp("us"))
    parquet.write_table(pyarrow.table({"prompt": ["a"], "chosen": ["b"], "when": late}), tmp_path / "late.parquet")
    for name, words in (
        ("pair.jsonl", "pairs.jsonl"), ("cut.jsonl.gz", "EOFError"),
        ("a.parquet", "Parquet"), ("late.parquet", "OverflowError"), ("a.xlsx", "no reader"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=words):
            import_pairs(store, tmp_path / name, "set", "L")
    assert store.query("FROM pair") == []


def test_hh_rlhf_gives_1152_pairs_and_sets_the_four_empty_answers_aside(store: Store, data_folder: Path) -> None:
    path = data_folder / "preferences" / "hh_rlhf_harmless_base_test.first_1156.jsonl.gz"
    made, _, counts = import_pairs(store, path, "harmless", "L")
    assert (len(made.pairs), dict(counts)) == (1152, {"empty_side": 4})
    positions = sorted(int(place.rpartition(":")[2]) - 1 for place, _ in aside(store))
    assert positions == [86, 516, 925, 1103]
    single = store.query("SELECT count(*) AS n FROM prompt WHERE history = '[]'")[0]["n"]
    with gzip.open(path) as file:
        rows = [json.loads(line) for line in file]
    kept = [row["chosen"] for position, row in enumerate(rows) if position not in positions]
    assert single == sum(dialogue.count("\n\nAssistant:") == 1 for dialogue in kept)
