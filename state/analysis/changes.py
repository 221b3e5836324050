"""What the questions share: changes of state, and since when each entity is in its state."""

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.sql.expression import FromClause

from state.entities import Kind
from state.schema import state_transitions

PAGE = 2000
"""Rows fetched at a time: what keeps memory constant over a million of them."""


def is_change(audit: FromClause = state_transitions) -> ColumnElement[bool]:
    """That an audit row is a change of state: a creation is, a hold is not."""
    return audit.c.from_state != audit.c.to_state


def entered_current(kind: Kind) -> ColumnElement[bool]:
    """That an audit row brought an entity, a row of `kind.table`, into the state it is in.

    It is the entity's last change, found in ix_state_transitions_entity. Asking for its primary key
    makes every planner begin with the entities, of which few are looked at, and not with the audit.
    """
    change = state_transitions.alias("change")
    last = (
        select(func.max(change.c.transition_id))
        .where(
            change.c.entity_type == kind.name,
            change.c.entity_id == kind.table.c[kind.key],
            is_change(change),
        )
        .correlate(kind.table)
        .scalar_subquery()
    )
    return state_transitions.c.transition_id == last
