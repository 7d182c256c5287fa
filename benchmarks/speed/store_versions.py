"""Contenders of versions and ingest: a store filled by SQL, then the version in which some of the pairs changed."""

from __future__ import annotations

import resource
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from clock import LAUNCH, Clock, K

_ID = "sha256(concat('{0}', {1}))[:24]"


def _text(seed: str, size: int) -> str:
    """SQL for `size` characters of hash, which no compression makes much smaller than half."""
    blocks = ", ".join(f"sha256(concat({seed}, '{block}'))" for block in range(-(-size // 64)))
    return f"concat({blocks})[:{size}]"


def _fill(store: Any, prompts: int, size: int) -> None:
    store.query(f"""
        INSERT INTO prompt (id, text, source, launch)
        SELECT {_ID.format("p", "i")}, {_text("i", 128)}, 's', '{LAUNCH}' FROM range({prompts}) t(i)
    """)
    store.query(f"INSERT INTO model VALUES ('m', 'm', '', '', '', NULL, NULL, '{LAUNCH}')")
    for role in ("present", "past"):
        _answers(store, role, prompts, size)
    _pairs(store, "present", prompts)


def _pairs(store: Any, role: str, n: int, start: int = 0) -> None:
    """Pairs of `role`'s answer over the past's, with contents as frozen ones have."""
    store.query(f"""
        INSERT INTO pair (
            id, prompt, chosen, rejected, chosen_score, rejected_score, chosen_role, rejected_role, judge, launch,
            content
        )
        SELECT sha256(concat('pair', c.id, r.id))[:24], c.prompt, c.id, r.id, 4, 2, '{role}', 'past', 'm', '{LAUNCH}',
            sha256(concat_ws(
                chr(10), c.prompt, sha256(c.text), sha256(r.text), 4000000000, 2000000000, '{role}', 'past'
            ))[:24]
        FROM range({start}, {start + n}) t(i)
        JOIN response c ON c.id = {_ID.format(role, "i")} JOIN response r ON r.id = {_ID.format("past", "i")}
    """)


def _answers(store: Any, role: str, n: int, size: int, start: int = 0) -> None:
    """One answer of `role` to each prompt from `start` on."""
    store.query(f"""
        INSERT INTO response
        SELECT {_ID.format(role, "i")}, {_ID.format("p", "i")}, 'm', '{role}', 0, '{{}}', 1,
            {_text(f"concat('{role}', i)", size)}, 1, 1, 'stop', '{LAUNCH}'
        FROM range({start}, {start + n}) t(i)
    """)


def store_base(clock: Clock, path: str, prompts: int, size: int) -> dict[str, Any]:
    """A store filled by SQL with one version of all pairs."""
    from toolkit.store.database import Store

    with clock.measure(), Store(Path(path)) as store:
        _fill(store, prompts, size)
        _commit(clock, store, "SELECT id AS pair FROM pair", "first_commit_seconds")
    return {"bytes": Path(path).stat().st_size, "bytes_per_pair": Path(path).stat().st_size / prompts}


def _commit(clock: Clock, store: Any, members: str, name: str) -> Any:
    from toolkit.pairs.versions import commit
    from toolkit.records import PairSet

    with clock.measure(name), store.transaction():
        store.query(f"CREATE OR REPLACE TEMP TABLE staged AS {members}")
        return commit(store, PairSet("set", 0, 0, ()), LAUNCH)[0]


_NEWEST = (
    "SELECT id AS pair FROM pair WHERE chosen_role = 'future' "
    "OR prompt NOT IN (SELECT prompt FROM pair WHERE chosen_role = 'future')"
)


def store_commit(clock: Clock, path: str, prompts: int, changed: int, size: int, rounds: int) -> dict[str, Any]:
    """Versions one after the other: new answers and pairs for `changed` prompts each, then the commit."""
    from toolkit.store.database import Store

    seconds, added, whole, before = [], [], 0, Path(path).stat().st_size
    for turn in range(rounds):
        size_before = Path(path).stat().st_size
        with Store(Path(path)) as store:
            _answers(store, "future", changed, size, turn * changed)
            _pairs(store, "future", changed, turn * changed)
            whole += _commit(clock, store, _NEWEST, f"version_{turn + 2}_seconds").base is None
        seconds.append(clock.seconds[f"version_{turn + 2}_seconds"])
        added.append(Path(path).stat().st_size - size_before)
    return {
        "seconds": sorted(seconds)[len(seconds) // 2],
        "bytes_before": before,
        "bytes_added": sum(added) // rounds,
        "bytes_added_each": added,
        "stored_whole": whole,
    }


def stage_from_python(clock: Clock, path: str, prompts: int) -> dict[str, Any]:
    """The same commit with all ids handed over from Python by versions.stage; one pair is left out."""
    from toolkit.pairs.versions import commit, stage
    from toolkit.records import PairSet
    from toolkit.store.database import Store

    with Store(Path(path)) as store:
        ids = [row["pair"] for row in store.query(_NEWEST)][1:]
        with clock.measure(), store.transaction():
            stage(store, ids)
            version, _ = commit(store, PairSet("set", 0, 0, ()), LAUNCH)
    return {"size": version.size}


def store_questions(clock: Clock, path: str, prompts: int) -> dict[str, Any]:
    """diff, verify with its fingerprint, and one pair with its texts, on the filled store."""
    from toolkit.pairs.diff import diff
    from toolkit.pairs.versions import resolve, verify
    from toolkit.store.database import Store

    found: dict[str, Any] = {}
    with Store(Path(path)) as store:
        with clock.measure("diff_seconds"):
            found["diff"] = diff(store, "set@1", "set@2").summary
        with clock.measure("verify_seconds"):
            verify(store, resolve(store, "set@2"))
        pair = store.query("SELECT id FROM pair WHERE chosen_role = 'future' LIMIT 1")[0]["id"]
        join = (
            "SELECT x.*, p.text, c.text, r.text FROM pair x JOIN prompt p ON p.id = x.prompt "
            "JOIN response c ON c.id = x.chosen JOIN response r ON r.id = x.rejected WHERE x.id = ?"
        )
        with clock.measure("one_pair_seconds"):
            found["one_pair_rows"] = len(store.query(join, [pair]))
    return found


def lineage(clock: Clock, path: str, prompts: int) -> dict[str, Any]:
    """One pair, every answer judged: each set, model, answer and verdict behind it; then the same by the SQL view."""
    from toolkit.store.database import Store
    from toolkit.store.lineage import lineage as trace

    with Store(Path(path)) as store:
        store.query(f"""
            INSERT INTO judgment
            SELECT sha256(concat('j', id))[:24], id, 'm', 'rubric', 'generated', '{{}}', 0, 1, {_text("id", 256)},
                'scored', '', 3, '{LAUNCH}'
            FROM response
        """)
    with Store(Path(path), read_only=True) as store:
        pair = store.query("SELECT id FROM pair WHERE chosen_role = 'future' LIMIT 1")[0]["id"]
        for name in ("first_seconds", "seconds"):
            with clock.measure(name):
                found = trace(store, pair)
        with clock.measure("view_seconds"):
            viewed = store.query("SELECT pair_set, side, reply FROM lineage WHERE pair = ?", [pair])
    return {"rows": len(found), "view_rows": len(viewed)}


def copy_file(clock: Clock, path: str, prompts: int) -> dict[str, Any]:
    """A full copy of the store's file for the new version."""
    with clock.measure():
        shutil.copyfile(path, f"{path}.copy")
    size = Path(f"{path}.copy").stat().st_size
    Path(f"{path}.copy").unlink()
    return {"bytes_added": size}


def export_set(clock: Clock, path: str, out: str, prompts: int) -> dict[str, Any]:
    """Versions 1 and 2 as Parquet, prompt and both texts in each row: what the other contenders keep."""
    import duckdb

    with clock.measure(), duckdb.connect(path, read_only=True) as db:
        for version in (1, 2):
            db.execute(f"""
                COPY (
                    SELECT p.text AS prompt, c.text AS chosen, r.text AS rejected, x.chosen_score, x.rejected_score
                    FROM members('set@{version}') m JOIN pair x ON x.id = m.pair JOIN prompt p ON p.id = x.prompt
                    JOIN response c ON c.id = x.chosen JOIN response r ON r.id = x.rejected ORDER BY x.prompt
                ) TO '{out}-{version}.parquet' (FORMAT parquet)
            """)
    return {"bytes": [Path(f"{out}-{version}.parquet").stat().st_size for version in (1, 2)]}


def save_datasets(clock: Clock, out: str, prompts: int) -> dict[str, Any]:
    """datasets.save_to_disk of the full new set; loading it is not timed."""
    import datasets

    made = datasets.Dataset.from_parquet(f"{out}-2.parquet", cache_dir=f"{out}-cache")
    with clock.measure():
        made.save_to_disk(f"{out}-saved")
    return {"bytes_added": _size(Path(f"{out}-saved"))}


def dvc_add(clock: Clock, out: str, dvc: str, prompts: int) -> dict[str, Any]:
    """`dvc add` of the new Parquet file over the old one; its cache holds both afterwards."""
    folder = Path(f"{out}-dvc")
    folder.mkdir()

    def run(*arguments: str) -> None:
        subprocess.run([dvc, *arguments], cwd=folder, check=True, capture_output=True)

    run("init", "--no-scm")
    run("config", "core.analytics", "false")
    shutil.copyfile(f"{out}-1.parquet", folder / "set.parquet")
    run("add", "set.parquet")
    (folder / "set.parquet").unlink()
    shutil.copyfile(f"{out}-2.parquet", folder / "set.parquet")
    before = _size(folder / ".dvc" / "cache")
    with clock.measure():
        run("add", "set.parquet")
    most = {"peak_mb": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024, 1)}
    return {"bytes_added": _size(folder / ".dvc" / "cache") - before, **most}


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def ingest(clock: Clock, path: str, answers: int, batch: int, size: int) -> dict[str, Any]:
    """Answers as they stream in: Store.add of `batch` rows, a commit each. Making the records is not timed."""
    from toolkit.records import Response, Sampling
    from toolkit.store.database import Store

    sampling = Sampling(1.0, 1.0, 1024)
    text = ("An answer with some words in it, and ünïcode. " * (size // 40 + 1))[:size]
    asked = [Response(f"{i // K:024x}", "m", "present", i % K, sampling, i) for i in range(answers)]
    made = [replace(r, text=f"{i} {text}", tokens=99, prompt_tokens=9, finish="stop") for i, r in enumerate(asked)]
    batches: list[float] = []
    with Store(Path(path)) as store:
        with clock.measure():
            for start in range(0, answers, batch):
                began = time.perf_counter()
                store.add(made[start : start + batch], launch=LAUNCH)
                batches.append(time.perf_counter() - began)
        stored = store.query("SELECT count(*) AS n FROM response")[0]["n"]
    batches.sort()
    middle, worst = batches[len(batches) // 2], batches[-1]
    return {
        "rows": stored,
        "rows_per_second": round(stored / clock.seconds["seconds"]),
        "median_batch_ms": round(middle * 1000, 2),
        "slowest_batch_ms": round(worst * 1000, 2),
    }
