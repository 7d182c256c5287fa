"""Algorithm 1's selection by several workers: judged answers as Parquet, one partition of prompts for each worker.

    FOLDER/selection.json                   what is asked for, and how many parts
    FOLDER/response/part=3/rows.parquet     the pools' answers to the prompts of part 3
    FOLDER/judgment/part=3/rows.parquet     their verdicts
    FOLDER/pair/part=3/rows.parquet         what worker 3 selected; FOLDER/dropped/part=3 why the others gave no pair

    write_parts(store, asked, folder, parts)   once, beside the store
    select_part(folder, number)                anywhere, in any order, as often as one likes
    collect_parts(store, folder, launch)       once, beside the store: the version

The worker runs `select_in_sql` itself on its part, so the union is what one process would have selected: a prompt's
pair depends on that prompt's answers alone, and every prompt is in one part. A part that is not selected is an error,
and selecting one again replaces it. FOLDER is a local folder, or an address that pyarrow opens, as s3://bucket/folder
(of that only the local folder is tested). Memory: a worker holds its part.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict
from typing import Any

from toolkit.errors import InputError
from toolkit.pairs.at_scale import POOLS, Selection, check, select_in_sql
from toolkit.pairs.versions import Version, check_name, commit
from toolkit.records import PairSet
from toolkit.store.database import Store

_PLAN = "selection.json"
_REWRITE = "name another folder, or write the parts again: part-out"
MOST_PARTS = 100_000
_PAIR = "id, prompt, chosen, rejected, chosen_score, rejected_score, chosen_role, rejected_role, content, judge"
_DROP = "stage, prompt, pair, reason, detail"
_PART = f"{POOLS} AND hash(r.prompt) % $parts = $part"
_ANSWERS = f"SELECT r.* FROM response r WHERE {_PART} ORDER BY r.prompt, r.id"
_VERDICTS = (
    f"SELECT j.* FROM judgment j JOIN response r ON r.id = j.response WHERE {_PART} AND j.judge = $judge ORDER BY j.id"
)


class Folder:
    """A folder of partitions, local or at an address."""

    def __init__(self, place: str) -> None:
        from pyarrow import fs

        self.place = place
        if "://" in place:
            self._files, self._root = fs.FileSystem.from_uri(place)
        else:
            self._files, self._root = fs.LocalFileSystem(), place

    def write(self, table: str, part: int, rows: Any) -> None:
        """A whole part, or none: it gets its name when it is complete."""
        from pyarrow import parquet

        path = self._path(table, part)
        self._files.create_dir(path.rpartition("/")[0])
        aside = f"{path}.{secrets.token_hex(4)}.part"  # of this process alone
        parquet.write_table(rows, aside, filesystem=self._files, compression="zstd")
        self._files.move(aside, path)

    def read(self, table: str, part: int, remedy: str) -> Any:
        from pyarrow import parquet

        path = self._path(table, part)
        try:
            return parquet.read_table(path, filesystem=self._files, partitioning=None)
        except FileNotFoundError as error:
            raise InputError(f"no {table} of part {part}", where=f"{self.place}: {path}", remedy=remedy) from error

    def write_plan(self, asked: Selection, parts: int) -> None:
        self._files.create_dir(self._root)
        aside = f"{self._root}/{_PLAN}.{secrets.token_hex(4)}.part"
        with self._files.open_output_stream(aside) as file:
            file.write(json.dumps({"parts": parts, "asked": asdict(asked)}).encode())
        self._files.move(aside, f"{self._root}/{_PLAN}")

    def plan(self) -> tuple[Selection, int]:
        """What is asked for, and in how many parts."""
        try:
            with self._files.open_input_stream(f"{self._root}/{_PLAN}") as file:
                told = json.loads(file.read())
        except FileNotFoundError as error:
            raise InputError(f"no {_PLAN}", where=self.place, remedy="write the parts first: part-out") from error
        except (ValueError, RecursionError) as error:
            raise InputError(f"{_PLAN} is not of part-out: {error}", where=self.place, remedy=_REWRITE) from error
        try:
            asked, parts = Selection(**told["asked"]), int(told["parts"])
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"{_PLAN} is not of part-out: {error}", where=self.place, remedy=_REWRITE) from error
        check_name(asked.name)
        if not 0 < parts <= MOST_PARTS:
            raise InputError(f"{parts} parts", where=f"{self.place}/{_PLAN}", remedy=_REWRITE)
        return asked, parts

    def refuse_others(self) -> None:
        """Raise InputError where selection.json, which part-out replaces, is not of an earlier part-out."""
        try:
            self.plan()
        except InputError as error:
            if not error.problem.startswith("no "):
                raise

    def _path(self, table: str, part: int) -> str:
        return f"{self._root}/{table}/part={part}/rows.parquet"


def write_parts(store: Store, asked: Selection, folder: str, parts: int) -> None:
    """Every part's judged answers. Raises InputError where they have no one scale or order."""
    check(store, asked)
    to = Folder(folder)
    to.refuse_others()
    for part in range(parts):
        pools = {**asked.pools, "parts": parts, "part": part}
        to.write("response", part, store.arrow(_ANSWERS, pools))
        to.write("judgment", part, store.arrow(_VERDICTS, {**pools, "judge": asked.judge}))
    to.write_plan(asked, parts)


