"""Nothing goes that the toolkit did not provably make; what is replaced is replaced by a complete file."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.exchange.test_exporting import ANOTHER, ROW, frozen
from toolkit.__main__ import app
from toolkit.commands.common import would_write
from toolkit.commands.leftovers import leftovers
from toolkit.errors import InputError, OutputError
from toolkit.exchange.exporting import export_pairs
from toolkit.pairs.versions import tag
from toolkit.reporting.run_numbers import Number, RunNumbers
from toolkit.reporting.trackers import replaced_events, send
from toolkit.store.database import Store
from toolkit.store.serving import Server, address
from toolkit.trust import safe_files
from toolkit.trust.safe_files import RECORD, abandoned, remove_abandoned, scratch, write_file, write_files

NUMBERS = RunNumbers("mine", "L", {}, (Number("a", 1, 0.5),))


def full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_event_files_that_the_toolkit_did_not_write_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "tensorboard" / "mine"
    place.mkdir(parents=True)
    strange = place / "events.out.tfevents.1.host"
    strange.write_text("another program's")
    for _ in range(2):
        send(NUMBERS, "tensorboard", "any", tmp_path)
        assert len(list(place.glob("events.out.tfevents.*"))) == 2
    assert strange.read_text() == "another program's" and "left alone" in capsys.readouterr().err
    (ours,) = (path for path in place.glob("events*") if path != strange)
    ours.write_bytes(ours.read_bytes() + b"more")  # changed since: no longer provably ours
    send(NUMBERS, "tensorboard", "any", tmp_path)
    assert ours.exists() and not list(tmp_path.glob(".temporal-toolkit-*"))


def test_a_linked_tensorboard_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "runs" / "tensorboard").mkdir(parents=True)
    (tmp_path / "runs" / "tensorboard" / "mine").symlink_to(tmp_path / "victim")
    with pytest.raises(InputError, match="leads out of"):
        send(NUMBERS, "tensorboard", "any", tmp_path / "runs")
    assert not list((tmp_path / "victim").iterdir())


def test_a_full_disk_keeps_the_old_report_and_the_old_event_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path, {"a.md": "old", "b.md": "old"})
    send(NUMBERS, "tensorboard", "any", tmp_path)
    (events,) = (tmp_path / "tensorboard" / "mine").glob("events*")
    before = events.read_bytes()
    monkeypatch.setattr(safe_files.os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        write_files(tmp_path, {"a.md": "new", "b.md": "new"})
    with pytest.raises(OutputError, match="No space left"):
        write_file(tmp_path / "a.md", "new")
    with pytest.raises(InputError, match="No space left"):
        send(NUMBERS, "tensorboard", "any", tmp_path)
    assert (tmp_path / "a.md").read_text() == (tmp_path / "b.md").read_text() == "old"
    assert events.read_bytes() == before and not list(tmp_path.glob(".temporal-toolkit-write-*"))


def test_a_report_replaces_the_toolkits_own_and_keeps_everything_else(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    write_files(tmp_path, {"README.md": "report 1"})
    assert (tmp_path / "README.md.kept-1").read_text() == "mine"
    write_files(tmp_path, {"README.md": "report 2"})
    assert sorted(path.name for path in tmp_path.iterdir()) == [RECORD, "README.md", "README.md.kept-1"]
    (tmp_path / "README.md").write_text("report 2, and what I think of it")
    write_files(tmp_path, {"README.md": "report 3"})
    assert (tmp_path / "README.md.kept-2").read_text() == "report 2, and what I think of it"


@pytest.mark.parametrize("record", ["[]", "{", '{"a.md": 1}', '{"a.md": ["0"]}'])
def test_a_forged_record_costs_nothing(record: str, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("mine")
    (tmp_path / RECORD).write_text(record)
    write_files(tmp_path, {"a.md": "report"})
    assert (tmp_path / "a.md.kept-1").read_text() == "mine"


def test_a_report_is_written_through_no_link(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "a.md").symlink_to(tmp_path / "victim")
    write_files(tmp_path / "reports", {"a.md": "report"})
    assert (tmp_path / "victim").read_text() == "mine"
    (tmp_path / "b.md").mkdir()
    with pytest.raises(OutputError, match="a folder is in the way"):
        write_files(tmp_path, {"b.md": "report"})


KEPT = (".s.duckdb.bak", ".s.duckdb.swp", ".s.duckdb.backup01", ".s.duckdb.abcdefgh", ".s.duckdb.copy4567",
        ".bashrc", ".temporal-toolkit-mine", ".temporal-toolkit-store-ABCD1234")  # fmt: skip


@pytest.mark.parametrize("name", ["s.duckdb", "*", "[a-z]*"])
def test_doctor_removes_no_backup_swap_file_or_dotfile(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    Store(path).close()
    for kept in KEPT:
        kept_path = tmp_path / kept.replace("s.duckdb", name)
        if kept_path.name.endswith(("backup01", "abcdefgh", "copy4567")):
            kept_path.mkdir()
        else:
            kept_path.write_text("mine")
        os.utime(kept_path, (0, 0))
    (tmp_path / f".{name}.backup01" / name).write_bytes(path.read_bytes())  # a backup with rows in it
    (tmp_path / f".{name}.abcdefgh" / "notes").write_text("mine")
    (tmp_path / f".{name}.copy4567").rename(tmp_path / f".{name}.copy456x")
    os.utime(tmp_path / f".{name}.copy456x")  # in flight: empty, but new
    for folder in (f".{name}.backup01", f".{name}.abcdefgh"):
        os.utime(tmp_path / folder, (0, 0))
    (tmp_path / f"{name}.sock").write_text("mine")
    before = sorted(path.name for path in tmp_path.rglob("*"))
    done = CliRunner().invoke(app, ["doctor", "--fix", "--store", str(path)])
    assert done.exit_code == 0 and "to be removed" not in done.stderr, done.stderr
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_doctor_lists_before_it_removes_and_a_dry_run_removes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    Store(path).close()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(address(path)))
    (tmp_path / ".temporal-toolkit-export-abcd1234").mkdir()
    (tmp_path / ".s.duckdb.abcd1234").mkdir()
    os.utime(tmp_path / ".s.duckdb.abcd1234", (0, 0))
    left = {"s.duckdb.sock", ".temporal-toolkit-export-abcd1234", ".s.duckdb.abcd1234"}
    dry = CliRunner().invoke(app, ["doctor", "--fix", "--dry-run", "--store", str(path)])
    assert all(name in dry.stdout for name in left) and "removed by doctor --fix" in dry.stdout
    assert left <= {file.name for file in tmp_path.iterdir()}
    fixed = CliRunner().invoke(app, ["doctor", "--fix", "--store", str(path)])
    assert all(f"to be removed: {tmp_path / name}" in fixed.stderr for name in left)
    assert [file.name for file in tmp_path.iterdir()] == ["s.duckdb"]


def test_what_somebody_holds_or_another_user_made_is_not_abandoned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scratch(tmp_path, "export") as held:
        assert not abandoned(tmp_path) and not remove_abandoned(held.parent) and held.is_dir()
    left = tmp_path / ".temporal-toolkit-export-abcd1234"
    left.mkdir()
    (tmp_path / ".temporal-toolkit-export-linked12").symlink_to(left)
    assert abandoned(tmp_path) == [left]
    monkeypatch.setattr(safe_files.os, "geteuid", lambda: 12345)
    assert not abandoned(tmp_path)


@pytest.mark.parametrize("proof", ["id", "lock", "hand-off", "free"])
def test_a_half_saved_checkpoint_goes_with_every_proof_alone(proof: str, tmp_path: Path) -> None:
    name = "mine" if proof == "id" else "0123456789abcdef01234567"
    work = tmp_path / "trainings" / name
    (work / "checkpoint").mkdir(parents=True)
    if proof != "lock":
        (work / "lock").touch()
    if proof != "hand-off":
        (work / "pairs.jsonl").touch()
    with Store(tmp_path / "s.duckdb") as store:
        (found,) = leftovers(store)
    assert found.safe == (proof == "free")


def test_an_export_replaces_an_unchanged_export_alone(tmp_path: Path) -> None:
    with Store(None) as store:
        frozen(store, "set", ROW)
        out = export_pairs(store, "set", tmp_path / "out", "sharegpt")
        (data,) = out.glob("*.jsonl")
        export_pairs(store, "set", tmp_path / "out", "sharegpt")
        for changed in (data, out / "dataset_info.json", out / "README.md"):
            old = changed.read_text()
            changed.write_text(f"{old}\nmine")
            with pytest.raises(InputError, match="was completed since"):
                export_pairs(store, "set", tmp_path / "out", "sharegpt")
            changed.write_text(old)
        data.rename(tmp_path / "aside")
        data.symlink_to(tmp_path / "aside")
        with pytest.raises(InputError):
            export_pairs(store, "set", tmp_path / "out", "sharegpt")


def test_dry_runs_of_export_and_delete_say_what_would_go(tmp_path: Path) -> None:
    path, out = tmp_path / "s.duckdb", tmp_path / "out"
    with Store(path) as store:
        frozen(store, "set", ROW)
        frozen(store, "set", ROW, ANOTHER)
        tag(store, "set@2", "paper", "L")
        export_pairs(store, "set", out, "trl")
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    done = CliRunner().invoke(app, ["export", "set", str(out), "--shape", "trl", "--dry-run", "--store", str(path)])
    assert f"would replace {out / 'manifest.json'}" in done.stdout, done.output
    done = CliRunner().invoke(app, ["delete", "set@2", "--dry-run", "--store", str(path)])
    assert "would delete set@2: 2 pairs, 1 of them in no other version" in done.stdout, done.output
    assert "referred to by tag paper: needs --force" in done.stdout
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


def test_a_writer_takes_over_no_file_that_is_not_a_left_socket(tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    with Store(path) as store:
        address(path).write_text("mine")
        server = Server(store)
        server.close()
    assert not server.running and address(path).read_text() == "mine"


def test_dry_runs_of_reports_and_trackers_name_each_file(tmp_path: Path) -> None:
    write_files(tmp_path, {"a.md": "report"})
    (tmp_path / "b.md").write_text("mine")
    told = would_write([tmp_path / name for name in ("a.md", "b.md", "c.md")])
    assert told == [
        f"would write {tmp_path / 'c.md'}",
        f"would replace {tmp_path / 'a.md'}",
        f"would keep {tmp_path / 'b.md'}, not written by the toolkit, under another name",
    ]
    assert replaced_events(NUMBERS, tmp_path) == []
    send(NUMBERS, "tensorboard", "any", tmp_path)
    place = tmp_path / "tensorboard" / "mine"
    (place / "events.out.tfevents.1.host").write_text("another program's")
    assert replaced_events(NUMBERS, tmp_path) == [
        path for path in place.glob("events*") if not path.name.endswith("1.host")
    ]


def test_a_set_with_a_strange_name_is_not_exported(tmp_path: Path) -> None:
    with Store(None) as store:
        frozen(store, "set", ROW)
        for column, value in (("name", "x\n---\n# forged"), ("id", "x\n---\n# forged@1")):
            store.query(f"UPDATE pair_set SET {column} = ?", [value])
        with pytest.raises(InputError, match="cannot be the name of a set"):
            export_pairs(store, "x\n---\n# forged", tmp_path / "out", "trl")
    assert not list(tmp_path.iterdir())
