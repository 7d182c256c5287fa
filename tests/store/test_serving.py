"""Queries while a run writes: another process reads committed rows, and nothing else than reads."""

from __future__ import annotations

import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from toolkit.errors import StoreError, StoreLocked
from toolkit.records import Prompt
from toolkit.store.database import Store
from toolkit.store.serving import RemoteStore, Server, address, open_reader

WRITER = """
import sys, time
from pathlib import Path
from toolkit.records import Prompt
from toolkit.store.database import Store
from toolkit.store.serving import Server
store = Store(Path(sys.argv[1]))
server = Server(store)
print(server.running, flush=True)
for i in range(10**6):
    with store.transaction():
        store.add([Prompt(f"{i} left")], launch="L")
        time.sleep(0.002)
        store.add([Prompt(f"{i} right")], launch="L")
"""


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Path]:
    """A store that another process is writing, two rows a transaction."""
    path = tmp_path / "s.duckdb"
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    yield path
    process.kill()
    process.wait()


def count(store: Store) -> int:
    rows = store.query("SELECT count(*) AS n FROM prompts")
    number: int = rows[0]["n"]
    return number


def test_a_reader_sees_whole_transactions_of_a_running_writer(writer: Path) -> None:
    with open_reader(writer) as store:
        assert isinstance(store, RemoteStore)
        seen = [count(store) for _ in range(100)]
    assert all(number % 2 == 0 for number in seen)
    assert seen == sorted(seen)
    assert seen[-1] > seen[0]


def test_many_readers_ask_at_once(writer: Path) -> None:
    found: list[int] = []

    def ask() -> None:
        with open_reader(writer) as store:
            found.extend(count(store) for _ in range(20))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 160


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("INSERT INTO prompt VALUES ('a', 'b', 'c', 'd', '[]')", "not INSERT"),
        ("DROP TABLE prompt", "not DROP"),
        ("SELECT 1; DELETE FROM prompt", "not SELECT, DELETE"),
        ("EXPLAIN ANALYZE DELETE FROM prompt", "a statement that writes"),
        ("WITH gone AS (DELETE FROM prompt RETURNING id) FROM gone", "a statement that writes"),
        ("EXPLAIN ANALYZE CREATE TABLE mine AS SELECT 1", "a statement that writes"),
        ("EXPLAIN ANALYZE COPY prompt TO '/tmp/stolen.csv'", "disabled by configuration"),
        ("FROM parquet_metadata('/etc/hostname')", "disabled by configuration"),
        ("COPY prompt TO '/tmp/stolen.csv'", "not COPY"),
        ("ATTACH '/tmp/other.duckdb'", "not ATTACH"),
        ("SET enable_external_access = true", "not SET"),
        ("INSTALL httpfs", "not LOAD"),
        ("FROM read_csv('/etc/hostname')", "disabled by configuration"),
        ("FROM read_text('/etc/hostname')", "disabled by configuration"),
        ("FROM glob('/*')", "disabled by configuration"),
        ("FROM '/etc/hostname.csv'", "hostname"),
        ("SELEC 1", "syntax error"),
        ("FROM nowhere", "does not exist"),
        ("", "nothing"),
    ],
)
def test_what_is_no_reading_statement_is_refused_here_and_there(tmp_path: Path, sql: str, told: str) -> None:
    path = tmp_path / "s.duckdb"
    with Store(path) as store:
        store.add([Prompt("one")], launch="L")
        server = Server(store)
        remote = RemoteStore(path)
        for opened in (store, remote):
            with pytest.raises(StoreError, match=told):
                opened.arrow(sql)
        assert count(remote) == 1, "the connection goes on"
        remote.close()
        server.close()
    with Store(path, read_only=True) as store, pytest.raises(StoreError, match=told):
        store.arrow(sql)


