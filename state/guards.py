"""Guards that need other rows: dependencies, entry gates, fencing tokens, the worker's state."""

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Table

from state import statements
from state.connection import Connection
from state.entities import Kind
from state.errors import StaleTokenError, StoreUsageError
from state.facts import NEEDS
from state.rules import Request
from state.schema import tasks, test_gates, workers

_NEEDS_DEPENDENCIES = frozenset(
    {
        ("task", "pending", "queued"),
        ("task", "blocked", "pending"),
        ("workstream", "planned", "ready"),
        ("workstream", "blocked", "ready"),
    }
)
_AT_WORK = frozenset({"idle", "busy"})


def check(connection: Connection, request: Request, free_workers: Collection[str] = ()) -> None:
    """The guards of this transition that other rows decide.

    Args:
        connection: of the transaction.
        request: the transition.
        free_workers: workers that were found free in this transaction, and are locked.

    Raises:
        GuardNotSatisfied: a dependency or an entry gate is not done, or the worker is gone.
    """
    name, target = request.machine.name, request.target
    if (name, request.source, target) in _NEEDS_DEPENDENCIES:
        unmet = unmet_dependencies(connection, name, request.entity_id)
        if unmet:
            raise request.refuse("depends_on", f"it waits for {', '.join(unmet)}")
    if (name, target) == ("task", "queued") and request.source == "pending":
        gates = unpassed_entry_gates(connection, request.entity_id)
        if gates:
            raise request.refuse("entry_gates", f"these gates are not passed: {', '.join(gates)}")
    if (name, target) == ("task", "running"):
        (column,) = NEEDS["task"]["running"]
        if request.columns[column] not in free_workers:
            _check_worker(connection, request, column)


def unmet_dependencies(connection: Connection, entity_type: str, entity_id: str) -> list[str]:
    """Ids of what this task or workstream still waits for.

    A task's dependency is met when it, or the newest task made to retry it, is completed. A
    workstream's is met when completed; skipped counts when the run's metadata says
    `skipped_satisfies` (decisions W5).
    """
    if entity_type == "task":
        return _unmet_tasks(connection, entity_id)
    return _unmet_workstreams(connection, entity_id)


def _unmet_tasks(connection: Connection, task_id: str) -> list[str]:
    needs = connection.rows(statements.TASK_DEPENDENCIES, {statements.KEY: task_id})
    return [
        wanted
        for wanted, state in needs
        if state != "completed"
        and newest_of_lineage(connection, tasks, "task_id", wanted)[1] != "completed"
    ]


def _unmet_workstreams(connection: Connection, ws_id: str) -> list[str]:
    needs = connection.rows(statements.WORKSTREAM_DEPENDENCIES, {statements.KEY: ws_id})
    return [
        wanted
        for wanted, state, about in needs
        if state != "completed"
        and not (state == "skipped" and bool(about.get("skipped_satisfies")))
    ]


def newest_of_lineage(
    connection: Connection, table: Table, key: str, entity_id: str
) -> tuple[str, str]:
    """Id and state of the newest row made to retry this one; itself when there is none."""
    state = connection.scalar(statements.state_of(table, key), {statements.KEY: entity_id})
    while True:
        successor = connection.rows(statements.successor(table, key), {statements.KEY: entity_id})
        if not successor:
            return entity_id, state
        entity_id, state = successor[0]


def unpassed_entry_gates(connection: Connection, task_id: str) -> list[str]:
    """Entry gates of a task that are not passed; a re-run stands for its original (G2).

    An advisory gate only records and warns (G1): it holds nothing up.
    """
    unpassed: list[str] = []
    for (gate,) in connection.rows(statements.ENTRY_GATES, {statements.KEY: task_id}):
        newest, state = newest_of_lineage(connection, test_gates, "gate_id", gate)
        if state != "PASSED" and _is_blocking(connection, newest):
            unpassed.append(gate)
    return unpassed


def _is_blocking(connection: Connection, gate_id: str) -> bool:
    return bool(connection.scalar(statements.IS_BLOCKING, {statements.KEY: gate_id}))


def _check_worker(connection: Connection, request: Request, column: str) -> None:
    worker_id = request.columns[column]
    query = statements.state_of(workers, "worker_id")
    state = connection.scalar(query, {statements.KEY: worker_id})
    if state is None:
        return  # a worker that somebody else keeps the books of
    if state not in _AT_WORK:
        raise request.refuse(column, f"the worker {worker_id} is {state}")
    held = connection.scalar(statements.HELD_TASK, {statements.KEY: worker_id})
    if held is not None:  # one task for each worker (decisions K3)
        raise request.refuse(column, f"the worker {worker_id} holds the task {held}")


def check_token(
    connection: Connection, kind: Kind, entity_id: str, row: Mapping[str, Any], token: str
) -> None:
    """Refuse a write that carries the token of an attempt that is no longer live (decisions T9).

    Raises:
        StaleTokenError: the token is not the live one.
        StoreUsageError: rows of this kind belong to no task, so a token says nothing.
    """
    live = _live_token(connection, kind, row)
    if live != token:
        raise StaleTokenError(kind.name, entity_id, token, live)


def _live_token(connection: Connection, kind: Kind, row: Mapping[str, Any]) -> str | None:
    if kind.name == "task":
        return row["token"]
    if "task_id" not in kind.columns:
        raise StoreUsageError(f"A {kind.name} belongs to no task, so it takes no token.")
    if row["task_id"] is None:
        return row.get("attempt_id")
    live = connection.scalar(statements.LIVE_TOKEN, {statements.KEY: row["task_id"]})
    own = row.get("attempt_id")
    # The row of an earlier attempt is closed to the live one too: each attempt has its own rows.
    return live if own is None or own == live else None
