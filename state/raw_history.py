"""Audit rows as they are stored, read at the drivers' own speed.

Verification must see what really stands in the database: metadata as its text and not as what JSON
makes of it, and bytes that somebody put where text belongs. Nothing is kept: memory stays the same
however long the history is.
"""

import sqlite3
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager, nullcontext
from itertools import islice
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg.errors import DataCorrupted, IndexCorrupted
from sqlalchemy.exc import DBAPIError

from state.chain import HASHED, row_hash
from state.errors import StoreUnavailableError
from state.schema import state_transitions
from state.store import StateStore

COLUMNS = (*HASHED, "hash", "transition_id")
"""What a raw row holds, in this order."""

RawRow = Sequence[Any]
"""One row; anything may stand in any column."""

_NOT_UTF8 = "Could not decode to UTF-8"
# What sqlite3 says of bytes that are no text.

_DAMAGE = {sqlite3.DatabaseError, DataCorrupted, IndexCorrupted}
# sqlite3's own class, not its kinds: those are locks, full disks and other bad luck.

_PAGE = 2000
_METADATA = COLUMNS.index("metadata")


def raw_pages(connection: sa.Connection) -> Generator[Sequence[RawRow]]:
    """Every audit row in the order of `entity_type, entity_id, transition_id`, in pages.

    Args:
        connection: from `StateStore.reading`, so that all rows are of one moment.

    Raises:
        sqlite3.Error, psycopg.Error: the rows cannot be read.
    """
    return _pages(connection, "ORDER BY entity_type, entity_id, transition_id")


def raw_pages_between(
    connection: sa.Connection, first: int, last: int
) -> Generator[Sequence[RawRow]]:
    """The audit rows with these numbers and those in between, in their order; see `raw_pages`."""
    wanted = f"WHERE transition_id BETWEEN {first} AND {last} ORDER BY transition_id"
    return _pages(connection, wanted)


def _pages(connection: sa.Connection, wanted: str) -> Generator[Sequence[RawRow]]:
    driver: Any = connection.connection.driver_connection
    if connection.dialect.name == "postgresql":
        return _postgresql(driver, _query(wanted, {"metadata": "metadata::text"}))
    return _sqlite(driver, _query(wanted, {}))


def _query(wanted: str, spelled: dict[str, str]) -> str:
    columns = ", ".join(spelled.get(name, f'"{name}"') for name in COLUMNS)
    return f"SELECT {columns} FROM {state_transitions.name} {wanted}"


def _postgresql(driver: Any, query: str) -> Generator[Sequence[RawRow]]:
    with driver.cursor(name="patchline_history") as cursor:
        cursor.execute(query)
        while page := cursor.fetchmany(_PAGE):
            yield page


def _sqlite(driver: sqlite3.Connection, query: str) -> Generator[Sequence[RawRow]]:
    """Bytes that are no text end a query of this driver: it is gone on with in the slow way.

    Larger caches and mapped memory were tried: they make no difference.
    """
    seen = 0
    try:
        for page in _sqlite_pages(driver, query, 0):
            seen += len(page)
            yield page
    except sqlite3.OperationalError as error:
        if _NOT_UTF8 not in str(error):
            raise
        with _escaping(driver):
            yield from _sqlite_pages(driver, query, seen)


def _sqlite_pages(driver: sqlite3.Connection, query: str, skip: int) -> Generator[Sequence[RawRow]]:
    with closing(driver.execute(query)) as cursor:
        for _ in islice(cursor, skip):
            pass
        while page := cursor.fetchmany(_PAGE):
            yield page


def hash_of(raw: RawRow) -> str | None:
    """The hash that a row must have; None when its bytes are no text, so that it has none."""
    try:
        return row_hash(dict(zip(COLUMNS, raw, strict=True)), raw[_METADATA])
    except UnicodeEncodeError:  # somebody put bytes there that are no text
        return None


@contextmanager
def any_text(connection: sa.Connection) -> Generator[None]:
    """Reads whose text may be no UTF-8: the bytes that are none appear as surrogates.

    Only SQLite needs it: PostgreSQL takes no such text.
    """
    driver: Any = connection.connection.driver_connection
    with _escaping(driver) if connection.dialect.name == "sqlite" else nullcontext():
        yield


@contextmanager
def _escaping(driver: sqlite3.Connection) -> Generator[None]:
    usual = driver.text_factory
    driver.text_factory = _escaped
    try:
        yield
    finally:
        driver.text_factory = usual


def _escaped(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")


@contextmanager
def damage_told(store: StateStore, tell: Callable[[str], None]) -> Generator[None]:
    """Reads of a database that may be damaged: what cannot be read is told and ends the block.

    Raises:
        StoreUnavailableError: it is not damage: the database cannot be reached, or is locked.
    """
    try:
        yield
    except (DBAPIError, sqlite3.Error, psycopg.Error) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        what = f"The database {store.database.name} cannot be read: {' '.join(str(cause).split())}."
        if not (type(cause) in _DAMAGE or _NOT_UTF8 in str(cause)):
            raise StoreUnavailableError(what) from error
        tell(f"{what} The file or the server's data is damaged. Restore it from a copy.")
