"""Published answers and scores as roles: what is taken, what is set aside, and the pairs of Algorithm 1."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from toolkit.errors import InputError, JudgeError, RecipeError
from toolkit.exchange.published import Roles, import_responses, import_scores, pair_published
from toolkit.pairs.versions import load
from toolkit.records import Model, PairSet, Role
from toolkit.store.database import Store


@pytest.fixture
def store() -> Iterator[Store]:
    with Store(None) as opened:
        yield opened


def write(path: Path, rows: list[Any]) -> Path:
    """Rows as the file's ending says; a text is a line of its own."""
    lines = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    data = (json.dumps(rows) if path.suffix == ".json" else lines).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def answer(instruction: str, output: Any, generator: str = "old") -> dict[str, Any]:
    return {"instruction": instruction, "output": output, "generator": generator}


def score(instruction: str, generator: str, points: Any, **more: Any) -> dict[str, Any]:
    return {"instruction": instruction, "generator": generator, "score": points, **more}


def three_models(store: Store, folder: Path) -> None:
    """Three prompts, one answer of each model; the past misses the second."""
    files: list[tuple[str, Role, list[str]]] = [
        ("old", "past", ["a", "c"]), ("mid", "present", ["a", "b", "c"]), ("new", "future", ["b", "a", "c"])
    ]  # fmt: skip
    for model, role, prompts in files:
        rows = [answer(prompt, f"{model} says {prompt}", model) for prompt in prompts]
        import_responses(store, write(folder / f"{model}.jsonl", rows), model, role, "launch")


@pytest.mark.parametrize("name", ["out.json", "out.jsonl", "out.jsonl.gz", "out.json.gz"])
def test_an_answer_is_read_from_an_array_from_lines_and_from_gzip(store: Store, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "out.json.gz":
        path.write_bytes(gzip.compress(json.dumps([answer("a", "x"), answer("b", "y\u2028z")]).encode()))
    else:
        write(path, [answer("a", "x"), answer("b", "y\u2028z")])
    counts = import_responses(store, path, "old", "past", "launch")
    assert (counts.taken, counts.known, counts.rejected) == (2, 0, ())
    rows = store.query(
        "SELECT text, role, draw, sampling, seed, model, prompt_text FROM responses ORDER BY prompt_text"
    )
    assert [(row["prompt_text"], row["text"]) for row in rows] == [("a", "x"), ("b", "y\u2028z")]
    assert {(row["role"], row["draw"], row["sampling"], row["seed"]) for row in rows} == {("past", 0, None, None)}
    assert {row["model"] for row in rows} == {Model.external("old").id}


def test_the_draw_counts_a_models_answers_to_a_prompt_over_files_and_the_same_text_is_one(
    store: Store, tmp_path: Path
) -> None:
    first = write(tmp_path / "1.jsonl", [answer("a", "x"), answer("a", "y"), answer("a", "x")])
    second = write(tmp_path / "2.jsonl", [answer("a", "y"), answer("a", "z")])
    assert [import_responses(store, path, "old", "past", "l").known for path in (first, second, first)] == [1, 1, 3]
    rows = store.query("SELECT text, draw FROM response ORDER BY draw")
    assert [(row["text"], row["draw"]) for row in rows] == [("x", 0), ("y", 1), ("z", 2)]


def test_every_unusable_row_is_set_aside_with_its_place_and_kept_once(store: Store, tmp_path: Path) -> None:
    bad = [
        ("{", "broken"), ("[1]", "broken"), (answer("a", "  "), "empty_output"),
        (answer("", "x"), "empty_instruction"), (answer("a", None), "no_output"), ({"output": "x"}, "no_instruction"),
        (answer("a", "x", "another"), "another_generator"), (answer("a", "x\x00"), "bad_character"),
        ('{"instruction": "a", "output": "\\ud800"}', "bad_character"), ('{"instruction": "\x00"}', "broken"),
    ]  # fmt: skip
    path = write(tmp_path / "out.jsonl", [answer("a", "good"), *[row for row, _ in bad]])
    path.write_bytes(path.read_bytes() + b'{"instruction": "\xff", "output": "x"}\n')
    told = [(f"out.jsonl:{line}", reason) for line, (_, reason) in enumerate([*bad, ("", "bad_character")], start=2)]
    for _ in range(2):
        counts = import_responses(store, path, "old", "past", "launch")
        assert counts.taken == 1
        assert [(row.place, row.reason) for row in counts.rejected] == told
        assert counts.reasons["broken"] == 3
        kept = store.query("SELECT place, reason, pair_set FROM rejected_row")
        assert sorted((row["place"], row["reason"]) for row in kept) == sorted(
            (f"old as past, {p}", r) for p, r in told
        )
        assert {row["pair_set"] for row in kept} == {""}


def test_a_file_without_an_answer_of_the_model_stores_nothing(store: Store, tmp_path: Path) -> None:
    path = write(tmp_path / "out.jsonl", [answer("a", "x", "mid")])
    with pytest.raises(InputError, match="generator is 'mid'"):
        import_responses(store, path, "old", "past", "launch")
    assert store.query("SELECT (SELECT count(*) FROM model) + (SELECT count(*) FROM rejected_row) AS n")[0]["n"] == 0
    with pytest.raises(InputError, match=r"did you mean 'out\.jsonl'"):
        import_responses(store, tmp_path / "ou.jsonl", "old", "past", "launch")
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(b"{}")[:-6])
    with pytest.raises(InputError, match="cannot read"):
        import_responses(store, tmp_path / "cut.jsonl.gz", "old", "past", "launch")
    with pytest.raises(RecipeError, match="no role"):
        import_responses(store, path, "mid", "chosen", "launch")  # type: ignore[arg-type]


