"""The databases that are altered: how each is locked, copied and opened for that.

A store's own connections are not used: altering needs foreign keys off (SQLite), a lock of its own,
and no pool.
"""

import os
import shutil
import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool

from state.canonical import canonical_json
from state.crash_points import crash_point
from state.database import parse_url, sqlite_path
from state.errors import StoreUnavailableError
from state.locks import file_lock
from state.sqlite import BUSY_TIMEOUT_SEC
from state.upgrade import run_literally

ADVISORY_KEY = int.from_bytes(b"patchlin")
"""PostgreSQL's advisory lock of an upgrade: one at a time in a database."""

LOCK_TIMEOUT_SEC = 30
"""How long altering a table waits for those who use it, in seconds."""

READ_ONLY = "patchline_read_only"
# The execution option of a transaction that takes no write lock.


class Target(Protocol):
    """A database to be altered; `place` names it in messages."""

    place: str

    @contextmanager
    def turn(self) -> Generator[None]:
        """Keep other upgrades away, as far as a transaction does not."""
        ...

    @contextmanager
    def transaction(self) -> Generator[sa.Connection]:
        """One transaction in which nobody else upgrades; all of it is kept, or none."""
        ...

    @contextmanager
    def reading(self) -> Generator[sa.Connection]:
        """A transaction that leaves nothing behind."""
        ...

    def keep_copy(self, revision: str) -> Path | None:
        """Inside `transaction`: keep the database as it was before this revision."""
        ...

    def verify(self, connection: sa.Connection) -> None:
        """At the end of a transaction: refuse a result that breaks references."""
        ...


def target_of(database_url: str) -> Target:
    """The database of an address.

    Raises:
        StoreUsageError: it is not one, or names a kind of database we do not use.
    """
    url = parse_url(database_url)
    if url.get_backend_name() == "postgresql":
        return PostgresTarget(url)
    return SqliteTarget(sqlite_path(url))


class SqliteTarget:
    """A SQLite file; a new one is made."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.place = str(path)
        self.engine = sa.create_engine(
            URL.create("sqlite", database=str(path)),
            poolclass=NullPool,
            connect_args={"timeout": BUSY_TIMEOUT_SEC},
            json_serializer=canonical_json,
        )
        event.listen(self.engine, "connect", _no_transactions_of_its_own)
        event.listen(self.engine, "begin", _begin)

    @contextmanager
    def turn(self) -> Generator[None]:
        """The lock file that making a new database takes too."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with file_lock(self.path.with_name(self.path.name + ".lock")):
            if not self.path.exists() or self.path.stat().st_size == 0:
                with closing(sqlite3.connect(self.path)) as connection:
                    connection.execute("PRAGMA journal_mode = WAL")
            yield

    @contextmanager
    def transaction(self) -> Generator[sa.Connection]:
        """See `Target`. BEGIN IMMEDIATE: others may read meanwhile, none may write."""
        with self.engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Generator[sa.Connection]:
        """See `Target`.

        Raises:
            StoreUnavailableError: there is no such file.
        """
        if not self.path.exists():
            raise StoreUnavailableError(
                f"There is no database {self.path} yet. Make it: patchline db upgrade."
            )
        reader = self.engine.execution_options(**{READ_ONLY: True})
        with reader.connect() as connection, connection.begin():
            yield connection

    def keep_copy(self, revision: str) -> Path | None:
        """See `Target`: `<file>.before-<revision>`, replacing one of an earlier try."""
        kept = self.path.with_name(f"{self.path.name}.before-{revision}")
        fresh = kept.with_name(kept.name + ".new")
        fresh.unlink(missing_ok=True)
        # Another connection sees the file as it is on disk, without what this one has begun.
        with closing(sqlite3.connect(self.path)) as source, closing(sqlite3.connect(fresh)) as copy:
            source.backup(copy)
            # A single file that can be moved about, without a journal beside it.
            copy.execute("PRAGMA journal_mode = DELETE")
        shutil.copymode(self.path, fresh)
        crash_point("database-copied", "a copy is on disk, not under its name; nothing is altered")
        fresh.replace(kept)
        folder = os.open(kept.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return kept

    def verify(self, connection: sa.Connection) -> None:
        """See `Target`: foreign keys are off while tables are rebuilt."""
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
        if broken:
            tables = ", ".join(sorted({str(row[0]) for row in broken}))
            raise StoreUnavailableError(
                f"The database {self.path} has rows that refer to missing ones, in {tables}: it "
                "was left as it was. `PRAGMA foreign_key_check` lists them; remove them first."
            )


def _no_transactions_of_its_own(connection: Any, _: Any) -> None:
    connection.isolation_level = None
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = OFF")


def _begin(connection: sa.Connection) -> None:
    reading = connection.get_execution_options().get(READ_ONLY)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


class PostgresTarget:
    """A PostgreSQL database, or the schema that the address's search path names."""

    def __init__(self, url: URL) -> None:
        self.place = url.render_as_string(hide_password=True)
        self.engine = sa.create_engine(url, poolclass=NullPool, json_serializer=canonical_json)

    @contextmanager
    def turn(self) -> Generator[None]:
        """See `Target`: the transaction's own lock is enough."""
        yield

    @contextmanager
    def transaction(self) -> Generator[sa.Connection]:
        """See `Target`. The advisory lock first, so that everything is read after the other's."""
        with self.engine.begin() as connection:
            run_literally(connection, f"SELECT pg_advisory_xact_lock({ADVISORY_KEY})")
            run_literally(connection, f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_SEC}s'")
            yield connection

    @contextmanager
    def reading(self) -> Generator[sa.Connection]:
        """See `Target`. What the check makes for comparison is rolled back."""
        with self.engine.connect() as connection:
            yield connection

    def keep_copy(self, revision: str) -> Path | None:
        """See `Target`: a server's backups are its operator's."""
        return None

    def verify(self, connection: sa.Connection) -> None:
        """See `Target`: the server has checked every reference."""
