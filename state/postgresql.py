"""PostgreSQL: rows are locked for the length of a transaction; writers of others never wait.

A server may restart, a connection may be cut: before the commit was sent, nothing of the
transaction was kept, and it is said to be lost. A connection that breaks during the commit leaves
it in doubt; then the server is asked what became of it. Its number alone does not tell: a server
that crashed gives numbers of transactions again that had not reached its disk. So a transaction
that has written audit rows is kept when its last one is there.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import sqlalchemy as sa
from psycopg.errors import InFailedSqlTransaction, InvalidParameterValue
from psycopg.pq import TransactionStatus
from sqlalchemy import Executable, create_engine
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from state import upgrade
from state.canonical import canonical_json
from state.connection import Connection, statements_for
from state.errors import StoreUnavailableError
from state.postgresql_failures import (
    AGAIN,
    ENVIRONMENT,
    LOCK_TIMEOUT_SEC,
    failure,
    is_gone,
    said,
    silent,
    unusable,
)

RECONNECT_SEC = 60.0
"""How long a server that does not answer is waited for: a restart takes a few seconds."""

_PAUSE_SEC = 0.05
_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_current_xact_id()::text"
_NUMBERS = """
SELECT transition_id, pg_snapshot_xmin(pg_current_snapshot())::text::bigint
FROM state_transitions WHERE transition_id > %s ORDER BY transition_id LIMIT 1000
"""
_NEXT_TRANSACTION = "SELECT pg_current_xact_id()::text::bigint"
_STATUS = "SELECT pg_xact_status(%s::text::xid8)"
_EVENT = "SELECT 1 FROM state_transitions WHERE event_id = %s"
_T = TypeVar("_T")
_C = TypeVar("_C", bound=Connection)


class _Writer(Connection):
    """Remembers the last audit row that it wrote: the proof that its transaction was kept."""

    last_event: str | None = None

    def scalar(self, statement: Executable, values: Mapping[str, Any]) -> Any:
        """See `Connection.scalar`; audit rows are written through it (`state.audit`)."""
        self.last_event = values.get("event_id", self.last_event)
        return super().scalar(statement, values)


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
        self._statements = statements_for("postgresql")
        self._readers: deque[Connection] = deque()
        self._writers: deque[_Writer] = deque()
        self._writing = threading.local()
        self._gaps: dict[range, int] = {}
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
            self._commit(connection, number)
            kept()
        except BaseException as error:
            with suppress(psycopg.Error):  # what went wrong is on its way already
                driver.rollback()
            if isinstance(error, ENVIRONMENT):
                raise failure(self.name, driver, error) from error
            raise
        finally:
            self._writing.here = False
            _put_back(connection, self._writers)

    def look(self, work: Callable[[Connection], _T]) -> _T:
        """See `Database.look`."""
        deadline = time.monotonic() + RECONNECT_SEC
        while True:
            reader = self._reader(deadline)
            try:
                return work(reader)
            except ENVIRONMENT as error:
                if not is_gone(reader.driver, error) or time.monotonic() > deadline:
                    # Never as lost: whoever reads may have kept something before.
                    raise unusable(self.name, error) from error
                reader.driver.close()
            finally:
                reader.failed = None
                _put_back(reader, self._readers)

    @contextmanager
    def reading(self) -> Generator[sa.Connection]:
        """A connection for several reads that see one and the same moment."""
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        try:
            with self._pooled().execution_options(**options) as connection, connection.begin():
                yield connection
        except DBAPIError as error:
            if isinstance(error.orig, psycopg.OperationalError):
                raise unusable(self.name, error.orig) from error
            raise

    def settled(self, after: int) -> int:
        """See `Database.settled`.

        A number that is missing belongs to a transaction that still runs, or was never kept. Every
        writer of ours has a transaction number before it takes one for a row; so once all
        transactions have ended that had begun when the gap was seen, nothing comes into it.
        """
        with self._gaps_guard:
            return self.look(lambda connection: self._settled(connection.driver, after))

    def _settled(self, driver: Any, after: int) -> int:
        new_gap = True
        while new_gap:
            new_gap = False
            for number, oldest_running in driver.execute(_NUMBERS, (after,)).fetchall():
                if gap := range(after + 1, number):
                    seen_at = self._seen_at(gap)
                    if seen_at is None:
                        # Higher than the number of any transaction that had begun when we looked.
                        (seen_at,) = driver.execute(_NEXT_TRANSACTION).fetchone()
                        self._gaps[gap] = int(seen_at)
                        new_gap = True
                        break
                    if oldest_running < seen_at:
                        break
                after = number
        self._gaps = {gap: seen_at for gap, seen_at in self._gaps.items() if gap.stop > after}
        return after

    def _seen_at(self, gap: range) -> int | None:
        """When a gap was seen, perhaps as part of a wider one."""
        for seen, seen_at in self._gaps.items():
            if seen.start <= gap.start and gap.stop <= seen.stop:
                return seen_at
        return None

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()
        for idle in (self._readers, self._writers):
            while idle:
                idle.pop().driver.close()

    # Connections

    def _begin(self) -> tuple[_Writer, str]:
        """A connection inside a transaction, and its number; one that broke is replaced."""
        deadline = time.monotonic() + RECONNECT_SEC
        while True:
            connection = self._writer(deadline)
            connection.failed = connection.last_event = None
            try:
                began = connection.driver.execute(_BEGIN)
                began.nextset()
                return connection, began.fetchone()[0]
            except ENVIRONMENT as error:
                gone = is_gone(connection.driver, error)
                connection.driver.close()
                if not gone or time.monotonic() > deadline:
                    raise unusable(self.name, error) from error

    def _writer(self, deadline: float) -> _Writer:
        try:
            return self._writers.pop()
        except IndexError:
            driver = self._connect(deadline)
            return _Writer(driver, self._statements, psycopg.IntegrityError)

    def _reader(self, deadline: float) -> Connection:
        try:
            return self._readers.pop()
        except IndexError:
            driver = self._connect(deadline)
            return Connection(driver, self._statements, psycopg.IntegrityError)

    def _connect(self, deadline: float) -> Any:
        """A new connection; a server that is starting, or restarting, is waited for.

        psycopg begins no transactions of its own on it: that would be a message more for each.
        """
        arguments: Any = self.engine.dialect.create_connect_args(self.url)
        while True:
            driver: Any = None
            try:
                driver = psycopg.connect(*arguments[0], **arguments[1], autocommit=True)
                driver.execute(f"SET lock_timeout = '{LOCK_TIMEOUT_SEC}s'")
                # Whatever the server's own is: rows are locked before they are judged, so a
                # stricter level adds failures alone.
                driver.execute("SET default_transaction_isolation = 'read committed'")
                return driver
            except psycopg.OperationalError as error:
                if driver is not None:
                    driver.close()
                if time.monotonic() > deadline:
                    raise silent(self.name, error) from error
                time.sleep(_PAUSE_SEC)

    def _pooled(self) -> sa.Connection:
        deadline = time.monotonic() + RECONNECT_SEC
        while True:
            try:
                return self.engine.connect()
            except DBAPIError as error:
                if not isinstance(error.orig, psycopg.OperationalError):
                    raise
                if time.monotonic() > deadline:
                    raise silent(self.name, error.orig) from error
                time.sleep(_PAUSE_SEC)

    # Commits

    def _commit(self, connection: _Writer, number: str) -> None:
        """Commit; when the connection breaks meanwhile, find out what became of it."""
        driver = connection.driver
        if connection.failed is not None:
            raise connection.failed
        if driver.info.transaction_status is TransactionStatus.INERROR:
            # The server would answer such a commit with a silent rollback.
            raise InFailedSqlTransaction("the transaction went on after a statement had failed")
        try:
            driver.commit()
        except psycopg.OperationalError as error:
            in_doubt = is_gone(driver, error) and not isinstance(error, AGAIN)
            if not in_doubt or not self._was_kept(number, connection.last_event):
                raise

    def _was_kept(self, number: str, event_id: str | None) -> bool:
        """Whether a transaction was kept; waits for its old session to end.

        Args:
            number: of the transaction.
            event_id: of an audit row that it wrote; None when it wrote none.

        Raises:
            StoreUnavailableError: the server does not come back, so nobody knows.
        """
        try:
            while (status := self.look(lambda c: _status(c.driver, number))) == "in progress":
                time.sleep(_PAUSE_SEC)
            if status != "committed" or event_id is None:
                return status == "committed"
            # Another transaction may have got the number after a crash.
            found = self.look(lambda c: c.driver.execute(_EVENT, (event_id,)).fetchone())
            return found is not None
        except StoreUnavailableError as error:
            raise StoreUnavailableError(
                f"{error} The connection broke during a commit, and whether that was kept is not "
                "known: look at the entity before doing the same again."
            ) from error

    def _refuse_unless_ours(self) -> None:
        try:
            with self.engine.connect() as connection:
                upgrade.require_current(connection)
        except DBAPIError as error:
            raise StoreUnavailableError(
                f"The database {self.name} cannot be opened: {said(error.orig)}. Check "
                "PATCHLINE_DATABASE_URL, and that the server runs."
            ) from error


def _status(driver: Any, number: str) -> str | None:
    """What became of a transaction; None when the server knows nothing of it any more."""
    try:
        return driver.execute(_STATUS, (number,)).fetchone()[0]
    except InvalidParameterValue:
        return None  # in the future: the server crashed before it had heard of it on its disk


def _put_back(connection: _C, idle: deque[_C]) -> None:
    if not connection.driver.closed:
        idle.append(connection)
