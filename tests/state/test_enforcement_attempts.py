"""Attempts: each belongs to the start of a task, ends with it, and is history from then on."""

from collections.abc import Iterator
from typing import Any

import pytest

from state.errors import EntityExistsError, GuardNotSatisfied, StaleTokenError
from state.schema import task_attempts
from tests.state.enforcement import LATER, Raw, assert_sound, refused
from tests.state.world import World


@pytest.fixture
def sql(world: World) -> Iterator[Raw]:
    with Raw(world.url) as one:
        yield one
    assert_sound(world)


def attempt_of(task: str, **other: Any) -> dict[str, Any]:
    """A row by hand."""
    about = {"attempt_id": "att_raw", "task_id": task, "number": 1, "worker_id": "w1"}
    return {**about, "started_at": LATER, "metadata": "{}", **other}


def attempt_row(sql: Raw, attempt: str) -> tuple[Any, ...]:
    """All of an attempt, as the database keeps it."""
    names = ", ".join(column.name for column in task_attempts.c if column.name != "metadata")
    (row,) = sql.rows(f"SELECT {names} FROM task_attempts WHERE attempt_id = ?", attempt)
    return row


def test_an_attempt_is_that_of_a_task_that_runs_under_its_token(world: World, sql: Raw) -> None:
    waiting, running = world.make("task"), world.make_in("task", "running")
    for task in (waiting, running, "nobody"):
        with refused("no_task"):
            sql.insert("task_attempts", attempt_of(task, number=2))
    assert world.go("task", waiting, "queued", "running").to_state == "running"


def test_a_start_by_hand_brings_its_own_attempt(world: World, sql: Raw) -> None:
    task = world.make_in("task", "queued")
    start = {"token": "att_raw", "attempts": 1}
    for wrong in ({"number": 2}, {"worker_id": "w2"}, {"attempt_id": "att_other"}):
        with refused("no_task"), sql.transaction():
            head = sql.audit("task", task, "running")
            sql.step("task", task, "running", head, **start)
            sql.insert("task_attempts", attempt_of(task, **wrong))
    with sql.transaction():
        head = sql.audit("task", task, "running")
        sql.step("task", task, "running", head, **start)
        sql.insert("task_attempts", attempt_of(task))
    world.store.transition("task", task, "validating", token="att_raw")


def test_an_ended_attempt_is_history(world: World, sql: Raw) -> None:
    store, task = world.store, world.make_in("task", "running")
    attempt = store.get("task", task).token
    store.update("task_attempt", attempt, output="hello", exit_code=3)
    world.go("task", task, "retrying")
    before = attempt_row(sql, attempt)
    late: list[dict[str, Any]] = [
        {"outcome": "completed"},
        {"exit_code": 0},
        {"output": "all well"},
        {"reason": "none"},
        {"ended_at": LATER},
    ]
    for columns in late:
        (name,) = columns
        with refused("ended"):
            sql.run(
                f"UPDATE task_attempts SET {name} = ? WHERE attempt_id = ?", columns[name], attempt
            )
        with pytest.raises(StaleTokenError) as stale:
            store.update("task_attempt", attempt, **columns)
        assert stale.value.token == attempt
    with refused("ended"):
        sql.run("UPDATE task_attempts SET ended_at = NULL")
    assert attempt_row(sql, attempt) == before


def test_an_attempt_does_not_end_before_its_task_has_left_running(world: World, sql: Raw) -> None:
    task = world.make_in("task", "running")
    with refused("live"):
        sql.run("UPDATE task_attempts SET ended_at = ?", LATER)
    with pytest.raises(GuardNotSatisfied, match="leaves running"):
        world.store.update("task_attempt", world.store.get("task", task).token, ended_at=LATER)
    assert world.go("task", task, "validating").to_state == "validating"


def test_a_task_whose_attempt_is_gone_is_not_ended_as_if_nothing_were_wrong(world: World) -> None:
    task = world.make_in("task", "running")
    with Raw(world.url) as sql:
        sql.without_triggers()
        sql.run("DELETE FROM task_attempts")
    with pytest.raises(GuardNotSatisfied, match=r"row of its attempt att_\w+ is not in") as gone:
        world.store.transition("task", task, "validating")
    assert gone.value.missing == ("no_attempt",)
    assert world.store.get("task", task).state == "running"


def test_an_earlier_attempt_brings_no_patch(world: World) -> None:
    store, task = world.store, world.make_in("task", "running")
    old = store.get("task", task).token
    world.make("patch_ledger", task_id=task, attempt_id=old)
    world.go("task", task, "retrying", "queued")
    world.make("patch_ledger", task_id=task, attempt_id=old)  # still the newest
    world.go("task", task, "running")
    live = store.get("task", task).token
    for attempt in (old, "att_nobody"):
        with pytest.raises(StaleTokenError) as stale:
            world.make("patch_ledger", task_id=task, attempt_id=attempt)
        assert (stale.value.token, stale.value.live) == (attempt, live)
    world.make("patch_ledger", task_id=task, attempt_id=live)


def test_an_id_that_an_attempt_has_already_is_said_to_be_the_attempts(world: World) -> None:
    store, task = world.store, world.make_in("task", "queued")
    taken = store.get("task", world.make_in("task", "running")).token

    class Same:
        def new(self, prefix: str) -> str:
            return taken if prefix == "att_" else store.ids.new(prefix)

    with (
        world.open(clock=world.clock, ids=Same()) as other,
        pytest.raises(EntityExistsError) as exists,
    ):
        other.transition("task", task, "running", worker_id="w2")
    assert (exists.value.entity_type, exists.value.entity_id) == ("task_attempt", taken)
    assert store.get("task", task).state == "queued"
