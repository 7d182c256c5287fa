"""Every reading command over every lying store: the lie is refused by name, or nothing of it comes out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.recipes.test_temporal import launch
from tests.trust.hostile_store import DOOR, ROWS, Lie, date_ahead, lie
from toolkit.__main__ import app
from toolkit.api import open_store
from toolkit.config import Recipe
from toolkit.errors import InputError, StoreError
from toolkit.exchange.merging import merge
from toolkit.pairs.versions import freeze, load
from toolkit.provenance import capture
from toolkit.records import Judgment, PairSet
from toolkit.reporting.run_status import newest_launch, runs, status_of
from toolkit.store.database import Store
from toolkit.store.launches import begin
from toolkit.store.serving import open_reader

READING = (
    "sets", "pairs guided@1", "diff anchored@1 guided@1", "export guided@1 {out}", "query law",
    "sql 'FROM answer_scores'", "report", "status", "lineage guided@1", "log", "leaderboard",
)  # fmt: skip
SETS_OF_RUN = "SELECT * EXCLUDE (position) FROM run_sets WHERE run = 'test' ORDER BY position"
BUILT: list[Path] = []
VERIFYING = ("sets", "pairs guided@1", "diff anchored@1 guided@1", "export guided@1 {out}")


@pytest.fixture
def honest(scripted_recipe: Callable[..., Recipe], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one iteration of temporal(), made once."""
    if not BUILT:
        folder = tmp_path_factory.mktemp("honest")
        launch(scripted_recipe(iterations=1, name="temporal"), folder / "s.duckdb")
        BUILT.append(folder)
    return shutil.copytree(BUILT[0], tmp_path / "honest") / "s.duckdb"


@pytest.fixture
def copies(honest: Path, tmp_path: Path) -> Callable[[Lie], Path]:
    def make(hostile: Lie) -> Path:
        number = len(list(tmp_path.glob("hostile*")))
        path = tmp_path / f"hostile{number}" / "s.duckdb"
        path.parent.mkdir()
        shutil.copy(honest, path)
        return lie(path, hostile)

    return make


def run(line: str, path: Path) -> Result:
    import shlex

    words = shlex.split(line.format(out=path.parent / "out"))
    return CliRunner().invoke(app, [*words, "--store", str(path)], env={"COLUMNS": "400"})


def test_every_opening_refuses_by_name_what_the_toolkit_did_not_make(
    copies: Callable[[Lie], Path], tmp_path: Path
) -> None:
    target = tmp_path / "target.duckdb"

    def frames(path: Path) -> None:
        open_store(path).pairs()

    def merging(path: Path) -> None:
        merge([path], target)

    for name, hostile in DOOR.items():
        path = copies(hostile)
        for opening in (open_reader, frames, merging):
            with pytest.raises(StoreError) as refused:
                opening(path)
            assert hostile.named in refused.value.problem, name
            assert refused.value.where and refused.value.remedy, name
        if not hostile.made_again:
            with pytest.raises(StoreError) as refused:
                Store(path)
            assert hostile.named in refused.value.problem, name
    with Store(target) as store:
        assert store.query("SELECT count(*) AS n FROM launch") == [{"n": 0}]


@pytest.mark.parametrize("name", ["avg raised by 5", "view changed", "extra column"])
def test_every_reading_command_refuses_a_lying_catalog(copies: Callable[[Lie], Path], name: str) -> None:
    path = copies(DOOR[name])
    for line in READING:
        if DOOR[name].made_again and line.startswith("export"):  # it writes a launch, so the view is made again
            continue
        done = run(line, path)
        assert done.exit_code == 4, (line, done.output)
        assert DOOR[name].named in done.stderr, line
        assert "Traceback" not in done.stderr, line
    assert not (path.parent / "out").exists()


def test_a_writer_makes_views_and_macros_again(copies: Callable[[Lie], Path]) -> None:
    for hostile in DOOR.values():
        if hostile.made_again:
            path = copies(hostile)
            assert run("doctor", path).exit_code == 0
            assert run("sets", path).exit_code == 0


def test_doctor_and_merge_name_every_row_that_contradicts_others(copies: Callable[[Lie], Path], tmp_path: Path) -> None:
    for name, hostile in ROWS.items():
        path, target = copies(hostile), tmp_path / "target.duckdb"
        with pytest.raises(StoreError, match="contradicts itself") as refused:
            merge([path], target)
        assert hostile.named in refused.value.problem, (name, refused.value.problem)
        done = run("doctor --json", path)
        rows = [json.loads(text) for text in done.stdout.splitlines()]
        assert done.exit_code == 4, name
        bad = [row for row in rows if row.get("found") or row.get("problem")]
        assert any(hostile.named in str(row) for row in bad), (name, bad)
    with Store(target) as store:
        assert store.query("SELECT count(*) AS n FROM launch") == [{"n": 0}]


