"""Which database: SQLite by default, PostgreSQL by its address (design section 2)."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from state.connection import Connection
from state.errors import StoreUsageError
from state.postgresql import PostgresqlDatabase
from state.sqlite import SqliteDatabase

_T = TypeVar("_T")


class Database(Protocol):
    """What the store needs of a database. Many threads may share one."""

    engine: sa.Engine

    @property
    def name(self) -> str:
        """What people know it by; no password in it."""
        ...

    @property
    def folder(self) -> Path:
        """Where files belong that go with it."""
        ...

    @property
    def writes_here(self) -> bool:
        """Whether this thread is inside `writing`."""
        ...

    def writing(self, kept: Callable[[], None]) -> AbstractContextManager[Connection]:
        """One transaction: all of it is kept, or, when the block raises, none.

        Args:
            kept: called once it is kept.

        Raises:
            TransactionLostError: it was not kept, and may be done again.
            StoreUnavailableError: the database cannot be written (locked, full, read-only, gone).
        """
        ...

    def look(self, work: Callable[[Connection], _T]) -> _T:
        """Do single reads, each of which sees what is kept at that moment; perhaps twice.

        Raises:
            StoreUnavailableError: the database cannot be read.
        """
        ...

    def reading(self) -> AbstractContextManager[sa.Connection]:
        """A connection for several reads that see one and the same moment."""
        ...

    def settled(self, after: int) -> int:
        """The last audit row up to which no other can appear any more; `after` when none is known.

        Rows are numbered before they are committed, so a row may appear behind later ones.
        """
        ...

    def close(self) -> None:
        """Close every connection."""
        ...


def open_database(url: str) -> Database:
    """Open the database at an address.

    Raises:
        StoreUsageError: the address is not one, or of a kind this store does not keep its state in.
        StoreUnavailableError: it cannot be opened, is not one of ours, or needs an upgrade.
    """
    parsed = parse_url(url)
    if parsed.get_backend_name() == "postgresql":
        return PostgresqlDatabase(parsed)
    return SqliteDatabase(sqlite_path(parsed))


def parse_url(url: str) -> URL:
    """A database address of a kind that we know.

    Raises:
        StoreUsageError: it is not one.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise StoreUsageError(
            f"{url!r} is not a database address. Write sqlite:///path/to/pipeline.db or "
            "postgresql+psycopg://user@host/database."
        ) from error
    if parsed.get_backend_name() == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() != "sqlite":
        raise StoreUsageError(
            f"The database {parsed.render_as_string()} is neither SQLite nor PostgreSQL. Write "
            "sqlite:///path/to/file.db or postgresql+psycopg://user@host/database."
        )
    return parsed


def sqlite_path(url: URL) -> Path:
    """The file that a SQLite address names; absolute, so that a later chdir changes nothing.

    Raises:
        StoreUsageError: it names no file.
    """
    if not url.database or url.database == ":memory:":
        raise StoreUsageError(
            "The state is shared by threads and processes, so it needs a file: "
            "sqlite:///path/to/pipeline.db."
        )
    return Path(url.database).absolute()
