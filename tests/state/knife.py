"""PostgreSQL sessions that are cut at a chosen point of a transaction, by a real server."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy.engine import make_url

from state.audit import Contexts
from state.clock_and_ids import ManualClock, SequentialIds
from state.events import EventFile
from state.postgresql import PostgresqlDatabase
from state.settings import Settings
from state.store import EVENT_FILE, StateStore
from tests.state.world import World


class Knife:
    """Cuts one session once: before a statement, before the commit, or after it.

    Args:
        cut: ends the session with this backend pid.
    """

    def __init__(self, cut: Callable[[int], None]) -> None:
        self._cut = cut
        self.statement: int | None = None
        self.commit: str | None = None
        self.cuts = 0

    def before_statement(self, driver: Any) -> None:
        """Called before each statement of a writing session."""
        if self.statement is not None:
            self.statement -= 1
            if self.statement < 0:
                self.statement = None
                self._use(driver)

    def around_commit(self, driver: Any) -> None:
        """Commit, with the session cut before the commit is sent or before it is answered."""
        when, self.commit = self.commit, None
        if when == "before":
            self._use(driver)
        driver.commit()
        if when == "after":
            self._use(driver)
            driver.execute("SELECT 1")  # what the answer to the commit would have met

    def _use(self, driver: Any) -> None:
        self.cuts += 1
        self._cut(driver.info.backend_pid)


class _Cuttable:
    """A psycopg connection under the knife."""

    def __init__(self, driver: Any, knife: Knife) -> None:
        self._driver, self._knife = driver, knife

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    def execute(self, *arguments: Any) -> Any:
        self._knife.before_statement(self._driver)
        return self._driver.execute(*arguments)

    def commit(self) -> None:
        self._knife.around_commit(self._driver)


class _CuttableDatabase(PostgresqlDatabase):
    def __init__(self, url: str, knife: Knife) -> None:
        self._knife = knife
        super().__init__(make_url(url))

    def _writer(self, deadline: float) -> Any:
        writer = super()._writer(deadline)
        if not isinstance(writer.driver, _Cuttable):
            writer.driver = _Cuttable(writer.driver, self._knife)
        return writer


def world_under(knife: Knife, url: str, folder: Path) -> World:
    """A world whose writing sessions are under the knife; close its store."""
    database = _CuttableDatabase(url, knife)
    clock = ManualClock()
    settings = Settings(clock, SequentialIds(), False, Contexts())
    store = StateStore(database, EventFile(folder / EVENT_FILE, database), settings)
    return World(store, clock, folder, url)


def terminate(url: str) -> Callable[[int], None]:
    """Ends sessions by `pg_terminate_backend`, and waits until they have ended."""

    def cut(pid: int) -> None:
        with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
            assert connection.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,)).fetchone()

    return cut
