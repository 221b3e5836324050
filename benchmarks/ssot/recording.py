"""Writes down the SQL of a store's transactions, so that it can be repeated without the store."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any

from state.audit import Contexts
from state.clock_and_ids import SystemClock, UlidSource
from state.connection import Connection
from state.database import open_database
from state.events import EventFile
from state.settings import Settings
from state.store import StateStore

Statement = tuple[str, tuple[Any, ...]]
Script = list[Statement]
"""One transaction: its statements between BEGIN and COMMIT, with their parameters."""


class RecordingStore(StateStore):
    """A store that notes what it sends to the tables in `scripts`, one for each transaction.

    What the store asks for its own safety (the number of a transaction) and for its event file is
    not of the tables and not noted.
    """

    def __init__(self, url: str, events: Path) -> None:
        recording: Any = _Recording(open_database(url))
        settings = Settings(SystemClock(), UlidSource(), False, Contexts())
        super().__init__(recording, EventFile(events, recording), settings)
        self.scripts = recording.scripts


class _Recording:
    """A database whose writing connections note what they execute."""

    def __init__(self, database: Any) -> None:
        self._database = database
        self.scripts: list[Script] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    @contextmanager
    def writing(self, kept: Callable[[], None]) -> Iterator[Connection]:
        """See `Database.writing`."""
        with self._database.writing(kept) as connection:
            noted: Script = []
            recorded = copy(connection)
            recorded.driver = _Noting(connection.driver, noted)
            yield recorded
            self.scripts.append(noted)


class _Noting:
    """A driver's connection that notes what it executes."""

    def __init__(self, driver: Any, noted: Script) -> None:
        self._driver = driver
        self._noted = noted

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    def execute(self, sql: str, parameters: tuple[Any, ...] = ()) -> Any:
        """As the driver's."""
        self._noted.append((sql, parameters))
        return self._driver.execute(sql, parameters)
