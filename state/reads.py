"""Reading rows: one by key, many by equality."""

from collections.abc import Mapping
from typing import Any

from state import statements
from state.connection import Connection, Row
from state.entities import Kind, clean
from state.errors import EntityNotFoundError


def fetch(connection: Connection, kind: Kind, entity_id: str) -> Row:
    """The row with that key.

    Raises:
        EntityNotFoundError: there is none.
    """
    row = connection.first(statements.by_key(kind.name), {statements.KEY: entity_id})
    if row is None:
        raise EntityNotFoundError(kind.name, entity_id)
    return row


def lock(connection: Connection, kind: Kind, entity_id: str) -> Row:
    """The row with that key, which nobody else changes until the transaction ends.

    Raises:
        EntityNotFoundError: there is none.
    """
    row = connection.first(statements.locked(kind.name), {statements.KEY: entity_id})
    if row is None:
        raise EntityNotFoundError(kind.name, entity_id)
    return row


def search(
    connection: Connection, kind: Kind, filters: Mapping[str, Any], limit: int | None
) -> list[Row]:
    """Rows whose columns equal the filters, oldest first.

    A list, tuple or set means one of these; None means null.
    """
    shape: list[tuple[str, int | None]] = []
    values: dict[str, Any] = {}
    for name, value in clean(kind, filters).items():
        if value is None:
            shape.append((name, None))
            continue
        choice: list[Any] = value if isinstance(value, list) else [value]  # pyright: ignore[reportUnknownVariableType]
        if not choice:
            return []
        shape.append((name, len(choice)))
        values |= {f"{name}_{place}": one for place, one in enumerate(choice)}
    if limit is not None:
        values["the_limit"] = limit
    query = statements.search(kind.name, tuple(shape), limited=limit is not None)
    return connection.rows(query, values)
