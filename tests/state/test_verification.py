"""Whatever is done to the history behind the store's back, verification finds where and since."""

import itertools
import sqlite3
import tracemalloc
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.pool import NullPool

from state import verification
from state.audit import Contexts, TransitionRecord
from state.canonical import canonical_json
from state.chain import row_hash
from state.clock_and_ids import ManualClock, SequentialIds
from state.database import open_database
from state.errors import PatchlineError
from state.machines import MACHINES
from state.queries import history
from state.raw_history import COLUMNS
from state.schema import state_transitions
from state.settings import Settings
from state.store import StateStore
from state.trigger_sql import drop_statements
from state.verification import History, Problem, verify_history
from tests.state import world as worlds
from tests.state.world import World

Audit = list[TransitionRecord]


def tamper(world: World, *statements: str | tuple[str, Mapping[str, Any]]) -> None:
    """Run SQL as somebody would who took the triggers away first; each must change a row."""
    engine = sa.create_engine(world.url, poolclass=NullPool)
    with engine.begin() as connection:
        for statement in drop_statements(engine.dialect.name):
            connection.exec_driver_sql(statement)
        for one in statements:
            if isinstance(one, str):
                done = connection.exec_driver_sql(one)
            else:
                done = connection.execute(sa.text(one[0]), one[1])
            assert done.rowcount != 0, one
    engine.dispose()


def finished_task(world: World) -> tuple[str, Audit]:
    """A task that went all the way, beside others; its id and its five audit rows."""
    world.make_in("task", "queued")
    task = world.make("task")
    world.make_in("patch_ledger", "committed")
    world.go("task", task, "queued", "running", "validating", "completed")
    world.make("worker")
    audit = history(world.store, "task", task)
    assert [one.to_state for one in audit] == [
        *("pending", "queued", "running", "validating", "completed")
    ]
    return task, audit


def only(world: World) -> Problem:
    found = verify_history(world.store)
    assert found.count == len(found.problems) == 1, found.problems
    return found.problems[0]


def place(problem: Problem) -> tuple[Any, ...]:
    return (problem.entity_type, problem.entity_id, problem.transition_id, problem.since)


def at(row: TransitionRecord) -> tuple[Any, ...]:
    """The place of a problem that begins with this row."""
    return (row.entity_type, row.entity_id, row.transition_id, row.transitioned_at)


def codes(found: History) -> list[tuple[str, int | None]]:
    return [(one.code, one.transition_id) for one in found.problems]


def forged(row: TransitionRecord, **changes: Any) -> tuple[str, dict[str, Any]]:
    """An INSERT of an audit row like that one, with changes and the hash that goes with them."""
    values = {name: getattr(row, name) for name in COLUMNS if name != "transition_id"}
    values |= {"event_id": "evt_forged", **changes}
    metadata = canonical_json(values["metadata"])
    if "hash" not in changes:
        values["hash"] = row_hash(values, metadata)
    values["metadata"] = metadata
    names = ", ".join(f'"{name}"' for name in values)
    given_ones = ", ".join(f":{name}" for name in values)
    return f"INSERT INTO state_transitions ({names}) VALUES ({given_ones})", values


# Clean histories


def test_an_untouched_history_is_clean(world: World) -> None:
    finished_task(world)
    for name, machine in MACHINES.items():
        for state in machine.states:
            world.make_in(name, state)
    world.store.record("run", world.run_id, "held", reason="lunch", operator="ann")
    task = world.make("task")
    awkward = {"text": "caf\u00e9 \U0001f600 \u2028 \x7f", "n": [1, 1.5, -0.0, 1e300, None, True]}
    reason = 'a "quoted" \\ reason\nwith \x00 and \udcff'
    world.go("task", task, "queued", metadata=awkward, reason=reason)
    found = verify_history(world.store)
    assert (found.count, found.problems) == (0, [])
    with world.store.reading() as connection:
        rows = connection.scalar(sa.select(sa.func.count()).select_from(state_transitions))
    assert found.entries == rows


@settings(max_examples=25, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(list(MACHINES)), st.integers(0, 8), st.integers(-90, 90)),
        max_size=25,
    )
)
def test_a_history_after_any_walk_is_clean(steps: list[tuple[str, int, int]]) -> None:
    clock = ManualClock()
    with (
        TemporaryDirectory() as folder,
        StateStore.open(f"sqlite:///{folder}/p.db", clock=clock, ids=SequentialIds()) as store,
    ):
        world = worlds.World(store, clock, Path(folder))
        entities: dict[str, str] = {}
        for name, pick, seconds in steps:
            if name not in entities:
                entities[name] = world.make(name)
            target = MACHINES[name].states[pick % len(MACHINES[name].states)]
            try:
                needs = worlds.NEEDS.get((name, target), {})
                store.transition(name, entities[name], target, **needs)
            except PatchlineError:
                del entities[name]  # another one next time
            clock.advance(seconds)
        found = verify_history(store)
        assert found.problems == []
        assert found.entries >= len(entities) + 2


