"""SQLite: one file, one writer at a time, readers that never wait for it (WAL).

Threads of one process wait for each other in a fair queue, and so do processes (`state.turns`);
only programs that are not ours meet inside SQLite's own busy handler.
"""

import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DatabaseError

from state import upgrade
from state.canonical import canonical_json
from state.connection import Connection, statements_for
from state.errors import StoreUnavailableError
from state.locks import FairLock, file_lock
from state.sqlite_failures import locked, unavailable
from state.statements import LAST_AUDIT_ROW
from state.turns import ProcessTurn

BUSY_TIMEOUT_SEC = 120
"""How long a process waits for another one's transaction before it gives up."""

_BEGIN = {"patchline_begin": "BEGIN"}
_BEGIN_WRITING = {"patchline_begin": "BEGIN IMMEDIATE"}
_T = TypeVar("_T")


class SqliteDatabase:
    """A SQLite file: one connection that writes, and as many that read as there are readers.

    Args:
        path: of the file; a new one gets the schema, an old one is never altered.

    Raises:
        StoreUnavailableError: the folder cannot be written, or the file is not one of ours.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.engine = _open_engine(path)
        self._statements = statements_for("sqlite")
        self._turn = FairLock()
        self._process_turn = ProcessTurn(_lock_path(path))
        self._writer: Connection | None = None
        self._readers: deque[Connection] = deque()
        self._file = str(path)
        self._identity = _identity(self._file)
        self._log = f"{path}-wal"
        self._log_identity: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """The file."""
        return str(self.path)

    @property
    def folder(self) -> Path:
        """Where the file lies."""
        return self.path.parent

    @property
    def writes_here(self) -> bool:
        """Whether this thread is inside `writing`."""
        return self._turn.owner == threading.get_ident()

    @contextmanager
    def writing(self, kept: Callable[[], None]) -> Generator[Connection]:
        """See `Database.writing`.

        It takes SQLite's write lock at its beginning, so that it can never fail in the middle
        because another one got there first. `kept` is called before any other transaction of this
        object begins.
        """
        with self._turn:
            try:
                writer = self._begin()
                try:
                    self._log_identity = self._log_identity or _identity(self._log)
                    yield writer
                    if writer.failed is not None:
                        raise writer.failed
                    self._refuse_unless_same()
                    writer.driver.execute("COMMIT")
                    kept()
                except BaseException:
                    with suppress(sqlite3.Error):  # what went wrong is on its way already
                        writer.driver.rollback()
                    raise
            except sqlite3.IntegrityError:
                raise
            except sqlite3.DatabaseError as error:
                raise unavailable(self.path, "written", error, BUSY_TIMEOUT_SEC) from error
            finally:
                self._process_turn.release()

    def _begin(self) -> Connection:
        """The writing connection, in a transaction that has the write lock.

        Threads and processes of ours queue; SQLite's busy handler is for those that do not.
        """
        if self._writer is None:
            self._writer = self._connect()
        self._writer.failed = None
        try:
            came = self._process_turn.acquire(BUSY_TIMEOUT_SEC)
        except OSError as error:
            raise unavailable(self.path, "written", error, BUSY_TIMEOUT_SEC) from error
        if not came:
            raise locked(self.path, BUSY_TIMEOUT_SEC)
        self._writer.driver.execute("BEGIN IMMEDIATE")
        return self._writer

    def look(self, work: Callable[[Connection], _T]) -> _T:
        """See `Database.look`."""
        self._refuse_unless_same()
        try:
            reader = self._readers.pop()
        except IndexError:
            reader = self._connect()
        try:
            return work(reader)
        except sqlite3.DatabaseError as error:
            raise unavailable(self.path, "read", error, BUSY_TIMEOUT_SEC) from error
        finally:
            reader.failed = None
            self._readers.append(reader)

    @contextmanager
    def reading(self) -> Generator[sa.Connection]:
        """A connection for several reads that see one and the same moment."""
        self._refuse_unless_same()
        with (
            self.engine.connect().execution_options(**_BEGIN) as connection,
            connection.begin(),
        ):
            yield connection

    def settled(self, after: int) -> int:
        """See `Database.settled`: writers take turns, so rows appear in their order."""
        return self.look(lambda connection: connection.scalar(LAST_AUDIT_ROW, {})) or after

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()
        for one in (*self._readers, *([self._writer] if self._writer else ())):
            one.driver.close()
        self._readers.clear()
        self._writer = None
        self._process_turn.close()

    def _refuse_unless_same(self) -> None:
        """Refuse to go on in a file that nobody else can see any more.

        SQLite itself would not notice: it holds the old file open, and what it is told to keep
        would go with that.
        """
        log = self._log_identity  # it stays as long as anybody has the database open
        if _identity(self._file) != self._identity or (log and _identity(self._log) != log):
            raise StoreUnavailableError(
                f"The database {self.path} or its -wal file was removed or replaced while in use, "
                "so nothing more is read or written here. Put the files back as they were, "
                "or stop everything that uses them and open the database again."
            )

    def _connect(self) -> Connection:
        try:
            driver = sqlite3.connect(
                self.path,
                timeout=BUSY_TIMEOUT_SEC,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=512,
            )
        except sqlite3.DatabaseError as error:
            raise unavailable(self.path, "opened", error, BUSY_TIMEOUT_SEC) from error
        try:
            _on_connect(driver, None)
        except sqlite3.DatabaseError as error:
            driver.close()
            raise unavailable(self.path, "opened", error, BUSY_TIMEOUT_SEC) from error
        return Connection(driver, self._statements, sqlite3.IntegrityError)


def _identity(path: str) -> tuple[int, int] | None:
    """What tells a file from another one of the same name; None when there is none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _lock_path(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


def _open_engine(path: Path) -> Engine:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnavailableError(
            f"The folder {path.parent} for the database cannot be made: {error.strerror}. "
            "Set PATCHLINE_HOME to a folder you may write."
        ) from error
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        pool_size=8,
        max_overflow=56,
        json_serializer=canonical_json,
        connect_args={"timeout": BUSY_TIMEOUT_SEC, "check_same_thread": False},
    )
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    try:
        _prepare(engine, path)
    except (DatabaseError, OSError) as error:
        engine.dispose()
        cause = error.orig if isinstance(error, DatabaseError) else error
        raise unavailable(path, "opened", cause, BUSY_TIMEOUT_SEC) from error
    except BaseException:
        engine.dispose()
        raise
    return engine


def _on_connect(connection: Any, _: Any) -> None:
    # Transactions are begun by _on_begin alone; the driver must not begin its own.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_SEC * 1000}")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _on_begin(connection: sa.Connection) -> None:
    statement = connection.get_execution_options().get("patchline_begin")
    if statement is not None:
        connection.exec_driver_sql(statement)


def _prepare(engine: Engine, path: Path) -> None:
    """Make the schema of a new file. Under a lock: processes may open the same new file at once."""
    if _is_ours(engine, path):
        return
    with file_lock(_lock_path(path)):
        if _is_ours(engine, path):
            return
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        with engine.connect().execution_options(**_BEGIN_WRITING) as connection, connection.begin():
            upgrade.create(connection)


def _is_ours(engine: Engine, path: Path) -> bool:
    """Whether the file has our tables; False when it is new or empty.

    Raises:
        StoreUnavailableError: it has others, or ours of an older or newer schema.
    """
    if not path.exists() or path.stat().st_size == 0:
        return False
    with engine.connect() as connection:
        if upgrade.version_of(connection) is None:
            return False
        upgrade.require_current(connection)
    return True
