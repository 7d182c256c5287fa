from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.identity import Json, canonical, content_id, derive_seed, fingerprint
from toolkit.records import Prompt, Response, Sampling
from toolkit.store.database import Store


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1: 2}, {1, 2}, object(), {"a": [b"x"]}])
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    with pytest.raises((TypeError, ValueError), match=r"canonical|not a string"):
        canonical(value)  # type: ignore[arg-type]


@given(st.dictionaries(st.text(), st.integers(), min_size=2))
def test_key_order_does_not_matter(data: dict[str, int]) -> None:
    assert content_id("x", data) == content_id("x", dict(reversed(data.items())))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(json_values)
def test_canonical_text_says_all_and_says_it_in_one_way(value: Json) -> None:
    text = canonical(value)
    assert text.isascii()
    assert json.loads(text) == value
    assert canonical(json.loads(text)) == text


@given(json_values, json_values)
def test_what_differs_has_another_id(one: Json, other: Json) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)  # 1 and true are not the same
    assert (content_id("x", one) == content_id("x", other)) == same


@given(st.lists(st.text(), unique=True))
def test_row_order_does_not_matter_to_a_fingerprint(ids: list[str]) -> None:
    assert fingerprint(ids) == fingerprint(reversed(ids))


def test_kinds_with_equal_content_have_different_ids() -> None:
    assert content_id("Prompt", {"text": "a"}) != content_id("Model", {"text": "a"})


def test_an_answer_does_not_change_the_id_of_its_request() -> None:
    asked = Response("p", "m", "past", 0, Sampling(1.0, 1.0, 8), 7)
    assert replace(asked, text="yes", tokens=2, finish="stop").id == asked.id
    assert replace(asked, draw=1).id != asked.id
    assert replace(asked, role="present").id != asked.id


def test_a_temperature_of_0_and_of_0_0_are_one_request_which_is_found_again() -> None:
    """Python code writes either; the store reads back a float, and an answer under another id is never found."""
    asked, alike = (
        Response("p", "m", "exam", 0, Sampling(*how, 8), 7, "x", 1, 1, "stop") for how in ((0, 1), (0.0, 1.0))
    )
    with Store(None) as store:
        store.add([asked], launch="L")
        assert store.find(Response, [asked.id]) == {asked.id: alike}


def test_the_same_content_has_the_same_id_in_another_process_with_another_hash_seed() -> None:
    code = "from toolkit.records import Prompt; print(Prompt('na\\u00efve \\U0001f600').id)"
    environment = {**os.environ, "PYTHONHASHSEED": "77", "LC_ALL": "C", "TZ": "Asia/Tokyo"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == Prompt("naïve \U0001f600").id


def test_seeds_differ_by_every_part_and_fit_31_bits() -> None:
    seeds = {derive_seed(0, "p", "m", role, draw) for role in ("past", "present") for draw in range(50)}
    assert len(seeds) == 100
    assert all(0 <= seed < 2**31 for seed in seeds)