def test_a_score_finds_its_answer_by_generator_by_text_or_by_id_in_every_role(store: Store, tmp_path: Path) -> None:
    path = write(tmp_path / "out.jsonl", [answer("a", "x"), answer("b", "y")])
    roles: tuple[Role, Role] = ("past", "present")
    for role in roles:
        import_responses(store, path, "old", role, "launch")
    one = store.query("SELECT id FROM response WHERE text = 'y' AND role = 'past'")[0]["id"]
    rows = [score("a", "old", 3), {"instruction": "a", "output": "x", "score": 4.5}, {"response": one, "score": 1}]
    scores = write(tmp_path / "scores.jsonl", rows)
    assert import_scores(store, scores, "J", "launch").taken == 3
    made = store.query(
        "SELECT r.text, r.role, j.draw, j.score, j.reply, j.method, j.status, j.judge FROM judgment j "
        "JOIN response r ON r.id = j.response ORDER BY r.text, r.role, j.draw"
    )
    found = [(row["text"], row["role"], row["draw"], row["score"]) for row in made]
    x = [("x", role, draw, points) for role in ("past", "present") for draw, points in ((0, 3.0), (1, 4.5))]
    assert found == [*x, ("y", "past", 0, 1.0)]
    assert json.loads(made[0]["reply"]) == rows[0]
    assert {(row["method"], row["status"], row["judge"]) for row in made} == {
        ("given", "scored", Model.external("J").id)
    }
    assert import_scores(store, scores, "J", "launch").known == 5


def test_a_null_or_nan_score_is_an_unreadable_verdict_with_its_reason(store: Store, tmp_path: Path) -> None:
    import_responses(store, write(tmp_path / "out.jsonl", [answer(p, "x") for p in "abc"]), "old", "past", "launch")
    table = tmp_path / "scores.csv"
    table.write_text('instruction,generator,score\na,old,nan\nb,old,\n"c",old,2\n')
    import_scores(store, table, "J", "launch")
    rows = store.query("SELECT status, reason, score, reply FROM judgment ORDER BY reply")
    assert [(row["status"], row["reason"], row["score"]) for row in rows] == [
        ("unreadable", "the score is NaN", None), ("unreadable", "the score is empty", None), ("scored", "", 2.0)
    ]  # fmt: skip
    assert json.loads(rows[0]["reply"]) == {"instruction": "a", "generator": "old", "score": "nan"}