def test_records_come_back_alike_from_the_file_and_from_the_writer(tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    nasty = Prompt("nul \x00, 😀 \u202e\r\n", "file:1", (("user", "a"), ("assistant", "b")))
    with Store(path) as store:
        store.add([nasty], launch="L")
        server = Server(store)
        with RemoteStore(path) as remote:
            assert remote.find(Prompt, [nasty.id]) == {nasty.id: nasty}
            assert remote.arrow("SELECT 1 AS x WHERE false").num_rows == 0
        server.close()
    with open_reader(path) as store:
        assert type(store) is Store
        assert store.find(Prompt, [nasty.id]) == {nasty.id: nasty}


def test_the_socket_is_the_users_own_and_goes_with_the_writer(tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    with Store(path) as store:
        server = Server(store)
        assert stat.S_IMODE(address(path).stat().st_mode) == 0o600
        server.close()
    assert not address(path).exists()


def test_a_writer_that_does_not_answer_is_named_as_before(tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    code = (
        "import sys, time; from pathlib import Path; from toolkit.store.database import Store;"
        "store = Store(Path(sys.argv[1])); print('open', flush=True)"
    )
    asleep = [sys.executable, "-c", f"{code}; time.sleep(60)", str(path)]
    holder = subprocess.Popen(asleep, stdout=subprocess.PIPE, text=True)
    assert holder.stdout and holder.stdout.readline() == "open\n"
    with pytest.raises(StoreLocked, match=f"process {holder.pid}"):
        open_reader(path)
    holder.kill()
    holder.wait()


def test_the_socket_of_a_killed_writer_is_taken_over(writer: Path) -> None:
    subprocess.run(["pkill", "-9", "-f", str(writer)], check=True)
    time.sleep(0.5)
    assert address(writer).exists()
    with Store(writer) as store:
        server = Server(store)
        assert server.running
        with RemoteStore(writer) as remote:
            assert count(remote) == count(store)
        server.close()


def test_garbage_on_the_socket_is_answered_and_harms_nothing(tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    with Store(path) as store:
        server = Server(store)
        remote = RemoteStore(path)
        remote._stream.write(b"garbage\n" + b'{"sql": 3}\n' + b"[]\n" + b"[" * 100_000 + b"\n")
        remote._stream.flush()
        answers = [remote._stream.readline() for _ in range(4)]
        assert all(b"error" in answer for answer in answers)
        assert count(remote) == 0
        server.close()


def test_an_answer_larger_than_any_buffer_arrives_whole(tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    with Store(path) as store:
        server = Server(store)
        with RemoteStore(path) as remote:
            rows = remote.arrow("SELECT i, repeat('x', 1000) AS x FROM range(20000) t(i)")
        server.close()
    assert rows.num_rows == 20000


def test_every_connection_has_the_stores_settings_and_tells_times_in_utc(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader is answered by a connection of its own, and a comparison opens its store beside itself."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    asked = (
        "SELECT '2026-11-25T12:00:00+00:00'::TIMESTAMPTZ::VARCHAR AS told, "
        "current_setting('dynamic_or_filter_threshold') AS most"
    )
    with Store(tmp_path / "s.duckdb") as store, Store(tmp_path / "s.duckdb") as beside, store.snapshot() as snapshot:
        told = [one.query(asked) for one in (store, beside, snapshot)]
    assert told == [[{"told": "2026-11-25 12:00:00+00", "most": 1000}]] * 3


def test_a_writer_waits_for_the_reader_who_is_just_being_answered(tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    Store(path).close()
    asks = f"held = duckdb.connect({str(path)!r}, read_only=True); print(1, flush=True); time.sleep(0.5)"
    with subprocess.Popen([sys.executable, "-c", f"import duckdb, time; {asks}"], stdout=subprocess.PIPE) as reader:
        assert reader.stdout and reader.stdout.readline() == b"1\n"
        with Store(path) as store:
            assert store.query("SELECT 1 AS one") == [{"one": 1}]
