"""One SQLite file: opened if it is ours and sound, else set aside and begun anew.

It knows tables and rows, and not what they mean. Reading belongs to one thread and writing to one,
each with a connection of its own.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from lispmsrt.storage.place import (
    make_private,
    why_directory_is_not_private,
    why_not_private,
)

__all__ = [
    "APPLICATION_ID",
    "MAX_SET_ASIDE",
    "VERSION",
    "InUseError",
    "StateFile",
    "Statement",
    "is_damage",
]

APPLICATION_ID = 0x4C495350
"""What ``file(1)`` and SQLite know our files by: LISP."""

VERSION = 1
"""Of the tables. Whatever has another one was written by another release."""

MAX_SET_ASIDE = 3
"""Files set aside that are kept: somebody may want to look at them, and they may be large."""

_CACHE_KIB = 16 * 1024
_WAL_LIMIT = 64 << 20
_TABLES = """
CREATE TABLE moment (
    name TEXT PRIMARY KEY, stamp REAL, wall REAL, since_boot REAL, boot TEXT) WITHOUT ROWID;
CREATE TABLE xtr (
    number INTEGER PRIMARY KEY, site TEXT, ids BLOB, address BLOB, transport TEXT, source TEXT,
    key BLOB, heard REAL);
CREATE TABLE segment (
    number INTEGER PRIMARY KEY, family INTEGER, count INTEGER, names BLOB, sizes BLOB, parts BLOB,
    sum INTEGER);
CREATE TABLE nonce (
    site TEXT, ids BLOB, address BLOB, key BLOB, serial INTEGER, nonces BLOB,
    PRIMARY KEY (site, ids, address, key, serial)) WITHOUT ROWID;
CREATE TABLE origin (site TEXT, serial INTEGER, origins BLOB, PRIMARY KEY (site, serial))
    WITHOUT ROWID;
"""

Statement = tuple[str, Sequence[Sequence[object]]]
"""A statement, and the values for each time that it is to be executed."""


class InUseError(Exception):
    """Another process keeps its memory in this file."""


class _NotOursError(Exception):
    """The file is foreign or damaged; the text says how."""


class StateFile:
    """A file of the right kind. Whoever makes one has it for himself until :meth:`close`."""

    def __init__(self, path: Path, *, timestamp: str, distrusted: str = "") -> None:
        """Open or make it; ``timestamp`` names what is set aside: whatever is there, where
        ``distrusted`` says why. Raises OSError, sqlite3.Error and :class:`InUseError`.
        """
        self.path = path
        self.set_aside = distrusted
        "why what was there was set aside; empty where nothing was"
        make_private(path.parent)
        if why := why_directory_is_not_private(path.parent, os.getuid()):
            raise PermissionError(why)
        self._lock = _lock(path)
        try:
            self._reader, self._writer = self._open(timestamp)
        except BaseException:
            os.close(self._lock)
            raise

    def _open(self, timestamp: str) -> tuple[sqlite3.Connection, sqlite3.Connection]:
        try:
            if not self.set_aside:
                return _open(self.path)
        except (_NotOursError, sqlite3.DatabaseError) as failure:
            if isinstance(failure, sqlite3.OperationalError) and not is_damage(failure):
                raise
            self.set_aside = str(failure)
        _set_aside(self.path, timestamp)
        return _open(self.path)

    def read(self, sql: str, values: Sequence[object] = ()) -> list[tuple[object, ...]]:
        """Return rows. Raises sqlite3.Error."""
        return self._reader.execute(sql, values).fetchall()

    def rows(self, sql: str, values: Sequence[object] = ()) -> Iterator[tuple[object, ...]]:
        """Yield rows, for as long as nothing else is read. Raises sqlite3.Error."""
        yield from self._reader.execute(sql, values)

    def write(self, statements: Iterable[Statement]) -> None:
        """Execute all or nothing. Raises sqlite3.Error."""
        writer = self._writer
        try:
            writer.execute("BEGIN IMMEDIATE")
            for sql, values in statements:
                writer.executemany(sql, values)
            writer.execute("COMMIT")
        finally:
            if writer.in_transaction:
                with suppress(sqlite3.Error):
                    writer.execute("ROLLBACK")

    def sync(self) -> None:
        """Have what was written survive a power cut, too. Raises sqlite3.Error."""
        self._writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def close(self) -> None:
        """Close it, and leave it to others."""
        for connection in (self._reader, self._writer):
            # The disk may be full, or gone: what was written stays as it is.
            with suppress(sqlite3.Error):
                connection.close()
        os.close(self._lock)


def _lock(path: Path) -> int:
    """Return an open file that no other process has locked. Not the database itself: SQLite's own
    locks would go when it is closed.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    lock = os.open(path.with_name(f"{path.name}.lock"), flags, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise InUseError(f"another process keeps its memory in {path}") from None
    return lock


def _open(path: Path) -> tuple[sqlite3.Connection, sqlite3.Connection]:
    if why := why_not_private(path, os.getuid()):
        raise _NotOursError(why)
    is_new = not path.exists()
    # Before SQLite makes it, and with it the files beside it: they have the mode of this one.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    writer = _connect(path)
    try:
        if is_new or not path.stat().st_size:
            _make(writer)
        _check(writer)
        reader = _connect(path)
    except BaseException:
        writer.close()
        raise
    return reader, writer


def _connect(path: Path) -> sqlite3.Connection:
    # Writing is another thread's than opening: one at a time all the same.
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection


def _make(connection: sqlite3.Connection) -> None:
    connection.executescript(
        f"PRAGMA journal_mode = WAL; BEGIN; {_TABLES}"
        f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}; COMMIT;"
    )


def _check(connection: sqlite3.Connection) -> None:
    """Read as much of a file as can be read in no time; rows are judged when they are read."""
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    if application_id != APPLICATION_ID:
        raise _NotOursError("it was not written by lispmsrt")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version != VERSION:
        raise _NotOursError(f"another release wrote it: its version is {version}, not {VERSION}")
    expected = sqlite3.connect(":memory:")
    expected.executescript(_TABLES)
    if _schema(connection) != _schema(expected):
        raise _NotOursError("its tables are not ours")
    expected.close()
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT}").fetchall()
    for table in ("moment", "xtr", "segment", "nonce", "origin"):
        connection.execute(f"SELECT * FROM {table} LIMIT 1").fetchall()


def _schema(connection: sqlite3.Connection) -> list[tuple[str, ...]]:
    return connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY name").fetchall()


def is_damage(failure: sqlite3.Error) -> bool:
    """Whether the file itself is to blame, and not the disk or who else has it."""
    codes = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)
    return getattr(failure, "sqlite_errorcode", 0) & 0xFF in codes


def _set_aside(path: Path, timestamp: str) -> None:
    """Give the file another name, and what SQLite keeps beside it; forget the oldest such."""
    for suffix in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            os.replace(
                path.with_name(path.name + suffix),
                path.with_name(f"{path.name}.damaged-{timestamp}{suffix}"),
            )
    kept = sorted(
        one
        for one in path.parent.glob(f"{path.name}.damaged-*")
        if not one.name.endswith(("-wal", "-shm"))
    )
    for old in kept[:-MAX_SET_ASIDE]:
        for suffix in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError, IsADirectoryError):
                os.remove(old.with_name(old.name + suffix))
