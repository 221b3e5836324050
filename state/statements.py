"""Statements that are built once: building one anew costs more than SQLite needs to run it."""

from functools import cache
from typing import Any

from sqlalchemy import Select, Update, bindparam, select
from sqlalchemy.sql.dml import ReturningInsert, ReturningUpdate

from state.entities import KINDS
from state.schema import task_dependencies, task_gates, tasks, workers

KEY = "the_key"
STATE = "the_state"
VERSION = "the_version"


@cache
def by_key(entity_type: str) -> Select[*tuple[Any, ...]]:
    """The row whose key is the parameter `the_key`."""
    kind = KINDS[entity_type]
    return select(kind.table).where(kind.table.c[kind.key] == bindparam(KEY))


@cache
def swap(entity_type: str) -> Update:
    """Compare-and-swap on key, state and version; the columns come with the parameters."""
    kind = KINDS[entity_type]
    columns = kind.table.c
    return kind.table.update().where(
        columns[kind.key] == bindparam(KEY),
        columns.state == bindparam(STATE),
        columns.version == bindparam(VERSION),
    )


@cache
def insert(entity_type: str) -> ReturningInsert[*tuple[Any, ...]]:
    """A new row, given back as it was stored."""
    table = KINDS[entity_type].table
    return table.insert().returning(*table.c)


@cache
def change(entity_type: str) -> ReturningUpdate[*tuple[Any, ...]]:
    """Change the columns that come with the parameters, and give the row back."""
    kind = KINDS[entity_type]
    table = kind.table
    return table.update().where(table.c[kind.key] == bindparam(KEY)).returning(*table.c)


TASK_DEPENDENCIES = (
    select(task_dependencies.c.depends_on, tasks.c.state)
    .join(tasks, tasks.c.task_id == task_dependencies.c.depends_on)
    .where(task_dependencies.c.task_id == bindparam(KEY))
    .order_by(task_dependencies.c.depends_on)
)
ENTRY_GATES = (
    select(task_gates.c.gate_id)
    .where(task_gates.c.task_id == bindparam(KEY), task_gates.c.role == "entry")
    .order_by(task_gates.c.gate_id)
)
WORKER_STATE = select(workers.c.state).where(workers.c.worker_id == bindparam(KEY))
