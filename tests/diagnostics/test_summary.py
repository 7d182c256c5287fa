"""What a summary counts: every pair of its set, and one judge's scores alone."""

from __future__ import annotations

from tests.diagnostics.planted import Turn, plant
from toolkit.diagnostics.summary import Series, series
from toolkit.lab import Lab
from toolkit.records import Judgment, Metric, Model, Sampling
from toolkit.store.database import Store


def found(store: Store, metric: str, control: str = "") -> Series:
    (one,) = [
        each
        for each in series(store, "planted")
        if (each.key.metric, each.key.control, each.key.under in ("", "parent")) == (metric, control, True)
    ]
    return one


def test_a_pair_that_could_not_be_measured_is_counted_as_missing() -> None:
    """Nothing was found of one pair, as where its prompt is too long, and another was not measured at all."""
    with Store(None) as store:
        lab = plant(store, [Turn([1.0, 2.0, 3.0, 4.0], [1.0] * 4)])
        metrics = store.query("SELECT * FROM metric ORDER BY id")
        store.query("DELETE FROM metric WHERE id IN (?, ?)", [metrics[0]["id"], metrics[1]["id"]])
        lost = metrics[0]
        reason = "prompt_too_long: 9 tokens, the trainer takes fewer than 8"
        store.add(
            [Metric(lost["chosen"], lost["rejected"], lost["model"], "gradient", {}, {}, reason)], launch=lab.launch.id
        )
        norms = found(store, "gradient.norm")
    assert (len(norms.values), norms.missing) == (2, 2)


def test_a_zero_whose_sign_was_turned_is_zero() -> None:
    """Zeros of both signs have no order, so the digest of the values would differ from one diagnosis to the next."""
    with Store(None) as store:
        lab = plant(store, [Turn([1.0] * 8, [1.0] * 8)])
        pairs = store.query("SELECT chosen, rejected FROM pairs")
        alike = [Metric(pair["chosen"], pair["rejected"], None, "text", {}, {"length_gap": 0.0}) for pair in pairs]
        store.add(alike, launch=lab.launch.id)
        assert [str(value) for value in found(store, "text.length_gap", "shuffled").values] == ["0.0"] * 8


def test_two_judges_of_one_name_are_not_one_judge() -> None:
    """Every run has its M_1, and a judge may score by several rubrics."""
    with Store(None) as store:
        lab = plant(store, [Turn([1.0, 1.0], [1.0, 1.0])])
        for weights, rubric, score in (("a", "five", 3.0), ("b", "five", 5.0), ("b", "ten", 9.0)):
            judged(lab, Model("M_1", "", weights, "t"), rubric, score)
        judged(lab, Model("fixed", "", "c", "t"), "five", 2.0)
        every = [one for one in series(store, "planted") if not one.key.control]
        gaps = {one.key.metric: one.values for one in every if one.key.metric.startswith("gap/")}
    assert gaps.pop("gap/fixed/expected") == (1.0, 1.0)
    assert sorted(gaps.values()) == [(2.0, 2.0), (4.0, 4.0), (8.0, 8.0)]


def judged(lab: Lab, judge: Model, rubric: str, score: float) -> None:
    """Every chosen answer of the store has this score by the judge, every rejected one has 1."""
    lab.store.add([judge], launch=lab.launch.id)
    asked = Sampling(1.0, 1.0, 1)
    for pair in lab.store.query("SELECT chosen, rejected FROM pairs"):
        both = ((pair["chosen"], score), (pair["rejected"], 1.0))
        verdicts = [Judgment(a, judge.id, rubric, "expected", asked, 0, 0, "", "scored", "", s) for a, s in both]
        lab.store.add(verdicts, launch=lab.launch.id)
