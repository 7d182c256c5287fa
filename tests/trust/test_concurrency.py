"""Two at once in one folder: the second waits or is refused, and both are right."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.exchange.test_exporting import ANOTHER, ROW, frozen
from toolkit.engines import toy
from toolkit.errors import InputError, OutputError
from toolkit.exchange.exporting import export_pairs
from toolkit.exchange.manifest import check_files, read_manifest
from toolkit.store import serving
from toolkit.store.database import Store
from toolkit.store.serving import Server, address, open_reader
from toolkit.trust import safe_files
from toolkit.trust.safe_files import abandoned, locked, read_record, remove_abandoned, scratch, write_files

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # sha256 of no bytes
EXPORT = "import sys; from toolkit.__main__ import app; app()"


@pytest.mark.parametrize("target", ["out", "out.jsonl"])
def test_two_exports_into_one_place_are_both_right(target: str, tmp_path: Path) -> None:
    for name, rows in (("a", [ROW]), ("b", [ROW, ANOTHER])):
        with Store(tmp_path / f"{name}.duckdb") as store:
            frozen(store, "set", *rows)
    lines = [[sys.executable, "-c", EXPORT, "export", "set", target, "--shape", "trl", "--store", f"{name}.duckdb"]
             for name in "ab"]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    running = [subprocess.Popen(line, cwd=tmp_path, env=environment) for line in lines]
    assert [process.wait() for process in running] == [0, 0]
    folder = tmp_path / target if target == "out" else tmp_path
    manifest = read_manifest(folder)
    assert manifest and EMPTY not in manifest.files.values()
    check_files(manifest, folder)
    assert not [path for path in tmp_path.iterdir() if path.is_dir() and path.name.startswith(".")]


def test_exports_of_threads_never_mix(tmp_path: Path) -> None:
    def export(number: int) -> None:
        with Store(None) as store:
            frozen(store, "set", *[ROW, ANOTHER][: 1 + number % 2])
            for _ in range(5):
                export_pairs(store, "set", tmp_path / "out", "trl")
                manifest = None
                while manifest is None:
                    manifest = read_manifest(tmp_path / "out")  # between two renames there is none
                assert EMPTY not in manifest.files.values()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(export, range(4)))
    manifest = read_manifest(tmp_path / "out")
    assert manifest
    check_files(manifest, tmp_path / "out")


def test_reports_at_once_are_each_whole_and_nothing_is_kept_aside(tmp_path: Path) -> None:
    def write(number: int) -> None:
        for _ in range(10):
            write_files(tmp_path, {"a.md": f"{number}" * 10_000, f"{number}.md": "x"})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    text = (tmp_path / "a.md").read_text()
    assert len(text) == 10_000 and len(set(text)) == 1
    assert set(read_record(tmp_path)) == {"a.md", "0.md", "1.md", "2.md", "3.md"}
    assert not list(tmp_path.glob("*kept*"))


def test_a_second_writer_is_told_and_then_refused_with_the_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(safe_files, "LOCK_SECONDS", 0.2)
    with locked(tmp_path), pytest.raises(OutputError, match="another process writes here"):
        write_files(tmp_path, {"a.md": "x"})
    assert "waiting: another process writes in" in capsys.readouterr().err


def test_an_export_that_found_another_thing_meanwhile_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from toolkit.exchange import exporting

    write = exporting._write

    def slow(*arguments: object) -> None:
        write(*arguments)  # type: ignore[arg-type]
        toy.make(tmp_path / "out")

    monkeypatch.setattr(exporting, "_write", slow)
    with Store(None) as store:
        frozen(store, "set", ROW)
        with pytest.raises(InputError, match="is not from an earlier export"):
            export_pairs(store, "set", tmp_path / "out", "trl")
    assert (tmp_path / "out" / "model.safetensors").exists()


def test_idle_clients_end_and_many_of_them_cost_a_bounded_number_of_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "MOST_READERS", 8)
    monkeypatch.setattr(serving, "FIRST_SECONDS", 1.0)
    path, before = tmp_path / "s.duckdb", threading.active_count()
    with Store(path) as store:
        server = Server(store)
        clients = [connected(path) for _ in range(60)]
        time.sleep(0.3)
        assert threading.active_count() - before <= 9
        clients[-1].settimeout(5)
        assert "readers are connected already" in json.loads(clients[-1].makefile("rb").readline())["error"]
        time.sleep(1.5)
        assert threading.active_count() - before <= 1, "idle ones were closed"
        code = (
            "import sys; from pathlib import Path; from toolkit.store.serving import open_reader\n"
            "print(open_reader(Path(sys.argv[1])).query('SELECT 42 AS n')[0]['n'])"
        )
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        done = subprocess.run([sys.executable, "-c", code, str(path)], env=environment, capture_output=True, text=True)
        assert done.stdout == "42\n", done.stderr
        for client in clients:
            client.close()
        server.close()
    assert open_reader(path)


def test_the_folder_of_a_living_process_is_held_and_of_a_killed_one_abandoned(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from toolkit.trust.safe_files import scratch\n"
        "with scratch(Path(sys.argv[1]), 'export'): print(flush=True); time.sleep(60)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    line = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(line, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdout.readline() == b"\n"
        assert not abandoned(tmp_path)
        process.kill()
        process.wait()
    (left,) = abandoned(tmp_path)
    assert remove_abandoned(left) and not list(tmp_path.iterdir())


def test_a_temporary_folder_can_be_written_into_as_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safe_files, "LOCK_SECONDS", 0.2)
    with scratch(tmp_path, "push") as aside:
        write_files(aside, {"a.md": "x"})


def test_a_request_without_an_end_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "LONGEST_REQUEST", 1000)
    with Store(tmp_path / "s.duckdb") as store:
        server = Server(store)
        with connected(tmp_path / "s.duckdb") as client:
            client.sendall(b"x" * 1000)
            client.settimeout(5)
            assert b"not a query" in client.makefile("rb").readline()
        server.close()


def connected(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(address(path)))
    return client


TOOLKIT = "from toolkit.__main__ import app; app()"


def started(folder: Path, *words: str, code: str = TOOLKIT) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    line = [sys.executable, "-c", code, *words]
    return subprocess.Popen(
        line, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ended(processes: list[subprocess.Popen[str]]) -> list[tuple[int, str]]:
    """Exit code and what was printed, of each."""
    texts = ["".join(process.communicate()) for process in processes]
    return [(process.returncode, text) for process, text in zip(processes, texts, strict=True)]


def waited_or_named(results: list[tuple[int, str]]) -> bool:
    """Whether each did its work or was refused with the holder's name; and one at least did."""
    refused = [text for code, text in results if code]
    return len(refused) < len(results) and all("is open" in text or "writes" in text for text in refused)