@pytest.mark.parametrize("value", ["high", True, [1], float("inf"), "1e999", -1e10])
def test_a_score_that_is_no_number_names_its_line_and_nothing_is_stored(
    store: Store, tmp_path: Path, value: Any
) -> None:
    import_responses(store, write(tmp_path / "out.jsonl", [answer("a", "x")]), "old", "past", "launch")
    with pytest.raises(InputError, match=r"scores\.jsonl:2"):
        import_scores(
            store, write(tmp_path / "scores.jsonl", [score("a", "old", 1), score("a", "old", value)]), "J", "launch"
        )
    with pytest.raises(InputError, match="no 'score'"):
        import_scores(store, write(tmp_path / "other.jsonl", [answer("a", "x")]), "J", "launch")
    assert store.query("SELECT * FROM judgment") == []


def test_a_score_of_no_or_of_several_stored_answers_is_set_aside(store: Store, tmp_path: Path) -> None:
    import_responses(
        store, write(tmp_path / "out.jsonl", [answer("a", "x"), answer("a", "y"), answer("b", "z")]), "old", "past", "l"
    )
    rows = [score("b", "old", 1), score("a", "old", 2), score("c", "old", 3), score("a", "mid", 4)]
    rows += [{"instruction": "a", "score": 5}, score("a", "old", 6, output="y")]
    rows += [score("\ud800", "old", 7)]
    counts = import_scores(store, write(tmp_path / "scores.jsonl", rows), "J", "launch")
    assert counts.taken == 2
    assert [(row.place, row.reason) for row in counts.rejected] == [
        ("scores.jsonl:2", "ambiguous"), ("scores.jsonl:3", "unknown_answer"),
        ("scores.jsonl:4", "unknown_answer"), ("scores.jsonl:5", "no_answer_named"),
        ("scores.jsonl:7", "unknown_answer"),
    ]  # fmt: skip
    assert len(store.query("SELECT * FROM rejected_row")) == 5
    with pytest.raises(InputError, match="import the answers first"):
        import_scores(store, write(tmp_path / "none.jsonl", [score("c", "old", 3)]), "J", "launch")


def made(pairs: PairSet) -> dict[str, tuple[Any, ...]]:
    return {p.prompt: (p.chosen_role, p.chosen_score, p.rejected_role, p.rejected_score) for p in pairs.pairs}


def test_a_future_makes_phase_2_and_none_phase_1(store: Store, tmp_path: Path) -> None:
    three_models(store, tmp_path)
    points = {"old": {"a": 1, "c": 2}, "mid": {"a": 3, "b": 2, "c": 2}, "new": {"a": 3, "b": 4, "c": 5}}
    rows = [score(prompt, model, value) for model, given in points.items() for prompt, value in given.items()]
    import_scores(store, write(tmp_path / "s.jsonl", rows), "J", "launch")
    a, b, c = (row["id"] for row in store.query("SELECT id FROM prompt ORDER BY text"))
    anchored = pair_published(store, "anchored", Roles("old", "mid"), "J", "launch")
    assert made(anchored) == {a: ("present", 3, "past", 1)}
    assert {(drop.prompt, drop.reason) for drop in anchored.drops} == {(b, "tie"), (c, "tie")}
    guided = pair_published(store, "guided", Roles("old", "mid", "new"), "J", "launch", message="by hand")
    assert made(guided) == {
        a: ("present", 3, "past", 1),
        b: ("future", 4, "present", 2),
        c: ("future", 5, "present", 2),
    }
    assert (guided.id, guided.iteration, guided.message) == ("guided@1", None, "by hand")
    assert load(store, "guided").fingerprint == guided.fingerprint
    assert set(load(store, "anchored").drops) == set(anchored.drops)
    assert pair_published(store, "guided", Roles("old", "mid", "new"), "J", "launch").version == 1


def test_prompts_that_the_present_did_not_answer_give_neither_pair_nor_drop(store: Store, tmp_path: Path) -> None:
    three_models(store, tmp_path)
    extra = write(tmp_path / "more.jsonl", [answer("d", "new says d", "new")])
    import_responses(store, extra, "new", "future", "launch")
    rows = [score("a", "mid", 1), score("a", "new", 3), score("d", "new", 5)]
    import_scores(store, write(tmp_path / "s.jsonl", rows), "J", "launch")
    a, b, c, _ = (row["id"] for row in store.query("SELECT id FROM prompt ORDER BY text"))
    pairs = pair_published(store, "x", Roles(None, "mid", "new"), "J", "launch")
    assert made(pairs) == {a: ("future", 3, "present", 1)}
    assert {(drop.prompt, drop.reason) for drop in pairs.drops} == {(b, "no_score"), (c, "no_score")}


