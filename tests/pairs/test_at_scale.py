"""Selection in SQL against selection.py and freeze, over random stores: ties, unreadable verdicts, several draws."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.errors import InputError
from toolkit.judgments.judge import Pool, _candidates
from toolkit.pairs import at_scale
from toolkit.pairs.at_scale import Selection, select_in_sql
from toolkit.pairs.selection import best, pair_up, worst
from toolkit.pairs.versions import Version, freeze, load
from toolkit.records import Judgment, PairSet, Response, Role, Sampling
from toolkit.store.database import Store

SAMPLING = Sampling(1.0, 1.0, 8)
MODELS: dict[Role, str] = {"present": "m-1", "past": "m-0", "future": "m-f"}
GRIDS = {
    "whole points that tie": lambda rng: float(rng.randint(0, 5)),
    "halves": lambda rng: rng.randint(0, 10) / 2,
    "any": lambda rng: rng.uniform(-1, 5),
    "tiny": lambda rng: rng.randint(0, 3) * 10.0 ** -rng.randint(4, 9),
    "halves of a billionth": lambda rng: rng.randint(0, 40) / 1024,
}


def answers(rng: random.Random, prompts: int) -> dict[Role, list[Response]]:
    """Up to four draws of each model to each prompt; a prompt may lack any model's."""
    made: dict[Role, list[Response]] = {"present": [], "past": [], "future": []}
    for role, model in MODELS.items():
        for prompt in range(prompts):
            for draw in range(rng.choice([0, 1, 2, 4, 4])):
                asked = Response(f"p{prompt}", model, role, draw, SAMPLING, rng.randrange(2**31))
                text = f"{role} {prompt} {draw} é\n" * rng.randint(0, 3)
                made[role].append(replace(asked, text=text, tokens=1, prompt_tokens=1, finish="stop"))
    return made


def verdicts(rng: random.Random, responses: list[Response], grid: str) -> list[Judgment]:
    """One or two verdicts each, a fifth of them unreadable."""
    made = []
    for response in responses:
        for draw in range(rng.choice([1, 1, 2])):
            asked = Judgment(response.id, "judge", "rubric", "generated", SAMPLING, draw, 1)
            if rng.random() < 0.2:
                made.append(replace(asked, reply="?", status="unreadable", reason="no score"))
            else:
                made.append(replace(asked, reply="Score", status="scored", score=GRIDS[grid](rng)))
    return made


def in_python(answered: dict[Role, list[Response]], judged: list[Judgment], phase: int) -> PairSet:
    now, then, soon = (
        Pool("judge", _candidates(answered[role], judged)[0]) for role in ("present", "past", "future")
    )  # fmt: skip
    pairs, drops = pair_up(best(now) if phase == 1 else best(now, soon), worst(now, then))
    return PairSet("set", 0, 0, tuple(pairs), tuple(drops))


def filled(answered: dict[Role, list[Response]], judged: list[Judgment]) -> Store:
    store = Store(None)
    order = [response for role in ("future", "past", "present") for response in answered[role]]
    random.Random(0).shuffle(order)
    store.add(order, launch="L")
    store.add(judged, launch="L")
    store.add([replace(judgment, judge="another", score=9.0, status="scored") for judgment in judged], launch="L")
    return store


def select(store: Store, phase: int) -> Version:
    models = MODELS if phase == 2 else {role: MODELS[role] for role in ("present", "past")}
    return select_in_sql(store, Selection("set", 0, "judge", models), "L")


@pytest.mark.parametrize("phase", [1, 2])
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("seed", range(3))
def test_sql_selects_the_very_pairs_that_python_selects(
    monkeypatch: pytest.MonkeyPatch, seed: int, grid: str, phase: int
) -> None:
    if seed:
        monkeypatch.setattr(at_scale, "SLICE", 100)  # several slices
    rng = random.Random(seed)
    answered = answers(rng, 120)
    judged = verdicts(rng, [response for pool in answered.values() for response in pool], grid)
    expected = in_python(answered, judged, phase)
    with filled(answered, judged) as store:
        version = select(store, phase)
        found = load(store, version.id)
    with Store(None) as other:
        frozen, _ = freeze(other, expected, "L")
    assert len(found.pairs) > 30
    assert len(found.drops) > 3
    assert (version.fingerprint, version.size) == (frozen.fingerprint, len(frozen.pairs))
    assert sorted(found.pairs, key=lambda pair: pair.id) == sorted(expected.pairs, key=lambda pair: pair.id)
    assert {pair.id for pair in found.pairs} == {pair.id for pair in expected.pairs}
    assert set(found.drops) == set(expected.drops)