@pytest.mark.parametrize("name", ["text of a pair", "fingerprint", "size", "a member taken away"])
def test_a_set_that_contradicts_its_fingerprint_is_named_wherever_it_is_shown(
    copies: Callable[[Lie], Path], name: str
) -> None:
    path = copies(ROWS[name])
    for line in VERIFYING:
        done = run(line, path)
        assert done.exit_code == 4 and "drifted" in done.stderr, (line, done.output)


@pytest.mark.parametrize("name", ["verdict's score", "bases in a circle", "rubric"])
def test_every_reading_command_ends_on_lying_rows(copies: Callable[[Lie], Path], name: str) -> None:
    path = copies(ROWS[name])
    for line in READING:
        done = run(line, path)
        assert done.exit_code in (0, 3, 4), (line, done.output)
        assert "Traceback" not in done.stderr, line


def test_a_tampered_verdict_changes_nothing_that_a_set_says(honest: Path, copies: Callable[[Lie], Path]) -> None:
    path = copies(ROWS["verdict's score"])
    for line in ("sets --json", "pairs guided@1 --json", "diff anchored@1 guided@1 --json"):
        assert run(line, path).stdout == run(line, honest).stdout


def test_doctor_says_what_it_could_not_compute(honest: Path) -> None:
    judgments = [
        Judgment("r", "j", None, "given", None, 0, None, "", "scored", "", 3.0),
        Judgment("r", "j", None, "reward", None, 0, None, "np.float64(3.0)", "scored", "", 3.0),
    ]
    with Store(honest) as store:
        store.add(judgments, launch=newest_launch(store))
    told = run("doctor", honest).stdout
    assert "not computed again: 1 scores of reward functions" in told
    assert "not computed again: 1 scores that were read from a file" in told


def test_a_merged_launch_is_never_the_newest_whatever_its_date(honest: Path, tmp_path: Path) -> None:
    stranger, mine = tmp_path / "stranger.duckdb", tmp_path / "mine" / "s.duckdb"
    mine.parent.mkdir()
    shutil.copy(honest, stranger)
    shutil.copy(honest, mine)
    with Store(stranger) as store:  # as another start of the same work
        store.query('UPDATE launch SET id = \'stranger\', recipe = \'{"iterations": 1, "model": "hostile"}\'')
        for table in (
            "step",
            "prompt",
            "model",
            "response",
            "rubric",
            "judgment",
            "pair",
            "pair_set",
            "training",
            "selection",
        ):
            store.query(f"UPDATE {table} SET launch = 'stranger'")
    for run_name in ("test", "temporal_of_a_stranger"):
        date_ahead(stranger, run_name)
        with Store(mine) as store:
            own = newest_launch(store), status_of(store).recipe, store.query("FROM model_names ORDER BY ALL")
            sets = store.query(SETS_OF_RUN)
        shutil.copy(mine, target := tmp_path / run_name)
        merge([stranger], target)
        with Store(target) as store:
            assert store.query("SELECT position FROM launch WHERE id = 'stranger'") == [{"position": 0}]
            assert (newest_launch(store), status_of(store).recipe) == own[:2]
            assert status_of(store).launch == own[0]
            assert [row for row in store.query("FROM model_names ORDER BY ALL") if row["run"] == "test"] == own[2]
            assert store.query(SETS_OF_RUN) == sets
            assert runs(store)[0] == "test"
        assert "later than now" in run("doctor", target).stdout


def test_where_every_run_was_merged_the_user_names_it(honest: Path, tmp_path: Path) -> None:
    merge([honest], target := tmp_path / "target.duckdb")
    with Store(target) as store:
        with pytest.raises(InputError, match="every run of this store was merged into it: test") as refused:
            status_of(store)
        assert "toolkit status test" in refused.value.remedy
        assert status_of(store, "test").run == "test"


def test_a_clock_that_went_back_does_not_make_an_older_launch_the_newest(
    honest: Path, scripted_recipe: Callable[..., Recipe]
) -> None:
    with Store(honest) as store:
        store.query("UPDATE launch SET started = started + INTERVAL 10 YEAR")
        before = newest_launch(store)
    launch(scripted_recipe(iterations=1, name="temporal"), honest)
    with Store(honest) as store:
        assert newest_launch(store) != before
        assert status_of(store).launch == newest_launch(store)
    told = run("doctor", honest).stdout
    assert "later than now" in told and "is dated before the launch" in told


# Cells that no reader expects, each with what the refusal must name.
CELLS = {
    "UPDATE launch SET recipe = '[]'": "its recipe is not a JSON object",
    "UPDATE launch SET recipe = '3'": "its recipe is not a JSON object",
    "UPDATE launch SET arguments = '{}'": "its arguments is not a JSON array",
    "UPDATE launch SET hardware = 'null'": "its hardware is not a JSON object",
    "UPDATE launch SET versions = '\"x\"'": "its versions is not a JSON object",
    "UPDATE step SET stats = '[]'": "its stats is not a JSON object",
    "UPDATE training SET settings = '[]'": "training",
    "UPDATE model SET training = NULL": "its columns have the id",
    "UPDATE response SET sampling = '[]'": "cannot be read",
}


