"""Every entity against its last audit row, asked by SQL."""

from functools import partial
from typing import Any

import sqlalchemy as sa

from state.entities import KINDS
from state.history_problems import NOTHING, History, Place, Problem, about, named, shown
from state.machines import StateMachine
from state.schema import state_transitions

_PAGE = 1000


def verify_entities(connection: sa.Connection, machine: StateMachine, found: History) -> None:
    """Every entity of a machine against its last audit row."""
    table = KINDS[machine.name].table
    key, audit = table.c[machine.key], state_transitions.alias("a")
    last = (
        sa.select(sa.func.max(state_transitions.c.transition_id))
        .where(state_transitions.c.entity_type == machine.name)
        .where(state_transitions.c.entity_id == key)
        .correlate(table)
        .scalar_subquery()
    )
    told = (
        sa.select(sa.literal(1))
        .where(audit.c.transition_id == last, audit.c.hash == table.c.audit_head)
        .where(audit.c.to_state == table.c.state, audit.c.entity_version == table.c.version)
        .correlate(table)
    )
    columns = (key, table.c.state, table.c.version, table.c.created_at, last)
    untold = sa.select(*columns).where(~told.exists()).order_by(key)
    for entity in connection.execute(untold.execution_options(yield_per=_PAGE)):
        found.add(partial(_not_as_told, connection, machine, entity))
    rows = state_transitions.c
    audited = sa.select(rows.entity_id, sa.func.max(rows.transition_id).label("last"))
    one = audited.where(rows.entity_type == machine.name).group_by(rows.entity_id).subquery()
    there = sa.select(sa.literal(1)).where(key == one.c.entity_id).correlate(one)
    gone = sa.select(one.c.last).where(~there.exists()).order_by(one.c.last)
    for (number,) in connection.execute(gone.execution_options(yield_per=_PAGE)):
        found.add(partial(_gone, connection, number))


def _row_of(connection: sa.Connection, number: int) -> Place:
    """An audit row by its number."""
    columns = state_transitions.c
    query = sa.select(*(columns[name] for name in Place._fields))
    return Place._make(connection.execute(query.where(columns.transition_id == number)).one())


def _not_as_told(connection: sa.Connection, machine: StateMachine, entity: Any) -> Problem:
    entity_id, state, version, created_at, last = entity
    what = f"The {named(machine.name, entity_id)} is {shown(state)}, version {version}"
    if last is None:
        since = shown(created_at)
        message = f"{what}, but has no audit row at all, though it was made at {since}."
        nobody = NOTHING._replace(entity_type=machine.name, entity_id=entity_id)
        return about("audit_missing", nobody, since, message)
    row = _row_of(connection, last)
    since = shown(row.transitioned_at)
    says = f"{shown(row.to_state)}, version {row.entity_version}"
    if (state, version) == (row.to_state, row.entity_version):
        says = "the same with another hash"
    message = (
        f"{what}, but its last audit row {row.transition_id} of {since} says {says}: the row was "
        "changed, or audit rows were put in or taken out after that one."
    )
    return about("entity_changed", row, since, message)


def _gone(connection: sa.Connection, number: int) -> Problem:
    row = _row_of(connection, number)
    since = shown(row.transitioned_at)
    message = (
        f"The {named(row.entity_type, row.entity_id)} is not there, but its audit rows are; the "
        f"last is row {number} of {since}."
    )
    return about("entity_missing", row, since, message)
