"""A change and its audit row belong together: one of each, about the same, in one transaction."""

import sqlite3
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from state.machines import MACHINES
from tests.state.enforcement import LATER, Raw, assert_sound, needed, refused
from tests.state.world import World

QUEUED = f"UPDATE tasks SET state = 'queued', version = 2, updated_at = '{LATER}',"


@pytest.fixture
def sql(world: World) -> Iterator[Raw]:
    with Raw(world.url) as one:
        yield one
    assert_sound(world)


def queued(sql: Raw, task: str, head: str | None, **other: Any) -> int:
    """The change of a pending task that its audit row with that hash tells of."""
    columns = {"state": "queued", "version": 2, "updated_at": LATER, "audit_head": head}
    return sql.change("task", task, **{**columns, **other})


@pytest.mark.parametrize("name", MACHINES)
def test_an_audit_row_of_another_does_not_count(world: World, sql: Raw, name: str) -> None:
    """Of another entity, state, version or kind; or of this one, and another one came after."""
    one, other = world.make(name), world.make(name)
    target, *others = MACHINES[name].targets(MACHINES[name].initial)

    def first(entity: str, *states: str, **wrong: Any) -> None:
        with sql.transaction():
            head = [sql.audit(name, entity, state) for state in states][-1]
            sql.step(name, one, target, head, **wrong)

    with refused("no_audit_row"):
        first(other, target)
    with refused("no_audit_row"):
        first(one, MACHINES[name].initial)
    for another in others:
        with refused("no_audit_row"):
            first(one, another)
    for version in (0, 1, 3, 100, -2):
        with refused("version"):
            first(one, target, version=version)
    with refused("no_audit_row"):
        first(one, target, audit_head="f" * 64)
    with refused("no_audit_row"):
        first(one, target, audit_head=None)
    with refused("twice"):
        first(one, target, target)
    first(one, target)


def test_an_audit_row_carries_one_change(world: World, sql: Raw) -> None:
    one, two = world.make("task"), world.make("task")

    def both_at_once() -> None:
        with sql.transaction():
            head = sql.audit("task", one, "queued")
            sql.run(
                f"{QUEUED} audit_head = ? WHERE state = 'pending'",
                head,
            )

    def one_after_the_other() -> None:
        with sql.transaction():
            head = sql.audit("task", one, "queued")
            queued(sql, one, head)
            queued(sql, two, head)

    def twice() -> None:
        with sql.transaction():
            head = sql.audit("task", one, "queued")
            queued(sql, one, head)
            sql.change("task", one, state="cancelled", version=3, completed_at=LATER)

    for deed in (both_at_once, one_after_the_other, twice):
        with refused("no_audit_row"):
            deed()
    for statement in (
        "UPDATE tasks SET state = 'queued'",
        "UPDATE tasks SET state = 'completed', completed_at = '2030'",
        "UPDATE tasks SET version = version + 1",
        "UPDATE tasks SET state = 'queued', version = 2 WHERE task_id LIKE 'task%'",
    ):
        with refused("no_audit_row", "version", "illegal_transition"):
            sql.run(statement)
    assert {state for (state,) in sql.rows("SELECT state FROM tasks")} == {"pending"}


@pytest.mark.parametrize("name", MACHINES)
def test_the_head_of_the_chain_and_the_version_do_not_change_alone(
    world: World, sql: Raw, name: str
) -> None:
    entity = world.make(name)
    before = sql.row(name, entity)
    for head in ("f" * 64, None, ""):
        with refused("no_audit_row"):
            sql.change(name, entity, audit_head=head)
    for version in (0, 2, 99):
        with refused("version"):
            sql.change(name, entity, version=version)
    with refused("version"), sql.transaction():
        head = sql.audit(name, entity, before["state"])
        sql.change(name, entity, audit_head=head, version=2)
    assert sql.row(name, entity) == before
    # An act that is no change of state has an audit row of its own kind.
    assert sql.move(name, entity, before["state"]) == 1


