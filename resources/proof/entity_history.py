"""The audit rows of one entity: are they whole, and is the entity what they say?

The whole history is verified by `state.verification`; this asks about a single row of a table, as
whoever proves one commit does.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from state.audit import TOLD
from state.canonical import canonical_json
from state.chain import canonical_row
from state.machines import MACHINES, NONE_STATE
from state.schema import state_transitions
from state.store import StateStore


@dataclass(frozen=True)
class EntityHistory:
    """What was found.

    Attributes:
        rows: the audit rows, oldest first; up to the one that cannot be read, if there is one.
        problem: what is wrong first, in words; None when all is right.
        told: the newest value that rows tell of each column.
    """

    rows: tuple[Mapping[str, Any], ...]
    problem: str | None
    told: Mapping[str, Any] = field(default_factory=dict[str, Any])


def history_of(store: StateStore, entity_type: str, entity: Any) -> EntityHistory:
    """The audit rows of an entity, each hashed anew and followed from the one before.

    Args:
        store: the state.
        entity_type: its kind.
        entity: its row, which is compared with what the audit rows say.
    """
    key = getattr(entity, MACHINES[entity_type].key)
    columns = state_transitions.c
    wanted = (
        sa.select(state_transitions)
        .where(columns.entity_type == entity_type, columns.entity_id == key)
        .order_by(columns.transition_id)
    )
    try:  # somebody may have put any text in the place of the metadata
        with store.reading() as connection:
            found = [
                {str(k): v for k, v in row.items()} for row in connection.execute(wanted).mappings()
            ]
    except ValueError as error:
        return EntityHistory((), f"its audit rows cannot be read: {error}")
    told: dict[str, Any] = {}
    previous: Mapping[str, Any] | None = None
    for row in found:
        problem = _problem(row, previous)
        if problem:
            return EntityHistory(tuple(found), problem, told)
        told |= _told(row["metadata"])
        previous = row
    return EntityHistory(tuple(found), _difference(entity, previous, told), told)


def _problem(row: Mapping[str, Any], previous: Mapping[str, Any] | None) -> str | None:
    """What is wrong with an audit row that follows on another."""
    where = f"audit row {row['transition_id']} (event {row['event_id']})"
    try:
        own = hashlib.sha256(canonical_row(row, canonical_json(row["metadata"]))).hexdigest()
    except ValueError:
        own = None
    if own != row["hash"]:
        return f"{where} was changed: its hash is not that of its columns"
    before = previous["hash"] if previous else None
    state = previous["to_state"] if previous else NONE_STATE
    if row["prev_hash"] != before or row["from_state"] != state:
        return f"{where} does not follow the row before it: rows were taken out or put in"
    return None


def _told(metadata: Any) -> dict[str, Any]:
    """The columns that an audit row tells; nothing where its metadata is somebody's own."""
    said: Any = metadata.get(TOLD) if isinstance(metadata, dict) else None
    return said if isinstance(said, dict) else {}


def _difference(entity: Any, last: Mapping[str, Any] | None, told: Mapping[str, Any]) -> str | None:
    """Where an entity is not what its audit rows make of it."""
    if last is None:
        return "it has no audit rows"
    if (entity.state, entity.version) != (last["to_state"], last["entity_version"]):
        return f"it is {entity.state}, but its last audit row says {last['to_state']}"
    if entity.audit_head != last["hash"]:
        return "it does not name its last audit row: audit rows were taken out or put in"
    for name, value in told.items():
        if getattr(entity, name, value) != value:
            return f"its {name} is {getattr(entity, name)}, but its audit rows say {value}"
    return None
