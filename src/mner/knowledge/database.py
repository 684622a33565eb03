"""The SQLite file under the store of knowledge: opening, transactions, and errors that teach.

The file is in WAL mode: several processes on one machine read and write it at once, and what was
committed outlives ``kill -9`` and a loss of power.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from mner.errors import MnerError

BUSY_SECONDS = 30.0
"""How long a writer waits for another one before it gives up."""

_AGAIN_SECONDS = 0.02

_APPLICATION = 0x6D6E6572  # "mner", in the header of every store
_VERSION = 1

_SCHEMA = """
CREATE TABLE sources (
    source TEXT PRIMARY KEY, provider TEXT NOT NULL, kind TEXT NOT NULL, description TEXT NOT NULL,
    first_used TEXT NOT NULL
);
CREATE TABLE answers (
    key TEXT PRIMARY KEY, source TEXT NOT NULL, kind TEXT NOT NULL, picture TEXT, post TEXT,
    status TEXT NOT NULL, problem TEXT, raw TEXT NOT NULL, request TEXT NOT NULL, result TEXT,
    made_at TEXT NOT NULL, duration REAL NOT NULL, input_tokens INTEGER, output_tokens INTEGER, cost REAL,
    attempts INTEGER NOT NULL
);
CREATE INDEX answers_by_picture ON answers(picture);
CREATE INDEX answers_by_post ON answers(post);
CREATE INDEX answers_by_source ON answers(source, status);
CREATE TABLE claims (key TEXT PRIMARY KEY, owner TEXT NOT NULL, expires REAL NOT NULL);
CREATE TABLE pictures (
    path TEXT PRIMARY KEY, size INTEGER NOT NULL, changed INTEGER NOT NULL, picture TEXT NOT NULL
);
CREATE TABLE confirmed (destination TEXT PRIMARY KEY, confirmed_at TEXT NOT NULL);
"""


class StoreError(MnerError):
    """The store cannot be read or written; what it holds is kept."""


class StoreFile:
    """An SQLite file with the tables of the store. A context manager; safe to share between threads.

    Args:
        path: The file; made with its folder where it is not there, unless `read_only`.
        read_only: Whether nothing may be written.
        busy_seconds: How long to wait for another process that is writing.

    Raises:
        StoreError: The file is not a store, or cannot be opened.
    """

    def __init__(
        self, path: Path | str, *, read_only: bool = False, busy_seconds: float = BUSY_SECONDS
    ) -> None:
        self.path = Path(path)
        self.read_only = read_only
        self._lock = threading.RLock()
        if read_only and not self.path.is_file():
            raise StoreError(
                f"There is no knowledge store {self.path}.", hint="Make one: mner knowledge make"
            )
        if not read_only:
            self._make_folder()
        with self._guard("open"):
            self._connection = self._connect(busy_seconds)
        try:
            with self._guard("open"):
                self._prepare(busy_seconds)
        except BaseException:
            self._connection.close()
            raise

    def _make_folder(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"The folder of the store {self.path} cannot be made: {error.strerror}.",
                hint="Choose another path.",
            ) from error

    def _connect(self, busy_seconds: float) -> sqlite3.Connection:
        address = self.path.absolute().as_uri()
        if self.read_only:
            # On a read-only disk there can be no shared memory file beside the store; without a log
            # left over, the file alone is complete.
            log = self.path.with_name(self.path.name + "-wal")
            try:
                connection = self._connection_to(f"{address}?mode=ro", busy_seconds)
                connection.execute("SELECT count(*) FROM sqlite_master")
                return connection
            except sqlite3.OperationalError:
                if log.exists():
                    raise
                return self._connection_to(f"{address}?immutable=1", busy_seconds)
        return self._connection_to(f"{address}?mode=rwc", busy_seconds)

    @staticmethod
    def _connection_to(address: str, busy_seconds: float) -> sqlite3.Connection:
        return sqlite3.connect(
            address, uri=True, timeout=busy_seconds, isolation_level=None, check_same_thread=False
        )

    def _prepare(self, busy_seconds: float) -> None:
        connection = self._connection
        is_empty = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
        if not self.read_only:
            if is_empty:
                self._write_ahead(busy_seconds)
                self._create()
            # FULL: an answer that was paid for outlives a loss of power, not only the end of the process.
            connection.execute("PRAGMA synchronous = FULL")
        # Read now and not before: another process may have made the tables just then.
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        if application != _APPLICATION:
            raise StoreError(
                f"{self.path} is a SQLite file, but not a knowledge store.",
                hint="Name another file; this one was left as it is.",
            )
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version != _VERSION:
            raise StoreError(
                f"The store {self.path} was written by another version of mner.",
                expected=f"version {_VERSION} of the format",
                got=f"version {version}",
                hint="Export it there as JSONL and import that here.",
            )

    def _write_ahead(self, busy_seconds: float) -> None:
        """Put the file into WAL mode; SQLite itself does not wait for another process that is at it."""
        deadline = time.monotonic() + busy_seconds
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                    raise
            time.sleep(_AGAIN_SECONDS)

    def _create(self) -> None:
        with self._transaction():
            # Another process may have made the tables between our look and our lock.
            if self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                return
            for statement in _SCHEMA.split(";"):
                if statement.strip():
                    self._connection.execute(statement)
            self._connection.execute(f"PRAGMA application_id = {_APPLICATION}")
            self._connection.execute(f"PRAGMA user_version = {_VERSION}")

    def close(self) -> None:
        """Close the file; what was committed is there."""
        with self._lock, self._guard("close"):
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _guard(self, doing: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise _store_error(self.path, doing, error) from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """One write transaction: all or nothing, and the lock is taken at its start."""
        if self.read_only:
            raise StoreError(f"The store {self.path} was opened for reading only.")
        with self._lock, self._guard("write"):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _select(self, query: str, *values: Any) -> list[Any]:
        with self._lock, self._guard("read"):
            return self._connection.execute(query, values).fetchall()


_HINTS = {
    "SQLITE_BUSY": (
        "is locked by another process",
        "Wait until that one has ended, or end it, and run again.",
    ),
    "SQLITE_LOCKED": (
        "is locked by another process",
        "Wait until that one has ended, or end it, and run again.",
    ),
    "SQLITE_FULL": (
        "cannot grow: the disk is full",
        "Make room and run again: only what is missing is asked for.",
    ),
    "SQLITE_READONLY": (
        "cannot be written: it or its folder is read-only",
        "Copy it to where you may write.",
    ),
    "SQLITE_NOTADB": ("is not a knowledge store", "Name another file; this one was left as it is."),
    "SQLITE_CORRUPT": (
        "is damaged",
        "Save what can be read with `sqlite3 STORE .recover`; this file was left as it is.",
    ),
    "SQLITE_CANTOPEN": ("cannot be opened", "Is it a file, in a folder that you may read and write?"),
    "SQLITE_IOERR": (
        "cannot be read or written: the disk reports an error",
        "Is the disk full, or was it removed?",
    ),
}


def _store_error(path: Path, doing: str, error: sqlite3.Error) -> StoreError:
    name = getattr(error, "sqlite_errorname", "") or ""
    for known, (what, hint) in _HINTS.items():
        if name.startswith(known):
            return StoreError(
                f"The store {path} {what}. What it holds is kept.", got=f"{error} on {doing}", hint=hint
            )
    return StoreError(f"The store {path} failed to {doing}. What it holds is kept.", got=str(error))
