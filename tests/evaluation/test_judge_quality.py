"""A judge's quality on labels: known opinions have known numbers, and what nothing measures has none."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.judgments.speaking import answered, speaking_lab
from toolkit.config import Recipe
from toolkit.errors import InputError
from toolkit.evaluation.judge_quality import MEANING, labelled, measure
from toolkit.exchange.importing import import_pairs
from toolkit.lab import Lab
from toolkit.provenance import capture
from toolkit.records import Judgment, Model, Score
from toolkit.store.database import Store

Build = Callable[..., Recipe]
WRITTEN = {"method": "generated"}


def gold(lab: Lab, folder: Path, marks: Sequence[tuple[int, int]]) -> str:
    """An imported set of gold pairs; each answer tells the points it deserves, (chosen, rejected)."""
    rows = [
        {"prompt": f"question {i}?", "chosen": f"chosen {i}, worth {a}", "rejected": f"rejected {i}, worth {b}"}
        for i, (a, b) in enumerate(marks)
    ]
    file = folder / "gold.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows))
    return import_pairs(lab.store, file, "gold", lab.launch.id)[0].id


def worth(prompt: str) -> str:
    """Scores an answer with the points it tells, 9 for unreadable; prefers the higher one, and A where equal."""
    marks = [int(mark) for mark in re.findall(r"worth (\d)", prompt)]
    if len(marks) == 2:
        return "none" if 9 in marks else "Better: A" if marks[0] >= marks[1] else "Better: B"
    return "cannot tell" if marks == [9] else f"Score: {marks[0]}"


def values(scores: Sequence[Score], method: str = "generated") -> dict[str, tuple[float | None, int | None]]:
    return {score.metric: (score.value, score.n) for score in scores if score.settings["method"] == method}


def rate(lab: Lab, rater: str, ratings: dict[str, float], draw: int = 0) -> None:
    judge = Model.external(rater)
    lab.store.add([judge], launch=lab.launch.id)
    rows = [Judgment(a, judge.id, None, "given", None, draw, None, "", "scored", "", r) for a, r in ratings.items()]
    lab.store.add(rows, launch=lab.launch.id)


def test_a_known_judge_has_its_known_numbers(scripted_recipe: Build, tmp_path: Path) -> None:
    recipe = scripted_recipe(judge=WRITTEN)
    with speaking_lab(recipe, tmp_path / "s.duckdb", worth) as lab:
        name = gold(lab, tmp_path, [(5, 1), (4, 2), (1, 3), (2, 2), (9, 0)])
        found = values(scores := measure(lab, lab.model(recipe.model), name))
        stored = lab.store.find(Score, [score.id for score in scores])
    assert found["accuracy"] == ((2 + 0.5) / 4, 4)
    assert found["ties"] == (0.25, 4)
    assert found["unreadable"] == (pytest.approx(0.1), 10)
    points = [found[f"points_{point}"] for point in range(6)]
    assert points == [(pytest.approx(n / 9), 9) for n in (1, 2, 3, 1, 1, 1)]
    assert found["saturation"] == found["points_5"]
    assert set(stored) == {score.id for score in scores}
    assert {score.settings["set"] for score in scores} == {"gold@1"}
    assert {score.task for score in scores} == {"judge"}


def test_comparisons_are_measured_in_both_orders(scripted_recipe: Build, tmp_path: Path) -> None:
    recipe = scripted_recipe(judge=WRITTEN)
    with speaking_lab(recipe, tmp_path / "s.duckdb", worth) as lab:
        name = gold(lab, tmp_path, [(5, 1), (4, 2), (1, 3), (2, 2), (9, 0)])
        found = values(measure(lab, lab.model(recipe.model), name, pairwise=True), "pairwise")
    assert found["accuracy"] == ((4 + 1) / 8, 8)  # two pairs right in both orders, the equal one in one of two
    assert found["unreadable"] == (0.2, 10)
    assert found["ties"] == (0.0, 8)
    assert found["consistency"] == (0.75, 4)
    assert found["first_chosen"] == (5 / 8, 8)


@pytest.mark.parametrize("method", ["generated", "expected"])
def test_measuring_again_makes_nothing_and_says_the_same(scripted_recipe: Build, tmp_path: Path, method: str) -> None:
    recipe = scripted_recipe(judge={"method": method})
    say = worth if method == "generated" else lambda prompt: re.findall(r"worth (\d)", prompt)[-1]
    told = []
    for speak in (say, lambda _: "0"):
        with speaking_lab(recipe, tmp_path / "s.duckdb", speak) as lab:
            name = gold(lab, tmp_path, [(5, 1), (1, 3)])
            told.append(measure(lab, lab.model(recipe.model), name, pairwise=True))
            made = [step.total - step.cached for step in lab.steps]
    assert made == [0, 0]
    assert told[0] == told[1]
    assert values(told[0], method)["accuracy"] == (0.5, 2)


def test_a_judge_that_cannot_be_read_at_all_has_no_number_but_unreadable(
    scripted_recipe: Build, tmp_path: Path
) -> None:
    recipe = scripted_recipe(judge={**WRITTEN, "max_unreadable": 0.0})
    with speaking_lab(recipe, tmp_path / "s.duckdb", lambda _: "well") as lab:
        answers = gold(lab, tmp_path, [(5, 1), (1, 3)])
        rate(lab, "people", {answer.id: float(i) for i, answer in enumerate(labelled(lab.store, answers).answers)})
        scores = measure(lab, lab.model(recipe.model), answers, pairwise=True)
        rows = lab.store.query("SELECT metric, value, settings->>'method' AS method FROM score ORDER BY method")
        assert lab.recipe.judge == recipe.judge, "the lifted limit is put back"
    assert [(row["metric"], row["value"], row["method"]) for row in rows] == [
        ("unreadable", 1.0, "generated"),
        ("unreadable", 1.0, "pairwise"),
    ]
    without = {score.metric for score in scores if score.value is None}
    assert set(MEANING) - {"unreadable"} <= without
    assert all(score.n == 0 for score in scores if score.value is None)


def test_all_ties_are_half_right_and_have_no_rank_correlation(scripted_recipe: Build, tmp_path: Path) -> None:
    recipe = scripted_recipe(judge=WRITTEN)
    with speaking_lab(recipe, tmp_path / "s.duckdb", lambda _: "Score: 5") as lab:
        name = gold(lab, tmp_path, [(5, 1), (1, 3)])
        rate(lab, "people", {answer.id: float(i) for i, answer in enumerate(labelled(lab.store, name).answers)})
        found = values(measure(lab, lab.model(recipe.model), name))
    assert (found["accuracy"], found["ties"], found["saturation"]) == ((0.5, 2), (1.0, 2), (1.0, 4))
    assert (found["kendall"], found["spearman"]) == ((None, 4), (None, 4))
    assert found["ordered_alike"] == (0.5, 2)


def test_agreement_with_ratings_is_that_of_the_definitions(scripted_recipe: Build, tmp_path: Path) -> None:
    """tau-b = (C - D) / sqrt((C + D + Ts)(C + D + Tr)); scores 1 2 2 3, ratings 1 2 3 3: C 4, D 0, one tie in each.

    Spearman: ranks 1 2.5 2.5 4 and 1 2 3.5 3.5, covariance 3.75 of 4.5.
    """
    recipe = scripted_recipe(judge=WRITTEN)
    with speaking_lab(recipe, tmp_path / "s.duckdb", worth) as lab:
        answers = answered(lab, {"a?": ["x worth 1", "y worth 2"], "b?": ["z worth 2", "w worth 3"]})
        rate(lab, "people", dict(zip([answer.id for answer in answers], [1.0, 2.0, 3.0, 3.0], strict=True)))
        scores = measure(lab, lab.model(recipe.model), "people")
    found = values(scores)
    assert found["kendall"] == (pytest.approx(4 / 5), 4)
    assert found["spearman"] == (pytest.approx(3.75 / 4.5), 4)
    assert found["ordered_alike"] == (1.0, 1), "z and w are rated alike, so only x and y are held together"
    assert "accuracy" not in found
    assert {score.settings["set"] for score in scores} == {"ratings of people"}


def test_ratings_of_one_mean_are_a_tie_whatever_their_order(scripted_recipe: Build, tmp_path: Path) -> None:
    """0.1 + 0.2 + 0.3 is not 0.3 + 0.2 + 0.1 in floating point."""
    with speaking_lab(scripted_recipe(judge=WRITTEN), tmp_path / "s.duckdb", worth) as lab:
        first, second = answered(lab, {"a?": ["x worth 1", "y worth 2"]})
        for draw, (one, other) in enumerate([(0.1, 0.3), (0.2, 0.2), (0.3, 0.1)]):
            rate(lab, "people", {first.id: one}, draw)
            rate(lab, "people", {second.id: other}, draw)
        ((_, ratings),) = labelled(lab.store, "people").ratings.items()
    assert ratings == {first.id: 0.2, second.id: 0.2}


def test_two_raters_are_kept_apart(scripted_recipe: Build, tmp_path: Path) -> None:
    recipe = scripted_recipe(judge=WRITTEN)
    with speaking_lab(recipe, tmp_path / "s.duckdb", worth) as lab:
        name = gold(lab, tmp_path, [(5, 1), (4, 2)])
        of = {answer.id: float(answer.text[-1]) for answer in labelled(lab.store, name).answers if answer.text}
        rate(lab, "friend", of)
        rate(lab, "foe", {answer: -rating for answer, rating in of.items()})
        scores = measure(lab, lab.model(recipe.model), name)
    taus = {score.settings["rater"]: score.value for score in scores if score.metric == "kendall"}
    assert {round(value or 0, 9) for value in taus.values()} == {1.0, -1.0}


def test_one_rated_answer_is_a_histogram_and_no_agreement(scripted_recipe: Build, tmp_path: Path) -> None:
    recipe = scripted_recipe(judge=WRITTEN)
    with speaking_lab(recipe, tmp_path / "s.duckdb", worth) as lab:
        (answer,) = answered(lab, {"a?": ["x worth 4"]})
        rate(lab, "people", {answer.id: 3.0})
        found = values(measure(lab, lab.model(recipe.model), "people"))
    assert (found["points_4"], found["unreadable"]) == ((1.0, 1), (0.0, 1))
    assert [found[metric][0] for metric in ("kendall", "spearman", "ordered_alike")] == [None] * 3


def test_half_a_point_counts_as_the_next_one(scripted_recipe: Build, tmp_path: Path) -> None:
    recipe = scripted_recipe(judge=WRITTEN)
    with speaking_lab(recipe, tmp_path / "s.duckdb", lambda _: "Score: 4.5") as lab:
        found = values(measure(lab, lab.model(recipe.model), gold(lab, tmp_path, [(5, 1)])))
    assert found["saturation"] == (1.0, 2)


def test_other_settings_and_other_ratings_are_other_scores(scripted_recipe: Build, tmp_path: Path) -> None:
    ids: list[str] = []

    def once(rating: float = 1.0, **judge: object) -> None:
        recipe = scripted_recipe(judge={**WRITTEN, **judge})
        with speaking_lab(recipe, tmp_path / "s.duckdb", worth) as lab:
            name = gold(lab, tmp_path, [(5, 1), (1, 3)])
            rate(lab, "people", {answer.id: rating for answer in labelled(lab.store, name).answers})
            scores = measure(lab, lab.model(recipe.model), name)
            ids.append(next(score.id for score in scores if score.metric == "kendall"))

    once()
    once(draws=2)
    once(temperature=0.5)
    once(method="expected")
    once()
    assert len(set(ids)) == 4 and ids[0] == ids[-1]
    once(rating=2.0)
    assert ids[-1] not in ids[:-1]


def test_a_plan_measures_and_stores_nothing(scripted_recipe: Build, tmp_path: Path) -> None:
    recipe, path = scripted_recipe(judge=WRITTEN), tmp_path / "s.duckdb"
    with speaking_lab(recipe, path, worth) as lab:
        model, name = lab.model(recipe.model), gold(lab, tmp_path, [(5, 1)])
    with Lab(recipe, Store(path, read_only=True), capture("test", recipe.resolved()), planning=True) as lab:
        scores = measure(lab, model, name, pairwise=True)
        assert [(step.stage, step.total, step.cached) for step in lab.steps] == [("judge", 2, 0), ("compare", 2, 0)]
    assert {score.value for score in scores} == {None}


@pytest.mark.parametrize(("reference", "told"), [("nothing", "no pair set 'nothing'"), ("gold@7", "no version '7'")])
def test_a_set_that_is_not_there_is_said_with_what_is(
    scripted_recipe: Build, tmp_path: Path, reference: str, told: str
) -> None:
    recipe = scripted_recipe(judge=WRITTEN)
    with speaking_lab(recipe, tmp_path / "s.duckdb", worth) as lab:
        gold(lab, tmp_path, [(5, 1)])
        with pytest.raises(InputError, match=re.escape(told)):
            measure(lab, lab.model(recipe.model), reference)


def test_ratings_have_no_pairs_to_compare(scripted_recipe: Build, tmp_path: Path) -> None:
    recipe = scripted_recipe(judge=WRITTEN)
    with speaking_lab(recipe, tmp_path / "s.duckdb", worth) as lab:
        (answer,) = answered(lab, {"a?": ["x worth 4"]})
        rate(lab, "people", {answer.id: 3.0})
        with pytest.raises(InputError, match="no gold pairs"):
            measure(lab, lab.model(recipe.model), "people", pairwise=True)