def test_a_change_of_state_among_many_columns_is_seen(world: World, sql: Raw) -> None:
    task = world.make("task")
    many = {"title": "new", "position": 7, "feedback": "well", "tool_id": "ruff", "exit_code": 1}
    assert sql.change("task", task, **many) == 1
    with refused("no_audit_row"):
        sql.change("task", task, **many, state="queued", version=2, reason="nothing to see")
    with refused("no_audit_row"):
        sql.run(
            "UPDATE tasks SET title = 'x', (state, version, reason) = ('queued', 2, 'x') "
            "WHERE task_id = ?",
            task,
        )


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_an_audit_row_is_not_kept_without_its_change(world: World, sql: Raw) -> None:
    """Nothing could ever follow it in the chain of its entity."""
    task = world.make("task")
    count = sql.rows("SELECT COUNT(*) FROM state_transitions")

    def half_told() -> None:
        with sql.transaction():
            queued(sql, task, sql.audit("task", task, "queued"))
            sql.audit("task", task, "cancelled")

    with refused("alone"):
        sql.audit("task", task, "queued")  # its own transaction
    with refused("alone"):
        sql.audit("task", "new", "pending")
    with refused("alone"):
        half_told()
    assert sql.rows("SELECT COUNT(*) FROM state_transitions") == count
    with sql.transaction():  # one after the other is no such thing
        queued(sql, task, sql.audit("task", task, "queued"))
        head = sql.audit("task", task, "cancelled")
        sql.step("task", task, "cancelled", head)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_an_audit_row_of_an_earlier_transaction_does_not_count(world: World) -> None:
    """It stays behind as what it is: a row that tells of nothing, and the check says so.

    SQLite has no number for a transaction: there it is the connection's latest insert.
    """
    task = world.make("task")
    with Raw(world.url) as sql, Raw(world.url) as other:
        head = sql.audit("task", task, "queued")  # its own transaction
        with refused("no_audit_row"):
            queued(other, task, head)
        sql.run("CREATE TEMP TABLE scratch (x INTEGER)")
        sql.run("INSERT INTO scratch VALUES (1)")
        with refused("no_audit_row"):
            queued(sql, task, head)
        assert sql.row("task", task)["state"] == "pending"
    with pytest.raises(AssertionError):
        assert_sound(world)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_in_sqlite_the_latest_insert_of_the_connection_counts_though_it_was_committed(
    world: World, sql: Raw
) -> None:
    """The one thing that PostgreSQL refuses and SQLite cannot know; it ends as it should."""
    task = world.make("task")
    head = sql.audit("task", task, "queued")
    assert queued(sql, task, head) == 1


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_the_store_goes_on_after_an_audit_row_without_a_change(world: World) -> None:
    task = world.make("task")
    with Raw(world.url) as sql:
        sql.audit("task", task, "cancelled")
    assert world.go("task", task, "queued", "running").to_state == "running"


# Savepoints


def test_an_audit_row_that_was_rolled_back_does_not_count(world: World, sql: Raw) -> None:
    task = world.make("task")

    def undone(*after: str) -> None:
        with sql.transaction():
            sql.run("SAVEPOINT here")
            head = sql.audit("task", task, "queued")
            sql.run("ROLLBACK TO SAVEPOINT here")
            for statement in after:
                sql.run(statement)
            queued(sql, task, head)

    for after in ([], ["RELEASE SAVEPOINT here"]):
        with refused("no_audit_row"):
            undone(*after)
    sql.run("BEGIN")
    head = sql.audit("task", task, "queued")
    sql.run("ROLLBACK")
    with refused("no_audit_row"):
        queued(sql, task, head)


