"""What a summary counts: every pair of its set, one judge's scores alone; which changes are tested, against what."""

from __future__ import annotations

import random
from dataclasses import replace

from tests.diagnostics.planted import Turn, plant
from toolkit.diagnostics.collapse import verdict
from toolkit.diagnostics.summary import FAMILY, SETTINGS, Series, changes, series, summed
from toolkit.lab import Lab
from toolkit.records import Change, Judgment, Metric, Model, Sampling, Summary
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


def planted(pair_set: str, mean: float, metric: str = "gradient.norm", control: str = "", n: int = 16) -> Series:
    """A series that varies by a tenth, one value a prompt."""
    dice = random.Random(f"{pair_set} {metric} {control}")
    under = "" if metric == "gap" else "parent"
    values = sorted(mean * dice.gauss(1, 0.1) for _ in range(n))
    key = Summary(pair_set, control, metric, under, None, SETTINGS)  # type: ignore[arg-type]
    return Series(key, tuple(values), 0, tuple(f"{pair_set} {i}" for i in dice.sample(range(n), n)))


def computed(every: list[Series], chain: list[str], roles: str = "present_present") -> dict[tuple[str, str], Change]:
    found = changes("run", [chain], every, dict.fromkeys(chain, roles), chain)
    return {(change.metric, change.after): change for change in found}


def test_the_family_alone_is_tested_first_against_last_and_the_rest_is_descriptive() -> None:
    chain = ["s@1", "s@2", "s@3"]
    metrics = [*(metric for metric, _ in FAMILY), "text.edit_distance"]
    every = [planted(name, 10.0 - i, metric) for i, name in enumerate(chain) for metric in metrics]
    text = [replace(one, key=replace(one.key, under="")) for one in every if one.key.metric == "text.edit_distance"]
    every = [one for one in every if one.key.metric != "text.edit_distance"] + text
    found = computed(every, chain)
    assert len(found) == 8
    tested = {key for key, change in found.items() if change.p_holm is not None}
    assert tested == {(metric, "s@3") for metric in ("gradient.norm", "distance", "gap")}
    for key, change in found.items():
        assert change.p is not None
        assert (change.needed is not None) == (change.detectable is not None) == (key in tested)
        assert change.settings["tested"] == (key in tested)
        assert change.settings["family"] == ["gradient.norm under parent", "distance under parent", "gap"]


def test_the_correction_is_for_the_whole_family_also_where_one_signal_alone_was_measured() -> None:
    (change,) = computed([planted("s@1", 10), planted("s@2", 7.5)], ["s@1", "s@2"]).values()
    assert change.p is not None and change.p_holm == min(1.0, 3 * change.p)


def test_the_test_is_the_same_whatever_the_number_of_iterations() -> None:
    for metric in ("gradient.norm", "gap"):
        chain = [f"s@{i}" for i in range(10)]
        every = [planted(name, 10.0 - i / 3, metric) for i, name in enumerate(chain)]
        long, short = computed(every, chain), computed([every[0], every[-1]], [chain[0], chain[-1]])
        assert long[metric, "s@9"].p_holm == short[metric, "s@9"].p_holm


def test_dpo_gradient_is_left_out_where_it_is_the_norm_times_a_constant() -> None:
    norms = [planted("s@1", 10), planted("s@2", 8)]
    for weights, kept in (((0.05, 0.05), False), ((0.05, 0.02), True)):
        times = [replace(one.key, metric="dpo_gradient") for one in norms]
        scaled = [
            Series(key, tuple(weight * value for value in one.values), 0, one.prompts)
            for key, one, weight in zip(times, norms, weights, strict=True)
        ]
        assert (("dpo_gradient", "s@2") in computed(norms + scaled, ["s@1", "s@2"])) is kept


def test_the_control_has_the_roles_of_the_pairs_where_it_was_measured() -> None:
    chain = ["s@1", "s@2"]
    pairs = [planted("s@1", 10), planted("s@2", 5)]
    draws = [planted(name, 4, control="draws") for name in chain]
    same = [planted("s@1", 8, control="future_past"), planted("s@2", 4, control="future_past")]
    (change,) = computed(pairs + draws + same, chain, "future_past").values()
    assert change.control == "future_past" and change.ratio and change.control_ratio and change.relative
    assert 0.4 < change.ratio < 0.6 and 0.4 < change.control_ratio < 0.6
    assert abs(change.relative - change.ratio / change.control_ratio) < 1e-9
    for every, roles, name in (
        (pairs + draws + same, "present_present", "draws"),
        (pairs + draws + same[:1], "future_past", "draws"),
        (pairs + [planted(name, 4, control="draws", n=5) for name in chain], "", ""),
        (pairs, "future_past", ""),
    ):
        assert computed(every, chain, roles)["gradient.norm", "s@2"].control == name


def test_an_unknown_control_is_named_as_it_is_stored() -> None:
    with Store(None) as store:
        lab = plant(store, [Turn([10.0 + i for i in range(8)], [1.0 + i / 8 for i in range(8)])] * 2)
        summed(lab, "planted")
        store.query("UPDATE change SET control = 'new_kind', control_ratio = 1")
        assert "its control (the control new_kind) 1.00" in verdict(store, "planted").findings[0].said
