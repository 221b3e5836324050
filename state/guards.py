"""Guards that need other rows: dependencies, gates, fencing tokens, the worker's state.

What they are about is decided by `state.propagation.dependencies`, as every cascade does it.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from sqlalchemy import Table

from state import link_statements, statements
from state.connection import Connection
from state.entities import Kind
from state.errors import StaleTokenError, StoreUsageError
from state.facts import NEEDS
from state.propagation.dependencies import UNKNOWN, unmet, unpassed
from state.propagation.lineages import newest
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


class _Need(NamedTuple):
    """What somebody waits for, with the state and the say of the newest of its lineage."""

    key: str
    state: str
    blocking: bool = True


def check(connection: Connection, request: Request, free_workers: Collection[str] = ()) -> None:
    """The guards of this transition that other rows decide.

    Args:
        connection: of the transaction.
        request: the transition.
        free_workers: workers that were found free in this transaction, and are locked.

    Raises:
        GuardNotSatisfied: a dependency or a gate is not done, or the worker is gone.
    """
    name, target = request.machine.name, request.target
    if (name, request.source, target) in _NEEDS_DEPENDENCIES:
        waited = unmet_dependencies(connection, name, request.entity_id)
        if waited:
            raise request.refuse("depends_on", f"it waits for {', '.join(waited)}")
    if name != "task":
        return
    if (request.source, target) == ("pending", "queued"):
        _refuse_gates(request, "entry_gates", unpassed_entry_gates(connection, request.entity_id))
    if (request.source, target) == ("running", "validating"):
        token = request.row["token"]
        gates = unpassed_exit_gates(connection, request.entity_id, token)
        _refuse_gates(request, "exit_gates", gates)
    if target == "running":
        (column,) = NEEDS["task"]["running"]
        if request.columns[column] not in free_workers:
            _check_worker(connection, request, column)


def _refuse_gates(request: Request, missing: str, gates: Collection[str]) -> None:
    if gates:
        raise request.refuse(missing, f"these gates are not passed: {', '.join(gates)}")


def unmet_dependencies(connection: Connection, entity_type: str, entity_id: str) -> list[str]:
    """Ids of what this task or workstream still waits for.

    A task's dependency is met when the newest task of its lineage is completed. A workstream's is
    met when completed; skipped counts when the run's metadata says `skipped_satisfies` (decisions
    W5). What is not there is not met.
    """
    values = {statements.KEY: entity_id}
    if entity_type == "task":
        rows = connection.rows(link_statements.TASK_DEPENDENCIES, values)
        return [one.key for one in unmet(_newest(connection, tasks, "task_id", rows))]
    rows = connection.rows(link_statements.WORKSTREAM_DEPENDENCIES, values)
    satisfies = bool(rows) and bool(rows[0].metadata.get("skipped_satisfies"))
    needs = [_Need(row.key, row.state or UNKNOWN) for row in rows]
    return [one.key for one in unmet(needs, satisfies)]


def _newest(connection: Connection, table: Table, key: str, rows: Iterable[Any]) -> list[_Need]:
    """For each row that is needed, how the newest of its lineage stands."""
    needs: list[_Need] = []
    for row in rows:
        stands = newest_of_lineage(connection, table, key, row.key) if row.retried else row
        blocking = bool(getattr(stands, "blocking", True))
        needs.append(_Need(row.key, stands.state or UNKNOWN, blocking or stands.state is None))
    return needs


def newest_of_lineage(connection: Connection, table: Table, key: str, entity_id: str) -> Any:
    """`key`, `state` and more of the row that stands for the lineage of a row (T7, G2)."""
    query = link_statements.lineage(table, key)
    rows: list[Any] = connection.rows(query, {statements.KEY: entity_id})
    (stands,) = newest(rows)
    return stands


def unpassed_entry_gates(connection: Connection, task_id: str) -> list[str]:
    """Entry gates of a task that are not passed; a re-run stands for its original (G2).

    An advisory gate only records and warns (G1): it holds nothing up.
    """
    values = {statements.KEY: task_id}
    rows = connection.rows(link_statements.gates_of("entry"), values)
    return [gate.key for gate in unpassed(_newest(connection, test_gates, "gate_id", rows))]


def unpassed_exit_gates(connection: Connection, task_id: str, token: str | None) -> list[str]:
    """Exit gates that do not let the patch of this attempt through (T4).

    Args:
        connection: of the transaction.
        task_id: the task at work.
        token: the attempt; gates that judged the patch of another are no longer asked.
    """
    values = {statements.KEY: task_id, link_statements.TOKEN: token}
    rows = connection.rows(link_statements.gates_of("exit"), values)
    return [gate.key for gate in unpassed(_newest(connection, test_gates, "gate_id", rows))]


def _check_worker(connection: Connection, request: Request, column: str) -> None:
    """That the worker is at work and holds no other task (decisions K3).

    A name that the store knows no worker of is let through: whoever keeps workers elsewhere, and
    starts tasks by plain transitions, answers for them. A claim has always a worker of ours.
    """
    worker_id = request.columns[column]
    query = statements.state_of(workers, "worker_id")
    state = connection.scalar(query, {statements.KEY: worker_id})
    if state is None:
        return
    if state not in _AT_WORK:
        raise request.refuse(column, f"the worker {worker_id} is {state}")
    held = connection.scalar(statements.HELD_TASK, {statements.KEY: worker_id})
    if held is not None:
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
