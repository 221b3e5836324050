"""The cross-column rules (decisions C) as CHECKs, each broken by itself with the triggers off."""

import sqlite3
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from state.facts import FLAGS, NEEDS, SINGLE_END
from state.machines import MACHINES
from state.schema import METADATA
from tests.state.enforcement import LATER, Raw
from tests.state.stateless import make_compensation, make_lease
from tests.state.world import World

EARLY = "2001-01-01T00:00:00.000000Z"
Case = tuple[str, str, dict[str, Any]]
"""Machine, state of a row that is in order, and the columns that put it out of order."""


def cases() -> Iterator[tuple[str, Case]]:
    """For each CHECK, by its name, every way to break it alone."""
    for name, one in MACHINES.items():
        prefix = f"ck_{one.table}"
        yield f"{prefix}_order_created_at_updated_at", (name, one.initial, {"updated_at": EARLY})
        for state in NEEDS.get(name, {}):
            for column in NEEDS[name][state]:
                yield f"{prefix}_{state}_{column}", (name, state, {column: None})
        if end := SINGLE_END.get(name):
            for state in one.states:
                ended = state in one.terminal
                yield f"{prefix}_end", (name, state, {end: None if ended else LATER})
    for state, flags in FLAGS["patch_ledger"].items():
        for flag in flags:
            yield f"ck_patch_ledger_entries_{flag}", ("patch_ledger", state, {flag: False})
    yield from ORDER
    for state in MACHINES["task"].states:
        worker = None if state == "running" else "w9"
        yield "ck_tasks_worker_only_running", ("task", state, {"worker_id": worker})
    yield "ck_tasks_retry_count", ("task", "pending", {"retry_count": 4})
    yield "ck_tasks_retry_count", ("task", "pending", {"max_retries": -1})
    yield from LEDGER


ORDER: list[tuple[str, Case]] = [
    ("ck_runs_order_created_at_started_at", ("run", "running", {"started_at": EARLY})),
    ("ck_runs_order_created_at_completed_at", ("run", "canceled", {"completed_at": EARLY})),
    ("ck_runs_order_started_at_completed_at", ("run", "failed", {"started_at": LATER})),
    (
        "ck_workstreams_order_created_at_started_at",
        ("workstream", "executing", {"started_at": EARLY}),
    ),
    (
        "ck_workstreams_order_created_at_completed_at",
        ("workstream", "skipped", {"completed_at": EARLY}),
    ),
    (
        "ck_workstreams_order_started_at_completed_at",
        ("workstream", "failed", {"started_at": LATER}),
    ),
    ("ck_tasks_order_created_at_started_at", ("task", "running", {"started_at": EARLY})),
    ("ck_tasks_order_created_at_completed_at", ("task", "cancelled", {"completed_at": EARLY})),
    ("ck_tasks_order_started_at_completed_at", ("task", "failed", {"started_at": LATER})),
    ("ck_test_gates_order_created_at_started_at", ("test_gate", "RUNNING", {"started_at": EARLY})),
    (
        "ck_test_gates_order_created_at_completed_at",
        ("test_gate", "PASSED", {"completed_at": EARLY, "started_at": None}),
    ),
    ("ck_test_gates_order_started_at_completed_at", ("test_gate", "FAILED", {"started_at": LATER})),
]
LEDGER: list[tuple[str, Case]] = [
    (f"ck_patch_ledger_entries_{name}", ("patch_ledger", state, {column: value}))
    for name, state, column, value in [
        ("committed_at", "committed", "committed_at", None),
        ("committed_at", "rolled_back", "committed_at", None),
        ("committed_at", "verified", "committed_at", LATER),
        ("quarantined_at", "quarantined", "quarantined_at", None),
        ("quarantined_only", "created", "quarantined_at", LATER),
        ("quarantined_only", "committed", "quarantined_at", LATER),
        ("rolled_back_at", "rolled_back", "rolled_back_at", None),
        ("rolled_back_at", "committed", "rolled_back_at", LATER),
        ("dropped_at", "dropped", "dropped_at", None),
        ("dropped_at", "quarantined", "dropped_at", LATER),
    ]
]
STATELESS = {
    "ck_task_attempts_order_started_at_ended_at": (
        "UPDATE task_attempts SET ended_at = '2001-01-01T00:00:00.000000Z'"
    ),
    "ck_workstream_dependencies_self": "INSERT INTO workstream_dependencies VALUES ('a', 'a')",
    "ck_task_dependencies_self": "INSERT INTO task_dependencies VALUES ('a', 'a')",
    "ck_task_gates_role": "INSERT INTO task_gates VALUES ('a', 'b', 'sideways')",
    "ck_landing_leases_token": "UPDATE landing_leases SET token = -1",
    "ck_landing_leases_expires_at": "UPDATE landing_leases SET holder = NULL",
    "ck_compensation_plans_on_failure": "UPDATE compensation_plans SET on_failure = 'shrug'",
    "ck_compensation_plans_outcome": (
        "UPDATE compensation_plans SET outcome = 'so so', completed_at = created_at"
    ),
    "ck_compensation_plans_completed_at": "UPDATE compensation_plans SET outcome = 'done'",
    "ck_compensation_actions_action": "UPDATE compensation_actions SET action = 'pray'",
    "ck_compensation_actions_status": "UPDATE compensation_actions SET status = 'lost'",
    "ck_compensation_actions_ended_at": "UPDATE compensation_actions SET status = 'done'",
}
WORKER = ("ck_tasks_worker_only_running", "ck_tasks_running_worker_id")
SAYS_TOO = dict([WORKER, WORKER[::-1]])
"""Two CHECKs that say the same of a running task without a worker."""
STATES = {f"ck_{one.table}_state" for one in MACHINES.values()}


