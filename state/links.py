"""Rows that join others: dependencies, and the roles of gates for a task."""

from typing import Any

from sqlalchemy import Table

from state import reads, statements
from state.connection import Connection
from state.entities import Kind, kind_of
from state.errors import StoreUsageError
from state.schema import task_dependencies, task_gates, workstream_dependencies

_DEPENDENCIES = {"task": task_dependencies, "workstream": workstream_dependencies}
_ROLES = ("entry", "exit")


def add_dependency(connection: Connection, kind: Kind, entity_id: str, depends_on: str) -> None:
    """Make a row wait for another of its kind. Raises as `Transaction.add_dependency`."""
    table = _DEPENDENCIES.get(kind.name)
    if table is None:
        raise StoreUsageError(f"A {kind.name} has no dependencies; tasks and workstreams have.")
    if entity_id == depends_on:
        raise StoreUsageError(f"The {kind.name} {entity_id} cannot wait for itself.")
    for one in (entity_id, depends_on):
        reads.fetch(connection, kind, one)
    _insert_once(connection, table, {kind.key: entity_id, "depends_on": depends_on})


def add_task_gate(connection: Connection, task_id: str, gate_id: str, role: str) -> None:
    """Give a gate a role for a task. Raises as `Transaction.add_task_gate`."""
    if role not in _ROLES:
        raise StoreUsageError(f"A gate's role for a task is entry or exit, not {role!r}.")
    reads.fetch(connection, kind_of("task"), task_id)
    reads.fetch(connection, kind_of("test_gate"), gate_id)
    _insert_once(connection, task_gates, {"task_id": task_id, "gate_id": gate_id, "role": role})


def _insert_once(connection: Connection, table: Table, values: dict[str, Any]) -> None:
    wanted = {f"want_{name}": value for name, value in values.items()}
    if connection.first(statements.link(table), wanted) is None:
        connection.write(statements.new_link(table), values)
