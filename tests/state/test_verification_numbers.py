"""In SQLite every number is given once: rows that were taken out show, whoever went with them."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from state.errors import EntityExistsError, GuardNotSatisfied
from state.queries import transitions_since
from state.verification import verify_history
from tests.state.tampering import codes, finished_task, tamper
from tests.state.world import World

sqlite_only = pytest.mark.parametrize("url", ["sqlite"], indirect=True)


def found(world: World) -> list[tuple[str, int | None, str]]:
    problems = verify_history(world.store).problems
    return [(one.code, one.transition_id, one.since) for one in problems]


def take_out(world: World, table: str, key: str, entity_id: str) -> None:
    """An entity and its whole history."""
    tamper(
        world,
        f"DELETE FROM state_transitions WHERE entity_id = '{entity_id}'",
        f"DELETE FROM {table} WHERE {key} = '{entity_id}'",
    )


@sqlite_only
def test_an_entity_that_was_taken_out_with_its_history_leaves_a_gap(world: World) -> None:
    worker = world.make("worker")
    world.clock.advance(60)
    world.make("worker")
    rows = transitions_since(world.store)
    take_out(world, "workers", "worker_id", worker)
    assert found(world) == [("rows_missing", 3, rows[1].transitioned_at)]
    (problem,) = verify_history(world.store).problems
    assert "row 3: after row 2" in problem.message
    assert (problem.entity_type, problem.entity_id) == (None, None)


@sqlite_only
def test_the_first_of_many_gaps_is_told_and_all_are_counted(world: World) -> None:
    finished_task(world)
    taken = [world.make("worker") for _ in range(4)]
    world.make("worker")
    for worker in (taken[0], taken[2], taken[3]):
        take_out(world, "workers", "worker_id", worker)
    (problem,) = verify_history(world.store).problems
    assert "The rows of 3 audit numbers are missing" in problem.message


@sqlite_only
def test_an_end_that_was_taken_out_shows(world: World) -> None:
    worker = world.make_in("worker", "idle")
    rows = transitions_since(world.store)
    take_out(world, "workers", "worker_id", worker)
    assert found(world) == [("tail_missing", rows[-2].transition_id, rows[-3].transitioned_at)]


@sqlite_only
def test_a_beginning_or_everything_that_was_taken_out_shows(world: World) -> None:
    tamper(world, "DELETE FROM state_transitions WHERE transition_id = 1")
    assert ("rows_missing", 1, "") in found(world)
    tamper(world, "DELETE FROM state_transitions", "DELETE FROM workstreams", "DELETE FROM runs")
    assert found(world) == [("tail_missing", 1, "")]


@sqlite_only
def test_a_number_that_is_nonsense_is_no_error(world: World) -> None:
    tamper(world, "UPDATE sqlite_sequence SET seq = CAST(x'63ff' AS TEXT)")
    assert found(world) == []
    tamper(world, "DELETE FROM sqlite_sequence")
    assert found(world) == []


def make_twice(world: World, worker: str) -> None:
    """A transaction that is given up after it has written audit rows."""
    with world.store.batch() as tx:
        tx.create("worker", worker_id=worker)
        tx.create("worker", worker_id=worker)


def test_what_was_never_kept_leaves_no_trace(world: World) -> None:
    """On SQLite no number is lost; on PostgreSQL some are, and that is said to be nothing."""
    task = world.make("task")
    with pytest.raises(EntityExistsError):
        make_twice(world, "worker_x")
    world.make("worker")
    with pytest.raises(GuardNotSatisfied):
        world.go("task", task, "queued", "running", worker_id=None)
    assert found(world) == []
    world.make("worker")
    assert found(world) == []


@sqlite_only
def test_numbers_of_a_writer_that_was_killed_are_given_again(world: World) -> None:
    path = world.folder / "pipeline.db"
    script = (
        "import sqlite3, sys, time\n"
        "raw = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "raw.execute('BEGIN IMMEDIATE')\n"
        "raw.execute('PRAGMA cache_size = 1')\n"  # so that it writes before the end
        "raw.execute(sys.argv[2])\n"
        "print('wrote', flush=True); time.sleep(60)\n"
    )
    tamper(world)
    names = "event_id, entity_type, entity_id, entity_version, from_state, to_state, " + (
        '"trigger", severity, metadata, transitioned_at, hash'
    )
    insert = (
        f"INSERT INTO state_transitions ({names}) SELECT event_id || 'x', "
        f"{names.partition(', ')[2]} FROM state_transitions"
    )
    command = [sys.executable, "-c", script, str(path), insert]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"wrote\n"
        os.kill(process.pid, signal.SIGKILL)
    assert found(world) == []


@sqlite_only
def test_no_statement_at_a_prompt_wastes_a_number(world: World) -> None:
    """`INSERT OR IGNORE` would: SQLite counts the row that it ignores."""
    names = "event_id, entity_type, entity_id, entity_version, from_state, to_state, " + (
        '"trigger", severity, metadata, transitioned_at, hash'
    )
    with closing(sqlite3.connect(world.folder / "pipeline.db")) as raw:
        for how in ("OR IGNORE", "OR REPLACE", "OR FAIL"):
            with pytest.raises(sqlite3.IntegrityError):
                raw.execute(
                    f"INSERT {how} INTO state_transitions ({names}) SELECT {names} "
                    "FROM state_transitions WHERE transition_id = 1"
                )
    world.make("worker")
    assert found(world) == []
    assert codes(verify_history(world.store)) == []
