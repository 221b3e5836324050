"""Values that would lie about an entity or stop the product: refused, whoever writes them."""

import sqlite3
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from state.errors import GuardNotSatisfied
from state.facts import FIRST_ONLY, MANAGED, NEEDS_OPERATOR, STAMPS
from state.machines import MACHINES
from tests.state.enforcement import LATER, REFUSED, Raw, assert_sound, refused
from tests.state.world import World

NO_TIMES = (
    "zzzz",
    "",
    "2030",
    "2030-01-01",
    "2030-01-01T00:00:00Z",
    "2030-01-01 00:00:00.000000Z",
    "2030-01-01T00:00:00.000000+",
    "2030-01-01T00:00:00.00000 Z",
    "2030-01-01T00:00:00.000000Z ",
    "2030-13-01T00:00:00.000000Z",
    "2030-01-00T00:00:00.000000Z",
    "2030-02-30T00:00:00.000000Z",
    "2030-01-01T24:00:00.000000Z",
    "2030-01-01T00:60:00.000000Z",
    "2030-01-01T00:00:60.000000Z",
)
TIMES = (
    "2028-02-29T00:00:00.000000Z",
    "2028-12-31T23:59:59.999999Z",
    "9999-12-31T23:59:59.999999Z",
)


@pytest.fixture
def sql(world: World) -> Iterator[Raw]:
    with Raw(world.url) as one:
        yield one
    assert_sound(world)


# Times


@pytest.mark.parametrize("name", MACHINES)
def test_updated_at_is_a_time_that_never_goes_back(world: World, sql: Raw, name: str) -> None:
    entity = world.make(name)
    before = sql.row(name, entity)
    for text in NO_TIMES:
        # A date that there is not is PostgreSQL's own to refuse.
        with pytest.raises((*REFUSED, psycopg.DataError)):
            sql.change(name, entity, updated_at=text)
    for text in ("2001-01-01T00:00:00.000000Z", "0001-01-01T00:00:00.000000Z"):
        with refused("time"):
            sql.change(name, entity, updated_at=text)
    assert sql.row(name, entity) == before
    for text in TIMES:
        assert sql.change(name, entity, updated_at=text) == 1


def test_a_change_of_state_happens_at_the_time_of_its_audit_row(world: World, sql: Raw) -> None:
    task = world.make("task")
    for text in (*NO_TIMES, "2030-01-01T00:00:00.000001Z"):
        with refused("no_audit_row"):
            sql.move("task", task, "queued", updated_at=text)
    for text in NO_TIMES:
        with pytest.raises((*REFUSED, psycopg.DataError)):
            sql.audit("task", task, "queued", transitioned_at=text)
    assert sql.move("task", task, "queued") == 1


@pytest.mark.parametrize("name", MACHINES)
def test_the_times_of_a_state_are_written_with_the_state_and_are_times(
    world: World, sql: Raw, name: str
) -> None:
    machine = MACHINES[name]
    for state, column in STAMPS[name].items():
        for source in machine.states:
            if state not in machine.targets(source):
                continue
            entity = world.make_in(name, source)
            before = sql.row(name, entity)
            if before[column] is None:
                with pytest.raises(REFUSED):
                    sql.move(name, entity, state, **{column: "9999"})
                with pytest.raises(REFUSED):
                    sql.change(name, entity, **{column: LATER})
            elif column in FIRST_ONLY:
                with refused("start"):  # the first start stays
                    sql.move(name, entity, state, **{column: LATER})
            assert sql.row(name, entity) == before
            assert sql.move(name, entity, state) == 1
            break


@pytest.mark.parametrize(
    ("name", "state"),
    [(name, state) for name in STAMPS for state, one in STAMPS[name].items() if one in FIRST_ONLY],
)
def test_what_runs_has_a_start(world: World, sql: Raw, name: str, state: str) -> None:
    (source,) = {one.source for one in MACHINES[name].all_transitions() if one.target == state} - {
        "retrying",
        "apply_failed",
    }
    entity = world.make_in(name, source)
    with refused("start"):
        sql.move(name, entity, state, started_at=None)
    sql.move(name, entity, state)
    with refused("with_state"):
        sql.change(name, entity, started_at=None)
    ended = sorted(MACHINES[name].terminal & set(MACHINES[name].targets(state)))
    if ended:
        with refused("start"):
            sql.move(name, entity, ended[0], started_at=None)


# What a change of state alone says


