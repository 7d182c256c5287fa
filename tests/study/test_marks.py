"""Summaries that do not belong together: what the marks say, and what they keep from being claimed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.study.synthetic import declared, study
from toolkit.errors import InputError
from toolkit.study.claim import CLAIMED, NOT_CLAIMED
from toolkit.study.page import write_study
from toolkit.study.results import results
from toolkit.study.summary import Summary

BFLOAT16 = {"engine": "bfloat16", "trainer": "bfloat16"}
FLOAT32 = {"engine": "float32", "trainer": "float32"}


def on(hardware: Callable[[Summary], Mapping[str, Any]], summaries: Sequence[Summary] = ()) -> list[Summary]:
    """A study whose seeds ran on these machines."""
    return [replace(each, hardware=hardware(each)) for each in summaries or study()]


def with_dtypes(summaries: Sequence[Summary], engine: str, trainer: str, seeds: Sequence[int]) -> list[Summary]:
    """These seeds with dtypes in the recipe of the new arm."""
    dtypes = {"engine": {"kind": "vllm", "dtype": engine}, "trainer": {"dtype": trainer}}
    return [
        replace(each, recipes={**each.recipes, "new": {**each.recipes["new"], **dtypes}})
        if each.seed in seeds
        else each
        for each in summaries
    ]


def test_seeds_in_different_dtypes_are_marked_and_nothing_is_claimed() -> None:
    summaries = on(lambda each: {"dtype": FLOAT32 if (each.condition, each.seed) == ("self", 8) else BFLOAT16})
    computed = results(summaries)
    assert computed.marks == (
        "The dtype of new, old under self differs between seeds: engine bfloat16, trainer bfloat16 (seeds 1, 2, 3, 4, "
        "5, 6, 7 (self)); engine float32, trainer float32 (seed 8 (self)).",
    )
    assert computed.claim.word == NOT_CLAIMED
    assert computed.claim.reasons == ("the dtype of new, old under self differs between seeds",)


@pytest.mark.parametrize("part", ["engine", "trainer"])
def test_either_dtype_counts(part: str) -> None:
    summaries = on(lambda each: {"dtype": {**BFLOAT16, part: "float32"} if each.seed == 2 else BFLOAT16})
    assert results(summaries).claim.word == NOT_CLAIMED
    assert len(results(summaries).marks) == 3, "one for each condition"


def test_a_recipe_that_names_a_dtype_goes_before_the_launch() -> None:
    machines = on(lambda each: {"dtype": BFLOAT16})
    reasons = results(with_dtypes(machines, "float32", "float32", [4])).claim.reasons
    assert reasons[0] == "the dtype of new under clean differs between seeds", "the other arm has the machine's"
    assert results(with_dtypes(machines, "auto", "auto", [4])).claim.word == CLAIMED
    assert results(with_dtypes(machines, "bfloat16", "bfloat16", [4])).claim.word == CLAIMED


def test_one_dtype_for_each_condition_or_a_server_for_all_is_no_difference() -> None:
    summaries = on(lambda each: {"dtype": FLOAT32 if each.condition == "self" else BFLOAT16})
    assert results(summaries).marks == ()
    served = on(lambda each: {"dtype": {"trainer": "float32"}})
    assert results(with_dtypes(served, "bfloat16", "float32", [1, 2])).marks == (), (
        "its recipe's dtype is of no engine here"
    )


def test_a_dtype_that_only_some_seeds_state_is_a_difference() -> None:
    computed = results(on(lambda each: {} if each.seed == 1 else {"dtype": BFLOAT16}))
    assert any("engine unknown, trainer unknown (seed 1 (clean))" in mark for mark in computed.marks)
    assert computed.claim.word == NOT_CLAIMED


def test_other_hardware_is_a_note() -> None:
    summaries = on(lambda each: {"cpu": "A" if each.seed < 3 else "B", "limits": {}, "cores": 2, "dtype": BFLOAT16})
    computed = results(summaries)
    assert computed.marks == ("The hardware differs in cpu: the last table of the page has the seeds of each.",)
    assert computed.claim.word == CLAIMED


def test_a_present_declaration_that_changed_is_named_and_the_first_one_is_tested(tmp_path: Path) -> None:
    summaries, now = study(), declared(endpoints=("quality",), negative="")
    computed = results(summaries, now)
    mark = (
        "Now declared differently: endpoints quality (before: quality, signal); negative none (before: noise); the "
        "page keeps the declaration made before the seeds ran."
    )
    assert computed.marks == (mark,)
    assert (computed.claim, computed.endpoints) == (results(summaries).claim, results(summaries).endpoints)
    assert computed.declaration == declared()
    for path in write_study(summaries, tmp_path, now)[1:3]:
        assert "Now declared differently: endpoints quality" in path.read_text(), path.name


def test_a_present_declaration_with_further_seeds_is_the_same_study() -> None:
    assert results(study(), declared(range(1, 12))) == results(study())
    with pytest.raises(InputError, match="several studies: other, trial"):
        results(study(), declared(study="other"))


def test_seeds_that_were_added_are_shown_and_nothing_is_claimed() -> None:
    """Eight seeds hold the claim; with a ninth it might have been added because it did not hold yet."""
    more = declared(range(1, 10))
    added = [each for each in study(more) if each.seed == 9]
    computed = results([*study(), *added])
    assert computed.seeds == tuple(range(1, 10)) and computed.endpoints[0].seeds == 9
    (mark,) = [mark for mark in computed.marks if mark.startswith("The declared seeds changed: ")]
    assert "declare 1, 2, 3, 4, 5, 6, 7, 8; seeds 9 (clean), 9 (noise), 9 (self) declare 1, 2, 3, 4" in mark
    assert computed.claim.word == NOT_CLAIMED
    assert computed.claim.reasons[0].startswith("the declared seeds changed, and what was added or left out may depend")
    assert "a report of the summaries of one declaration alone" in computed.claim.reasons[0]
    assert results(study()).claim.word == CLAIMED, "which holds here"


def test_a_lower_seed_that_was_added_and_seeds_that_were_left_out_block_as_well() -> None:
    late, early = study(declared(range(2, 10))), study(declared(range(1, 10)))
    assert results([*late, *(each for each in early if each.seed == 1)]).claim.word == NOT_CLAIMED
    fewer = study(declared(range(1, 9)))
    wide = [replace(each, declaration=declared(range(1, 13))) if each.seed < 4 else each for each in fewer]
    assert any(reason.startswith("the declared seeds changed") for reason in results(wide).claim.reasons)


def test_a_seed_of_no_declaration_blocks() -> None:
    computed = results([*study(), *(replace(each, seed=12) for each in study() if each.seed == 5)])
    assert any("not declared: seeds 12 (clean), 12 (noise), 12 (self)" in mark for mark in computed.marks)
    assert computed.claim.reasons == (
        "the declared seeds changed, and what was added or left out may depend on results already seen",
    )