@pytest.mark.parametrize("statement", CELLS)
def test_a_cell_that_no_reader_expects_is_a_named_contradiction_in_every_command(
    copies: Callable[[Lie], Path], statement: str
) -> None:
    path = copies(Lie((statement,), ""))
    for line in (*READING, "export-model test/M_1 {out}", "status test"):
        done = run(line, path)
        assert done.exit_code in (0, 3, 4), (line, done.output, done.exception)
        assert "Traceback" not in done.stderr, line
    told = run("doctor", path)
    assert told.exit_code == 4 and CELLS[statement] in told.output
    with pytest.raises(StoreError, match="contradicts itself"):
        merge([path], path.parent / "target.duckdb")


def test_an_object_of_one_s_own_can_be_removed_by_the_line_that_the_refusal_gives(
    copies: Callable[[Lie], Path],
) -> None:
    import shlex
    import subprocess
    import sys

    for name in ("another table", "another view", "avg raised by 5", "table function", "sequence", "type"):
        path = copies(DOOR[name])
        with pytest.raises(StoreError) as refused:
            open_reader(path)
        words = shlex.split(refused.value.remedy[refused.value.remedy.index("python -c") :])
        subprocess.run([sys.executable, *words[1:]], check=True)
        open_reader(path).close()


def test_a_plain_name_is_refused_where_a_merge_brought_a_newer_version(honest: Path) -> None:
    with Store(honest) as store:
        merged = capture("stranger", {})
        begin(store, merged)
        pairs = load(store, "guided@1").pairs[:-1]
        freeze(store, PairSet("guided", 2, 0, pairs, (), None, ""), merged.id)
        store.query("UPDATE launch SET position = 0 WHERE id = ?", [merged.id])  # as `merge` writes it
    told = run("pairs guided", honest)
    assert told.exit_code == 3
    assert "guided@1, made here, or guided@2, merged from another store" in told.stderr
    dated = run("pairs guided@2999-01-01", honest)
    assert dated.exit_code == 3 and "merged from another store" in dated.stderr
    assert run("pairs guided@1", honest).exit_code == run("pairs guided@2", honest).exit_code == 0
    assert run("pairs anchored", honest).exit_code == 0


# Rows that say more about what the user's own store holds, in a copy of it that a stranger sends back.
ADDED = {
    "step": "INSERT INTO step BY NAME SELECT * REPLACE (position + 100 AS position) FROM step",
    "dropped": "INSERT INTO dropped SELECT s.id, 'selection', p.id, NULL, 'tie', '', '' FROM pair_set s, prompt p",
    "gate's drops": "INSERT INTO dropped SELECT s.id, 'gate', p.id, NULL, 'cut', '', 'no training' "
    "FROM pair_set s, prompt p",
    "training_step": "INSERT INTO training_step SELECT id, 999, 'loss', 0.0 FROM training",
    "rejected_row": "INSERT INTO rejected_row SELECT id, 'f:1', 'no_prompt', '', '', launch FROM pair_set",
}


def test_a_merge_adds_nothing_to_launches_sets_and_trainings_of_the_store(
    honest: Path, copies: Callable[[Lie], Path]
) -> None:
    for name, statement in ADDED.items():
        assert merge([copies(Lie((statement,), ""))], honest) == {}, name


def test_a_score_that_is_not_the_mean_of_its_items_is_named(honest: Path) -> None:
    from toolkit.pairs.audit import WITHOUT_ITEMS, audit
    from toolkit.records import Item, Model, Score

    with Store(honest) as store:
        model = store.find(Model, [store.query("SELECT id FROM model LIMIT 1")[0]["id"]])
        (name,) = model
        values = (1.0, 0.0, None, 1.0)
        items = [Item(name, "exam", "score", str(n), {"k": 1}, value=value) for n, value in enumerate(values)]
        launch_id = newest_launch(store)
        store.add(items, launch=launch_id)
        for value, wrong in ((2 / 3, False), (0.5, False), (0.99, True)):
            store.query("DELETE FROM score")
            store.add([Score(name, "exam", "score", {"k": 1}, value, 3)], launch=launch_id)
            assert [row.table for row in audit(store).findings] == (["score"] if wrong else [])
        store.query("DELETE FROM score")
        store.add([Score(name, "exam", "bleu", {"k": 1}, 0.5, 3)], launch=launch_id)
        result = audit(store)
    assert not result.findings and result.unchecked[WITHOUT_ITEMS] == 1
