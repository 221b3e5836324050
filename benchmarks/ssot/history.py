"""A long history, written quickly: what `verify_history` reads.

The rows are those that the store would have left: tasks through their lives by workers, eight at a
time, every hash in its chain. They are put in with the triggers off, since it takes the store a
quarter of an hour to make a million; `verify_history` then finds no problem, or the benchmark
fails.
"""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain, islice
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from places import driver_url

from state.canonical import canonical_json
from state.chain import row_hash
from state.clock_and_ids import UlidSource, timestamp
from state.entities import KINDS
from state.machines import MACHINES
from state.schema import METADATA
from state.store import StateStore
from state.upgrade import drop_triggers, install_triggers
from state.verification import verify_history

WORKERS = 8
_LIFE = ("none", "pending", "queued", "running", "validating", "completed")
_TURN = ("idle", "busy", "idle")
_ROWS_OF_A_TASK = len(_LIFE) - 1 + len(_TURN) - 1
_PAGE = 20_000
Values = dict[str, Any]


class Writer:
    """Makes audit rows, and the entities as their last rows leave them."""

    def __init__(self, run_id: str, ws_id: str) -> None:
        self._belongs = {"run_id": run_id, "workstream_id": ws_id, "phase_id": None}
        self._nowhere = dict.fromkeys(self._belongs)
        self._ids = UlidSource()
        self._moment = datetime(2026, 1, 2, tzinfo=UTC)
        self.last_event = ""
        self.entities: list[tuple[str, Values]] = []

    def new(self, kind: str, **columns: Any) -> Values:
        """An entity that is not there yet."""
        one = KINDS[kind]
        row = {name: default() for name, default in one.defaults.items()}
        row |= {one.key: self._ids.new(one.prefix), "state": "none", "version": 0, **columns}
        self.entities.append((kind, row))
        return row

    def step(self, kind: str, row: Values, target: str) -> Values:
        """The audit row of an entity's next state."""
        source = row["state"]
        self._moment += timedelta(milliseconds=1)
        now = timestamp(self._moment)
        if source == "none":
            row["created_at"] = now
        if target == "running":
            row["started_at"] = now
        if target in MACHINES[kind].terminal:
            row["completed_at"] = now
        found = MACHINES[kind].find(source, target)
        row |= {"state": target, "version": row["version"] + 1, "updated_at": now}
        audit: Values = {
            "event_id": self._ids.new("evt_"),
            "entity_type": kind,
            "entity_id": row[KINDS[kind].key],
            "entity_version": row["version"],
            "from_state": source,
            "to_state": target,
            "trigger": found.trigger if found else "created",
            "reason": None,
            "severity": found.severity if found else "info",
            "operator": None,
            "metadata": "{}",
            **(self._belongs if kind == "task" else self._nowhere),
            "transitioned_at": now,
            "prev_hash": row["audit_head"],
        }
        self.last_event = audit["event_id"]
        audit["hash"] = row["audit_head"] = row_hash(audit, "{}")
        return audit


def fill(url: str, events: Path, rows: int) -> int:
    """Put at least so many audit rows into an empty database; says how many there are then."""
    with StateStore.open(url, events=events) as store:
        run_id = store.create("run").run_id
        ws_id = store.create("workstream", run_id=run_id).ws_id
        before = len(store.find("run")) + len(store.find("workstream"))
    writer = Writer(run_id, ws_id)
    made = _rows(writer, ws_id, rows)
    put = _fill_sqlite if url.startswith("sqlite") else _fill_postgresql
    done = put(url, made, writer)
    # The last line tells where an event file stands: this one need not be written out.
    events.write_text(json.dumps({"event_id": writer.last_event}) + "\n")
    return before + done


def verify(url: str, events: Path, rows: int) -> float:
    """Verify the whole history through the product's own function; seconds.

    Raises:
        RuntimeError: it found a problem, or not every row.
    """
    with StateStore.open(url, events=events) as store:
        started = time.monotonic()
        found = verify_history(store)
        seconds = time.monotonic() - started
    if found.entries != rows or found.count:
        raise RuntimeError(
            f"{found.entries} of {rows} rows were verified, {found.count} problems:"
            f" {found.problems[:3]}"
        )
    return seconds


def _rows(writer: Writer, ws_id: str, rows: int) -> Iterator[Values]:
    """The audit rows, in their order: eight tasks side by side."""
    workers = [writer.new("worker") for _ in range(WORKERS)]
    for worker in workers:
        yield writer.step("worker", worker, "initializing")
        yield writer.step("worker", worker, "idle")
    for _ in range(0, rows, _ROWS_OF_A_TASK * WORKERS):
        tasks = [writer.new("task", workstream_id=ws_id) for _ in workers]
        for state in _LIFE[1:]:
            for task, worker in zip(tasks, workers, strict=True):
                yield writer.step("task", task, state)
                if state == "running":
                    yield writer.step("worker", worker, "busy")
                if state == "validating":
                    yield writer.step("worker", worker, "idle")


def _entity_rows(writer: Writer, kind: str) -> Iterator[Values]:
    for name, row in writer.entities:
        if name == kind:
            yield {
                key: canonical_json(value) if isinstance(value, dict | list) else value
                for key, value in row.items()
            }


def _fill_sqlite(url: str, made: Iterator[Values], writer: Writer) -> int:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        drop_triggers(connection)
        driver: Any = connection.connection.driver_connection
        done = 0

        def put(table: str, rows: Iterator[Values]) -> int:
            first = next(rows)
            names = ", ".join(f'"{name}"' for name in first)
            marks = ", ".join(f":{name}" for name in first)
            insert = f"INSERT INTO {table} ({names}) VALUES ({marks})"
            count = 0
            rows = chain([first], rows)
            while page := list(islice(rows, _PAGE)):
                driver.executemany(insert, page)
                count += len(page)
            return count

        done = put("state_transitions", made)
        for kind in ("worker", "task"):
            put(KINDS[kind].table.name, _entity_rows(writer, kind))
        install_triggers(connection)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    engine.dispose()
    return done


def _fill_postgresql(url: str, made: Iterator[Values], writer: Writer) -> int:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        drop_triggers(connection)
        driver: Any = connection.connection.driver_connection

        def put(table: str, rows: Iterator[Values]) -> int:
            first = next(rows)
            names = ", ".join(f'"{name}"' for name in first)
            copy_in = f"COPY {METADATA.tables[table].name} ({names}) FROM STDIN".encode()
            count = 0
            with driver.cursor() as cursor, cursor.copy(copy_in) as copy:
                for row in chain([first], rows):
                    copy.write_row(tuple(row.values()))
                    count += 1
            return count

        done = put("state_transitions", made)
        for kind in ("worker", "task"):
            put(KINDS[kind].table.name, _entity_rows(writer, kind))
        install_triggers(connection)
    engine.dispose()
    with psycopg.connect(driver_url(url), autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE state_transitions")
    return done
