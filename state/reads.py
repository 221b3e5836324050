"""Reading rows: one by key, many by equality."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Select

from state import statements
from state.connection import Connection, Row
from state.entities import Kind, clean, storable
from state.errors import EntityNotFoundError


def fetch(connection: Connection, kind: Kind, entity_id: str) -> Row:
    """The row with that key.

    Raises:
        EntityNotFoundError: there is none.
    """
    return _found(connection, statements.by_key(kind.name), kind, entity_id)


def lock(connection: Connection, kind: Kind, entity_id: str) -> Row:
    """The row with that key, which nobody else changes until the transaction ends.

    Raises:
        EntityNotFoundError: there is none.
    """
    return _found(connection, statements.locked(kind.name), kind, entity_id)


def _found(
    connection: Connection, query: Select[*tuple[Any, ...]], kind: Kind, entity_id: str
) -> Row:
    # Text that no backend can hold, such as bytes of a command line, is no row's key.
    known = isinstance(entity_id, str) and storable(entity_id) == entity_id  # pyright: ignore[reportUnnecessaryIsInstance]
    row = connection.first(query, {statements.KEY: entity_id}) if known else None
    if row is None:
        raise EntityNotFoundError(kind.name, entity_id)
    return row


_WIDE = 16
"""How many values a filter may have before their number is rounded up: each number is a statement
of its own, which is kept."""

_WIDEST = 8192
"""How many values one statement takes. SQLite refuses more than 32,766 parameters."""


def search(
    connection: Connection, kind: Kind, filters: Mapping[str, Any], limit: int | None
) -> list[Row]:
    """Rows whose columns equal the filters, oldest first.

    A list, tuple or set means one of these, of which there may be any number; None means null. With
    a limit, what is filtered by `state` alone or by nothing is found without looking at the rest.
    """
    single: dict[str, Any] = {}
    choices: dict[str, list[Any]] = {}
    for name, value in clean(kind, filters).items():
        if isinstance(value, list):
            choices[name] = list(dict.fromkeys(value))  # pyright: ignore[reportUnknownArgumentType]
        else:
            single[name] = value
    widest = max(choices, key=lambda name: len(choices[name]), default=None)
    if widest is None or len(choices[widest]) <= _WIDEST:
        return _search(connection, kind, single, choices, limit)
    every = choices[widest]
    parts = [every[start : start + _WIDEST] for start in range(0, len(every), _WIDEST)]
    found = [
        row
        for part in parts
        for row in _search(connection, kind, single, {**choices, widest: part}, limit)
    ]
    found.sort(key=lambda row: (getattr(row, "created_at", ""), getattr(row, kind.key)))
    return found[:limit]


def _search(
    connection: Connection,
    kind: Kind,
    single: Mapping[str, Any],
    choices: Mapping[str, list[Any]],
    limit: int | None,
) -> list[Row]:
    shape: list[tuple[str, int | None]] = []
    values: dict[str, Any] = {}
    for name, value in single.items():
        shape.append((name, None if value is None else 1))
        if value is not None:
            values[f"{name}_0"] = value
    for name, choice in choices.items():
        if not choice:
            return []
        if len(choice) > _WIDE:
            choice = choice + choice[-1:] * ((1 << (len(choice) - 1).bit_length()) - len(choice))
        shape.append((name, len(choice)))
        values |= {f"{name}_{place}": one for place, one in enumerate(choice)}
    if limit is not None:
        values["the_limit"] = limit
    query = statements.search(kind.name, tuple(shape), limited=limit is not None)
    return connection.rows(query, values)
