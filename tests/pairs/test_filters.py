"""Filters: what each takes out and why, and that a filtered set is a version whose drops tell all of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from toolkit.errors import InputError
from toolkit.pairs.filters import (
    Filter,
    Row,
    apply,
    decontaminate,
    finished,
    length_ratio,
    max_length,
    min_gap,
    near_duplicates,
    non_empty,
    roles,
    same_role,
)
from toolkit.pairs.overlap import eval_set
from toolkit.pairs.versions import freeze, load, versions
from toolkit.records import Finish, Pair, PairSet, Prompt, Response, Role, Sampling, pair_content
from toolkit.store.database import Store

SAMPLING = Sampling(1.0, 1.0, 8)
FOX = "the quick brown fox jumps over the lazy dog and runs away into the dark wood"


@pytest.fixture
def store() -> Iterator[Store]:
    with Store(None) as opened:
        yield opened


def make(
    store: Store,
    prompt: str,
    sides: tuple[str, str] = ("good", "bad"),
    scores: tuple[float | None, float | None] = (4.0, 1.0),
    kinds: tuple[Role, Role] = ("present", "past"),
    ends: tuple[Finish, Finish] = ("stop", "stop"),
) -> Pair:
    asked = Prompt(prompt)
    answers = [
        Response(asked.id, f"m {text[:20]}", role, 0, SAMPLING, 1, text, 1, 1, end)
        for text, role, end in zip(sides, kinds, ends, strict=True)
    ]
    store.add([asked], launch="l")
    store.add(answers, launch="l")
    content = pair_content(asked.id, sides, scores, kinds)
    return Pair(asked.id, answers[0].id, answers[1].id, *scores, *kinds, "judge", content)


def frozen(store: Store, *pairs: Pair, iteration: int | None = 0) -> None:
    freeze(store, PairSet("s", 0, iteration, pairs), "l")


def texts(store: Store, made: PairSet) -> list[str]:
    return sorted(store.find(Prompt, [pair.prompt])[pair.prompt].text for pair in made.pairs)


CASES: list[tuple[Filter, dict[str, Any], str]] = [
    (min_gap(1), {"scores": (3.0, 2.1)}, "small_gap"),
    (min_gap(1), {"scores": (None, None)}, "small_gap"),
    (max_length(5), {"sides": ("x" * 6, "x")}, "too_long"),
    (max_length(5), {"sides": ("x", "y" * 6)}, "too_long"),
    (length_ratio(2), {"sides": ("x", "yyy")}, "length_ratio"),
    (length_ratio(2), {"sides": ("xxx", "y")}, "length_ratio"),
    (length_ratio(2), {"sides": ("", "y")}, "length_ratio"),
    (same_role, {"kinds": ("present", "present")}, "same_role"),
    (roles({"future"}, {"past"}), {"kinds": ("present", "past")}, "other_role"),
    (roles({"future"}, {"past"}), {"kinds": ("future", "present")}, "other_role"),
    (finished, {"ends": ("length", "stop")}, "cut"),
    (finished, {"ends": ("stop", "length")}, "cut"),
    (non_empty, {"sides": (" \n", "bad")}, "empty"),
    (non_empty, {"sides": ("good", "")}, "empty"),
]
CLEAN: dict[str, Any] = {"sides": ("abcd", "ab"), "scores": (3.0, 2.0), "kinds": ("future", "past")}


@pytest.mark.parametrize(("sieve", "bad", "reason"), CASES)
def test_a_filter_takes_out_what_it_names_and_keeps_what_is_just_within(
    store: Store, sieve: Filter, bad: dict[str, Any], reason: str
) -> None:
    taken = make(store, "bad", **CLEAN | bad)
    frozen(store, make(store, "clean", **CLEAN), taken)
    made = apply(store, "s", [sieve], None, "l")
    assert texts(store, made) == ["clean"]
    (drop,) = made.drops
    assert (drop.stage, drop.reason, drop.pair, drop.prompt) == ("filter", reason, taken.id, taken.prompt)
    assert drop.detail


def test_scores_of_three_tenths_apart_are_that_far_apart(store: Store) -> None:
    frozen(store, make(store, "a", scores=(0.3, 0.1)))  # 0.3 - 0.1 is 0.19999999999999998
    assert apply(store, "s", [min_gap(0.2)], None, "l").version == 1


def test_an_imported_answer_whose_end_is_unknown_is_kept(store: Store) -> None:
    asked = Prompt("a")
    sides = [Response(asked.id, "m", "unknown", draw, None, None, text=f"t{draw}") for draw in (0, 1)]
    store.add([asked], launch="l")
    store.add(sides, launch="l")
    content = pair_content(asked.id, ("t0", "t1"), (None, None), ("unknown", "unknown"))
    frozen(store, Pair(asked.id, sides[0].id, sides[1].id, None, None, "unknown", "unknown", None, content))
    assert apply(store, "s", [finished], None, "l").version == 1


def test_a_filtered_set_is_the_next_version_of_no_iteration_with_all_drops_stored(store: Store) -> None:
    two = [make(store, "same prompt", (f"good {n}", "bad"), (2.0, 1.9)) for n in (1, 2)]
    frozen(store, make(store, "clean"), make(store, "long", ("x" * 99, "y")), *two)
    made = apply(store, "s@1", [min_gap(1), max_length(50)], None, "l")
    assert (made.id, made.iteration, made.parent) == ("s@2", None, "s@1")
    assert made.message == "s@1 through min_gap(1), max_length(50)"
    stored = load(store, "s@2")
    assert texts(store, stored) == ["clean"]
    assert {(drop.stage, drop.reason, drop.pair) for drop in stored.drops} == {
        ("filter", "small_gap", two[0].id), ("filter", "small_gap", two[1].id),
        ("filter", "too_long", next(d.pair for d in made.drops if d.reason == "too_long")),
    }  # fmt: skip
    assert len(load(store, "s@1").pairs) == len(stored.pairs) + len(stored.drops)
    assert apply(store, "s@1", [min_gap(1), max_length(50)], None, "l").id == "s@2"


def test_another_name_starts_a_set_of_its_own_and_a_message_is_kept(store: Store) -> None:
    frozen(store, make(store, "a"), make(store, "b", scores=(2.0, 1.9)))
    made = apply(store, "s", [min_gap(1)], "clean", "l", "for the ablation")
    assert (made.id, made.parent, made.message) == ("clean@1", None, "for the ablation")
    assert [version.id for version in versions(store)] == ["clean@1", "s@1"]


def test_filters_that_take_nothing_out_make_no_version(store: Store) -> None:
    frozen(store, make(store, "a"))
    assert apply(store, "s", [finished, non_empty], None, "l").id == "s@1"
    assert [version.id for version in versions(store)] == ["s@1"]


def test_filters_that_leave_nothing_are_an_error(store: Store) -> None:
    frozen(store, make(store, "a"))
    with pytest.raises(InputError, match=r"no pair of s@1 passes finished, min_gap\(9\)"):
        apply(store, "s", [finished, min_gap(9)], None, "l")


def test_a_filter_sees_only_what_the_one_before_kept(store: Store) -> None:
    frozen(store, make(store, FOX, scores=(2.0, 1.9)), make(store, f"{FOX}!"))
    made = apply(store, "s", [min_gap(1), near_duplicates], None, "l")
    assert [drop.reason for drop in made.drops] == ["small_gap"]


def test_a_contaminated_prompt_goes_with_all_its_pairs_and_the_evidence(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "own.txt"
    path.write_text(f"something else\n{FOX}\n")
    frozen(store, make(store, "clean"), *[make(store, f"Say: {FOX}", (f"good {n}", "bad")) for n in (1, 2)])
    made = apply(store, "s", [decontaminate([eval_set("own", path)])], None, "l")
    assert texts(store, made) == ["clean"]
    assert [drop.reason for drop in made.drops] == ["contaminated"] * 2
    assert {drop.detail for drop in made.drops} == {
        "own item 1, 80.0% of its grams: the quick brown fox jumps over the lazy dog and runs away into"
    }
    assert made.message == "s@1 through decontaminate(own)"


def test_of_near_duplicate_prompts_one_is_kept_with_all_its_pairs(store: Store) -> None:
    chain = [f"{FOX} tonight", FOX, f"{FOX}!", f"the end {FOX}"]
    frozen(store, *[make(store, text, (f"good {n}", "bad")) for text in chain for n in (1, 2)], make(store, "other"))
    made = apply(store, "s", [near_duplicates], None, "l")
    kept = set(texts(store, made))
    assert "other" in kept
    assert len(made.pairs) == 2 * len(kept) - 1
    assert len(made.drops) == 9 - len(made.pairs) > 0
    assert apply(store, made.id, [near_duplicates], None, "l").id == made.id
    assert all(drop.detail.startswith("Jaccard") for drop in made.drops)


def test_equal_prompts_go_together_where_the_first_of_them_is_near_to_a_kept_one(store: Store) -> None:
    texts_ = [f"{FOX} tonight", FOX, f"{FOX}?", f"{FOX}!", FOX.upper()]
    frozen(store, *[make(store, text) for text in texts_])
    assert len(apply(store, "s", [near_duplicates], None, "l").pairs) == 1


def test_a_prompt_near_to_one_that_is_gone_is_kept(store: Store) -> None:
    chain = [f"{FOX} tonight", FOX, f"the end {FOX}"]  # the first and the last: 12 of 15 grams, just 0.8 alike
    rows = []
    for text in [*chain, f"so it is {FOX}"]:  # 12 of 16 with the first, 12 of 15 with the second
        pair = make(store, text)
        answers = store.find(Response, [pair.chosen, pair.rejected])
        rows.append(Row(pair, Prompt(text), answers[pair.chosen], answers[pair.rejected]))
    kept, drops = near_duplicates(rows)
    assert [row.prompt.text for row in kept] == [chain[0], f"so it is {FOX}"]
    assert {drop.detail.split(" with")[0] for drop in drops} == {"Jaccard 0.92", "Jaccard 0.80"}
