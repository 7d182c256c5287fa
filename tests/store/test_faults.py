"""Real faults: kills, a full disk, forbidden places, damaged logs, a second writer, another schema.

After each of them the store opens, every check of `doctor` passes, and what was committed is there.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from toolkit.commands.doctor import examine
from toolkit.errors import InputError, StoreError, StoreLocked
from toolkit.exchange.exporting import export_pairs
from toolkit.pairs.versions import load, versions
from toolkit.store import database
from toolkit.store.database import Store
from toolkit.trust.safe_files import PREFIX

WRITER = """
import os, resource, signal, sys
from dataclasses import replace
from pathlib import Path
from toolkit.exchange import exporting
from toolkit.judgments.rubric import load_rubric
from toolkit.pairs.versions import freeze
from toolkit.records import Judgment, Model, Pair, PairSet, Prompt, Response, Sampling, pair_content
from toolkit.store.database import Store

SAMPLING, MODEL, RUBRIC = Sampling(1.0, 1.0, 9), Model("m", "", "w", "t"), load_rubric("additive")
path, roles = Path(sys.argv[1]), ("present", "past")

def version(store, number):
    # parents before children, so that every prefix of the commits is whole
    prompt = Prompt(f"question {number}")
    sides = [
        replace(Response(prompt.id, MODEL.id, role, 0, SAMPLING, number), text=f"{role} {number} " * 50, tokens=1,
            prompt_tokens=1, finish="stop")
        for role in roles
    ]
    verdicts = [
        replace(Judgment(side.id, MODEL.id, RUBRIC.id, "generated", SAMPLING, 0, 1), reply=f"Score: {score:g}",
            status="scored", score=score)
        for side, score in zip(sides, (2.0, 1.0))
    ]
    started = {"id": "L", "run": "writer", "started": "2026-11-01 10:00Z", "recipe": "{}", "arguments": "[]"}
    store.insert("launch", [started | {"versions": "{}", "hardware": "{}"}])
    store.insert("rubric", [{"id": RUBRIC.id, "name": "additive", "body": RUBRIC.body(), "launch": "L"}])
    for records in ([MODEL], [prompt], sides, verdicts):
        store.add(records, launch="L")
    content = pair_content(prompt.id, tuple(side.text for side in sides), (2.0, 1.0), roles)
    pair = Pair(prompt.id, sides[0].id, sides[1].id, 2.0, 1.0, *roles, MODEL.id, content)
    freeze(store, PairSet("s", 0, None, (pair,)), "L")
    print(number, flush=True)

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def limit_files(size):
    # a real EFBIG of the operating system; Python ignores the signal that comes with it
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

def as_nobody():
    # root may write anywhere, whatever chmod said
    if os.geteuid() == 0:
        os.seteuid(65534)
"""


def run(path: Path, code: str) -> subprocess.CompletedProcess[str]:
    """The code after WRITER, in a process of its own."""
    line = [sys.executable, "-c", WRITER + code, str(path)]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def whole(path: Path, at_least: int) -> int:
    """Opens the store, which every check finds whole; its versions, at least so many and the first ones."""
    with Store(path) as store:
        assert [row for row in examine(store) if row["found"]] == []
        known = versions(store)
        assert [version.version for version in known] == list(range(1, len(known) + 1))
        assert len(known) >= at_least
        for version in known:
            assert len(load(store, version.id).pairs) == 1
    return len(known)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A closed store of three versions."""
    made = tmp_path / "s.duckdb"
    done = run(made, "with Store(path) as store: [version(store, n) for n in range(3)]")
    assert done.stdout.split() == ["0", "1", "2"], done.stderr
    return made


@pytest.fixture
def log(path: Path) -> Path:
    """The log of a writer that was killed after twenty more versions."""
    done = run(path, "store = Store(path)\nfor n in range(3, 23): version(store, n)\ndie()")
    assert done.returncode == -signal.SIGKILL, done.stderr
    return path.with_name("s.duckdb.wal")


def test_a_killed_writer_loses_nothing_that_was_committed(path: Path, log: Path) -> None:
    assert log.stat().st_size > 0
    assert whole(path, 23) == 23


def test_a_writer_killed_in_a_transaction_leaves_the_one_before(path: Path) -> None:
    code = "store = Store(path)\nversion(store, 3)\n"
    code += "with store.transaction(): store.add([Prompt('half')], launch='L'); die()"
    assert run(path, code).returncode == -signal.SIGKILL
    assert whole(path, 4) == 4
    with Store(path) as store:
        assert store.query("SELECT * FROM prompt WHERE text = 'half'") == []


