"""Overlap with evaluation sets and near-duplicates, against comparisons of everything with everything."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import needs
from toolkit.errors import InputError
from toolkit.pairs.overlap import (
    eval_set,
    grams,
    near_duplicates,
    near_report,
    overlap_report,
    overlaps,
    shared_pairs,
    texts_of,
    words,
)
from toolkit.pairs.versions import freeze
from toolkit.records import Model, Pair, PairSet, Prompt, Response, Role, pair_content
from toolkit.safe_text import one_line
from toolkit.store.database import Store

LONG = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"


def lines(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(f"{text}\n" for text in texts))
    return path


@pytest.mark.parametrize(
    ("text", "normalised"),
    [
        ("Don't  STOP, now!", "don t stop now"),
        ("ｆｕｌｌ width ①", "full width 1"),
        ("zero\u200bwidth so\u00adft", "zerowidth soft"),
        ("snake_case(x) + 3.5", "snake case x 3 5"),
        ("नमस्ते cafe\u0301", "नमस्ते café"),
        ("北京 is 大", "北 京 is 大"),
        ("?! ...", ""),
    ],
)
def test_words_differ_neither_by_case_nor_by_width_nor_by_punctuation(text: str, normalised: str) -> None:
    assert " ".join(words(text)) == normalised


def test_a_text_shorter_than_n_has_itself_as_its_one_gram() -> None:
    assert grams("a b c", 2) == ["a b", "b c"]
    assert grams("a b", 2) == grams("A, b!", 3) == ["a b"]
    assert grams("...", 2) == []


def test_a_prompt_is_found_by_thirteen_common_words_and_not_by_twelve(tmp_path: Path) -> None:
    known = eval_set("own", lines(tmp_path / "own.txt", ["something else", LONG]))
    parts = LONG.split()
    thirteen, twelve = (Prompt(f"Please: {' '.join(parts[:n]).upper()} and more") for n in (13, 12))
    (found,) = overlaps([thirteen, twelve], [known])
    assert (found.prompt, found.eval_set, found.item) == (thirteen.id, "own", 1)
    assert found.evidence == " ".join(parts[:13])
    assert found.share == 1 / 4


def test_a_short_text_is_found_by_an_equal_one_alone(tmp_path: Path) -> None:
    known = eval_set("own", lines(tmp_path / "own.txt", ["What is love?", LONG]))
    same, longer, inside = Prompt("what is LOVE"), Prompt("What is love, really?"), Prompt("two three four")
    assert [found.prompt for found in overlaps([same, longer, inside], [known])] == [same.id]


def test_the_item_named_is_the_one_that_shares_most_and_the_evidence_is_its_own(tmp_path: Path) -> None:
    known = eval_set("own", lines(tmp_path / "own.txt", ["a b c x", "b c d e"]), n=3)
    (found,) = overlaps([Prompt("a b c d e")], [known])
    assert (found.item, found.evidence, found.share) == (1, "b c d", 1.0)


def test_an_earlier_turn_of_a_dialogue_counts(tmp_path: Path) -> None:
    known = eval_set("own", lines(tmp_path / "own.txt", [LONG]))
    assert overlaps([Prompt("Go on.", history=(("user", LONG), ("assistant", "Yes.")))], [known])


def test_evaluation_sets_are_read_by_the_field_of_their_name_gzipped_or_not(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl.gz"
    row = {"instruction": "an instruction", "question": "a question", "prompt": "a prompt", "other": "another"}
    path.write_bytes(gzip.compress(json.dumps(row).encode()))
    sets = [eval_set(name, path) for name in ("alpaca_eval", "gsm8k", "human_eval")]
    sets.append(eval_set("own", path, "other"))
    assert [list(each.index) for each in sets] == [["an instruction"], ["a question"], ["a prompt"], ["another"]]


def test_an_item_without_text_is_an_error_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    path.write_text('{"question": "x"}\n{"answer": "y"}\n')
    with pytest.raises(InputError, match=r"(?s)'question'; found \['answer'\].*e\.jsonl:2"):
        eval_set("gsm8k", path)
    with pytest.raises(InputError, match="no file for the evaluation set 'gsm8k'"):
        eval_set("gsm8k")
    with pytest.raises(InputError, match="no text in the evaluation set"):
        eval_set("own", lines(tmp_path / "own.txt", ["..."]))


def test_human_eval_without_a_file_is_that_of_the_installed_package() -> None:
    needs("human_eval")
    known = eval_set("human_eval")
    assert known.items == 164
    assert overlaps(
        [Prompt("Check if in given list of numbers, are any two numbers closer to each other than x")], [known]
    )


texts = st.lists(st.lists(st.sampled_from("abc"), max_size=9).map(" ".join), max_size=12)


@settings(max_examples=300)
@given(texts, st.sampled_from([0.3, 0.5, 0.8, 1.0]), st.integers(1, 3))
def test_near_duplicates_are_those_of_comparing_all(given_: list[str], threshold: float, n: int) -> None:
    sets = [frozenset(grams(text, n)) for text in given_]
    firsts = [place for place, shingles in enumerate(sets) if shingles and sets.index(shingles) == place]
    expected = [
        (a, b, len(sets[a] & sets[b]) / len(sets[a] | sets[b]))
        for a in firsts for b in firsts if a < b and len(sets[a] & sets[b]) / len(sets[a] | sets[b]) >= threshold
    ]  # fmt: skip
    expected += [(sets.index(s), b, 1.0) for b, s in enumerate(sets) if s and sets.index(s) < b]
    found = [(near.first, near.second, near.jaccard) for near in near_duplicates(given_, threshold, n)]
    assert found == sorted(expected)


def test_a_threshold_that_no_similarity_has_is_refused() -> None:
    for threshold in (0, 1.1, float("nan")):
        with pytest.raises(InputError, match="no threshold"):
            near_duplicates(["a"], threshold)


def make(store: Store, prompt: str, answers: tuple[str, str], author: str = "m") -> Pair:
    asked, model = Prompt(prompt), Model.external(author)
    roles: tuple[Role, Role] = ("present", "past")
    sides = [
        Response(asked.id, model.id, role, 0, None, None, text=text) for role, text in zip(roles, answers, strict=True)
    ]
    store.add([asked], launch="l")
    store.add(sides, launch="l")
    content = pair_content(asked.id, answers, (2.0, 1.0), roles)
    return Pair(asked.id, sides[0].id, sides[1].id, 2.0, 1.0, *roles, "judge", content)


def test_a_pair_in_two_sets_is_found_by_content_and_one_in_two_versions_is_not() -> None:
    with Store(None) as store:
        one, again, other = (
            make(store, "a", ("x", "y")),
            make(store, "a", ("x", "y"), "n"),
            make(store, "b", ("x", "y")),
        )
        for name, pairs in (("s", [one, other]), ("s", [other]), ("t", [again])):
            freeze(store, PairSet(name, 0, None, tuple(pairs)), "l")
        (found,) = shared_pairs(store)
        assert (found["content"], found["pairs"], found["sets"]) == (one.content, 2, ["s@1", "t@1"])
        assert (found["names"], found["prompt_text"]) == (["s", "t"], "a")
        freeze(store, PairSet("s", 0, 1, (other,)), "l")
        assert sorted(row["prompt_text"] for row in shared_pairs(store)) == ["a", "b"]


def test_the_report_shows_the_most_overlapping_prompt_first_with_evidence(tmp_path: Path) -> None:
    known = eval_set("own", lines(tmp_path / "own.txt", [LONG, "exactly\tthis"]))
    with Store(None) as store:
        texts = (f"{LONG} fifteen sixteen", "Exactly\x1b this", "nothing of it")
        pairs = [make(store, text, ("x", "y")) for text in texts]
        freeze(store, PairSet("s", 0, None, tuple(pairs)), "l")
        rows = overlap_report(store, "s", [known])
    assert [(row["item"], row["share"]) for row in rows] == [(1, 1.0), (0, 0.5)]
    assert rows[0]["prompt_text"] == "Exactly� this"
    assert rows[1]["evidence"] == " ".join(LONG.split()[:13])


def test_the_report_of_near_duplicates_names_both_prompts(tmp_path: Path) -> None:
    with Store(None) as store:
        texts = (LONG, f"{LONG} fifteen", "nothing of it")
        freeze(store, PairSet("s", 0, None, tuple(make(store, text, ("x", "y")) for text in texts)), "l")
        (row,) = near_report(store, "s")
    assert {row["prompt_text"], row["other_text"]} == {one_line(text, 80) for text in texts[:2]}
    assert row["jaccard"] == pytest.approx(10 / 11)


def prompts_of(path: Path, field: str) -> list[Prompt]:
    return [Prompt(text) for text in texts_of(path, field)]


def test_every_prompt_of_an_evaluation_set_is_found_in_it_as_its_own_item(data_folder: Path) -> None:
    path = data_folder / "alpaca_eval" / "instructions.jsonl"
    found = overlaps(prompts_of(path, "instruction"), [eval_set("alpaca_eval", path)])
    assert [(each.item, each.share) for each in found] == [(number, 1.0) for number in range(805)]


def test_public_prompts_overlap_by_the_numbers_measured(data_folder: Path) -> None:
    test, train = (data_folder / "gsm8k" / f"{part}.jsonl" for part in ("test", "train"))
    assert len(overlaps(prompts_of(test, "question"), [eval_set("gsm8k", train)])) == 3
    alpaca = data_folder / "alpaca_eval" / "instructions.jsonl"
    human = data_folder / "humaneval" / "HumanEval.jsonl.gz"
    evals = [eval_set("alpaca_eval", alpaca), eval_set("gsm8k", test), eval_set("human_eval", human)]
    prompts = prompts_of(data_folder / "prompts" / "prompts.jsonl", "prompt")
    found = overlaps(prompts, evals)
    assert [sum(each.eval_set == known.name for each in found) for known in evals] == [433, 1, 0]
    instructions = {" ".join(prompt.text.lower().split()) for prompt in prompts_of(alpaca, "instruction")}
    equal = [prompt.id for prompt in prompts if " ".join(prompt.text.lower().split()) in instructions]
    assert len(equal) == 393
    assert set(equal) <= {each.prompt for each in found if each.share == 1}
