"""What audit rows say of columns, against the entities.

A change names in its audit row's metadata what it made of the columns that tell what became of the
entity (`state.facts.PROVED`): which commit, which exit code, why. The row's hash covers that.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, cast

import sqlalchemy as sa

from state.audit import TOLD
from state.entities import KINDS
from state.facts import PROVED
from state.history_problems import History, Place, Problem, about, named, shown
from state.raw_history import any_text

_MARK = f'"{TOLD}"'
_Told = dict[str, tuple[Any, Place]]
"""By column: the newest value that was told, and the row that told it."""


class ToldColumns:
    """What rows tell that come entity by entity; only what is not compared yet is kept."""

    def __init__(self) -> None:
        self._entities: dict[tuple[str, str], _Told] = {}

    def note(self, row: Place, metadata: Any) -> None:
        """Note what a row tells whose hash is right."""
        if type(metadata) is not str or _MARK not in metadata:
            return
        columns = PROVED.get(row.entity_type, ())
        told = {name: value for name, value in _told(metadata).items() if name in columns}
        if told and _is_text(row.entity_id):
            of_entity = self._entities.setdefault((row.entity_type, row.entity_id), {})
            of_entity |= {name: (value, row) for name, value in told.items()}

    def compare(
        self, connection: sa.Connection, found: History, still: Place | None = None
    ) -> None:
        """Compare entities with what was told, and forget it.

        Args:
            connection: to read them with.
            found: where problems go.
            still: a row of the entity whose rows have not all come.
        """
        waits = still and (still.entity_type, still.entity_id)
        ready = {key: told for key, told in self._entities.items() if key != waits}
        self._entities = {key: told for key, told in self._entities.items() if key == waits}
        by_type: dict[str, dict[str, _Told]] = defaultdict(dict)
        for (entity_type, entity_id), told in ready.items():
            by_type[entity_type][entity_id] = told
        for entity_type, entities in by_type.items():
            _compare(connection, entity_type, entities, found)


def _query(entity_type: str, columns: Sequence[str]) -> sa.Select[Any]:
    """The columns as they are stored, behind the key: any value may stand in any of them."""
    kind = KINDS[entity_type]
    key = kind.table.c[kind.key]
    stored = (sa.type_coerce(kind.table.c[name], sa.types.NullType()) for name in columns)
    return sa.select(key, *stored).where(key.in_(sa.bindparam("keys", expanding=True)))


_QUERIES = {entity_type: _query(entity_type, columns) for entity_type, columns in PROVED.items()}


def _told(metadata: str) -> dict[str, Any]:
    try:
        document = json.loads(metadata)
    except (ValueError, RecursionError):  # somebody's own text, with its right hash: tells nothing
        return {}
    told: Any = cast(dict[str, Any], document).get(TOLD) if isinstance(document, dict) else None
    return cast(dict[str, Any], told) if isinstance(told, dict) else {}


def _is_text(value: Any) -> bool:
    """Whether a database takes it for a key."""
    try:
        return isinstance(value, str) and bool(value.encode())
    except UnicodeEncodeError:
        return False


def _compare(
    connection: sa.Connection, entity_type: str, entities: Mapping[str, _Told], found: History
) -> None:
    with any_text(connection):
        rows = connection.execute(_QUERIES[entity_type], {"keys": list(entities)}).all()
    for entity_id, *values in rows:
        stored = dict(zip(PROVED[entity_type], values, strict=True))
        for name, (value, row) in entities[entity_id].items():
            if stored[name] != value:
                found.add(partial(_changed, row, name, value, stored[name]))


def _changed(row: Place, name: str, told: Any, stored: Any) -> Problem:
    since = shown(row.transitioned_at)
    message = (
        f"The {named(row.entity_type, row.entity_id)} has {name} {stored!r}, but audit row "
        f"{row.transition_id} of {since} says {told!r}: the row was changed."
    )
    return about("entity_changed", row, since, message)
