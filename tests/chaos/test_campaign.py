"""The fault campaign in its short form; `make chaos` is the long one.

One fault of every way in which faults strike is survived, and the campaign fails where a protection is taken out: so
it would see that protection go.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from benchmarks.chaos import faults
from benchmarks.chaos.damage import damages
from benchmarks.chaos.fault import Fault
from benchmarks.chaos.nursery import Nursery
from benchmarks.chaos.stand import Stand
from benchmarks.chaos.trial import Campaign
from toolkit.errors import StoreError

FLIPPED = "one bit of the weights flipped"
DAMAGES = {fault.name: fault for fault in damages()}
STRUCK = [
    faults.moment("SIGKILL", 80, 0.1),
    faults.moment("SIGINT", 50, 0.05),
    faults.committing("training_step"),
    *(fault for fault in faults.trainers() if fault.name in ("exit", "hand-off cut off within a row")),
    *(fault for fault in faults.engines() if fault.name == "torn:4"),
    *(fault for fault in faults.endpoints() if fault.name == "half, 2 times"),
    *(fault for fault in faults.limits() if fault.name == "at the hand-off"),
    DAMAGES["vanished"],
]


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campaign]:
    folder, nursery = tmp_path_factory.mktemp("chaos"), Nursery()
    yield Campaign(folder, Stand.made(folder / "stand"), nursery, patience=60.0).begun()
    nursery.close()


@pytest.mark.parametrize("fault", STRUCK, ids=lambda fault: f"{fault.kind}, {fault.name}")
def test_a_fault_ends_with_a_clear_word_and_the_same_command_then_gives_the_undisturbed_rows(
    campaign: Campaign, fault: Fault
) -> None:
    outcome = campaign.tried(fault)
    assert (outcome.problems, outcome.lost, outcome.doubled) == ((), 0, 0)


def test_without_transactions_the_campaign_sees_lost_rows(campaign: Campaign) -> None:
    fault = faults.committing("training_step")
    assert replace(campaign, without="transaction").tried(fault).lost > 0


def test_without_keys_the_next_opening_refuses_the_tables(campaign: Campaign) -> None:
    with pytest.raises(StoreError, match="the store has another table"):
        replace(campaign, without="keys").tried(faults.boundary("SIGKILL", 3))


def test_without_the_checksum_the_campaign_sees_that_a_changed_model_answered(campaign: Campaign) -> None:
    assert not replace(campaign, without="checksum").tried(DAMAGES[FLIPPED]).survived
