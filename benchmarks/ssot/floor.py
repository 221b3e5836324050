"""The floor: a store's recorded SQL, once more through sqlite3 or psycopg, with nothing around it.

The same statements with the same parameters on the same tables, triggers and indexes, with the same
waiting for the disk. No rules, no hashing, no event file: every value was worked out before.
"""

import sqlite3
import time
from typing import Any, Protocol

import psycopg
from places import driver_url
from recording import Script
from teams import Go, Spent

from state.sqlite import BUSY_TIMEOUT_SEC


class Raw(Protocol):
    """A driver's connection, with the words to begin and end a transaction."""

    driver: Any

    def begin(self) -> None:
        """Begin a transaction."""
        ...

    def commit(self) -> None:
        """Keep it."""
        ...


class _Sqlite:
    def __init__(self, url: str) -> None:
        path = url.removeprefix("sqlite:///")
        self.driver = sqlite3.connect(
            path, timeout=BUSY_TIMEOUT_SEC, isolation_level=None, cached_statements=512
        )
        for setting in ("synchronous = FULL", "foreign_keys = ON"):
            self.driver.execute(f"PRAGMA {setting}")

    def begin(self) -> None:
        self.driver.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        self.driver.execute("COMMIT")


class _Postgresql:
    def __init__(self, url: str) -> None:
        self.driver = psycopg.connect(driver_url(url))

    def begin(self) -> None:
        """psycopg begins with the first statement."""

    def commit(self) -> None:
        self.driver.commit()


def connect(url: str) -> Raw:
    """A connection as the store has it."""
    return _Sqlite(url) if url.startswith("sqlite") else _Postgresql(url)


def replay(go: Go, url: str, scripts: list[Script]) -> Spent:
    """Execute scripts, one transaction each."""
    raw = connect(url)
    execute = raw.driver.execute
    started = go()
    for script in scripts:
        raw.begin()
        for sql, parameters in script:
            cursor = execute(sql, parameters)
            if cursor.description:
                cursor.fetchall()
        raw.commit()
    ended = time.monotonic()
    raw.driver.close()
    return Spent(started, ended, len(scripts))


def replay_claims(
    go: Go, url: str, claims: list[tuple[str, Script, Script]], heads: dict[str, str]
) -> Spent:
    """Execute recorded claims and their ends.

    With several processes the database may choose another task than it did when the scripts were
    recorded; then that task takes the place of the recorded one: its id, and the hash of its last
    audit row.

    Args:
        go: see `teams.run_team`.
        url: of the database.
        claims: for each task: its id, the script that claims it, the script that ends it.
        heads: the hash of the last audit row of every queued task, by its id.
    """
    raw = connect(url)
    latencies: list[float] = []
    started = go()
    for recorded, claim, finish in claims:
        began = time.monotonic()
        raw.begin()
        swap: dict[Any, Any] = {}
        for sql, parameters in claim:
            found = _run(raw, sql, parameters, swap)
            if _chooses(sql):
                chosen = found[0][0]
                if chosen != recorded:
                    swap = {recorded: chosen, heads[recorded]: heads[chosen]}
        raw.commit()
        latencies.append(time.monotonic() - began)
        raw.begin()
        for sql, parameters in finish:
            _run(raw, sql, parameters, swap)
        raw.commit()
    ended = time.monotonic()
    raw.driver.close()
    return Spent(started, ended, len(claims), latencies)


def _chooses(sql: str) -> bool:
    """Whether this is the statement that decides who gets which task."""
    return sql.startswith("SELECT") and "'queued'" in sql


def _run(raw: Raw, sql: str, parameters: tuple[Any, ...], swap: dict[Any, Any]) -> Any:
    if swap:
        parameters = tuple([swap.get(one, one) if type(one) is str else one for one in parameters])
    cursor = raw.driver.execute(sql, parameters)
    return cursor.fetchall() if cursor.description else None