def broken(error: Exception) -> str:
    """The name of the CHECK that a driver complains of."""
    if isinstance(error, psycopg.Error):
        return error.diag.constraint_name or str(error)
    return str(error).removeprefix("CHECK constraint failed: ")


def test_there_is_a_case_for_every_check_of_the_schema() -> None:
    declared = {
        str(rule.name)
        for table in METADATA.tables.values()
        for rule in table.constraints
        if isinstance(rule, sa.CheckConstraint)
    }
    assert {name for name, _ in cases()} | STATELESS.keys() | STATES == declared


def test_each_check_refuses_what_breaks_it_and_nothing_else(world: World) -> None:
    rows = {(name, state) for _, (name, state, _) in cases()}
    made = {(name, state): world.make_in(name, state) for name, state in sorted(rows)}
    with Raw(world.url) as sql:
        sql.without_triggers()
        for check, (name, state, columns) in cases():
            entity = made[name, state]
            before = sql.row(name, entity)
            with pytest.raises((sqlite3.IntegrityError, psycopg.errors.CheckViolation)) as refused:
                sql.change(name, entity, **columns)
            assert broken(refused.value) in {check, SAYS_TOO.get(check)}, (name, state, columns)
            assert sql.row(name, entity) == before


@pytest.mark.parametrize("name", MACHINES)
def test_a_state_that_no_machine_has_is_refused_without_any_trigger(
    world: World, name: str
) -> None:
    entity = world.make(name)
    other_case = MACHINES[name].initial.swapcase()
    with Raw(world.url) as sql:
        sql.without_triggers()
        for state in ("nonsense", "", other_case, f" {MACHINES[name].initial}"):
            with pytest.raises((sqlite3.IntegrityError, psycopg.errors.CheckViolation)) as refused:
                sql.change(name, entity, state=state)
            assert broken(refused.value) in STATES


@pytest.mark.parametrize("check", STATELESS)
def test_rows_without_states_have_their_checks_too(world: World, check: str) -> None:
    world.make_in("task", "running")
    make_lease(world)
    make_compensation(world)
    with Raw(world.url) as sql:
        sql.without_triggers()
        with pytest.raises((sqlite3.IntegrityError, psycopg.errors.CheckViolation)) as refused:
            sql.run(STATELESS[check])
        assert broken(refused.value) == check


@pytest.mark.parametrize("name", MACHINES)
def test_a_change_of_state_lacking_what_it_needs_is_refused_whole(world: World, name: str) -> None:
    """With the triggers on, and its audit row there: the CHECKs have the last word."""
    machine = MACHINES[name]
    end = SINGLE_END.get(name)
    with Raw(world.url) as sql:
        for edge in machine.all_transitions():
            lacking = list(NEEDS.get(name, {}).get(edge.target, ()))
            if end and edge.target in machine.terminal:
                lacking.append(end)
            for column in lacking:
                entity = world.make_in(name, edge.source)
                before = sql.row(name, entity)
                if before[column] is not None:
                    continue  # given by an earlier state
                count = sql.rows("SELECT COUNT(*) FROM state_transitions")
                with pytest.raises((sqlite3.IntegrityError, psycopg.errors.CheckViolation)):
                    sql.move(name, entity, edge.target, **{column: None})
                assert sql.row(name, entity) == before
                assert sql.rows("SELECT COUNT(*) FROM state_transitions") == count
