"""Which sets and models are a run's own where several could be meant: the right ones, every time."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.diagnostics.planted import Turn, one_turn, pairs_of, plant, trained
from toolkit.config import Recipe
from toolkit.diagnostics.collapse import verdict
from toolkit.diagnostics.summary import kept_phase, summed
from toolkit.lab import Lab, Step
from toolkit.pairs import versions
from toolkit.provenance import capture
from toolkit.records import Metric, Model, Summary
from toolkit.reporting.notebooks.frames import Reader
from toolkit.reporting.notebooks.pair_browser import orders
from toolkit.store.database import Store

GAPS = [1.0, 2.0, 3.0, 4.0]


def test_where_the_future_won_no_prompt_the_phase_that_is_kept_is_still_guided() -> None:
    """Both sets of the last iteration are then one content, and M_f1 and M_2 one model with two names."""
    with Store(None) as store:
        lab = plant(store, [])
        present = Model("M_0", "", "planted 0", "t")
        for number, guided in enumerate(([5.0, 6.0, 7.0, 8.0], GAPS)):
            lab.iteration = number
            one_turn(lab, "anchored", Turn(GAPS, GAPS), present, name=f"M_f{number}")
            present = one_turn(lab, "guided", Turn(GAPS, guided), present)
        names = store.query("SELECT model FROM model_names WHERE name IN ('M_f1', 'M_2')")
        assert len(names) == 2 and len({row["model"] for row in names}) == 1
        assert kept_phase(store, "planted") == ("guided", ["guided@1", "guided@2"])


@pytest.mark.parametrize("evaluated", [0, 9])
def test_a_launch_that_was_killed_between_the_phases_turns_no_order(evaluated: int) -> None:
    """Begun again, maybe with a suite, it had noted the anchored set alone; the guided one is of the launch before."""
    with Store(None) as store:
        base, turn = Model("M_0", "", "planted 0", "t"), Turn(GAPS, GAPS)
        for phases, more in ((("anchored", "guided"), 0), (("anchored",), evaluated)):
            lab = plant(store, [])
            for number in range(more):
                lab.note(Step(0, "evaluate", f"task {number}", base.id, 1, 0))
            for phase, name in zip(phases, ("M_f0", "M_1"), strict=False):
                one_turn(lab, phase, turn, base, name)
        assert [row["phase"] for row in store.query("FROM run_sets ORDER BY position")] == ["anchored", "guided"]
        assert kept_phase(store, "planted") == ("guided", ["guided@1"])


def test_a_set_that_nothing_was_trained_on_has_no_training_of_another() -> None:
    with Store(None) as store:
        lab, base = plant(store, []), Model("M_0", "", "planted 0", "t")
        pairs_of(lab, "trial", Turn(GAPS, [4.0, 3.0, 2.0, 1.5]), base)
        one_turn(lab, "self_rewarding", Turn(GAPS, GAPS), base)
        assert [row["pair_set"] for row in store.query("FROM run_sets")] == ["self_rewarding@1"]


def test_content_that_comes_again_in_a_later_turn_has_each_turns_own_training() -> None:
    with Store(None) as store:
        lab, present = plant(store, []), Model("M_0", "", "planted 0", "t")
        made = pairs_of(lab, "spin", Turn(GAPS, GAPS), present)
        for number in range(2):
            lab.iteration = number
            lab.note(Step(number, "pair", "spin", made.id, len(GAPS), 0))
            present = trained(lab, made, present, Turn(GAPS, GAPS), f"M_{number + 1}")
        names = store.query(
            "SELECT n.name FROM run_sets s JOIN model_names n ON n.model = s.result ORDER BY s.position"
        )
    assert [row["name"] for row in names] == ["M_1", "M_2"]


def test_of_two_selections_the_one_that_was_trained_on_is_the_runs() -> None:
    with Store(None) as store:
        lab, base = plant(store, []), Model("M_0", "", "planted 0", "t")
        one, other = (pairs_of(lab, "self_rewarding", Turn(GAPS, gaps), base) for gaps in (GAPS, [4.0, 3.0, 2.0, 1.5]))
        trained(lab, one, base, Turn(GAPS, GAPS), "M_1")
        result = trained(lab, one, base, Turn(GAPS, GAPS), "M_1", beta=0.5)
        (row,) = store.query("FROM run_sets")
        assert (row["pair_set"], row["result"]) == (one.id, result.id) and other.id != one.id


def test_two_sets_of_one_phase_in_one_sitting_the_newer_is_the_runs() -> None:
    """A notebook that pairs and trains twice, with another selection, has thrown the first away."""
    with Store(None) as store:
        lab = plant(store, [Turn(GAPS, GAPS)])
        base = Model("M_0", "", "planted 0", "t")
        newer = one_turn(lab, "self_rewarding", Turn(GAPS, [2.0, 2.0, 2.0, 5.0]), base)
        (row,) = store.query("FROM run_sets")
        assert (row["pair_set"], row["result"]) == ("self_rewarding@2", newer.id)
        assert store.query("SELECT model FROM model_names WHERE name = 'M_1'") == [{"model": newer.id}]


def test_sets_of_two_recipes_under_one_run_name_stand_in_the_order_they_were_made() -> None:
    with Store(None) as store:
        plant(store, [Turn(GAPS, GAPS)])
        plant(store, [Turn(GAPS, [2.0, 2.0, 2.0, 5.0])], phase="spin_fair")
        rows = store.query("FROM run_sets ORDER BY iteration, position")
    assert [row["pair_set"] for row in rows] == ["self_rewarding@1", "spin_fair@1"]
    assert len({row["position"] for row in rows}) == 2


def test_a_verdict_is_of_the_sets_that_a_run_begun_again_made_last() -> None:
    """The older two sets fall to a third, the newer two do not; all four are stored under one run's name."""
    with Store(None) as store:
        for fall, shift in ((0.3, 0.0), (1.0, 0.5)):
            norms = [90.0 + place % 7 for place in range(24)]
            gaps = [1.0 + shift + place / 24 for place in range(24)]
            turns = [Turn(norms, gaps, norms[::-1]), Turn([fall * norm for norm in norms], gaps, norms[::-1])]
            lab = plant(store, turns)
            summed(lab, "planted")
            told = verdict(store, "planted").verdict
            assert told == ("collapse" if fall < 1 else "no collapse seen")
        assert {row["after"] for row in store.query("FROM changes")} == {"self_rewarding@4"}
        assert {row["after"] for row in store.query("FROM change")} == {"self_rewarding@2", "self_rewarding@4"}


