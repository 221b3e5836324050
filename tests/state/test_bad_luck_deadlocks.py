"""Deadlocks made on purpose: a call is done again, a batch says that nothing of it is kept."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from state.clock_and_ids import ManualClock
from state.errors import StoreUnavailableError, TransactionLostError
from state.lost_transactions import redone_when_lost
from state.queries import history
from state.store import EVENT_FILE, StateStore
from tests import postgres
from tests.state.soundness import assert_sound, plain
from tests.state.world import World

Pair = tuple[str, str]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """On PostgreSQL: SQLite's writers take turns, so they cannot meet."""
    with (
        postgres.database() as url,
        StateStore.open(url, events=tmp_path / EVENT_FILE) as store,
    ):
        yield World(store, ManualClock(), tmp_path, url)


class Meeting:
    """Two batches that both hold their first row before either asks for its second, once."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.tries = 0
        self._met = threading.Barrier(2)
        self._guard = threading.Lock()

    def cross(self, first: str, second: str) -> None:
        """Move two workers to idle, in this order, in one transaction."""
        with self._guard:
            self.tries += 1
            meets = self.tries <= 2
        with self.world.store.batch() as tx:
            tx.transition("worker", first, "idle")
            if meets:
                self._met.wait(10)
            tx.transition("worker", second, "idle")


def both(work: Callable[[str, str], None], pair: Pair) -> list[Exception | None]:
    """The two orders at once; what each has raised."""

    def attempt(order: Pair) -> Exception | None:
        try:
            work(*order)
        except Exception as error:
            return error
        return None

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(attempt, [pair, (pair[1], pair[0])]))


def test_of_two_batches_in_opposite_order_one_is_lost_whole(world: World) -> None:
    pair = world.make("worker"), world.make("worker")
    errors = both(Meeting(world).cross, pair)
    lost = [error for error in errors if error is not None]
    assert [type(error) for error in lost] == [TransactionLostError]
    assert "deadlock" in str(lost[0])
    assert "Nothing of it is kept" in str(lost[0])
    for worker in pair:
        assert [one.to_state for one in history(world.store, "worker", worker)] == [
            "initializing",
            "idle",
        ]
    assert_all_sound(world)


def test_a_function_that_is_done_again_succeeds(world: World) -> None:
    pair = world.make_in("worker", "busy"), world.make_in("worker", "busy")
    meeting = Meeting(world)
    errors = both(redone_when_lost(meeting.cross), pair)
    # The one that came later finds both idle already; that is refused by the rules, on what is
    # there by then, and not for the deadlock.
    assert meeting.tries == 3
    assert sorted(type(one).__name__ for one in errors) == ["InvalidTransitionError", "NoneType"]
    assert_all_sound(world)


def test_a_single_call_that_meets_a_deadlock_is_done_again(world: World) -> None:
    store, worker = world.store, world.make_in("worker", "idle")
    task = world.make_in("task", "queued")
    claims: list[object] = []
    with psycopg.connect(world.url.replace("+psycopg", "")) as other:
        # The claim locks the worker, then the task; this session the other way round, and it has
        # more patience, so that the claim is the one that finds the deadlock.
        other.execute("SET deadlock_timeout = '30s'")
        other.execute("SELECT 1 FROM tasks WHERE task_id = %s FOR UPDATE", (task,))
        with ThreadPoolExecutor(1) as pool:
            taking = pool.submit(store.claim_task, worker, task_id=task)
            wait_for_one_that_waits(world.url, taking.done)
            if not taking.done():
                other.execute("SELECT 1 FROM workers WHERE worker_id = %s FOR UPDATE", (worker,))
            other.rollback()
            claims.append(taking.result(30))
    claims.append(store.claim_task(worker, task_id=task))
    assert sum(claim is not None for claim in claims) == 1
    assert_all_sound(world)


def test_a_transition_that_meets_a_deadlock_is_done_again(world: World) -> None:
    """The worker's update refers to the task: both rows are locked, in that order."""
    store, worker = world.store, world.make_in("worker", "idle")
    task = world.make("task")
    with psycopg.connect(world.url.replace("+psycopg", "")) as other:
        other.execute("SET deadlock_timeout = '30s'")
        other.execute("SELECT 1 FROM tasks WHERE task_id = %s FOR UPDATE", (task,))
        with ThreadPoolExecutor(1) as pool:
            moving = pool.submit(store.transition, "worker", worker, "busy", task_id=task)
            wait_for_one_that_waits(world.url, moving.done)
            assert not moving.done()
            other.execute("SELECT 1 FROM workers WHERE worker_id = %s FOR UPDATE", (worker,))
            other.rollback()
            assert moving.result(30).to_state == "busy"
    assert store.get("worker", worker).task_id == task
    assert_all_sound(world)


def test_a_deadlock_that_a_batch_swallows_is_not_taken_for_success(world: World) -> None:
    pair = world.make("worker"), world.make("worker")
    meeting = threading.Barrier(2)

    def swallow(first: str, second: str) -> None:
        with world.store.batch() as tx:
            tx.transition("worker", first, "idle")
            meeting.wait(10)
            with suppress(Exception):
                tx.transition("worker", second, "idle")

    errors = both(swallow, pair)
    assert sum(isinstance(error, StoreUnavailableError) for error in errors) == 1
    assert {world.store.get("worker", worker).state for worker in pair} == {"idle"}
    assert_all_sound(world)


def wait_for_one_that_waits(url: str, done: Callable[[], bool]) -> None:
    """Until a session of this database waits for a lock, or the work is done without."""
    query = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    with plain(url) as connection:
        while not done() and connection.execute(query).fetchone() == (0,):
            threading.Event().wait(0.01)


def assert_all_sound(world: World) -> None:
    """Rows behind a transaction that was dropped reach the file with the next write."""
    world.store.events.catch_up()
    assert_sound(world.url, world.store.events.path)
