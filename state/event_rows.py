"""Audit rows in their order, as far as no other row can come in between any more."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Select, bindparam, select
from sqlalchemy.exc import DBAPIError

from state.audit import TransitionRecord
from state.canonical import canonical_json
from state.database import Database
from state.entities import storable
from state.errors import HistoryDamagedError, StoreUnavailableError
from state.schema import state_transitions
from state.statements import LAST_AUDIT_ROW

_PAGE = 1000
_COLUMNS = state_transitions.c
_NOT_UTF8 = "Could not decode to UTF-8"
# What sqlite3 says of bytes that are no text.

_Fetch = Callable[[Select[Any], Mapping[str, Any]], Iterable[Any]]
_BROKEN = (TypeError, ValueError, RecursionError, DBAPIError, StoreUnavailableError)
# What reading a row may raise that somebody has put there past the store.

CONDITIONS: Mapping[str, Any] = {
    "since": _COLUMNS.transitioned_at >= bindparam("since"),
    "entity_type": _COLUMNS.entity_type == bindparam("entity_type"),
    "entity_id": _COLUMNS.entity_id == bindparam("entity_id"),
    "run_id": _COLUMNS.run_id == bindparam("run_id"),
}
"""What rows can be asked for: of that time or later, of an entity, of a run."""


def settled_pages(
    database: Database, after: int, wanted: Mapping[str, str] = {}, *, until: int | None = None
) -> Iterator[Sequence[TransitionRecord]]:
    """Rows after that one, in their order, in pages; ends where a running writer may still come in.

    Each page is read by itself: such rows never change, so no transaction has to stay open.

    Args:
        database: to read.
        after: a `transition_id`.
        wanted: only rows that meet these `CONDITIONS`.
        until: the last row to look at.

    Raises:
        HistoryDamagedError: the next row cannot be read.
    """
    while until is None or after < until:
        last = database.settled(after)
        if last <= after:
            return
        yield from _pages(database, after, last if until is None else min(last, until), wanted)
        after = last


def _pages(
    database: Database, after: int, last: int, wanted: Mapping[str, str]
) -> Iterator[Sequence[TransitionRecord]]:
    def fetch(query: Select[Any], values: Mapping[str, Any]) -> Iterable[Any]:
        return database.look(lambda connection: connection.rows(query, values))

    names = tuple(wanted)
    while after < last:
        values = {**wanted, "first": after + 1, "last": last}
        page, damage = _read(fetch, _page(names), _page_numbers(names), values)
        if page:
            yield page
        if damage is not None:
            raise damage
        if len(page) < _PAGE:
            return
        after = page[-1].transition_id


@cache
def _page(names: tuple[str, ...]) -> Select[Any]:
    between = _COLUMNS.transition_id.between(bindparam("first"), bindparam("last"))
    chosen = [CONDITIONS[name] for name in names]
    columns = [_COLUMNS[name] for name in TransitionRecord._fields]
    return select(*columns).where(between, *chosen).order_by(_COLUMNS.transition_id).limit(_PAGE)


@cache
def _page_numbers(names: tuple[str, ...]) -> Select[Any]:
    return _page(names).with_only_columns(_COLUMNS.transition_id)


def read_records(connection: sa.Connection, query: Select[Any]) -> list[TransitionRecord]:
    """The audit rows of a query over `state_transitions`.

    Raises:
        HistoryDamagedError: one of them cannot be read.
    """

    def fetch(query: Select[Any], values: Mapping[str, Any]) -> Iterable[Any]:
        return connection.execute(query, values).all()

    numbers = query.with_only_columns(_COLUMNS.transition_id)
    records, damage = _read(fetch, query, numbers, {})
    if damage is not None:
        raise damage
    return records


# Rows that somebody has put there past the store


def damaged(number: int, what: object) -> HistoryDamagedError:
    """The error for an audit row that is no row of the store's."""
    return HistoryDamagedError(f"The audit row {number} cannot be read: {what}.")


def _read(
    fetch: _Fetch, query: Select[Any], numbers: Select[Any], values: Mapping[str, Any]
) -> tuple[list[TransitionRecord], HistoryDamagedError | None]:
    """Records up to the first that cannot be read, and what is wrong with that one."""
    try:
        return [_sound(row) for row in fetch(query, values)], None
    except _BROKEN as error:
        if not _is_damage(error):
            raise
        cause = error
    sound: list[TransitionRecord] = []
    for (number,) in fetch(numbers, values):
        try:
            sound += [_sound(row) for row in fetch(_ONE, {"first": number, "last": number})]
        except _BROKEN as error:
            if not _is_damage(error):
                raise
            return sound, damaged(number, _said(error))
    raise cause


_ONE = _page(())


def _is_damage(error: Exception) -> bool:
    beyond_python = isinstance(error, DBAPIError | StoreUnavailableError)
    return not beyond_python or _NOT_UTF8 in str(error)


def _said(error: Exception) -> str:
    if isinstance(error, DBAPIError | StoreUnavailableError):
        return "bytes that are no text stand where text belongs"
    return str(error).rstrip(".") or type(error).__name__


_TYPES: Mapping[str, frozenset[type]] = {
    name: frozenset(
        {
            dict if name == "metadata" else int if _COLUMNS[name].type.python_type is int else str,
            *([type(None)] if _COLUMNS[name].nullable else []),
        }
    )
    for name in TransitionRecord._fields
}
"""What may stand in each column. SQLite keeps anything in any of them."""


def _sound(row: Iterable[Any]) -> TransitionRecord:
    """A row as a record.

    Raises:
        TypeError, ValueError: something else stands in a column, or a number that JSON has not.
    """
    record = TransitionRecord._make(row)
    for (name, types), value in zip(_TYPES.items(), record, strict=True):
        if type(value) not in types:
            raise TypeError(f"its {name} is {value!r}")
    if record.metadata:
        canonical_json(record.metadata)
    return record


# Single facts


def rows_of(database: Database, *event_ids: str) -> dict[str, int]:
    """The `transition_id` of each of these events that is in the table."""
    known = [one for one in event_ids if storable(one) == one]
    query = select(_COLUMNS.event_id, _COLUMNS.transition_id).where(_COLUMNS.event_id.in_(known))
    with database.reading() as connection:
        return {event_id: row for event_id, row in connection.execute(query).all()}


def first_row_after(database: Database, row: int) -> int | None:
    """The next row that is there; None when there is none."""
    query = select(sa.func.min(_COLUMNS.transition_id)).where(_COLUMNS.transition_id > row)
    with database.reading() as connection:
        return connection.execute(query).scalar()


def last_row(database: Database) -> int:
    """The highest `transition_id`; 0 for an empty table."""
    return database.look(lambda connection: connection.scalar(LAST_AUDIT_ROW, {})) or 0