def test_an_audit_row_under_a_savepoint_that_is_kept_counts(world: World, sql: Raw) -> None:
    first, second, third = (world.make("task") for _ in range(3))
    with sql.transaction():
        sql.run("SAVEPOINT one")
        head = sql.audit("task", first, "queued")
        sql.run("RELEASE SAVEPOINT one")
        queued(sql, first, head)
        sql.run("SAVEPOINT two")
        sql.run("SAVEPOINT three")
        head = sql.audit("task", second, "queued")
        queued(sql, second, head)
        sql.run("RELEASE SAVEPOINT two")
        head = sql.audit("task", third, "queued")
        sql.run("SAVEPOINT four")
        queued(sql, third, head)
    assert {state for (state,) in sql.rows("SELECT state FROM tasks")} == {"queued"}


def test_a_change_that_was_rolled_back_to_a_savepoint_may_be_made_again(
    world: World, sql: Raw
) -> None:
    task = world.make("task")
    with sql.transaction():
        head = sql.audit("task", task, "queued")
        sql.run("SAVEPOINT here")
        queued(sql, task, head, title="no")
        sql.run("ROLLBACK TO SAVEPOINT here")
        queued(sql, task, head, title="yes")
    assert sql.row("task", task)["title"] == "yes"


# What only one of the two has


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_a_data_modifying_cte_makes_no_way_around(world: World, sql: Raw) -> None:
    tasks = [world.make("task") for _ in range(3)]
    change = f"{QUEUED} audit_head = ? WHERE task_id = ?"
    values = sql.audit_values("task", tasks[0], "queued")
    names, marks = ", ".join(f'"{name}"' for name in values), ", ".join("?" * len(values))
    audit = f"INSERT INTO state_transitions ({names}) VALUES ({marks})"

    with refused("no_audit_row"):  # the change comes first
        sql.run(f"WITH a AS ({audit}) {change}", *values.values(), values["hash"], tasks[0])
    with refused("no_audit_row"):  # one audit row, two tasks
        sql.run(
            f"WITH a AS ({audit} RETURNING hash) {QUEUED} audit_head = a.hash FROM a "
            "WHERE task_id IN (?, ?)",
            *values.values(),
            *tasks[:2],
        )
    sql.run(  # the audit row, and its change from what it returned
        f"WITH a AS ({audit} RETURNING hash) {QUEUED} audit_head = a.hash FROM a WHERE task_id = ?",
        *values.values(),
        tasks[0],
    )
    assert sql.row("task", tasks[0])["state"] == "queued"


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_many_rows_may_change_at_once_if_each_has_its_audit_row(world: World, sql: Raw) -> None:
    tasks = [world.make("task") for _ in range(4)]
    heads = {}

    def all_of_them(told: list[str]) -> None:
        with sql.transaction():
            heads.update({task: sql.audit("task", task, "queued") for task in told})
            sql.run(
                f"{QUEUED} audit_head = (SELECT hash FROM "
                "state_transitions a WHERE a.entity_id = task_id ORDER BY transition_id DESC "
                "LIMIT 1)"
            )

    with refused("no_audit_row"):
        all_of_them(tasks[:3])
    all_of_them(tasks)
    assert [sql.row("task", task)["audit_head"] for task in tasks] == list(heads.values())


def test_whoever_switches_the_rules_off_is_found_out(world: World) -> None:
    """The owner of a database may; triggers do not stop it, the history shows it."""
    task = world.make("task")
    assert_sound(world)
    with Raw(world.url) as sql:
        sql.without_triggers()
        done = needed("task", sql.row("task", task), "completed")
        assert sql.change("task", task, state="completed", version=5, **done) == 1
    with pytest.raises(AssertionError):
        assert_sound(world)


def test_an_unknown_type_of_state_is_no_state(world: World, sql: Raw) -> None:
    task = world.make("task")
    values: list[Any] = [b"queued", "QUEUED", "queued ", "", None, "que\u0301ued"]
    for state in values:
        with pytest.raises((sqlite3.IntegrityError, psycopg.Error)):
            sql.change("task", task, state=state, version=2)
