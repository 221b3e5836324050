"""The state of everything as of a moment, from the audit rows alone (design section 2).

The audit says what was, whatever the tables say now: at the present both must agree.
"""

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, func, select

from state.analysis.changes import PAGE, is_change
from state.analysis.moments import Moment, as_stored_time
from state.entities import kind_of
from state.errors import StoreUsageError
from state.schema import state_transitions
from state.store import StateStore


class EntityState(NamedTuple):
    """The state an entity was in, its version, and since when (stored time) it was in it."""

    state: str
    version: int
    since: str


def state_at(
    store: StateStore,
    moment: Moment | int,
    *,
    run_id: str | None = None,
    entity_type: str | None = None,
    entity_id: str | None = None,
) -> dict[tuple[str, str], EntityState]:
    """What state everything was in at a moment, by entity type and id.

    What did not exist yet is absent. Everything that happened at the moment itself has happened;
    within one timestamp the order is that of `transition_id`.

    A time stands for a position in the audit: that of the last row before the clock first showed a
    later time. So what a clock that stepped back says twice is never mixed. From the newest row's
    time on everything has happened.

    Args:
        store: to read.
        moment: a time, or a position: the `transition_id` of the last audit row that counts.
        run_id: only what belongs to this run.
        entity_type: only entities of this type.
        entity_id: only this entity; needs its type.

    Raises:
        StoreUsageError: neither a time nor a whole number, no such type, or an id without its type.
    """
    with store.reading() as connection:
        position = _position(connection, moment)
        query = _last_changes(position, run_id, entity_type, entity_id)
        rows = connection.execute(query, execution_options={"yield_per": PAGE})
        return {
            (kind, key): EntityState(state, version, since)
            for kind, key, state, version, since in rows
        }


_LAST = 2**63 - 1
"""No `transition_id` is greater."""


def _position(connection: Connection, moment: object) -> int:
    """The last audit row that counts."""
    if isinstance(moment, int) and not isinstance(moment, bool):
        return min(max(moment, 0), _LAST)
    if not isinstance(moment, datetime | str):
        raise StoreUsageError(f"{moment!r} is neither a time nor the number of an audit row.")
    at = as_stored_time(moment)
    columns, newest = state_transitions.c, func.max(state_transitions.c.transition_id)
    written = select(columns.transitioned_at).where(
        columns.transition_id == select(newest).scalar_subquery()
    )
    if (connection.execute(written).scalar() or "") <= at:
        return _LAST
    first_later = select(func.min(columns.transition_id)).where(columns.transitioned_at > at)
    return connection.execute(first_later).scalar_one() - 1


def _last_changes(
    position: int, run_id: str | None, entity_type: str | None, entity_id: str | None
) -> Select[Any, Any, Any, Any, Any]:
    """The last change of each entity that counts.

    Everything: one walk along ix_state_transitions_entity. One entity: its few entries there. One
    run: ix_state_transitions_run_id. The rows found are read by primary key.
    """
    columns = state_transitions.c
    last = (
        select(func.max(columns.transition_id).label("transition_id"))
        .where(is_change())
        .where(columns.transition_id <= position)
    )
    if run_id is not None:
        last = last.where(columns.run_id == run_id)
    if entity_type is not None:
        last = last.where(columns.entity_type == kind_of(entity_type).machine_of().name)
    if entity_id is not None:
        if entity_type is None:
            raise StoreUsageError(f"The entity {entity_id!r} needs its type beside its id.")
        last = last.where(columns.entity_id == entity_id)
    found = last.group_by(columns.entity_type, columns.entity_id).subquery()
    changes = select(
        columns.entity_type,
        columns.entity_id,
        columns.to_state,
        columns.entity_version,
        columns.transitioned_at,
    ).join(found, found.c.transition_id == columns.transition_id)
    # Said once more, so that PostgreSQL does not look for them among the rows of all runs.
    return changes if run_id is None else changes.where(columns.run_id == run_id)
