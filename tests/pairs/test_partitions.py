"""Selection by workers on partitions: their union is what one process selects."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pairs.test_at_scale import MODELS, answers, filled, select, verdicts
from toolkit.errors import InputError
from toolkit.pairs.at_scale import Selection
from toolkit.pairs.partitions import collect_parts, select_part, write_parts
from toolkit.pairs.versions import load
from toolkit.store.database import Store

ASKED = {phase: Selection("set", 0, "judge", dict(list(MODELS.items())[: phase + 1])) for phase in (1, 2)}


def judged(seed: int, prompts: int = 40) -> Store:
    """The same rows each time it is called with the same seed."""
    rng = random.Random(seed)
    answered = answers(rng, prompts)
    return filled(answered, verdicts(rng, [one for pool in answered.values() for one in pool], "halves"))


@pytest.mark.parametrize(("parts", "phase"), [(1, 2), (4, 1), (4, 2), (25, 2)])  # of 25 some are empty
def test_the_union_of_the_parts_is_the_selection_of_one_process(tmp_path: Path, parts: int, phase: int) -> None:
    with judged(3) as one:
        whole = load(one, select(one, phase).id)
    with judged(3) as store:
        write_parts(store, ASKED[phase], str(tmp_path), parts)
        numbers = list(range(parts))
        random.Random(1).shuffle(numbers)
        sizes = [select_part(str(tmp_path), number) for number in numbers]
        select_part(str(tmp_path), 0)  # as a worker does that was started twice
        version = collect_parts(store, str(tmp_path), "L")
        found = load(store, version.id)
    assert sum(sizes) == len(whole.pairs) > 15
    assert (found.fingerprint, found.pairs, set(found.drops)) == (whole.fingerprint, whole.pairs, set(whole.drops))


def test_every_prompt_is_in_one_part_and_parquet_alone_says_which(tmp_path: Path) -> None:
    from pyarrow import dataset

    with judged(3) as store:
        write_parts(store, ASKED[2], str(tmp_path), 4)
        answered = {row["id"] for row in store.query("SELECT id FROM response")}
    rows = dataset.dataset(tmp_path / "response", partitioning="hive").to_table().to_pylist()
    assert {row["id"] for row in rows} == answered and len(rows) == len(answered)
    places = {(row["prompt"], row["part"]) for row in rows}
    assert len(places) == len({prompt for prompt, _ in places}) and {part for _, part in places} == {0, 1, 2, 3}


def test_a_part_that_nobody_selected_is_missed_and_nothing_is_stored(tmp_path: Path) -> None:
    with judged(3) as store:
        write_parts(store, ASKED[2], str(tmp_path), 3)
        select_part(str(tmp_path), 0)
        select_part(str(tmp_path), 2)
        with pytest.raises(InputError, match="no pair of part 1") as told:
            collect_parts(store, str(tmp_path), "L")
        assert f"part-select {tmp_path} 1" in told.value.remedy
        assert store.query("SELECT count(*) AS n FROM pair") == [{"n": 0}]


def test_parts_of_another_store_are_refused(tmp_path: Path) -> None:
    with judged(3) as store:
        write_parts(store, ASKED[2], str(tmp_path), 1)
    select_part(str(tmp_path), 0)
    with Store(None) as other, pytest.raises(InputError, match="does not hold"):
        collect_parts(other, str(tmp_path), "L")


def test_a_part_that_is_none_and_a_folder_without_parts_are_named(tmp_path: Path) -> None:
    with judged(3) as store:
        write_parts(store, ASKED[2], str(tmp_path), 2)
    with pytest.raises(InputError, match="no part 2"):
        select_part(str(tmp_path), 2)
    with pytest.raises(InputError, match=r"no selection\.json"):
        select_part(str(tmp_path / "nowhere"), 0)


def test_three_processes_select_three_parts_by_command(tmp_path: Path) -> None:
    path, folder = tmp_path / "s.duckdb", str(tmp_path / "parts")
    with judged(5) as source, Store(path) as store:
        for table in ("response", "judgment"):
            with store.lent("rows", source.arrow(f"FROM {table}")):
                store.query(f"INSERT INTO {table} FROM rows")
        expected = select(source, 2)
    pools = ["--present", "m-1", "--past", "m-0", "--future", "m-f"]
    said = toolkit(
        "part-out", "set", folder, "--judge", "judge", *pools, "--iteration", "0", "--parts", "3", store=path
    )
    assert "3 parts" in said
    workers = [
        subprocess.Popen([sys.executable, "-m", "toolkit", "part-select", folder, str(number)]) for number in range(3)
    ]
    assert [worker.wait() for worker in workers] == [0, 0, 0]
    said = toolkit("part-collect", folder, store=path)
    assert f"set@1: {expected.size} pairs" in said and expected.fingerprint in said


def toolkit(*words: str, store: Path) -> str:
    command = [sys.executable, "-m", "toolkit", *words, "--store", str(store)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