def test_what_training_did_to_a_shared_set_is_told_of_the_runs_own_training(tmp_path: Path) -> None:
    """Two runs that differ in beta alone train on one set, and call what they made by one name."""
    path = tmp_path / "s.duckdb"
    with Store(path) as store:
        one = plant(store, [Turn(GAPS, GAPS)], run="one")
        shared = versions.load(store, "self_rewarding@1")
        two = Lab(Recipe(name="two"), store, capture("two", {}), planning=False)
        two.starts_from(Model("M_0", "", "one 0", "t"))
        two.note(Step(0, "pair", "self_rewarding", shared.id, len(GAPS), 0))
        trained(two, shared, Model("M_0", "", "one 0", "t"), Turn(GAPS, GAPS), "M_1", beta=0.5)
        models = {row["run"]: row["result"] for row in store.query("FROM run_sets")}
        for share, (run, lab) in zip((0.9, 0.1), (("one", one), ("two", two)), strict=True):
            key = (shared.id, "", "displaced", "result", models[run], {})
            store.add([Summary(*key, n=4, mean=share, low=share - 0.1, high=share + 0.1)], launch=lab.launch.id)
            pair = shared.pairs[0]
            found = Metric(pair.chosen, pair.rejected, models[run], "forward", {}, {"chosen_logprob": -share})
            store.add([found], launch=lab.launch.id)
        told = {run: next(f for f in verdict(store, run).findings if f.name == "displacement") for run in models}
    assert ("in 90% of 4" in told["one"].said, told["one"].holds) == (True, True)
    assert ("in 10% of 4" in told["two"].said, told["two"].holds) == (True, False)
    under = {model for label, (_, model) in orders(Reader(path), shared.id).items() if "chosen_logprob" in label}
    assert under == set(models.values()), "each under a label of its own"
