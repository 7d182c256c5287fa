"""The store: every record of every run in one DuckDB file. The only module that imports duckdb.

Append-only: rows are inserted once, by content id, and never updated; inserting again is a no-op.
One process writes; DuckDB lets no other process in meanwhile (StoreLocked), so the writer answers readers
(serving.py). A killed process loses what was not committed yet, never more: the write-ahead log is replayed at the
next open, up to its first damaged entry; of what stood after that nothing tells, `doctor` neither. No statement,
whoever wrote it, can read or write another file, attach, or load an extension.

Tables bear the records' names and are made by `migrations/*.sql`, numbered and applied once.
Views for people (plural names) are `views.sql`; questions with a name are `queries/*.sql`.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import duckdb

from toolkit.errors import StoreError, StoreLocked
from toolkit.safe_text import one_line
from toolkit.store.catalog import DIGEST, MIGRATION, SCHEMA, Catalog, check_catalog, digest, read_catalog
from toolkit.store.rows import Table, table_of
from toolkit.trust.safe_files import scratch

_HERE = Path(__file__).parent
_CONFIG: dict[str, Any] = {"enable_external_access": False}
_SETTINGS = (  # GLOBAL: of every connection, also those that readers and second openings get
    "GLOBAL TimeZone = 'UTC'",
    "enable_progress_bar = false",  # ours is progress.py
    # Up to so many ids are looked up by the index instead of a scan, those of ON CONFLICT too. With DuckDB's 50
    # a batch of 256 rows took 0.19 s in a table of four million; so it takes 0.013 s.
    "GLOBAL dynamic_or_filter_threshold = 1000",
    "lock_configuration = true",
)
_MIGRATIONS_TABLE = "CREATE TABLE IF NOT EXISTS migration (number INTEGER PRIMARY KEY, name VARCHAR NOT NULL)"
READER_SECONDS = 2.0
ASK = "correct the statement; `python -m toolkit sql` is a shell, where .views lists what can be asked"
START = "run a recipe, import a set or try `toolkit demo` first, or name the file with --store"
READ = "ask with SELECT or FROM; the toolkit alone writes a store"
_READING = {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN}


class Store:
    """An open store. `read_only` needs an existing file and never changes it. `writer`: the process asked instead."""

    writer: int | None = None
    _undivided = False  # inside of `transaction`

    def __init__(self, path: Path | None, *, read_only: bool = False) -> None:
        self.path = path
        self._columns: dict[str, dict[str, str]] = {}
        if path is not None and not read_only:
            _make_folder(path)
        if path is not None and read_only and not path.exists():
            raise StoreError(f"no store {path}", remedy=START)
        if path is not None and path.exists() and not path.is_file():  # a pipe would be waited for without an end
            what = "a folder" if path.is_dir() else "no ordinary file"
            raise StoreError(f"{path} is {what}", remedy="name a file with --store, for example runs/store.duckdb")
        if path is not None and not path.exists():
            _create(path)
        self._db = _connect(path, read_only)
        with boundary(path):
            try:
                self._settle()
                level = self._admit(read_only)
                if level is not None:
                    self._migrate(level)
            except BaseException:
                self._db.close()
                raise

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Write everything into the file and let other processes in."""
        with boundary(self.path):
            self._db.close()

    # records

    def add(self, records: Sequence[Any], **more: Any) -> None:
        """Insert records of one kind in one transaction, with `more` columns; known ids are left alone."""
        if records:
            table = table_of(type(records[0]))
            self.insert(table.name, [table.to_row(record) | more for record in records])

    def find(self, kind: type[Any], ids: Iterable[str]) -> dict[str, Any]:
        """The records of this kind among these ids, by id."""
        table = table_of(kind)
        sql = f"SELECT {', '.join(table.columns)} FROM {table.name} WHERE id IN (SELECT unnest(?::VARCHAR[]))"
        rows = self.query(sql, [list(ids)])
        records = [table.from_row(list(row.values())) for row in rows]
        return {record.id: record for record in records}

    def insert(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert plain rows; those whose key is known are left alone."""
        if not rows:
            return
        types = self._types(table)
        columns = [column for column in types if column in rows[0]]
        values = ", ".join(f"unnest(?::VARCHAR[])::{types[column]}" for column in columns)
        sql = f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values}"
        lists = [[_text(row[column]) for row in rows] for column in columns]
        with boundary(self.path):
            if self._undivided or not self._inserted(sql, lists):
                self._db.execute(f"{sql} ON CONFLICT DO NOTHING", lists)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of the inserts inside, or none."""
        with boundary(self.path):
            self._db.execute("BEGIN")
            self._undivided = True
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            finally:
                self._undivided = False
            self._db.execute("COMMIT")

    # questions

    def query(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[dict[str, Any]]:
        """Rows of a query as dictionaries. Raises StoreError with DuckDB's own words."""
        with boundary(self.path):
            cursor = self._db.execute(sql, parameters or None)
            names = [column[0] for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def arrow(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> Any:
        """The answer to one reading statement as a pyarrow.Table; columns of one name become a, a_1. Raises StoreError
        for any other statement."""
        with boundary(self.path):
            if re.search("[\ud800-\udfff]", sql):  # bytes of a command line, as Python hands them on
                raise StoreError(f"the statement {one_line(sql, 60)!r} is not UTF-8", remedy=ASK)
            statements = duckdb.extract_statements(sql)
            if len(statements) != 1 or statements[0].type not in _READING:
                kinds = ", ".join(str(statement.type).rpartition(".")[2] for statement in statements) or "nothing"
                raise StoreError(
                    f"only one reading statement is taken here, not {kinds}",
                    remedy=READ,
                )
            # What a SELECT or an EXPLAIN ANALYZE may hold, a DELETE for example, is refused by the transaction.
            self._db.execute("BEGIN TRANSACTION READ ONLY")
            try:
                answer = self._db.sql(sql, params=parameters or None).to_arrow_table()
                return answer.rename_columns(_apart(answer.column_names))
            finally:
                self._db.execute("ROLLBACK")

    def stream(self, sql: str, size: int = 10_000) -> Iterator[tuple[Any, ...]]:
        """The rows of a query one after the other, on a connection of their own: what was committed when it began."""
        with self.snapshot() as other, boundary(self.path):
            cursor = other._db.execute(sql)
            while rows := cursor.fetchmany(size):
                yield from rows

    @contextmanager
    def lent(self, name: str, rows: Any) -> Iterator[None]:
        """A pyarrow.Table, to be queried by this name inside."""
        with boundary(self.path):
            self._db.register(name, rows)
        yield
        self._db.unregister(name)

    def snapshot(self) -> Store:
        """The same store on a connection of its own, for another thread: it sees what was committed."""
        other = object.__new__(Store)
        other.path, other._columns = self.path, self._columns
        with boundary(self.path):
            other._db = self._db.cursor()
        return other

    def named(self, name: str, **parameters: Any) -> list[dict[str, Any]]:
        """Rows of the shipped query of this name; its `$name` parameters are keywords."""
        path = _HERE / "queries" / f"{name}.sql"
        if not path.exists():
            raise StoreError(f"no query named {name!r}", remedy=f"one of: {', '.join(sorted(queries()))}")
        sql = path.read_text(encoding="utf-8")
        wanted = set(re.findall(r"\$([a-z_]+)", sql))
        if wanted != set(parameters):
            raise StoreError(
                f"query {name!r} takes {sorted(wanted) or 'no parameters'}, not {sorted(parameters)}",
                remedy="write for example: python -m toolkit query run_curve launch=ID",
            )
        return self.query(sql, parameters)

    def _admit(self, read_only: bool) -> int | None:
        """Compare the catalog with what the toolkit makes, before any statement runs through it; the schema that is to
        be migrated, None where all is there."""
        catalog = read_catalog(self._plain, self.path or "memory")
        level = self._level(catalog, read_only)
        if level == _newest() and digest(catalog) == DIGEST:
            return None
        newest = _reference(_newest())
        expected = _reference(level) if MIGRATION in catalog else {SCHEMA: newest[SCHEMA]}
        check_catalog(catalog, expected, newest, self.path or "memory", reader=read_only)
        return None if read_only or (level == _newest() and catalog == newest) else level

    def _level(self, catalog: Catalog, read_only: bool) -> int:
        """The newest migration that the store has; 0 for an empty file that is opened for writing."""
        if MIGRATION not in catalog:
            if read_only:
                raise StoreError(
                    "this DuckDB file is not a store", where=self.path, remedy="name another file with --store"
                )
            return 0
        done = {number for (number,) in self._plain("SELECT number FROM main.migration")}
        level, newest = max(done, default=0), _newest()
        if level > newest:
            problem, remedy = f"this toolkit knows {newest}", "upgrade the toolkit"
        elif done != set(range(1, level + 1)):
            problem, remedy = "not those before it", "restore the store from a backup"
        elif read_only and level < newest:
            problem = f"this toolkit reads {newest}"
            remedy = f"keep a copy of the file, then migrate it: python -m toolkit doctor --store {self.path}"
        else:
            return level
        raise StoreError(f"the store has migration {level}, {problem}", where=self.path, remedy=remedy)

    def _plain(self, sql: str) -> Sequence[Sequence[Any]]:
        return self._db.execute(sql).fetchall()

    def _settle(self) -> None:
        """Settings of the database, locked; a second opening in one process shares them."""
        settings = "SELECT value FROM system.main.duckdb_settings() WHERE name = 'lock_configuration'"  # see catalog.py
        for setting in () if self._plain(settings) == [("true",)] else _SETTINGS:
            self._db.execute(f"SET {setting}")

    def _inserted(self, sql: str, lists: list[list[str | None]]) -> bool:
        """Whether all of the rows were new, and so are in. DuckDB plans ON CONFLICT as a join: one row took 3.1 ms with
        it and 1.5 ms without. Not for a transaction of several inserts, which an error would end."""
        try:
            self._db.execute(sql, lists)
        except duckdb.ConstraintException:
            return False
        return True

    def _types(self, table: str) -> dict[str, str]:
        if table not in self._columns:
            rows = self.query(
                "SELECT column_name AS c, data_type AS t FROM duckdb_columns() WHERE table_name = ?", [table]
            )
            self._columns[table] = {row["c"]: row["t"] for row in rows}
        return self._columns[table]

    def _migrate(self, level: int) -> None:
        self._db.execute(_MIGRATIONS_TABLE)
        for number, path in _steps().items():
            if number > level:
                with self.transaction():
                    self._db.execute(path.read_text(encoding="utf-8"))
                    self._db.execute("INSERT INTO migration VALUES (?, ?)", [number, path.stem])
        self._db.execute((_HERE / "views.sql").read_text(encoding="utf-8"))
        self._db.execute("CHECKPOINT")  # the schema is then in the file itself, whatever becomes of the log


def _steps() -> dict[int, Path]:
    return {int(path.name[:4]): path for path in sorted((_HERE / "migrations").glob("[0-9]*.sql"))}


def _newest() -> int:
    return max(_steps())


@functools.cache
def _reference(level: int) -> Catalog:
    """The catalog that the toolkit makes at this schema; with its views where it is the newest."""
    with contextlib.closing(duckdb.connect(":memory:", config=_CONFIG)) as db:
        db.execute(_MIGRATIONS_TABLE)
        for number, path in _steps().items():
            if number <= level:
                db.execute(path.read_text(encoding="utf-8"))
        if level == _newest():
            db.execute((_HERE / "views.sql").read_text(encoding="utf-8"))
        return read_catalog(lambda sql: db.execute(sql).fetchall(), "memory")


def queries() -> dict[str, str]:
    """Name and first line, its purpose, of every shipped query."""
    paths = sorted((_HERE / "queries").glob("*.sql"))
    return {path.stem: path.read_text(encoding="utf-8").splitlines()[0].lstrip("- ") for path in paths}


@contextmanager
def boundary(path: Path | None) -> Iterator[None]:
    """DuckDB's errors, renamed to ours with a remedy."""
    try:
        yield
    except duckdb.Error as error:
        text = str(error)
        holder = re.search(r"\(PID (\d+)\)", text)
        if "lock" in text and holder:
            raise _locked(path, int(holder[1])) from error
        if "different configuration than existing connections" in text:
            raise _locked(path, os.getpid()) from error
        raise _renamed(text, path) from error
    except RuntimeError as error:
        if str(error) == "Query interrupted":  # DuckDB's word for Ctrl-C in the middle of a statement
            raise KeyboardInterrupt from error
        raise


def _renamed(text: str, path: Path | None) -> StoreError:
    """What DuckDB or the operating system said, as an error of ours."""
    if re.search(r"(?i)no space left|not enough space|file too large|quota exceeded", text):
        problem, remedy = "the disk is full", "free some space and run the same command again: it resumes"
    elif "read-only mode" in text:  # DuckDB's word for a transaction or a connection, not for a disk
        problem, remedy = f"a statement that writes: {text.splitlines()[0]}", READ
    elif "Permission denied" in text or "read-only" in text.lower():
        problem, remedy = "the store cannot be written", "choose a writable place with --store"
    elif "WAL file" in text:
        problem = f"the write-ahead log is damaged: {text.splitlines()[0]}"
        remedy = f"restore {path} and {path}.wal from a backup; without one, move the .wal file away: what was "
        remedy += "committed since the last checkpoint is then lost"
    elif re.search(r"Could not read enough bytes|Corrupt database file", text):
        problem = f"the store's file is damaged: {text.splitlines()[0]}"
        remedy = "restore it from a backup; without one, move it away and run the same command again: answers and "
        remedy += "verdicts are made anew, and a finished checkpoint is taken in where its pairs come out the same"
    elif "not a valid DuckDB database" in text:
        problem, remedy = "the file is not a DuckDB database", "name another file with --store"
    else:
        problem, remedy = text, ASK
    return StoreError(problem, where=path or "memory", remedy=remedy)


def _locked(path: Path | None, holder: int) -> StoreLocked:
    this = holder == os.getpid()
    remedy = "close it there first" if this else "wait until that process ends"
    return StoreLocked(
        f"the store is open in {'this process' if this else f'process {holder}'}",
        where=path or "memory",
        remedy=f"{remedy}, or give this one another file with --store",
        holder=holder,
    )


def _apart(names: Sequence[str]) -> list[str]:
    """The names, a number behind those that were there before: rows are dictionaries wherever they are shown."""
    taken: list[str] = []
    for name in names:
        free = (f"{name}_{i}" if i else name for i in itertools.count())
        taken.append(next(new for new in free if new not in taken and (new == name or new not in names)))
    return taken


def _connect(path: Path | None, read_only: bool) -> duckdb.DuckDBPyConnection:
    """A reader holds the file while it is answered, so a writer who finds it locked tries again for a while."""
    until = time.monotonic() + (0 if read_only else READER_SECONDS)
    while True:
        try:
            with boundary(path):
                return duckdb.connect(str(path or ":memory:"), read_only=read_only, config=_CONFIG)
        except StoreLocked:
            if time.monotonic() >= until:
                raise
        time.sleep(0.05)


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"cannot make the folder {path.parent}: {error.strerror}", remedy="choose a writable place with --store"
        ) from error


def _create(path: Path) -> None:
    """An empty database appears under its name in one step: the half of one, which a kill meanwhile or a full disk
    would leave, DuckDB refuses to open ever after."""
    try:
        with scratch(path.parent, "store") as folder, boundary(path):
            made = folder / path.name
            duckdb.connect(str(made)).close()
            _appear(made, path)
    except FileExistsError:  # another process was faster; what it writes must not be replaced
        return
    except OSError as error:
        raise _renamed(str(error), path) from error


def _appear(made: Path, path: Path) -> None:
    try:
        os.link(made, path)
    except OSError:  # it is there already, or the file system has no links: not in one step there
        with path.open("xb") as file:
            file.write(made.read_bytes())


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, sort_keys=True, ensure_ascii=False)
    return repr(value) if isinstance(value, float) else str(value)


__all__ = ["Store", "Table", "boundary", "queries"]
