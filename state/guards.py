"""Guards that need other rows: dependencies, entry gates, fencing tokens, the worker's state."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Table, select

from state import statements
from state.entities import Kind
from state.errors import StaleTokenError, StoreUsageError
from state.facts import NEEDS
from state.rules import Request
from state.schema import (
    runs,
    tasks,
    test_gates,
    workstream_dependencies,
    workstreams,
)

_NEEDS_DEPENDENCIES = frozenset(
    {
        ("task", "pending", "queued"),
        ("task", "blocked", "pending"),
        ("workstream", "planned", "ready"),
        ("workstream", "blocked", "ready"),
    }
)
_GONE = frozenset({"unresponsive", "shutdown"})


def check(connection: Connection, request: Request) -> None:
    """The guards of this transition that other rows decide.

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
        _check_worker(connection, request)


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
    query = statements.TASK_DEPENDENCIES
    return [
        wanted
        for wanted, state in connection.execute(query, {statements.KEY: task_id}).all()
        if state != "completed"
        and newest_of_lineage(connection, tasks, "task_id", wanted)[1] != "completed"
    ]


def _unmet_workstreams(connection: Connection, ws_id: str) -> list[str]:
    link = workstream_dependencies
    query = (
        select(link.c.depends_on, workstreams.c.state, runs.c["metadata"])
        .join(workstreams, workstreams.c.ws_id == link.c.depends_on)
        .join(runs, runs.c.run_id == workstreams.c.run_id)
        .where(link.c.ws_id == ws_id)
        .order_by(link.c.depends_on)
    )
    return [
        wanted
        for wanted, state, about in connection.execute(query).all()
        if state != "completed"
        and not (state == "skipped" and bool(about.get("skipped_satisfies")))
    ]


def newest_of_lineage(
    connection: Connection, table: Table, key: str, entity_id: str
) -> tuple[str, str]:
    """Id and state of the newest row made to retry this one; itself when there is none."""
    columns = table.c
    state = connection.execute(select(columns.state).where(columns[key] == entity_id)).scalar_one()
    while True:
        successor = connection.execute(
            select(columns[key], columns.state)
            .where(columns.retry_of == entity_id)
            .order_by(columns.created_at.desc(), columns[key].desc())
            .limit(1)
        ).first()
        if successor is None:
            return entity_id, state
        entity_id, state = successor


def unpassed_entry_gates(connection: Connection, task_id: str) -> list[str]:
    """Entry gates of a task that are not passed; a re-run stands for its original (G2).

    An advisory gate only records and warns (G1): it holds nothing up.
    """
    found = connection.execute(statements.ENTRY_GATES, {statements.KEY: task_id}).scalars()
    unpassed: list[str] = []
    for gate in found.all():
        newest, state = newest_of_lineage(connection, test_gates, "gate_id", gate)
        if state != "PASSED" and _is_blocking(connection, newest):
            unpassed.append(gate)
    return unpassed


def _is_blocking(connection: Connection, gate_id: str) -> bool:
    query = select(test_gates.c.blocking).where(test_gates.c.gate_id == gate_id)
    return bool(connection.execute(query).scalar_one())


def _check_worker(connection: Connection, request: Request) -> None:
    (column,) = NEEDS["task"]["running"]
    worker_id = request.columns[column]
    state = connection.execute(statements.WORKER_STATE, {statements.KEY: worker_id}).scalar()
    if state in _GONE:
        raise request.refuse(column, f"the worker {worker_id} is {state}")


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
    query = select(tasks.c.token).where(tasks.c.task_id == row["task_id"])
    live = connection.execute(query).scalar()
    own = row.get("attempt_id")
    # The row of an earlier attempt is closed to the live one too: each attempt has its own rows.
    return live if own is None or own == live else None