def select_part(folder: str, part: int) -> int:
    """Select the pairs of one part; how many there are."""
    at = Folder(folder)
    asked, parts = at.plan()
    if not 0 <= part < parts:
        raise InputError(f"no part {part}", where=folder, remedy=f"name one of 0 to {parts - 1}")
    with Store(None) as store:
        for table in ("response", "judgment"):
            rows = at.read(table, part, "write the parts again: part-out")
            with store.lent("part", rows):
                store.query(f"INSERT INTO {table} BY NAME FROM part")
        version = select_in_sql(store, asked, f"part {part}")
        at.write("dropped", part, store.arrow(f"SELECT {_DROP} FROM dropped ORDER BY prompt"))
        at.write("pair", part, store.arrow(f"SELECT {_PAIR} FROM pair ORDER BY id"))
    return version.size


def collect_parts(store: Store, folder: str, launch: str) -> Version:
    """The pairs of all parts as a version, new or the one that says the same. Raises InputError for a missing part."""
    at = Folder(folder)
    asked, parts = at.plan()
    with store.transaction():
        store.query("CREATE OR REPLACE TEMP TABLE staged (pair VARCHAR)")
        store.query(f"CREATE OR REPLACE TEMP TABLE left_out AS SELECT {_DROP} FROM dropped LIMIT 0")
        for part in range(parts):
            _take(store, at, part, launch)
        version, found = commit(store, PairSet(asked.name, 0, asked.iteration, (), message=asked.message), launch)
        if not found:
            store.query(f"INSERT INTO dropped (pair_set, {_DROP}) SELECT ?, {_DROP} FROM left_out", [version.id])
        for table in ("staged", "left_out"):
            store.query(f"DROP TABLE {table}")
    return version


def _take(store: Store, at: Folder, part: int, launch: str) -> None:
    remedy = f"select it: part-select {at.place} {part}"
    with store.lent("part", at.read("pair", part, remedy)):
        strange = "SELECT id FROM part WHERE chosen NOT IN (SELECT id FROM response)"
        for row in store.query(f"{strange} OR rejected NOT IN (SELECT id FROM response) LIMIT 1"):
            raise InputError(
                f"part {part} pairs answers that this store does not hold (pair {row['id']})",
                where=at.place,
                remedy="collect into the store that the parts were written from",
            )
        store.query(f"INSERT INTO pair ({_PAIR}, launch) SELECT {_PAIR}, ? FROM part ON CONFLICT DO NOTHING", [launch])
        store.query("INSERT INTO staged SELECT id FROM part")
    with store.lent("part", at.read("dropped", part, remedy)):
        store.query(f"INSERT INTO left_out SELECT {_DROP} FROM part")