def test_two_merges_into_one_store_are_both_right_or_one_is_refused(tmp_path: Path) -> None:
    for name in "ab":
        row = {"prompt": f"Why {name}?", "chosen": "good", "rejected": "bad"}
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row))
        assert started(tmp_path, "import", f"{name}.jsonl", name * 3, "--store", f"{name}.duckdb").wait() == 0
    for _ in range(3):
        results = ended([started(tmp_path, "merge", f"{n}.duckdb", "--into", "all.duckdb") for n in "ab"])
        assert waited_or_named(results), results
        assert not any("Traceback" in text for _, text in results)
    for name in "ab":  # whichever was refused goes on by the same command
        assert started(tmp_path, "merge", f"{name}.duckdb", "--into", "all.duckdb").wait() == 0
    with Store(tmp_path / "all.duckdb", read_only=True) as store:
        assert [row["id"] for row in store.query("SELECT id FROM pair_set ORDER BY id")] == ["aaa@1", "bbb@1"]
    assert started(tmp_path, "doctor", "--store", "all.duckdb").wait() == 0


def test_two_doctors_and_two_reports_at_once_find_and_write_the_same(tmp_path: Path) -> None:
    assert started(tmp_path, "demo", "--store", "s.duckdb").wait() == 0
    results = ended([started(tmp_path, "doctor", "--fix", "--store", "s.duckdb") for _ in range(2)])
    assert waited_or_named(results), results
    results = ended([started(tmp_path, "report", "--store", "s.duckdb") for _ in range(2)])
    assert [code for code, _ in results] == [0, 0], results
    assert not list((tmp_path / "reports").glob("*kept*"))
    assert started(tmp_path, "doctor", "--store", "s.duckdb").wait() == 0


def test_two_runs_of_one_recipe_at_once_make_one_result(tmp_path: Path) -> None:
    assert started(tmp_path, "demo", "--store", "seen.duckdb").wait() == 0
    config = tmp_path / "demo" / "demo.toml"
    temporal = "import runpy; runpy.run_module('toolkit.recipes.temporal', run_name='__main__')"
    line = ["--config", str(config), "--store", "s.duckdb", "--trust"]
    results = ended([started(tmp_path, *line, code=temporal) for _ in range(2)])
    assert waited_or_named(results), results
    assert started(tmp_path, *line, code=temporal).wait() == 0, "the refused one goes on"
    with Store(tmp_path / "s.duckdb", read_only=True) as one, Store(tmp_path / "seen.duckdb", read_only=True) as other:
        sets = "SELECT id, fingerprint, size FROM pair_set ORDER BY id"
        assert one.query(sets) == other.query(sets)
