"""Queries while a run is writing: the writing process answers read-only SQL on a socket beside the store.

DuckDB lets one process write and no other one in. So the writer listens on `STORE.sock` (for its own user alone) and
answers each query from a snapshot of its own: committed rows, never half a transaction. `open_reader` opens the file
where nobody writes, and asks the writer where one does; both give the same `query`.

On the wire: a JSON line {"sql", "parameters"} to the writer; back one JSON line, {"error"} or {"bytes": N}, then N
bytes of an Arrow IPC stream. A connection asks any number of queries. Left out: readers on other machines, which
need a copy of the file; and the plain `duckdb` client, which opens the file once nobody writes it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import stat
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from toolkit.errors import StoreError, StoreLocked
from toolkit.store.database import ASK, Store

DEFAULT = Path("runs/store.duckdb")  # where recipes write and everyone reads, unless told otherwise
ANSWER_SECONDS = 600.0
FIRST_SECONDS = 10.0  # a connection that asks nothing for so long is closed
MOST_READERS = 64  # connections at once, a thread each; a further one is refused with an error
LONGEST_REQUEST = 16 * 2**20  # bytes of one query
BUSY = {"error": f"{MOST_READERS} readers are connected already; ask again when one has ended"}


class Server:
    """Answers queries on `store` until closed. `running` is False where the file system knows no sockets."""

    def __init__(self, store: Store) -> None:
        self._store, self._path = store, address(store.path) if store.path else None
        self._socket = _listen(self._path) if self._path else None
        self._readers = threading.BoundedSemaphore(MOST_READERS)
        if self._socket:
            threading.Thread(target=self._accept, daemon=True).start()

    @property
    def running(self) -> bool:
        return self._socket is not None

    def close(self) -> None:
        if self._socket and self._path:
            self._socket.close()
            with contextlib.suppress(OSError):
                if stat.S_ISSOCK(self._path.lstat().st_mode):
                    self._path.unlink()
            self._socket = None

    def _accept(self) -> None:
        while listening := self._socket:
            try:
                client, _ = listening.accept()
            except OSError:  # closed
                return
            if self._readers.acquire(blocking=False):
                threading.Thread(target=self._answer, args=(client,), daemon=True).start()
            else:
                _refuse(client)

    def _answer(self, client: socket.socket) -> None:
        try:
            with contextlib.suppress(OSError), client, client.makefile("rwb") as stream:
                client.settimeout(FIRST_SECONDS)
                while line := stream.readline(LONGEST_REQUEST):
                    client.settimeout(None)
                    _send(stream, *self._result(line))
                    if not line.endswith(b"\n"):
                        return
        finally:
            self._readers.release()

    def _result(self, line: bytes) -> tuple[dict[str, Any], bytes]:
        try:
            asked = json.loads(line)
            with self._store.snapshot() as snapshot:
                table = snapshot.arrow(asked["sql"], asked["parameters"])
        except StoreError as error:
            return {"error": error.problem}, b""
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            return {"error": f"not a query: {error}"}, b""
        return {}, _pack(table)


class RemoteStore(Store):
    """A store that another process is writing, asked through its socket. Read-only."""

    def __init__(self, path: Path, writer: int | None = None) -> None:
        self.path, self.writer = path, writer
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(ANSWER_SECONDS)
        if address(path).stat().st_uid not in (os.getuid(), 0):
            raise StoreError(
                "the socket of this store belongs to another user",
                where=address(path),
                remedy="copy the store once its writer has ended, or ask that user",
            )
        self._socket.connect(str(address(path)))
        self._stream = self._socket.makefile("rwb")
        try:
            self._admit(read_only=True)  # a writer of another version may have opened what this one refuses
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._stream.close()
        self._socket.close()

    def _plain(self, sql: str) -> Sequence[Sequence[Any]]:
        return [tuple(row.values()) for row in self.query(sql)]

    def arrow(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> Any:
        line = json.dumps({"sql": sql, "parameters": parameters}, default=str).encode() + b"\n"
        try:
            self._stream.write(line)
            self._stream.flush()
            answer = json.loads(self._stream.readline() or b'{"error": "the run ended; ask again"}')
            if "error" in answer:
                raise StoreError(answer["error"], where=self.path, remedy=ASK)
            return _unpack(self._stream.read(answer["bytes"]))
        except OSError as error:
            raise StoreError(
                f"the run that writes this store did not answer: {error}", where=self.path, remedy="ask again"
            ) from error

    def query(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.arrow(sql, parameters).to_pylist()
        return rows


def open_reader(path: Path) -> Store:
    """The store for reading: the file, or, while a run writes it, the run. Raises StoreError where neither answers."""
    try:
        return Store(path, read_only=True)
    except StoreLocked as error:
        with contextlib.suppress(OSError):
            return RemoteStore(path, error.holder)
        raise


def address(path: Path) -> Path:
    """Where the writer of this store listens. Relative where that is shorter: a socket's path has 107 bytes at most."""
    beside = path.absolute().with_name(path.name + ".sock")
    relative = Path(os.path.relpath(beside))
    return min(beside, relative, key=lambda place: len(str(place)))


def is_left_socket(path: Path) -> bool:
    """Whether a socket of this user lies there on which nobody listens."""
    try:
        status = path.lstat()
        if not stat.S_ISSOCK(status.st_mode) or status.st_uid != os.geteuid():
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(1.0)
            return client.connect_ex(str(path)) == errno.ECONNREFUSED
    except OSError:
        return False


def _refuse(client: socket.socket) -> None:
    with contextlib.suppress(OSError), client:
        client.settimeout(1.0)
        client.sendall(json.dumps(BUSY).encode() + b"\n")


def _listen(path: Path) -> socket.socket | None:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if is_left_socket(path):
            path.unlink()  # of a killed writer: this process holds the store's lock
        before = os.umask(0o177)
        try:
            made.bind(str(path))
        finally:
            os.umask(before)
        made.listen()
    except OSError:
        made.close()
        return None
    return made


def _send(stream: BinaryIO | Any, head: dict[str, Any], body: bytes) -> None:
    stream.write(json.dumps(head or {"bytes": len(body)}).encode() + b"\n" + body)
    stream.flush()


def _pack(table: Any) -> bytes:
    import pyarrow

    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    packed: bytes = sink.getvalue().to_pybytes()
    return packed


def _unpack(data: bytes) -> Any:
    import pyarrow

    return pyarrow.ipc.open_stream(data).read_all()