def test_a_writer_killed_at_any_moment_keeps_what_it_said_was_committed(path: Path) -> None:
    line = [
        sys.executable,
        "-c",
        WRITER + "store = Store(path)\nfor n in range(3, 10**6): version(store, n)",
        str(path),
    ]
    writer = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    said = [int(writer.stdout.readline()) for _ in range(5)]
    time.sleep(0.03)
    writer.kill()
    said += [int(number) for number in writer.communicate()[0].split()]
    assert whole(path, len(said) + 3) <= len(said) + 4


@pytest.mark.parametrize("bytes_left_out", [1, 100, 2000])
def test_a_log_that_was_cut_off_gives_every_whole_commit(path: Path, log: Path, bytes_left_out: int) -> None:
    os.truncate(log, log.stat().st_size - bytes_left_out)
    assert 3 <= whole(path, 3) < 23


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_damaged_log_gives_the_commits_before_the_damage_or_says_so(path: Path, log: Path, share: float) -> None:
    """DuckDB leaves out a log from its first damaged entry on; a rerun of the recipe makes those rows again."""
    data = bytearray(log.read_bytes())
    data[int(len(data) * share)] ^= 255
    log.write_bytes(data)
    assert whole_or_told(path, log) < 23


@pytest.mark.parametrize("garbage", [b"garbage" * 999, b"\0" * 4096, b"W"], ids=["words", "zeros", "one byte"])
def test_a_log_of_garbage_is_told_or_left_out(path: Path, log: Path, garbage: bytes) -> None:
    log.write_bytes(garbage)
    assert whole_or_told(path, log) == 3


def whole_or_told(path: Path, log: Path) -> int:
    """Versions of the store, where it cannot be opened after the remedy of the error was followed."""
    remedy = ""
    try:
        Store(path).close()
    except StoreError as error:
        remedy = error.remedy
    if remedy:
        assert str(log) in remedy
        log.rename(log.with_name("moved-away"))
    return whole(path, 3)


def test_a_second_writer_is_refused_and_the_first_goes_on(path: Path) -> None:
    code = "store = Store(path)\nprint('open', flush=True)\nsys.stdin.read()\nversion(store, 3)\nstore.close()"
    line = [sys.executable, "-c", WRITER + code, str(path)]
    first = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    assert first.stdout.readline() == "open\n"
    with pytest.raises(StoreLocked, match=f"process {first.pid}") as told:
        Store(path)
    assert "--store" in told.value.remedy
    assert first.communicate("")[0] == "3\n"
    assert whole(path, 4) == 4


def test_a_full_disk_is_named_and_costs_only_what_did_not_fit(path: Path) -> None:
    code = (
        "store = Store(path)\nlimit_files(60_000)\n"
        "try:\n    for n in range(3, 10**6): version(store, n)\nexcept Exception as error: print('error', error)"
    )
    done = run(path, code)
    assert "the disk is full" in done.stdout, done.stdout + done.stderr
    said = done.stdout.partition("error")[0].split()
    assert said
    assert whole(path, len(said) + 3) <= len(said) + 4
    assert run(path, "with Store(path) as store: version(store, -1)").stdout == "-1\n", "there is room again"
    assert whole(path, len(said) + 4)


@pytest.mark.parametrize("size", [0, 100, 6000])
def test_a_store_that_does_not_fit_leaves_no_half_of_one(tmp_path: Path, size: int) -> None:
    path = tmp_path / "s.duckdb"
    told = run(path, f"limit_files({size})\ntry: Store(path)\nexcept Exception as error: print(error)").stdout
    assert "the disk is full" in told
    assert list(tmp_path.iterdir()) == []
    Store(path).close()


@pytest.mark.parametrize("moment", ["duckdb.connect", "database._appear"])
def test_a_store_killed_while_it_is_made_is_made_by_the_next(tmp_path: Path, moment: str) -> None:
    path = tmp_path / "s.duckdb"
    code = (
        "import duckdb\nfrom toolkit.store import database\n"
        f"made = {moment}\n"
        "def killed(*arguments, **keywords):\n    made(*arguments, **keywords)\n    die()\n"
        f"{moment} = killed\nStore(path)"
    )
    assert run(path, code).returncode == -signal.SIGKILL
    assert path.exists() == (moment == "database._appear")
    assert whole(path, 0) == 0


