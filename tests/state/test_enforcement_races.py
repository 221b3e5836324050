"""Several SQL prompts at once: one wins, the others get an error, and all stays sound."""

import sqlite3
import threading
from collections.abc import Callable, Iterator

import psycopg
import pytest

from state.machines import MACHINES
from tests.state.enforcement import LATER, Raw, assert_sound, refused
from tests.state.world import World

POSTGRESQL = pytest.mark.parametrize("url", ["postgresql"], indirect=True)
SQLITE = pytest.mark.parametrize("url", ["sqlite"], indirect=True)
Pair = tuple[Raw, Raw]


@pytest.fixture
def pair(world: World) -> Iterator[Pair]:
    with Raw(world.url) as one, Raw(world.url) as two:
        yield one, two
    assert_sound(world)


class Aside(threading.Thread):
    """Runs something that may have to wait for a lock; keeps what it raised."""

    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__()
        self._work = work
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self._work()
        except Exception as error:
            self.error = error

    def finish(self) -> Exception | None:
        """Wait for it; what it raised."""
        self.join(30)
        assert not self.is_alive()
        return self.error


@POSTGRESQL
@pytest.mark.parametrize("name", MACHINES)
def test_of_two_sessions_that_race_for_one_entity_one_wins(
    world: World, pair: Pair, name: str
) -> None:
    entity = world.make(name)
    target = MACHINES[name].targets(MACHINES[name].initial)[0]
    one, two = pair
    one.run("BEGIN")
    two.run("BEGIN")
    heads = [sql.audit(name, entity, target) for sql in pair]
    assert one.step(name, entity, target, heads[0]) == 1
    loser = Aside(lambda: two.step(name, entity, target, heads[1]))
    one.run("COMMIT")
    error = loser.finish()
    two.run("ROLLBACK")
    assert isinstance(error, psycopg.IntegrityError)
    assert "patchline:" in str(error)
    assert two.row(name, entity)["audit_head"] == heads[0]


@POSTGRESQL
def test_an_older_number_does_not_win_over_a_newer_one(world: World, pair: Pair) -> None:
    task = world.make("task")
    one, two = pair
    one.run("BEGIN")
    older = one.audit("task", task, "queued")
    two.move("task", task, "cancelled")
    with refused("illegal_transition", "terminal", "no_audit_row"):
        one.step("task", task, "queued", older)
    one.run("ROLLBACK")


@POSTGRESQL
def test_an_audit_row_of_a_session_that_began_later_does_not_count(
    world: World, pair: Pair
) -> None:
    """Its transaction has a higher number, as a savepoint has, but it is not one's own."""
    task = world.make("task")
    one, two = pair
    one.run("BEGIN")
    one.rows("SELECT pg_current_xact_id()")
    values = two.audit_values("task", task, "queued")
    kept = "ALTER TABLE state_transitions {} TRIGGER patchline_state_transitions_kept_task"
    two.run(kept.format("DISABLE"))  # else it is not kept without its change
    two.insert_audit(values)
    with refused("no_audit_row"):
        one.step("task", task, "queued", values["hash"])
    one.run("ROLLBACK")
    two.without_triggers()
    two.run("DELETE FROM state_transitions WHERE event_id = ?", values["event_id"])


@POSTGRESQL
@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_a_snapshot_that_is_out_of_date_is_an_error(world: World, pair: Pair, level: str) -> None:
    task = world.make("task")
    one, two = pair
    one.run(f"BEGIN ISOLATION LEVEL {level}")
    assert one.row("task", task)["state"] == "pending"
    two.move("task", task, "queued")
    head = one.audit("task", task, "cancelled")  # it still sees a pending task
    with pytest.raises(psycopg.errors.SerializationFailure):
        one.step("task", task, "cancelled", head)
    one.run("ROLLBACK")
    assert two.row("task", task)["state"] == "queued"


@POSTGRESQL
def test_a_deadlock_ends_one_of_the_two_and_nothing_of_it_is_kept(world: World, pair: Pair) -> None:
    first, second = world.make("task"), world.make("task")

    def move(sql: Raw, task: str, target: str) -> None:
        sql.step("task", task, target, sql.audit("task", task, target))

    def both_in_turn(sql: Raw, mine: str, other: str, target: str) -> Callable[[], None]:
        def work() -> None:
            with sql.transaction():
                move(sql, mine, target)
                meet.wait(30)
                move(sql, other, target)

        return work

    meet = threading.Barrier(2)
    for sql in pair:
        sql.run("SET deadlock_timeout = '20ms'")
    sides = [
        Aside(both_in_turn(pair[0], first, second, "queued")),
        Aside(both_in_turn(pair[1], second, first, "cancelled")),
    ]
    errors = [side.finish() for side in sides]
    winner = errors.index(None)
    lost = errors[1 - winner]
    assert isinstance(lost, psycopg.errors.DeadlockDetected | psycopg.IntegrityError)
    states = {pair[0].row("task", task)["state"] for task in (first, second)}
    assert states == {"queued" if winner == 0 else "cancelled"}


@POSTGRESQL
def test_eight_sessions_that_go_for_the_same_entities_make_each_change_once(world: World) -> None:
    tasks = [world.make("task") for _ in range(5)]
    wins: list[str] = []

    def greedy() -> None:
        with Raw(world.url) as sql:
            for task in tasks:
                try:
                    with sql.transaction():
                        pending = {"from_state": "pending", "entity_version": 2}
                        head = sql.audit("task", task, "queued", **pending)
                        sql.step("task", task, "queued", head, version=2)
                    wins.append(task)
                except psycopg.IntegrityError:
                    continue

    sides = [Aside(greedy) for _ in range(8)]
    assert [side.finish() for side in sides] == [None] * 8
    assert sorted(wins) == tasks
    assert_sound(world)


@SQLITE
def test_in_sqlite_the_second_writer_waits_or_is_told_that_the_file_is_locked(
    world: World, pair: Pair
) -> None:
    task = world.make("task")
    one, two = pair
    for sql in pair:
        sql.run("PRAGMA busy_timeout = 0")
        sql.run("BEGIN")
        assert sql.row("task", task)["state"] == "pending"
    head = one.audit("task", task, "queued")
    one.step("task", task, "queued", head)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        two.audit("task", task, "cancelled")
    one.run("COMMIT")
    # What it had read is out of date now.
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        two.audit("task", task, "cancelled")
    two.run("ROLLBACK")
    assert two.move("task", task, "cancelled") == 1


@SQLITE
def test_in_sqlite_an_audit_row_of_another_connection_does_not_count(
    world: World, pair: Pair
) -> None:
    task = world.make("task")
    one, two = pair
    one.run("BEGIN")
    head = one.audit("task", task, "queued")
    one.change("task", task, state="queued", version=2, audit_head=head, updated_at=LATER)
    one.run("ROLLBACK")
    with refused("no_audit_row"):
        two.change("task", task, state="queued", version=2, audit_head=head)
