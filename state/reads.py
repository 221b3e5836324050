"""Reading rows: one by key, many by equality."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, select

from state import statements
from state.entities import Kind, clean
from state.errors import EntityNotFoundError

AnyRow = Row[*tuple[Any, ...]]


def as_dict(row: AnyRow) -> dict[str, Any]:
    """A row as a plain dictionary by column name."""
    return {str(name): value for name, value in row._mapping.items()}  # pyright: ignore[reportPrivateUsage]


def fetch(connection: Connection, kind: Kind, entity_id: str) -> AnyRow:
    """The row with that key.

    Raises:
        EntityNotFoundError: there is none.
    """
    row = connection.execute(statements.by_key(kind.name), {statements.KEY: entity_id}).first()
    if row is None:
        raise EntityNotFoundError(kind.name, entity_id)
    return row


def search(
    connection: Connection, kind: Kind, filters: Mapping[str, Any], limit: int | None
) -> list[AnyRow]:
    """Rows whose columns equal the filters, oldest first.

    A list, tuple or set means one of these; None means null.
    """
    columns = kind.table.c
    query = select(kind.table)
    for name, value in filters.items():
        cleaned = clean(kind, {name: value})[name]
        if isinstance(value, list | tuple | set | frozenset):
            query = query.where(columns[name].in_(cleaned))
        else:
            query = query.where(
                columns[name].is_(None) if value is None else columns[name] == cleaned
            )
    made = columns.get("created_at")
    query = query.order_by(*([] if made is None else [made]), columns[kind.key])
    return list(connection.execute(query if limit is None else query.limit(limit)).all())
