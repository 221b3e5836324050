"""Audit rows in their order, as far as no other row can come in between any more."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, func, select

from state.audit import TransitionRecord
from state.database import Database
from state.schema import state_transitions

_PAGE = 1000
_COLUMNS = state_transitions.c
_line = json.JSONEncoder(separators=(",", ":")).encode


def as_lines(records: Iterable[TransitionRecord]) -> list[str]:
    """The canonical events as lines of JSON (decisions E2). They are ASCII."""
    return [_line(one.as_event()) + "\n" for one in records]


def settled_pages(
    database: Database, after: int, *conditions: ColumnElement[bool], until: int | None = None
) -> Iterator[Sequence[TransitionRecord]]:
    """Rows after that one, in their order, in pages; ends where a running writer may still come in.

    Each page is read by itself: such rows never change, so no transaction has to stay open.

    Args:
        database: to read.
        after: a `transition_id`.
        conditions: only rows that meet them.
        until: the last row to look at.
    """
    while until is None or after < until:
        last = database.settled(after)
        if last <= after:
            return
        yield from _pages(database, after, last if until is None else min(last, until), conditions)
        after = last


def _pages(
    database: Database, after: int, last: int, conditions: Sequence[ColumnElement[bool]]
) -> Iterator[Sequence[TransitionRecord]]:
    while after < last:
        query = (
            select(state_transitions)
            .where(_COLUMNS.transition_id.between(after + 1, last), *conditions)
            .order_by(_COLUMNS.transition_id)
            .limit(_PAGE)
        )
        with database.reading() as connection:
            rows: list[Any] = list(connection.execute(query).mappings())
        if rows:
            yield [TransitionRecord(**row) for row in rows]
        if len(rows) < _PAGE:
            return
        after = rows[-1]["transition_id"]


def rows_of(database: Database, *event_ids: str) -> dict[str, int]:
    """The `transition_id` of each of these events that is in the table."""
    query = select(_COLUMNS.event_id, _COLUMNS.transition_id).where(
        _COLUMNS.event_id.in_(event_ids)
    )
    with database.reading() as connection:
        return {event_id: row for event_id, row in connection.execute(query).all()}


def first_row_after(database: Database, row: int) -> int | None:
    """The next row that is there; None when there is none."""
    query = select(func.min(_COLUMNS.transition_id)).where(_COLUMNS.transition_id > row)
    with database.reading() as connection:
        return connection.execute(query).scalar()


def last_row(database: Database) -> int:
    """The highest `transition_id`; 0 for an empty table."""
    with database.reading() as connection:
        return connection.execute(select(func.max(_COLUMNS.transition_id))).scalar() or 0