drawn_score = st.none() | st.integers(0, 3).map(float) | st.floats(0, 5).map(lambda score: round(score, 3))
drawn_pools = st.dictionaries(st.sampled_from(sorted(MODELS)), st.lists(drawn_score, max_size=4))


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.lists(drawn_pools, min_size=1, max_size=4), st.sampled_from([1, 2]))
def test_sql_selects_what_python_selects_whatever_the_pools(
    prompts: list[dict[Role, list[float | None]]], phase: int
) -> None:
    answered: dict[Role, list[Response]] = {role: [] for role in MODELS}
    judged: list[Judgment] = []
    for number, pools in enumerate(prompts):
        for role, scores in pools.items():
            for draw, score in enumerate(scores):
                asked = Response(f"p{number}", MODELS[role], role, draw, SAMPLING, draw)
                answered[role].append(replace(asked, text=f"{role} {draw}", tokens=1, prompt_tokens=1, finish="stop"))
                verdict = Judgment(asked.id, "judge", "rubric", "generated", SAMPLING, 0, 1)
                judged.append(
                    replace(verdict, reply="?", status="unreadable" if score is None else "scored", score=score)
                )
    expected = in_python(answered, judged, phase)
    with filled(answered, judged) as store:
        found = load(store, select(store, phase).id)
    assert {pair.id for pair in found.pairs} == {pair.id for pair in expected.pairs}
    assert (found.fingerprint, set(found.drops)) == (expected.fingerprint, set(expected.drops))


def test_what_python_froze_is_found_again_and_nothing_is_written_twice() -> None:
    rng = random.Random(7)
    answered = answers(rng, 60)
    judged = verdicts(rng, [response for pool in answered.values() for response in pool], "halves")
    with filled(answered, judged) as store:
        frozen, _ = freeze(store, in_python(answered, judged, 2), "L")
        count = "SELECT (SELECT count(*) FROM pair) AS pairs, (SELECT count(*) FROM dropped) AS drops"
        before = store.query(count)
        assert select(store, 2).id == frozen.id == "set@1"
        assert store.query(count) == before
        assert select(store, 1).id == "set@2"


def test_sql_writes_a_score_as_python_does() -> None:
    rng = random.Random(3)
    scores = [round(rng.random() * 10.0 ** rng.randint(-9, 6), 9) for _ in range(50_000)]
    scores += [number / 1e9 for number in range(20_000)] + [0.0, 1e6, 999999.999999999, 1e-4, 1e-5, -0.25]
    with Store(None) as store:
        rows = store.query("SELECT x::VARCHAR AS t FROM (SELECT unnest(?::DOUBLE[]) AS x)", [scores])
    assert [row["t"] for row in rows] == [json.dumps(score) for score in scores]


def test_answers_of_two_seeds_are_refused_and_nothing_is_left() -> None:
    rng = random.Random(1)
    answered = answers(rng, 10)
    judged = verdicts(rng, answered["present"], "halves")
    twice = [replace(response, seed=1) for response in answered["present"]]
    with filled(answered, judged) as store:
        store.add(twice, launch="L")
        with pytest.raises(InputError, match="two samplings or seeds"):
            select(store, 1)
        assert store.query("SELECT count(*) AS n FROM pair") == [{"n": 0}]


def test_verdicts_of_two_seeds_are_refused_and_nothing_is_left() -> None:
    """A run takes the verdicts of its own seed; here their mean over both would be another score."""
    rng = random.Random(1)
    answered = answers(rng, 10)
    judged = verdicts(rng, answered["present"], "halves")
    with filled(answered, judged) as store:
        store.add([replace(judged[0], seed=2)], launch="L")
        with pytest.raises(InputError, match=f"two seeds judged answer {judged[0].response}"):
            select(store, 1)
        assert store.query("SELECT count(*) AS n FROM pair") == [{"n": 0}]


def test_verdicts_by_two_rubrics_are_no_common_scale() -> None:
    rng = random.Random(1)
    answered = answers(rng, 10)
    judged = verdicts(rng, answered["present"], "halves")
    with filled(answered, judged) as store:
        store.add([replace(judgment, rubric="other") for judgment in judged], launch="L")
        with pytest.raises(InputError, match="scored in 2 ways"):
            select(store, 1)


def test_a_score_beyond_the_exact_range_is_refused() -> None:
    response = replace(
        Response("p", "m-1", "present", 0, SAMPLING, 1), text="", tokens=1, prompt_tokens=1, finish="stop"
    )
    asked = Judgment(response.id, "judge", "rubric", "generated", SAMPLING, 0, 1)
    with Store(None) as store:
        store.add([response], launch="L")
        store.add([replace(asked, reply="", status="scored", score=2e6)], launch="L")
        with pytest.raises(InputError, match="beyond 1e\\+06"):
            select(store, 1)


def test_a_selection_without_a_past_is_refused() -> None:
    with Store(None) as store, pytest.raises(InputError, match="name both"):
        select_in_sql(store, Selection("set", 0, "judge", {"present": "m-1"}), "L")
