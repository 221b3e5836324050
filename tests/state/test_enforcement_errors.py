"""What the database refuses is said in words, at a prompt and as an error of the store."""

import sqlite3
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from state.entities import KINDS
from state.errors import (
    EntityExistsError,
    EntityNotFoundError,
    GuardNotSatisfied,
    InvalidTransitionError,
    PatchlineError,
    StoreUsageError,
    TerminalStateViolation,
    TimestampOrderingViolation,
)
from state.integrity import explain
from state.trigger_sql import Postgresql, Sqlite, trigger_statements
from state.triggers import watches
from tests.state.enforcement import LATER, REFUSED, Raw, assert_sound
from tests.state.world import World

Deed = Callable[[Raw, str], object]
ENDED = "completed"


def at_the_prompt(sql: Raw, deed: Callable[[], object]) -> str:
    """The first line of what a person would see."""
    with pytest.raises(REFUSED) as refused:
        deed()
    diag = getattr(refused.value, "diag", None)
    return diag.message_primary if diag else str(refused.value)


def explained(world: World, entity: str, aim: str, deed: Callable[[], object]) -> PatchlineError:
    """What the store makes of a task's write that was refused."""
    with pytest.raises(REFUSED) as refused:
        deed()
    row = dict(world.store.get("task", entity)._asdict())
    return world.store.look(
        lambda connection: explain(connection, KINDS["task"], row, aim, refused.value)
    )


@pytest.mark.parametrize(
    ("state", "deed", "said"),
    [
        (
            "pending",
            lambda sql, task: sql.change("task", task, state="completed", version=2),
            "patchline:illegal_transition: the machine of a task has no such change of state",
        ),
        (
            "pending",
            lambda sql, task: sql.change("task", task, state="queued", version=2),
            "patchline:no_audit_row: a task changes its state with an audit row of the same "
            "transaction only",
        ),
        (
            "pending",
            lambda sql, task: sql.change("task", task, version=2),
            "patchline:version: the version grows by one with each change of state, and not "
            "otherwise",
        ),
        (
            ENDED,
            lambda sql, task: sql.change("task", task, feedback="late"),
            "patchline:terminal: this task has ended",
        ),
        (
            ENDED,
            lambda sql, task: sql.change("task", task, metadata="{}", updated_at=LATER),
            "patchline:terminal: metadata and updated_at of an ended task change with an audit "
            "row only",
        ),
        (
            "pending",
            lambda sql, task: sql.change("task", task, is_critical=False),
            "patchline:fixed: these columns never change: task_id, workstream_id, slug, "
            "is_critical, retry_of, created_at",
        ),
        (
            "pending",
            lambda sql, task: sql.run("DELETE FROM tasks"),
            "patchline:append_only: rows of tasks are never deleted",
        ),
        (
            "pending",
            lambda sql, task: sql.run("UPDATE state_transitions SET reason = 'x'"),
            "patchline:append_only: rows of state_transitions are never changed",
        ),
        (
            "pending",
            lambda sql, task: sql.audit("task", task, "queued", entity_version=7),
            "patchline:audit_mismatch: the audit row does not continue from the task as it is",
        ),
    ],
)
def test_a_person_at_a_prompt_reads_what_was_refused_and_why(
    world: World, state: str, deed: Deed, said: str
) -> None:
    task = world.make_in("task", state)
    with Raw(world.url) as sql:
        assert at_the_prompt(sql, lambda: deed(sql, task)) == said


def test_every_rule_says_why_in_a_sentence_that_sql_can_carry() -> None:
    for spelling in (Sqlite(), Postgresql()):
        for watch in watches(spelling):
            for rule in watch.rules:
                assert len(rule.message.split()) >= 4
                assert "'" not in rule.message
                assert rule.code.isidentifier()
    for dialect in ("sqlite", "postgresql"):
        assert all("%" not in statement for statement in trigger_statements(dialect))


def test_the_store_names_an_illegal_change_and_what_would_be_legal(world: World) -> None:
    task = world.make("task")
    with Raw(world.url) as sql:
        error = explained(
            world, task, "completed", lambda: sql.change("task", task, state="completed", version=2)
        )
    assert type(error) is InvalidTransitionError
    assert (error.entity_type, error.entity_id) == ("task", task)
    assert (error.from_state, error.to_state) == ("pending", "completed")
    assert error.allowed == ("queued", "blocked", "cancelled")
    assert isinstance(error, ValueError)