def test_progress_is_told_up_to_the_last_row(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("state.raw_history._PAGE", 4)
    finished_task(world)
    told: list[tuple[int, int]] = []
    found = verify_history(world.store, lambda done, total: told.append((done, total)))
    assert [done for done, _ in told] == [*range(4, found.entries, 4), found.entries]
    assert {total for _, total in told} == {found.entries}


# Rows


@pytest.mark.parametrize(
    "change",
    [
        "reason = 'nothing happened'",
        "operator = 'nobody'",
        'metadata = \'{"worker_id": "w1"}\'',
        "metadata = '{} '",
        "severity = 'error'",
        "run_id = NULL",
        "event_id = 'evt_other'",
        "\"trigger\" = 'manual_override'",
    ],
)
def test_a_changed_column_is_found(world: World, change: str) -> None:
    _, audit = finished_task(world)
    row = audit[3]
    tamper(
        world, f"UPDATE state_transitions SET {change} WHERE transition_id = {row.transition_id}"
    )
    problem = only(world)
    assert problem.code == "row_changed"
    assert place(problem) == at(row)
    assert f"Audit row {row.transition_id}" in problem.message
    assert row.transitioned_at in problem.message


def test_a_blank_more_in_the_metadata_is_found(world: World) -> None:
    task = world.make("task")
    row = world.store.transition("task", task, "queued", metadata={"a": 1})
    world.go("task", task, "running")
    where = f"WHERE transition_id = {row.transition_id}"
    tamper(world, f"UPDATE state_transitions SET metadata = '{{\"a\": 1}}' {where}")
    problem = only(world)
    assert (problem.code, place(problem)) == ("row_changed", at(row))
    tamper(world, f"UPDATE state_transitions SET metadata = '{{\"a\":1}}' {where}")
    assert verify_history(world.store).count == 0


def test_a_changed_hash_is_found_where_it_is_and_in_the_next_row(world: World) -> None:
    _, audit = finished_task(world)
    number = audit[2].transition_id
    tamper(
        world, f"UPDATE state_transitions SET hash = '{'ab' * 32}' WHERE transition_id = {number}"
    )
    assert codes(verify_history(world.store)) == [
        ("row_changed", number),
        ("chain_broken", audit[3].transition_id),
    ]


def test_two_rows_that_changed_places_are_found(world: World) -> None:
    task, audit = finished_task(world)
    one, other = audit[1].transition_id, audit[2].transition_id
    move = "UPDATE state_transitions SET transition_id = {} WHERE transition_id = {}"
    tamper(world, move.format(10**6, one), move.format(one, other), move.format(other, 10**6))
    found = verify_history(world.store)
    assert [one.code for one in found.problems] == ["chain_broken"] * 3
    first = found.problems[0]
    assert (first.entity_id, first.transition_id, first.event_id) == (task, one, audit[2].event_id)
    assert first.since == audit[2].transitioned_at


def test_a_missing_middle_is_found(world: World) -> None:
    _, audit = finished_task(world)
    tamper(world, f"DELETE FROM state_transitions WHERE transition_id = {audit[2].transition_id}")
    problem = only(world)
    assert (problem.code, place(problem)) == ("chain_broken", at(audit[3]))
    assert "version 4 comes after 2" in problem.message


def test_a_missing_beginning_is_found(world: World) -> None:
    _, audit = finished_task(world)
    tamper(world, f"DELETE FROM state_transitions WHERE transition_id = {audit[0].transition_id}")
    problem = only(world)
    assert (problem.code, place(problem)) == ("chain_broken", at(audit[1]))
    assert "the row it follows is missing" in problem.message


def test_a_missing_end_is_found(world: World) -> None:
    task, audit = finished_task(world)
    tamper(
        world,
        f"DELETE FROM state_transitions WHERE entity_id = '{task}'"
        f" AND transition_id > {audit[2].transition_id}",
    )
    problem = only(world)
    assert (problem.code, place(problem)) == ("entity_changed", at(audit[2]))
    assert "is completed, version 5" in problem.message
    assert "says running, version 3" in problem.message


def test_a_row_that_was_put_in_with_a_wrong_hash_is_found(world: World) -> None:
    task, audit = finished_task(world)
    tamper(world, forged(audit[4], prev_hash=audit[4].hash, hash="ab" * 32))
    found = verify_history(world.store)
    assert [one.code for one in found.problems] == ["row_changed", "entity_changed"]
    assert {one.entity_id for one in found.problems} == {task}
    assert {one.event_id for one in found.problems} == {"evt_forged"}


def test_a_row_that_was_put_in_with_its_right_hash_is_found_by_the_entity(world: World) -> None:
    task = world.make("task")
    row = world.go("task", task, "queued")
    later = "2027-01-01T00:00:00.000000Z"
    forgery = {"from_state": "queued", "to_state": "running", "entity_version": 3}
    tamper(world, forged(row, prev_hash=row.hash, transitioned_at=later, **forgery))
    problem = only(world)
    assert (problem.code, problem.entity_id, problem.since) == ("entity_changed", task, later)
    assert problem.event_id == "evt_forged"


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        ({"from_state": "running", "to_state": "validating"}, "state_gap", "led to queued"),
        ({"from_state": "none", "to_state": "pending"}, "state_gap", "goes on from none"),
        ({"to_state": "completed"}, "illegal_transition", "queued to completed"),
        ({"to_state": "resting"}, "illegal_transition", "queued to resting"),
        ({"entity_version": 5}, "version_gap", "version 5 comes after 2"),
        ({"entity_version": 2}, "version_gap", "version 2 comes after 2"),
        ({"transitioned_at": "2020-01-01T00:00:00.000000Z"}, "time_order", "which is later"),
        ({"prev_hash": None}, "chain_broken", "does not follow"),
        ({"to_state": "queued"}, "version_gap", "version 3 comes after 2"),
    ],
)
def test_a_row_that_hashes_right_but_breaks_a_rule_is_found(
    world: World, changes: dict[str, Any], code: str, said: str
) -> None:
    task = world.make("task")
    row = world.go("task", task, "queued")
    right = {"from_state": "queued", "to_state": "running", "entity_version": 3}
    tamper(world, forged(row, **{"prev_hash": row.hash, **right, **changes}))
    first = verify_history(world.store).problems[0]
    assert (first.code, first.entity_id, first.event_id) == (code, task, "evt_forged")
    assert said in first.message


