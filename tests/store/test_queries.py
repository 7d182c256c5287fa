"""Shipped queries on stores in which they could be misled."""

from __future__ import annotations

import random

import pytest

from tests.diagnostics.planted import Turn, plant
from toolkit.config import Recipe
from toolkit.lab import Lab, Step
from toolkit.provenance import capture
from toolkit.records import Judgment, Model, Sampling
from toolkit.store.database import Store

# Of the chosen and of the rejected answer, by rubric; None: unreadable.
BY_RUBRIC = {"of 5": (4.0, 3.0), "of 100": (None, 60.0)}


@pytest.fixture
def store() -> Store:
    """One pair, whose sides another judge scored by two rubrics of different scale."""
    made = Store(None)
    lab = plant(made, [Turn([1.0], [1.0])])
    (pair,) = made.query("SELECT chosen, rejected FROM pairs")
    other = Model("other", "", "w", "t")
    made.add([other], launch=lab.launch.id)
    for rubric, scores in BY_RUBRIC.items():
        for response, score in zip((pair["chosen"], pair["rejected"]), scores, strict=True):
            status = "unreadable" if score is None else "scored"
            asked = Sampling(1.0, 1.0, 8), 0, 0, "reply", status, "", score
            made.add([Judgment(response, other.id, rubric, "generated", *asked)], launch=lab.launch.id)
    return made


def test_scores_by_two_rubrics_of_one_judge_flip_no_pair(store: Store) -> None:
    assert store.named("flipped_by_judge") == []


def test_scores_that_differ_by_less_than_a_billionth_are_a_tie_in_judge_gaps(store: Store) -> None:
    """The mean of 0.1, 0.2 and 0.3 is 0.20000000000000004 in floating point."""
    (pair,) = store.query("SELECT chosen, rejected FROM pairs")
    judge = store.query("SELECT id FROM model WHERE name = 'M_1'")[0]["id"]
    for response, scores in ((pair["chosen"], (0.1, 0.2, 0.3)), (pair["rejected"], (0.2,))):
        for draw, score in enumerate(scores):
            asked = Sampling(1.0, 1.0, 8), draw, 0, "reply", "scored", "", score
            store.add([Judgment(response, judge, "of 1", "generated", *asked)], launch="L")
    alike = {row["judge"]: row["ordered_alike"] for row in store.named("judge_gaps")}
    assert alike == {"M_1": 0.5, "other": 1.0}


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("gap_by_iteration", ("gap", "spread", "chosen")),
        ("judge_gaps", ("gap", "own_gap", "chosen")),
        ("length_gap", ("correlation_with_gap",)),
        ("FROM iterations", ("gap", "chosen_score")),
    ],
)
def test_a_mean_is_the_same_in_every_digit_whatever_order_rows_came_in(asked: str, told: tuple[str, ...]) -> None:
    """Added up as they come, 0.7 + 1.4 + 2.1 + ... ends otherwise than from the back."""
    pairs = [(0.7 * (1 + place % 9) / 3, (20 + place % 7, 20)) for place in range(60)]
    found = set()
    for seed in range(20):
        shuffled = random.Random(seed).sample(pairs, len(pairs))
        gaps, lengths = [gap for gap, _ in shuffled], [length for _, length in shuffled]
        with Store(None) as store:
            lab = plant(store, [Turn(gaps, gaps, lengths=lengths)])
            judge = store.query("SELECT id FROM model WHERE name = 'M_1'")[0]["id"]
            scores = store.query(
                "SELECT chosen AS answer, chosen_score AS score FROM pairs UNION ALL SELECT rejected, 0 FROM pairs"
            )
            kept = Sampling(1.0, 1.0, 8), 0, 0, "reply", "scored", ""
            given = [Judgment(row["answer"], judge, "of 5", "generated", *kept, row["score"]) for row in scores]
            store.add(given, launch=lab.launch.id)
            rows = store.query(asked) if " " in asked else store.named(asked)
            found.add(tuple(rows[0][column] for column in told))
    assert len(found) == 1


def test_the_gate_of_another_run_on_the_same_set_is_not_a_runs_own() -> None:
    """Two recipes that differ in their gate's settings alone make one set of the same pairs, and share its name."""
    with Store(None) as store:
        for run, kept in (("one", 3), ("two", 1)):
            lab = Lab(Recipe(), store, capture(run, {}))
            lab.note(Step(0, "pair", "pairs", "set@1", 3, 0))
            lab.note(Step(0, "gate", "token gate", "set@1", 3, 0, stats={"kept": kept}))
        told = {
            row["run"]: store.named("run_gate", launch=row["id"])[0]["kept"]
            for row in store.query("SELECT id, run FROM launch")
        }
    assert told == {"one": 3, "two": 1}


def test_what_a_run_of_the_same_name_had_made_of_another_model_is_no_part_of_the_newer_one() -> None:
    """The newer run has come as far as its own M_1; M_2 and the set behind it were made of the older one's."""
    with Store(None) as store:
        plant(store, [Turn([1.0, 2.0], [1.0, 1.0]), Turn([1.0, 2.0], [1.0, 1.0])])
        old = names_and_sets(store)
        plant(store, [Turn([1.0, 2.0], [2.0, 2.0])])
        new = names_and_sets(store)
        plant(store, [Turn([1.0, 2.0], [2.0, 2.0]), Turn([1.0, 2.0], [1.0, 1.0])])
        whole = names_and_sets(store)
    assert (list(old[0]), old[1]) == (["M_0", "M_1", "M_2"], {0: "self_rewarding@1", 1: "self_rewarding@2"})
    assert (list(new[0]), new[1]) == (["M_0", "M_1"], {0: "self_rewarding@3"})
    assert (list(whole[0]), whole[1]) == (["M_0", "M_1", "M_2"], {0: "self_rewarding@3", 1: "self_rewarding@2"})
    assert whole[0]["M_2"] != old[0]["M_2"] and whole[0]["M_1"] == new[0]["M_1"] != old[0]["M_1"]


def names_and_sets(store: Store) -> tuple[dict[str, str], dict[int, str]]:
    """Models by their names, and pair sets by iteration, of the one run."""
    names = {row["name"]: row["model"] for row in store.query("FROM model_names ORDER BY name")}
    return names, {row["iteration"]: row["pair_set"] for row in store.query("FROM run_sets ORDER BY iteration")}