def test_of_equal_scores_in_a_pool_the_rule_asked_for_decides(store: Store, tmp_path: Path) -> None:
    texts = ["four", "one", "zero is the worst"]
    import_responses(store, write(tmp_path / "o.jsonl", [answer("a", t) for t in texts]), "old", "present", "launch")
    rows = [score("a", "old", points, output=t) for t, points in zip(texts, (3, 3, 1), strict=True)]
    import_scores(store, write(tmp_path / "s.jsonl", rows), "J", "launch")
    for ties, text in (("first", "four"), ("shortest", "one")):
        (pair,) = pair_published(store, ties, Roles(None, "old"), "J", "launch", ties).pairs
        assert store.query("SELECT text FROM response WHERE id = ?", [pair.chosen])[0]["text"] == text


def test_an_answer_in_another_role_or_without_scores_is_an_error_with_the_remedy(store: Store, tmp_path: Path) -> None:
    three_models(store, tmp_path)
    with pytest.raises(InputError, match="import its scores"):
        pair_published(store, "x", Roles("old", "mid"), "J", "launch")
    import_scores(store, write(tmp_path / "s.jsonl", [score("a", "mid", 1), score("a", "old", 1)]), "J", "launch")
    with pytest.raises(InputError, match="with role 'present'"):
        pair_published(store, "x", Roles(None, "old"), "J", "launch")
    with pytest.raises(JudgeError, match=r"none of 3 prompts gives a pair \((2 no_score, 1 tie|1 tie, 2 no_score)\)"):
        pair_published(store, "x", Roles("old", "mid"), "J", "launch")


def grade(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest(), 16) % 6


def algorithm_1(r_i: int, r_0: int | None, r_f: int | None) -> tuple[Any, ...] | None:
    """The paper's lines for one answer each: chosen and rejected role with score, or None."""
    rejected = ("past", r_0) if r_0 is not None and r_0 < r_i else ("present", r_i)
    chosen = ("future", r_f) if r_f is not None and r_f > r_i else ("present", r_i)
    return (*chosen, *rejected) if chosen[1] > rejected[1] else None  # type: ignore[operator]


def test_three_published_models_give_the_pairs_of_algorithm_1(store: Store, tmp_path: Path, data_folder: Path) -> None:
    texts: dict[str, dict[str, str]] = {}
    files: list[tuple[str, Role, int]] = [
        ("phi-2", "past", 803),
        ("phi-2-sft", "present", 805),
        ("phi-2-dpo", "future", 805),
    ]
    for model, role, count in files:
        path = data_folder / "alpaca_eval" / "model_outputs" / f"{model}.jsonl.gz"
        assert import_responses(store, path, model, role, "launch").taken == count
        rows = [json.loads(line) for line in gzip.decompress(path.read_bytes()).decode().split("\n") if line]
        texts[role] = {row["instruction"]: row["output"] for row in rows}
    rows = [score(i, m, grade(texts[role][i])) for m, role, _ in files for i in texts[role]]
    assert import_scores(store, write(tmp_path / "scores.jsonl.gz", rows), "hash", "launch").taken == 2413
    ids = {row["text"]: row["id"] for row in store.query("SELECT id, text FROM prompt")}
    for future in (None, "phi-2-dpo"):
        expected = {}
        for instruction, text in texts["present"].items():
            then, soon = texts["past"].get(instruction), texts["future"][instruction] if future else None
            found = algorithm_1(
                grade(text), None if then is None else grade(then), None if soon is None else grade(soon)
            )
            if found:
                expected[ids[instruction]] = found
        pairs = pair_published(store, f"chain-{bool(future)}", Roles("phi-2", "phi-2-sft", future), "hash", "launch")
        assert made(pairs) == expected
        assert len(pairs.drops) == 805 - len(expected)
        assert {drop.reason for drop in pairs.drops} == {"tie"}