def test_nobody_takes_a_task_from_its_worker_without_a_change_of_state(
    world: World, sql: Raw
) -> None:
    task = world.make_in("task", "running")
    before = sql.row("task", task)
    stolen: dict[str, Any] = {"worker_id": "w9", "token": "att_9", "attempts": 9}
    assert stolen.keys() == MANAGED["task"]
    for column, value in stolen.items():
        with refused("with_state"):
            sql.change("task", task, **{column: value})
    with refused("with_state"):
        sql.change("task", task, **stolen)
    assert sql.row("task", task) == before


def test_retries_are_counted_from_0(world: World, sql: Raw) -> None:
    task = world.make("task")
    with refused("retry_count"):
        sql.change("task", task, retry_count=-1)
    with refused("retry_count"), sql.transaction():
        head = sql.audit("task", "new", "pending")
        like = sql.new_like("task", task, "new")
        sql.insert("tasks", {**like, "audit_head": head, "retry_count": -50})
    assert sql.change("task", task, retry_count=2) == 1


def test_a_gate_passes_with_an_expected_exit_code_only(world: World, sql: Raw) -> None:
    for expected, bad, good in (("[0]", 7, 0), ("[0,5]", 50, 5), ("[]", 0, None)):
        gate = world.make(
            "test_gate", expected_exit_codes=[int(c) for c in expected if c.isdigit()]
        )
        world.go("test_gate", gate, "RUNNING")
        with refused("exit_code"):
            sql.move("test_gate", gate, "PASSED", exit_code=bad)
        with refused("fixed"):
            sql.change("test_gate", gate, expected_exit_codes=f"[{bad}]")
        if good is not None:
            assert sql.move("test_gate", gate, "PASSED", exit_code=good) == 1


@pytest.mark.parametrize(("name", "source", "target"), sorted(NEEDS_OPERATOR))
def test_what_needs_an_operator_names_one(
    world: World, sql: Raw, name: str, source: str, target: str
) -> None:
    entity = world.make_in(name, source)
    for operator in (None, "", "  "):
        with refused("operator"):
            sql.audit(name, entity, target, operator=operator)
    assert sql.move(name, entity, target) == 1


def test_why_a_patch_was_quarantined_stays(world: World, sql: Raw) -> None:
    lies: dict[str, Any] = {
        "quarantine_reason": "nothing much",
        "quarantined_at": LATER,
        "reasons": '["lies"]',
    }
    entry = world.make_in("patch_ledger", "quarantined")
    for column, value in [*lies.items(), ("quarantine_reason", None), ("quarantined_at", None)]:
        if column != "reasons":
            with refused("terminal"):
                sql.change("patch_ledger", entry, **{column: value})
        with refused("reason"):
            sql.move("patch_ledger", entry, "dropped", **{column: value})
    with pytest.raises(GuardNotSatisfied, match="written with the state"):
        world.store.transition(
            "patch_ledger", entry, "dropped", operator="ann", quarantine_reason="nothing much"
        )
    assert sql.move("patch_ledger", entry, "dropped") == 1


def test_a_rollback_says_nothing_of_a_quarantine(world: World, sql: Raw) -> None:
    entry = world.make_in("patch_ledger", "committed")
    with refused("reason"):
        sql.move("patch_ledger", entry, "rolled_back", quarantine_reason="why not")
    with pytest.raises(GuardNotSatisfied, match="written with the state"):
        world.store.transition(
            "patch_ledger",
            entry,
            "rolled_back",
            operator="ann",
            rollback_reason="broke",
            quarantine_reason="why not",
        )
    assert world.store.get("patch_ledger", entry).state == "committed"


# Audit rows that nobody could read


@pytest.mark.parametrize("metadata", ["[]", "null", "1", '"text"', "[{}]"])
def test_the_metadata_of_an_audit_row_is_an_object(world: World, sql: Raw, metadata: str) -> None:
    with refused("metadata"):
        sql.audit("task", world.make("task"), "queued", metadata=metadata, hash="0" * 64)


@pytest.mark.parametrize("metadata", ["", "{", "{'a':1}", "{} {}", b"\x00\xff", None])
def test_the_metadata_of_an_audit_row_is_json(world: World, sql: Raw, metadata: Any) -> None:
    with pytest.raises((sqlite3.Error, psycopg.Error)):
        sql.audit("task", world.make("task"), "queued", metadata=metadata, hash="0" * 64)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_an_audit_row_has_no_bytes_for_text(world: World, sql: Raw) -> None:
    values = sql.audit_values("task", world.make("task"), "queued")
    for column, value in values.items():
        if column not in ("entity_version", "metadata"):
            given = str(value or "x").encode()
            with pytest.raises(REFUSED, match="patchline:"):
                sql.insert_audit({**values, column: given})
    with refused("binary"):
        sql.insert_audit({**values, "reason": b""})
