"""Verification goes on whatever it meets: many problems, nonsense, damage, a long history."""

import itertools
import sqlite3
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
import sqlalchemy as sa

from state import history_problems
from state.audit import Contexts
from state.canonical import canonical_json
from state.chain import row_hash
from state.clock_and_ids import SequentialIds
from state.connection import as_dict
from state.database import open_database
from state.queries import history
from state.raw_history import COLUMNS, raw_pages, raw_pages_between
from state.schema import state_transitions, test_gates
from state.settings import Settings
from state.store import StateStore
from state.verification import verify_history
from tests.state.tampering import finished_task, tamper
from tests.state.world import World

# Many and strange


def test_all_problems_are_counted_and_the_first_are_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_problems, "KEPT", 3)
    finished_task(world)
    tamper(world, "UPDATE state_transitions SET reason = 'x'", "UPDATE workers SET version = 9")
    found = verify_history(world.store)
    assert found.count == found.entries + 1
    assert [one.code for one in found.problems] == ["row_changed"] * 3


BYTES = "CAST(x'63ff00' AS TEXT)"  # no UTF-8


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_anything_in_any_column_is_found_and_never_an_error(world: World) -> None:
    _, audit = finished_task(world)
    number, values = audit[2].transition_id, (BYTES, "x'00ff'", "1.5", "'1'")
    entries = verify_history(world.store).entries
    tamper(world)
    with closing(sqlite3.connect(world.folder / "pipeline.db")) as raw:
        for name, value in itertools.product(COLUMNS[:-1], values):
            where = f"WHERE transition_id = {number}"
            (kept,) = raw.execute(f'SELECT "{name}" FROM state_transitions {where}').fetchone()
            raw.execute(f'UPDATE state_transitions SET "{name}" = {value} {where}')
            raw.commit()
            found = verify_history(world.store)
            assert number in [one.transition_id for one in found.problems], (name, value)
            assert found.entries == entries
            assert all(type(one.since) is type(one.message) is str for one in found.problems)
            raw.execute(f'UPDATE state_transitions SET "{name}" = ? {where}', (kept,))
            raw.commit()
    assert verify_history(world.store).count == 0


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_anything_in_an_entity_is_never_an_error(world: World) -> None:
    worker = world.make("worker")
    tamper(world)
    with closing(sqlite3.connect(world.folder / "pipeline.db")) as raw:
        raw.execute("PRAGMA ignore_check_constraints = ON")
        raw.execute(f"UPDATE workers SET audit_head = 'x' WHERE worker_id = '{worker}'")
        for name in ("audit_head", "version", "state", "created_at", "worker_id"):
            for value in ("x'00ff'", BYTES):
                raw.execute(f"UPDATE workers SET {name} = {value}")
                raw.commit()
                codes = {one.code for one in verify_history(world.store).problems}
                assert codes & {"entity_changed", "audit_missing"}, (name, value)
    assert codes == {"audit_missing", "entity_missing"}


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_damaged_file_is_a_problem(world: World) -> None:
    for _ in range(300):
        world.make("worker")
    (world.folder / "copy").mkdir()
    path = world.folder / "copy" / "pipeline.db"
    with (
        closing(sqlite3.connect(world.folder / "pipeline.db")) as source,
        closing(sqlite3.connect(path)) as target,
    ):
        source.backup(target)
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'state_transitions'"
        (root,) = target.execute(query).fetchone()
        (size,) = target.execute("PRAGMA page_size").fetchone()
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * size)
    damaged = open_database(f"sqlite:///{path}")
    how = Settings(world.clock, SequentialIds(), False, Contexts())
    found = verify_history(StateStore(damaged, world.store.events, how))
    damaged.close()
    assert [one.code for one in found.problems] == ["unreadable"]
    assert "malformed" in found.problems[0].message


# Cost


def peak(store: StateStore) -> tuple[int, int]:
    """The most memory that verification takes, in bytes, and over how many rows."""
    tracemalloc.start()
    try:
        found = verify_history(store)
        assert found.problems == []
        return tracemalloc.get_traced_memory()[1], found.entries
    finally:
        tracemalloc.stop()


def add_gates(world: World, first: int, last: int) -> None:
    """Failed gates with whole histories of three rows, put in the database's fast way."""
    gate = world.make_in("test_gate", "FAILED")
    shape = as_dict(world.store.get("test_gate", gate))
    steps = [
        {name: getattr(row, name) for name in COLUMNS if name != "transition_id"}
        for row in history(world.store, "test_gate", gate)
    ]
    rows, gates = list[dict[str, Any]](), list[dict[str, Any]]()
    for number in range(first, last):
        head = None
        for place, step in enumerate(steps):
            row = {**step, "entity_id": f"g{number}", "event_id": f"evt_{number}_{place}"}
            row["prev_hash"] = head
            head = row["hash"] = row_hash(row, canonical_json(row["metadata"]))
            rows.append(row)
        gates.append({**shape, "gate_id": f"g{number}", "audit_head": head})
    with world.store.database.engine.begin() as connection:
        connection.execute(state_transitions.insert(), rows)
        connection.execute(test_gates.insert(), gates)


def test_memory_does_not_grow_with_the_history(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("state.raw_history._PAGE", 200)
    tamper(world)
    add_gates(world, 0, 300)
    verify_history(world.store)  # what is compiled once does not count
    few, rows = peak(world.store)
    add_gates(world, 300, 3_500)
    many, all_rows = peak(world.store)
    assert all_rows > 11 * rows > 9_000
    assert many < few + 300_000  # all rows together take some 10 MB


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("read", "index"),
    [
        (lambda connection: raw_pages(connection), "ix_state_transitions_entity"),
        (lambda connection: raw_pages_between(connection, 2, 3), "INTEGER PRIMARY KEY"),
    ],
)
def test_rows_are_read_in_order_without_sorting(
    world: World, read: Callable[[sa.Connection], Iterator[Any]], index: str
) -> None:
    asked: list[str] = []
    with world.store.reading() as connection:
        driver: Any = connection.connection.driver_connection
        driver.set_trace_callback(asked.append)
        assert list(read(connection))
        driver.set_trace_callback(None)
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {asked[-1]}").all()
    said = " ".join(str(line) for line in plan)
    assert index in said
    assert "TEMP B-TREE" not in said
