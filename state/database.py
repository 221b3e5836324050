"""Opening the database, and the queue in front of its only writer.

SQLite has one writer at a time. Threads of one process wait for each other in a fair queue, which
costs nothing while waiting; only processes meet inside SQLite's own busy handler.
"""

import fcntl
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine, create_engine, event, inspect
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError

from state.canonical import canonical_json
from state.connection import Connection, Statements
from state.errors import StoreUnavailableError, StoreUsageError
from state.schema import METADATA
from state.trigger_sql import trigger_statements

BUSY_TIMEOUT_SEC = 30
_BEGIN = {"patchline_begin": "BEGIN"}
_BEGIN_WRITING = {"patchline_begin": "BEGIN IMMEDIATE"}


class FairLock:
    """A lock that is passed on in the order of asking; it knows who holds it."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._waiting: deque[threading.Lock] = deque()
        self._held = False
        self.owner: int | None = None

    def acquire(self) -> None:
        """Wait for one's turn."""
        with self._guard:
            if not self._held:
                self._held = True
                self.owner = threading.get_ident()
                return
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        try:
            turn.acquire()
        except BaseException:
            self._give_up(turn)
            raise
        self.owner = threading.get_ident()

    def _give_up(self, turn: threading.Lock) -> None:
        """Leave the queue (an interrupt came); pass the turn on if it had come already."""
        with self._guard:
            if turn in self._waiting:
                self._waiting.remove(turn)
                return
        self.release()

    def release(self) -> None:
        """Pass it on to whoever has waited longest."""
        with self._guard:
            self.owner = None
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._held = False

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


@contextmanager
def file_lock(path: Path) -> Generator[int]:
    """Hold a lock between processes; gives the lock file's descriptor."""
    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def sqlite_path(url: str) -> Path:
    """The file that a SQLite address names; absolute, so that a later chdir changes nothing.

    Raises:
        StoreUsageError: the address is not one, or names a database this store cannot use.
    """
    try:
        parsed: URL = make_url(url)
    except ArgumentError as error:
        raise StoreUsageError(
            f"{url!r} is not a database address. Write sqlite:///path/to/pipeline.db."
        ) from error
    if parsed.get_backend_name() != "sqlite":
        raise StoreUsageError(
            f"The database {parsed.render_as_string()} is not SQLite, the only kind this version "
            "keeps its state in. Unset PATCHLINE_DATABASE_URL or write sqlite:///path/to/file.db."
        )
    if not parsed.database or parsed.database == ":memory:":
        raise StoreUsageError(
            "The state is shared by threads and processes, so it needs a file: "
            "sqlite:///path/to/pipeline.db."
        )
    return Path(parsed.database).absolute()


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
        self._statements = Statements(self.engine.dialect)
        self._turn = FairLock()
        self._writer: Connection | None = None
        self._readers: deque[Connection] = deque()

    @property
    def writes_here(self) -> bool:
        """Whether this thread is inside `writing`."""
        return self._turn.owner == threading.get_ident()

    @contextmanager
    def writing(self, kept: Callable[[], None]) -> Generator[Connection]:
        """One transaction: all of it is kept, or, when the block raises, none.

        It takes SQLite's write lock at its beginning, so that it can never fail in the middle
        because another one got there first. `kept` is called once it is kept, before any other
        transaction of this object begins.

        Raises:
            StoreUnavailableError: the file cannot be written (locked, full, read-only).
        """
        with self._turn:
            try:
                if self._writer is None:
                    self._writer = self._connect()
                driver = self._writer.driver
                driver.execute("BEGIN IMMEDIATE")
                try:
                    yield self._writer
                    driver.execute("COMMIT")
                    kept()
                except BaseException:
                    with suppress(sqlite3.Error):  # what went wrong is on its way already
                        driver.rollback()
                    raise
            except sqlite3.IntegrityError:
                raise
            except sqlite3.DatabaseError as error:
                raise StoreUnavailableError(
                    f"The database {self.path} cannot be written: {error}."
                ) from error

    @contextmanager
    def looking(self) -> Generator[Connection]:
        """A connection for single reads, each of which sees what is kept at that moment."""
        try:
            reader = self._readers.pop()
        except IndexError:
            reader = self._connect()
        try:
            yield reader
        finally:
            self._readers.append(reader)

    @contextmanager
    def reading(self) -> Generator[sa.Connection]:
        """A connection for several reads that see one and the same moment."""
        with (
            self.engine.connect().execution_options(**_BEGIN) as connection,
            connection.begin(),
        ):
            yield connection

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()
        for one in (*self._readers, *([self._writer] if self._writer else ())):
            one.driver.close()
        self._readers.clear()
        self._writer = None

    def _connect(self) -> Connection:
        driver = sqlite3.connect(
            self.path,
            timeout=BUSY_TIMEOUT_SEC,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=512,
        )
        _on_connect(driver, None)
        return Connection(driver, self._statements, sqlite3.IntegrityError)


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
        cause = error.orig if isinstance(error, DatabaseError) else error.strerror
        raise StoreUnavailableError(
            f"The database {path} cannot be opened: {cause}. Check that it is a patchline database "
            "and that you may write it and its folder."
        ) from error
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
    with file_lock(path.with_name(path.name + ".lock")):
        if _is_ours(engine, path):
            return
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        with engine.connect().execution_options(**_BEGIN_WRITING) as connection, connection.begin():
            METADATA.create_all(connection)
            for statement in trigger_statements("sqlite"):
                connection.exec_driver_sql(statement)


def _is_ours(engine: Engine, path: Path) -> bool:
    """Whether the file has our tables; False when it is new or empty."""
    if not path.exists() or path.stat().st_size == 0:
        return False
    with engine.connect() as connection:
        present = set(inspect(connection).get_table_names())
    missing = METADATA.tables.keys() - present
    if not missing:
        return True
    if not present:
        return False
    raise StoreUnavailableError(
        f"{path} is a database, but lacks our tables {', '.join(sorted(missing))}. "
        "Choose another file, or bring it up to date: patchline db upgrade."
    )
