"""Whether a database and its event file are sound, asked in plain SQL and without the store."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg

from state.machines import MACHINES

HISTORY = """
SELECT transition_id, event_id, entity_type, entity_id, entity_version, from_state, to_state,
       prev_hash, hash, transitioned_at
FROM state_transitions ORDER BY transition_id
"""
TORN_ATTEMPTS = """
SELECT t.task_id FROM tasks t
WHERE (t.state = 'running') != (t.token IS NOT NULL)
   OR (SELECT count(*) FROM task_attempts a WHERE a.task_id = t.task_id) != t.attempts
   OR (SELECT count(*) FROM task_attempts a WHERE a.task_id = t.task_id AND a.ended_at IS NULL)
      != (CASE WHEN t.state = 'running' THEN 1 ELSE 0 END)
"""


def assert_sound(url: str, events: Path | None = None) -> int:
    """Every entity is what its last audit row says, every history is whole; says how many rows.

    Args:
        url: of the database.
        events: the event file, which must be the audit table line by line.
    """
    with plain(url) as connection:
        history: list[tuple[Any, ...]] = connection.execute(HISTORY).fetchall()
        last = _followed(history)
        _assert_entities(connection, last)
        assert connection.execute(TORN_ATTEMPTS).fetchall() == []
        if url.startswith("sqlite"):
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    if events is not None:
        told = [json.loads(line)["event_id"] for line in events.read_text().splitlines()]
        assert told == [row[1] for row in history]
    return len(history)


@contextmanager
def plain(url: str) -> Iterator[Any]:
    """A connection of the bare driver."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            yield connection
        return
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        yield connection


def _followed(history: list[tuple[Any, ...]]) -> dict[tuple[str, str], tuple[Any, ...]]:
    """The last row of each entity; each row must go on from the one before it."""
    last: dict[tuple[str, str], tuple[Any, ...]] = {}
    for row in history:
        _, _, entity_type, entity_id, version, source, target, prev_hash, _, at = row
        before = last.get((entity_type, entity_id))
        if before is None:
            assert (version, source, prev_hash) == (1, "none", None), row
        else:
            assert version == before[4] + (source != target), (before, row)
            assert (source, prev_hash) == (before[6], before[8]), (before, row)
            assert at >= before[9], (before, row)
        last[entity_type, entity_id] = row
    return last


def _assert_entities(connection: Any, last: dict[tuple[str, str], tuple[Any, ...]]) -> None:
    entities: dict[tuple[str, str], tuple[Any, ...]] = {}
    for machine in MACHINES.values():
        query = f"SELECT {machine.key}, version, state, audit_head FROM {machine.table}"
        for key, *rest in connection.execute(query).fetchall():
            entities[machine.name, key] = tuple(rest)
    assert entities == {key: (row[4], row[6], row[8]) for key, row in last.items()}