def test_ctrl_c_in_the_middle_of_a_statement_is_ctrl_c() -> None:
    with Store(None) as store, pytest.raises(KeyboardInterrupt):
        threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        store.query("SELECT sum(range % 7) FROM range(300_000_000)")  # seconds


def test_a_store_that_another_process_made_meanwhile_is_not_replaced(path: Path) -> None:
    before = path.read_bytes()
    database._create(path)
    assert path.read_bytes() == before


def test_a_store_is_made_where_no_file_can_be_linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", refused)
    assert whole(tmp_path / "s.duckdb", 0) == 0
    before = (tmp_path / "s.duckdb").read_bytes()
    database._create(tmp_path / "s.duckdb")
    assert (tmp_path / "s.duckdb").read_bytes() == before


def test_a_full_disk_leaves_the_earlier_export(path: Path) -> None:
    out = exported(path)
    before = out.read_bytes()
    code = (
        "with Store(path) as store:\n    limit_files(1000)\n"
        "    try: exporting.export_pairs(store, 's@3', path.with_name('out'), 'trl')\n"
        "    except Exception as error: print(error)"
    )
    told = run(path, code).stdout
    assert "cannot write" in told
    assert "File too large" in told
    assert out.read_bytes() == before
    assert whole(path, 3) == 3


def test_a_killed_export_leaves_the_earlier_one_and_the_next_clears_up(path: Path) -> None:
    out = exported(path)
    before = out.read_bytes()
    code = (
        "write = exporting.write_rows\n"
        "def killed(*arguments):\n    write(*arguments)\n    die()\n"
        "exporting.write_rows = killed\n"
        "with Store(path) as store: exporting.export_pairs(store, 's@3', path.with_name('out'), 'trl')"
    )
    assert run(path, code).returncode == -signal.SIGKILL
    assert list(path.parent.glob(f"{PREFIX}*/**/pairs.jsonl"))
    assert out.read_bytes() == before
    assert whole(path, 3) == 3
    exported(path)
    assert not list(path.parent.glob(f"{PREFIX}*/**/pairs.jsonl"))


def exported(path: Path) -> Path:
    with Store(path) as store:
        return export_pairs(store, "s@1", path.with_name("out"), "trl") / "pairs.jsonl"


@pytest.fixture
def forbidden(path: Path) -> Iterator[Path]:
    """The store in a folder that everybody can read and nobody write, and that nobody else's folder hides."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name) / "s.duckdb"
        place.write_bytes(path.read_bytes())
        place.chmod(0o444)
        place.parent.chmod(0o555)
        yield place
        place.parent.chmod(0o755)
        place.chmod(0o644)


def test_a_forbidden_folder_is_named_and_can_be_read(forbidden: Path) -> None:
    code = (
        "try: as_nobody()\nexcept PermissionError: sys.exit(9)\n"
        "with Store(path, read_only=True) as store:\n"
        "    print(store.query('SELECT count(*) AS n FROM prompt')[0]['n'])\n"
        "for act in (lambda: Store(path), lambda: Store(path.with_name('new.duckdb'))):\n"
        "    try: act()\n    except Exception as error: print(type(error).__name__, error)\n"
    )
    done = run(forbidden, code)
    if done.returncode == 9:
        pytest.skip("this process may neither be refused a folder nor become somebody who is")
    assert done.stdout.startswith("3\n"), done.stdout + done.stderr
    assert done.stdout.count("StoreError the store cannot be written") == 2
    assert done.stdout.count("choose a writable place") == 2
    forbidden.chmod(0o644)
    forbidden.parent.chmod(0o755)
    assert whole(forbidden, 3) == 3


def test_a_newer_schema_is_refused_and_nothing_is_touched(path: Path) -> None:
    with Store(path) as store:
        store.query("INSERT INTO migration VALUES (9999, 'future')")
    before = path.read_bytes()
    for read_only in (False, True):
        with pytest.raises(StoreError, match="upgrade the toolkit"):
            Store(path, read_only=read_only)
    doctor = [sys.executable, "-m", "toolkit", "doctor", "--store", str(path)]
    done = subprocess.run(doctor, capture_output=True, text=True, check=False)
    assert (done.returncode, "migration 9999" in done.stderr) == (4, True)
    assert path.read_bytes() == before


def test_an_export_into_a_place_that_is_a_file_is_refused_before_anything_is_written(path: Path) -> None:
    (path.parent / "file").write_text("")
    with Store(path) as store, pytest.raises(InputError, match="cannot write"):
        export_pairs(store, "s@1", path.parent / "file" / "out", "trl")
    assert whole(path, 3) == 3