def test_a_kind_of_entity_that_does_not_exist_is_found(world: World) -> None:
    _, audit = finished_task(world)
    born = audit[0]
    tamper(world, forged(born, entity_type="ghost"))
    problem = only(world)
    assert (problem.code, problem.entity_type) == ("unknown_type", "ghost")


# Entities


def test_an_entity_whose_state_was_changed_is_found(world: World) -> None:
    task = world.make("task")
    row = world.go("task", task, "queued")
    tamper(world, f"UPDATE tasks SET state = 'pending' WHERE task_id = '{task}'")
    problem = only(world)
    assert (problem.code, place(problem)) == ("entity_changed", at(row))
    assert "is pending, version 2" in problem.message


@pytest.mark.parametrize("change", ["version = 7", "audit_head = NULL", "audit_head = 'x'"])
@pytest.mark.parametrize("name", MACHINES)
def test_an_entity_that_is_not_what_its_last_row_says_is_found(
    world: World, name: str, change: str
) -> None:
    machine = MACHINES[name]
    entity = world.make(name)
    tamper(world, f"UPDATE {machine.table} SET {change} WHERE {machine.key} = '{entity}'")
    problem = only(world)
    row = history(world.store, name, entity)[-1]
    assert (problem.code, place(problem)) == ("entity_changed", at(row))


def test_an_entity_that_was_taken_out_is_found(world: World) -> None:
    worker = world.make_in("worker", "idle")
    tamper(world, f"DELETE FROM workers WHERE worker_id = '{worker}'")
    problem = only(world)
    row = history(world.store, "worker", worker)[-1]
    assert (problem.code, place(problem)) == ("entity_missing", at(row))


def test_an_entity_without_history_is_found(world: World) -> None:
    worker = world.make("worker")
    made_at = world.store.get("worker", worker).created_at
    tamper(world, f"DELETE FROM state_transitions WHERE entity_id = '{worker}'")
    problem = only(world)
    assert (problem.code, place(problem)) == ("audit_missing", ("worker", worker, None, made_at))


# Many and strange


def test_all_problems_are_counted_and_the_first_are_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "KEPT", 3)
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


def _peak(store: StateStore) -> int:
    tracemalloc.start()
    try:
        verify_history(store)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_history(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("state.raw_history._PAGE", 50)
    peaks: list[int] = []
    for _ in range(2):
        with world.store.batch() as tx:
            for _ in range(1000):
                tx.create("worker")
        verify_history(world.store)  # what is compiled once does not count
        peaks.append(_peak(world.store))
    assert peaks[1] < 1.3 * peaks[0]


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_rows_are_read_in_order_without_sorting(world: World) -> None:
    from state.raw_history import _query  # pyright: ignore[reportPrivateUsage]

    with world.store.reading() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {_query({})}").all()
    said = " ".join(str(line) for line in plan)
    assert "ix_state_transitions_entity" in said
    assert "TEMP B-TREE" not in said