def test_the_store_says_that_a_task_has_ended(world: World) -> None:
    task = world.make_in("task", ENDED)
    with Raw(world.url) as sql:
        for columns in ({"feedback": "late"}, {"metadata": "[]"}, {"updated_at": LATER}):
            error = explained(
                world, task, "updated", lambda given=columns: sql.change("task", task, **given)
            )
            assert type(error) is TerminalStateViolation
            assert (error.entity_id, error.from_state, error.allowed) == (task, ENDED, ())


@pytest.mark.parametrize(
    ("deed", "missing"),
    [
        (lambda sql, task: sql.change("task", task, state="queued", version=2), "no_audit_row"),
        (lambda sql, task: sql.change("task", task, version=9), "version"),
        (lambda sql, task: sql.change("task", task, slug="other"), "fixed"),
        (lambda sql, task: sql.audit("task", task, "queued", prev_hash=None), "audit_mismatch"),
        (lambda sql, task: sql.audit("task", task, "queued", hash=None), "no_hash"),
        (lambda sql, task: sql.change("task", task, worker_id="w"), "with_state"),
        (lambda sql, task: sql.change("task", task, updated_at="soon"), "time"),
        (lambda sql, task: sql.change("task", task, retry_count=9), "ck_tasks_retry_count"),
        (lambda sql, task: sql.change("task", task, position=None), "position"),
    ],
)
def test_the_store_names_the_rule_that_was_broken(world: World, deed: Deed, missing: str) -> None:
    task = world.make("task")
    with Raw(world.url) as sql:
        error = explained(world, task, "queued", lambda: deed(sql, task))
    assert isinstance(error, GuardNotSatisfied)
    assert (error.entity_type, error.entity_id, error.to_state) == ("task", task, "queued")
    assert error.missing == (missing,)
    assert "CONTEXT" not in str(error)


def test_the_store_itself_turns_what_the_database_refuses_into_its_errors(world: World) -> None:
    store, before = world.store, world.store.find("task")
    calls: list[tuple[type[PatchlineError], dict[str, Any], dict[str, Any]]] = [
        (
            EntityExistsError,
            {"entity_type": "run", "run_id": world.run_id},
            {"entity_id": world.run_id},
        ),
        (
            EntityNotFoundError,
            {"entity_type": "task", "workstream_id": "ws_none"},
            {"entity_type": "workstream", "entity_id": "ws_none"},
        ),
        (
            GuardNotSatisfied,
            {"entity_type": "task", "workstream_id": world.ws_id, "retry_count": 9},
            {"missing": ("ck_tasks_retry_count",), "to_state": "created"},
        ),
        (GuardNotSatisfied, {"entity_type": "task"}, {"missing": ("workstream_id",)}),
        (
            GuardNotSatisfied,
            {"entity_type": "worker", "shutdown_at": LATER},
            {"missing": ("ck_workers_end",)},
        ),
        (
            TimestampOrderingViolation,
            {"entity_type": "run", "started_at": "2001-01-01T00:00:00Z"},
            {"earlier": ("created_at", store.now())},
        ),
    ]
    for kind, given, attributes in calls:
        with pytest.raises(kind) as refused:
            store.create(**given)
        for name, value in attributes.items():
            assert getattr(refused.value, name) == value
        assert isinstance(refused.value.__cause__, sqlite3.Error | psycopg.Error)
    assert store.find("task") == before


def test_a_refused_write_gives_up_its_whole_batch_whoever_catches_it(world: World) -> None:
    store, task = world.store, world.make("task")

    def caught() -> None:
        with store.batch() as tx:
            tx.transition("task", task, "queued")
            with pytest.raises(GuardNotSatisfied):
                tx.create("task", workstream_id=world.ws_id, retry_count=9)

    with pytest.raises(StoreUsageError, match=r"nothing of it is kept.*ck_tasks_retry_count"):
        caught()
    assert store.get("task", task).state == "pending"
    assert_sound(world)
