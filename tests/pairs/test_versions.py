"""Versions of pair sets: numbering, content, changes, references, drift, deletion."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.errors import InputError, StoreError
from toolkit.pairs import versions
from toolkit.pairs.diff import diff
from toolkit.records import Drop, Model, Pair, PairSet, Prompt, Response, Score, Training, pair_content
from toolkit.store.database import Store

AUTHOR = Model.external("someone")
QUESTIONS = tuple(Prompt(f"question {i}?") for i in range(12))


def answer(prompt: Prompt, text: str) -> Response:
    return Response(prompt.id, AUTHOR.id, "present", 0, None, None, text)


def make(store: Store, prompt: Prompt, chosen: str, rejected: str, scores: tuple[float, float] = (4.0, 1.0)) -> Pair:
    """A pair of two texts with its records stored."""
    sides = answer(prompt, chosen), answer(prompt, rejected)
    store.add([AUTHOR], launch="L")
    store.add([prompt], launch="L")
    store.add(sides, launch="L")
    content = pair_content(prompt.id, (chosen, rejected), scores, ("present", "present"))
    high, low = scores
    return Pair(prompt.id, sides[0].id, sides[1].id, high, low, "present", "present", AUTHOR.id, content)


def freeze(store: Store, pairs: Sequence[Pair], name: str = "set", **more: object) -> PairSet:
    draft = replace(PairSet(name, 0, None, tuple(pairs)), **more)  # type: ignore[arg-type]
    return versions.freeze(store, draft, "L")[0]


@pytest.fixture
def store() -> Iterator[Store]:
    with Store(None) as opened:
        yield opened


@pytest.fixture
def pairs(store: Store) -> list[Pair]:
    return [make(store, prompt, f"good {i}", f"bad {i}") for i, prompt in enumerate(QUESTIONS)]


def changes(store: Store, version: str) -> int:
    rows = store.query("SELECT count(*) AS n FROM pair_set_change WHERE pair_set = ?", [version])
    count: int = rows[0]["n"]
    return count


def test_the_same_content_in_another_order_is_no_new_version(store: Store, pairs: list[Pair]) -> None:
    first = freeze(store, pairs, message="as made")
    again, found = versions.freeze(store, PairSet("set", 0, None, tuple(reversed(pairs))), "L")
    assert found
    assert (again.id, again.fingerprint, again.message) == ("set@1", first.fingerprint, "as made")


def test_one_changed_row_is_a_version_of_one_change_each_way(store: Store, pairs: list[Pair]) -> None:
    freeze(store, pairs)
    changed = make(store, QUESTIONS[3], "better", "bad 3")
    second = freeze(store, [*pairs[:3], changed, *pairs[4:]])
    assert second.id == "set@2"
    assert second.parent == "set@1"
    assert (changes(store, "set@1"), changes(store, "set@2")) == (12, 2)
    assert set(versions.load(store, "set@2").pairs) == {*pairs[:3], changed, *pairs[4:]}
    assert set(versions.load(store, "set@1").pairs) == set(pairs)
    found = diff(store, "set@1", "set@2")
    assert [row["what"] for row in found.rows] == ["chosen"]
    assert found.summary["same"] == 11


def test_a_version_that_shares_little_is_stored_whole(store: Store, pairs: list[Pair]) -> None:
    freeze(store, pairs[:6])
    freeze(store, pairs[5:])
    assert [version.base for version in versions.versions(store, "set")] == [None, None]
    assert changes(store, "set@2") == 7


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sets(st.integers(0, 11), min_size=1), min_size=1, max_size=6))
def test_every_version_keeps_its_members_however_it_is_stored(history: list[set[int]]) -> None:
    with Store(None) as store:
        pairs = [make(store, prompt, f"good {i}", f"bad {i}") for i, prompt in enumerate(QUESTIONS)]
        made = [(freeze(store, [pairs[i] for i in sorted(chosen)]).id, chosen) for chosen in history]
        for version, chosen in made:
            assert {pair.id for pair in versions.load(store, version).pairs} == {pairs[i].id for i in chosen}
            versions.verify(store, versions.resolve(store, version))
        view = store.query("SELECT pair_set, count(*) AS n FROM pair_set_members GROUP BY ALL")
        assert {row["pair_set"]: row["n"] for row in view} == {version: len(chosen) for version, chosen in made}


@settings(max_examples=10, deadline=None, derandomize=True)
@given(st.lists(st.sets(st.integers(0, 11), min_size=1), min_size=2, max_size=6), st.randoms(use_true_random=False))
def test_whatever_is_deleted_the_other_versions_come_back_whole(history: list[set[int]], draw: Random) -> None:
    with Store(None) as store:
        made = {}
        for chosen in history:
            version = freeze(store, [make(store, QUESTIONS[i], f"good {i}", f"bad {i}") for i in chosen])
            made[version.id] = (version.fingerprint, len(chosen))
            if len(made) > 1 and draw.random() < 0.5:
                gone = draw.choice(sorted(made))
                versions.delete(store, gone, "L")
                del made[gone]
        left = {version.id: version for version in versions.versions(store)}
        assert set(left) == set(made)
        for identifier, (fingerprint, size) in made.items():
            loaded = versions.load(store, identifier)
            assert (loaded.fingerprint, len(loaded.pairs)) == (fingerprint, size)
            versions.verify(store, left[identifier])


def test_the_fingerprint_is_of_what_is_said_and_not_of_who_said_it(store: Store, pairs: list[Pair]) -> None:
    other = Model.external("another author")
    text = store.find(Response, [pairs[0].chosen])[pairs[0].chosen]
    moved = replace(text, model=other.id)
    store.add([other], launch="L")
    store.add([moved], launch="L")
    same = replace(pairs[0], chosen=moved.id)
    assert same.id != pairs[0].id
    assert PairSet("a", 0, None, (same,)).fingerprint == PairSet("b", 0, None, (pairs[0],)).fingerprint


@pytest.mark.parametrize(
    "change",
    [
        lambda p: ("p2", *p[1:]),
        lambda p: (p[0], ("x", p[1][1]), *p[2:]),
        lambda p: (p[0], p[1][::-1], *p[2:]),
        lambda p: (*p[:2], (2.0, 1.5), p[3]),
        lambda p: (*p[:2], (None, None), p[3]),
        lambda p: (*p[:3], ("future", "past")),
    ],
)
def test_any_part_of_a_pair_changes_its_content(change: object) -> None:
    said = ("p", ("good", "bad"), (2.0, 1.0), ("present", "past"))
    assert pair_content(*change(said)) != pair_content(*said)  # type: ignore[operator, arg-type]


@settings(max_examples=60, deadline=None)
@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1),
    st.floats(-100, 100) | st.integers(-5000, 5000).map(lambda n: n / 2**10),
    st.floats(0.001, 100) | st.integers(1, 5000).map(lambda n: n / 2**10),
)
def test_the_store_computes_the_same_content_as_python(chosen: str, rejected: str, low: float, above: float) -> None:
    with Store(None) as store:
        pair = make(store, QUESTIONS[0], chosen, rejected, (low + above, low))
        store.add([pair], launch="L")
        assert store.query("SELECT stored, content FROM pair_contents") == [
            {"stored": pair.content, "content": pair.content}
        ]


def test_references_name_versions_tags_times_and_iterations(store: Store, pairs: list[Pair]) -> None:
    freeze(store, pairs[:4], iteration=0)
    between = datetime.now(UTC)
    freeze(store, pairs[4:8], iteration=1)
    freeze(store, pairs[8:], iteration=1)
    versions.tag(store, "set@2", "paper", "L")
    for reference, version in [
        ("set", 3), ("set@2", 2), ("set@paper", 2), ("set-0", 1), ("set-1", 3), (f"set@{between.isoformat()}", 1),
    ]:  # fmt: skip
        assert versions.resolve(store, reference).version == version, reference
    versions.tag(store, "set@3", "paper", "L")
    assert versions.resolve(store, "set@paper").version == 3


@pytest.mark.parametrize(
    "reference", ["nothing", "set@9", "set@no-tag", "set@2001-01-01", "set-7", "", "set@", "set@²", "set-²"]
)
def test_an_unknown_reference_says_what_there_is(store: Store, pairs: list[Pair], reference: str) -> None:
    freeze(store, pairs)
    with pytest.raises(InputError) as caught:
        versions.resolve(store, reference)
    assert "set@1" in caught.value.remedy


@pytest.mark.parametrize("name", ["", "1", "a@b", "a b", "../x", "é", "-a", "x" * 65])
def test_a_name_that_a_reference_could_not_say_is_refused(store: Store, pairs: list[Pair], name: str) -> None:
    with pytest.raises(InputError, match="cannot be the name"):
        freeze(store, pairs, name)


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM pair_set_change WHERE pair = (SELECT min(pair) FROM pair_set_change)",
        "UPDATE response SET text = 'changed' WHERE text = 'good 3'",
        "UPDATE pair_set SET fingerprint = 'x'",
        "INSERT INTO pair_set_change SELECT 'set@1', pair, true FROM pair_set_change WHERE pair_set = 'other@1'",
    ],
)
def test_drift_is_an_error(store: Store, pairs: list[Pair], damage: str) -> None:
    freeze(store, pairs[:-1])
    freeze(store, pairs, "other")
    versions.verify(store, versions.resolve(store, "set"))
    store.query(damage)
    with pytest.raises(StoreError, match="drifted"):
        versions.verify(store, versions.resolve(store, "set"))


def trained(store: Store, version: PairSet) -> Model:
    """A model that was trained on this version, with one score."""
    training = Training(AUTHOR.id, AUTHOR.id, version.fingerprint, {})
    model = Model("M_1", "models/x", "w", "t", AUTHOR.id, training.id)
    result = {"pair_set": version.id, "model": model.id, "row_count": 1, "batch": 1, "unseen": 0, "seconds": 1.0}
    store.add([model], launch="L")
    store.add([training], launch="L", **result)
    store.add([replace(Score(model.id, "gsm8k", "exact_match", {}), value=0.5, n=8)], launch="L")
    return model


def test_a_version_in_use_is_kept_and_says_by_what_unless_forced(store: Store, pairs: list[Pair]) -> None:
    version = freeze(store, pairs)
    trained(store, version)
    versions.tag(store, "set", "paper", "L")
    with pytest.raises(StoreError, match=r"model M_1 .*score gsm8k exact_match of M_1, tag paper"):
        versions.delete(store, "set@1", "L")
    assert len(versions.load(store, "set").pairs) == 12
    versions.delete(store, "set@1", "L", reason="wrong judge", force=True)
    with pytest.raises(InputError, match=r"set@1 was deleted on .* wrong judge"):
        versions.resolve(store, "set@1")
    kept = store.query("SELECT referred_by->>0 AS r FROM pair_set_deleted")
    assert kept[0]["r"].startswith("model M_1")


def test_deleting_leaves_later_versions_whole_and_its_number_unused(store: Store, pairs: list[Pair]) -> None:
    freeze(store, pairs)
    changed = make(store, QUESTIONS[3], "better", "bad 3")
    second = freeze(store, [*pairs[:3], changed, *pairs[4:]])
    versions.delete(store, "set@1", "L")
    assert set(versions.load(store, "set@2").pairs) == set(second.pairs)
    assert store.find(Pair, [pairs[3].id]) == {}, "a pair that no version holds is gone"
    assert set(store.find(Response, [pairs[3].chosen])), "an answer stays"
    versions.delete(store, "set@2", "L")
    assert freeze(store, pairs).id == "set@3"


def test_drops_are_kept_with_their_version(store: Store, pairs: list[Pair]) -> None:
    drops = (Drop("selection", QUESTIONS[0].id, "tie", detail="3 is not above 3"),)
    freeze(store, pairs, drops=drops)
    assert versions.load(store, "set").drops == drops


def test_a_killed_freeze_leaves_no_version_and_a_rerun_makes_it(tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    code = (
        "import os, signal, sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "from toolkit.pairs import versions; from toolkit.store.database import Store\n"
        "import tests.pairs.test_versions as t\n"
        "store = Store(Path(sys.argv[2])); pairs = [t.make(store, p, 'a', 'b') for p in t.QUESTIONS]\n"
        "insert = store.insert\n"
        "store.insert = lambda table, rows: os.kill(os.getpid(), signal.SIGKILL) if table == sys.argv[3] else "
        "insert(table, rows)\n"
        "t.freeze(store, pairs, drops=(t.Drop('selection', 'p', 'tie'),))\n"
    )
    root = str(Path(__file__).parents[2])
    for table in ("pair", "pair_set", "dropped"):
        done = subprocess.run([sys.executable, "-c", code, root, str(path), table], check=False, env={**os.environ})
        assert done.returncode == -signal.SIGKILL
        with Store(path) as store:
            assert versions.versions(store) == []
            assert store.query("SELECT count(*) AS n FROM pair") == [{"n": 0}]
    with Store(path) as store:
        made = freeze(store, [make(store, prompt, "a", "b") for prompt in QUESTIONS])
        versions.verify(store, versions.resolve(store, made.id))
