"""PostgreSQL: rows are locked for the length of a transaction; writers of others never wait.

A server may restart, a connection may be cut: before the commit was sent, nothing of the
transaction was kept, and it is said to be lost. A connection that breaks during the commit leaves
it in doubt; then the server is asked what became of it.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import sqlalchemy as sa
from psycopg.errors import DeadlockDetected, SerializationFailure
from sqlalchemy import create_engine
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from state import upgrade
from state.canonical import canonical_json
from state.connection import Connection, Statements
from state.errors import StoreUnavailableError, TransactionLostError

RECONNECT_SEC = 60.0
"""How long a server that does not answer is waited for: a restart takes a few seconds."""

LOCK_TIMEOUT_SEC = 120
"""How long a row that another session holds is waited for."""

_PAUSE_SEC = 0.05
_NEW_TRANSACTION = "SELECT pg_current_xact_id()::text"
_NUMBERS = """
SELECT transition_id, pg_snapshot_xmin(pg_current_snapshot())::text::bigint
FROM state_transitions WHERE transition_id > %s ORDER BY transition_id LIMIT 1000
"""
_NEXT_TRANSACTION = "SELECT pg_current_xact_id()::text::bigint"
_AGAIN = (SerializationFailure, DeadlockDetected)
_T = TypeVar("_T")


class PostgresqlDatabase:
    """A database of a PostgreSQL server.

    Args:
        url: its address, driver `psycopg`.

    Raises:
        StoreUnavailableError: it does not answer, or has not our tables.
    """

    def __init__(self, url: URL) -> None:
        self.url = url
        self.engine = create_engine(
            url,
            paramstyle="format",
            pool_pre_ping=True,
            pool_size=8,
            max_overflow=56,
            json_serializer=canonical_json,
        )
        self._statements = Statements(self.engine.dialect)
        self._readers: deque[Connection] = deque()
        self._writers: deque[Connection] = deque()
        self._writing = threading.local()
        self._gaps: dict[int, int] = {}
        self._gaps_guard = threading.Lock()
        try:
            self._refuse_unless_ours()
        except BaseException:
            self.engine.dispose()
            raise

    @property
    def name(self) -> str:
        """The address, without its password."""
        return self.url.render_as_string(hide_password=True)

    @property
    def folder(self) -> Path:
        """The home: a server's files are not ours to lie beside."""
        return Path(os.environ.get("PATCHLINE_HOME") or ".state").absolute()

    @property
    def writes_here(self) -> bool:
        """Whether this thread is inside `writing`."""
        return getattr(self._writing, "here", False)

    @contextmanager
    def writing(self, kept: Callable[[], None]) -> Generator[Connection]:
        """See `Database.writing`."""
        connection, number = self._begin()
        driver = connection.driver
        self._writing.here = True
        try:
            yield connection
            self._commit(driver, number)
            kept()
        except BaseException as error:
            with suppress(psycopg.Error):  # what went wrong is on its way already
                driver.rollback()
            if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
                raise self._failure(driver, error) from error
            raise
        finally:
            self._writing.here = False
            _put_back(connection, self._writers)

    def look(self, work: Callable[[Connection], _T]) -> _T:
        """See `Database.look`."""
        deadline = time.monotonic() + RECONNECT_SEC
        while True:
            reader = self._take(self._readers, deadline)
            try:
                return work(reader)
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                if not _is_gone(reader.driver) or time.monotonic() > deadline:
                    raise self._failure(reader.driver, error) from error
            finally:
                _put_back(reader, self._readers)

    @contextmanager
    def reading(self) -> Generator[sa.Connection]:
        """A connection for several reads that see one and the same moment."""
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with self.engine.connect().execution_options(**options) as connection, connection.begin():
            yield connection

    def settled(self, after: int) -> int:
        """See `Database.settled`.

        A number that is missing belongs to a transaction that still runs, or was never kept. Every
        writer of ours has a transaction number before it takes one for a row; so once all
        transactions have ended that had begun when the gap was seen, nothing comes into it.
        """
        with self._gaps_guard:
            return self.look(lambda connection: self._settled(connection.driver, after))

    def _settled(self, driver: Any, after: int) -> int:
        new_gaps = True
        while new_gaps:
            new_gaps = False
            for number, oldest_running in driver.execute(_NUMBERS, (after,)).fetchall():
                gaps = range(after + 1, number)
                if unseen := [gap for gap in gaps if gap not in self._gaps]:
                    # Higher than the number of any transaction that had begun when we looked.
                    (seen_at,) = driver.execute(_NEXT_TRANSACTION).fetchone()
                    self._gaps |= dict.fromkeys(unseen, int(seen_at))
                    new_gaps = True
                    break
                if any(oldest_running < self._gaps[gap] for gap in gaps):
                    break
                after = number
        self._gaps = {gap: seen for gap, seen in self._gaps.items() if gap > after}
        return after

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()
        for idle in (self._readers, self._writers):
            while idle:
                idle.pop().driver.close()

    # Connections

    def _begin(self) -> tuple[Connection, str]:
        """A connection inside a transaction, and its number; a connection that broke is replaced.

        psycopg begins the transaction with the first statement.
        """
        deadline = time.monotonic() + RECONNECT_SEC
        while True:
            connection = self._take(self._writers, deadline)
            try:
                number = connection.driver.execute(_NEW_TRANSACTION).fetchone()[0]
                return connection, number
            except psycopg.OperationalError as error:
                connection.driver.close()
                if time.monotonic() > deadline:
                    raise self._failure(connection.driver, error) from error

    def _take(self, idle: deque[Connection], deadline: float) -> Connection:
        try:
            return idle.pop()
        except IndexError:
            return self._connect(deadline, autocommit=idle is self._readers)

    def _connect(self, deadline: float, *, autocommit: bool) -> Connection:
        """A new connection; a server that is starting, or restarting, is waited for."""
        arguments: Any = self.engine.dialect.create_connect_args(self.url)
        while True:
            try:
                driver: Any = psycopg.connect(*arguments[0], **arguments[1], autocommit=autocommit)
                driver.execute(f"SET lock_timeout = '{LOCK_TIMEOUT_SEC}s'")
                driver.commit()  # or it would be undone with the first transaction
                return Connection(driver, self._statements, psycopg.IntegrityError)
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline:
                    raise StoreUnavailableError(
                        f"The database {self.name} does not answer: {_said(error)}. Start it, or "
                        "check PATCHLINE_DATABASE_URL."
                    ) from error
                time.sleep(_PAUSE_SEC)

    # Commits

    def _commit(self, driver: Any, number: str) -> None:
        """Commit; when the connection breaks meanwhile, find out what became of it."""
        try:
            driver.commit()
        except psycopg.OperationalError:
            if not _is_gone(driver) or not self._was_kept(number):
                raise

    def _was_kept(self, number: str) -> bool:
        """Whether a transaction was kept; waits for its old session to end."""
        query = "SELECT pg_xact_status(%s::text::xid8)"
        while True:
            status = self.look(lambda c: c.driver.execute(query, (number,)).fetchone()[0])
            if status != "in progress":
                return status == "committed"
            time.sleep(_PAUSE_SEC)

    def _failure(self, driver: Any, error: Exception) -> StoreUnavailableError:
        what = f"The database {self.name}"
        if isinstance(error, _AGAIN) or _is_gone(driver):
            return TransactionLostError(f"{what} has dropped a transaction: {_said(error)}.")
        return StoreUnavailableError(f"{what} cannot be used: {_said(error)}.")

    def _refuse_unless_ours(self) -> None:
        try:
            with self.engine.connect() as connection:
                upgrade.require_current(connection)
        except DBAPIError as error:
            raise StoreUnavailableError(
                f"The database {self.name} cannot be opened: {_said(error.orig)}. Check "
                "PATCHLINE_DATABASE_URL, and that the server runs."
            ) from error


def _put_back(connection: Connection, idle: deque[Connection]) -> None:
    if not connection.driver.closed:
        idle.append(connection)


def _is_gone(driver: Any) -> bool:
    return driver.closed or driver.broken


def _said(error: BaseException | None) -> str:
    """What the server said, in one line."""
    return " ".join(str(error).split()) or type(error).__name__
