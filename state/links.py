"""Rows that join others: dependencies, and the roles of gates for a task."""

from typing import Any

from sqlalchemy import Table

from state import link_statements, reads
from state.connection import Connection
from state.entities import Kind, kind_of
from state.errors import EntityNotFoundError, StoreUsageError
from state.schema import task_dependencies, task_gates, workstream_dependencies
from state.statements import KEY

_DEPENDENCIES = {"task": task_dependencies, "workstream": workstream_dependencies}
_ROLES = ("entry", "exit")


def add_dependency(connection: Connection, kind: Kind, entity_id: str, depends_on: str) -> None:
    """Make a row wait for another of its kind. Raises as `Transaction.add_dependency`.

    Both belong to one run, which is settled by itself, and nothing waits in a circle: neither
    would ever be settled.
    """
    table = _DEPENDENCIES.get(kind.name)
    if table is None:
        raise StoreUsageError(f"A {kind.name} has no dependencies; tasks and workstreams have.")
    if entity_id == depends_on:
        raise StoreUsageError(f"The {kind.name} {entity_id} cannot wait for itself.")
    _check_run(connection, kind, entity_id, depends_on)
    _check_circle(connection, kind, table, entity_id, depends_on)
    _insert_once(connection, table, {kind.key: entity_id, "depends_on": depends_on})


def _check_run(connection: Connection, kind: Kind, entity_id: str, depends_on: str) -> None:
    ends = {"one": entity_id, "other": depends_on}
    found = {row.key: row.run_id for row in connection.rows(link_statements.runs_of(kind), ends)}
    for one in (entity_id, depends_on):
        if one not in found:
            raise EntityNotFoundError(kind.name, one)
    if found[entity_id] != found[depends_on]:
        raise StoreUsageError(
            f"The {kind.name} {entity_id} cannot wait for {depends_on}, which belongs to another "
            f"run: {found[depends_on]}, not {found[entity_id]}."
        )


def _check_circle(
    connection: Connection, kind: Kind, table: Table, entity_id: str, depends_on: str
) -> None:
    """Refuse what would make a row wait for itself over others, and name these."""
    needed: dict[str, list[str]] = {}
    values = {KEY: depends_on}
    for who, wanted in connection.rows(link_statements.needs_of(table), values):
        needed.setdefault(who, []).append(wanted)
    came_from = {depends_on: entity_id}
    queue = [depends_on]
    for here in queue:
        for wanted in needed.get(here, ()):
            if wanted not in came_from:
                came_from[wanted] = here
                queue.append(wanted)
    if entity_id not in came_from:
        return
    circle = [entity_id, came_from[entity_id]]
    while circle[-1] != entity_id:
        circle.append(came_from[circle[-1]])
    raise StoreUsageError(
        f"The {kind.name} {entity_id} cannot wait for {depends_on}: they would wait in a circle, "
        f"{' for '.join(reversed(circle))}."
    )


def add_task_gate(connection: Connection, task_id: str, gate_id: str, role: str) -> None:
    """Give a gate a role for a task. Raises as `Transaction.add_task_gate`."""
    if role not in _ROLES:
        raise StoreUsageError(f"A gate's role for a task is entry or exit, not {role!r}.")
    reads.fetch(connection, kind_of("task"), task_id)
    reads.fetch(connection, kind_of("test_gate"), gate_id)
    _insert_once(connection, task_gates, {"task_id": task_id, "gate_id": gate_id, "role": role})


def _insert_once(connection: Connection, table: Table, values: dict[str, Any]) -> None:
    wanted = {f"want_{name}": value for name, value in values.items()}
    if connection.first(link_statements.link(table), wanted) is None:
        connection.write(link_statements.new_link(table), values)
