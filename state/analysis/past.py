"""The state of everything as of a moment, from the audit rows alone (design section 2).

The audit says what was, whatever the tables say now: at the present both must agree.
"""

from typing import Any, NamedTuple

from sqlalchemy import Select, func, select

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

    Times are what the clock said. A clock that stepped back shows another entity's later change
    at an earlier time; asking for a position in the audit instead of a time is exact even then.

    Args:
        store: to read.
        moment: a time, or the `transition_id` of the last audit row that counts.
        run_id: only what belongs to this run.
        entity_type: only entities of this type.
        entity_id: only this entity; needs its type.

    Raises:
        StoreUsageError: not a time, no such type, or an id without its type.
    """
    query = _last_changes(moment, run_id, entity_type, entity_id)
    with store.reading() as connection:
        rows = connection.execute(query, execution_options={"yield_per": PAGE})
        return {
            (kind, key): EntityState(state, version, since)
            for kind, key, state, version, since in rows
        }


def _last_changes(
    moment: Moment | int, run_id: str | None, entity_type: str | None, entity_id: str | None
) -> Select[Any, Any, Any, Any, Any]:
    """The last change of each entity that counts.

    Everything: one walk along ix_state_transitions_entity. One entity: its few entries there. One
    run: ix_state_transitions_run_id. The rows found are read by primary key.
    """
    columns = state_transitions.c
    last = select(func.max(columns.transition_id).label("transition_id")).where(is_change())
    if isinstance(moment, int):
        last = last.where(columns.transition_id <= moment)
    else:
        last = last.where(columns.transitioned_at <= as_stored_time(moment))
    if run_id is not None:
        last = last.where(columns.run_id == run_id)
    if entity_type is not None:
        last = last.where(columns.entity_type == kind_of(entity_type).machine_of().name)
    if entity_id is not None:
        if entity_type is None:
            raise StoreUsageError(f"The entity {entity_id!r} needs its type beside its id.")
        last = last.where(columns.entity_id == entity_id)
    found = last.group_by(columns.entity_type, columns.entity_id).subquery()
    return select(
        columns.entity_type,
        columns.entity_id,
        columns.to_state,
        columns.entity_version,
        columns.transitioned_at,
    ).join(found, found.c.transition_id == columns.transition_id)
