"""Events from the table, chosen by moment, entity and run, in constant memory."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from state.audit import EVENT_PREFIX
from state.clock_and_ids import parse_timestamp, timestamp
from state.entities import kind_of
from state.errors import EntityNotFoundError, StoreUsageError
from state.event_rows import last_row, rows_of, settled_pages
from state.machines import MACHINES
from state.store import StateStore

_DIGITS = 19
"""Of the largest `transition_id` that a database can hold."""

_SHOWN = 60
"""How much of a text that cannot be read is shown; no time is longer."""


@dataclass(frozen=True)
class Selection:
    """Which audit rows: those after one, up to another, that meet `state.event_rows.CONDITIONS`."""

    after: int
    until: int
    wanted: Mapping[str, str]


def select_events(
    store: StateStore,
    since: str | None = None,
    entity: str | None = None,
    run: str | None = None,
) -> Selection:
    """Choose among the events that are there now.

    Args:
        store: to read.
        since: an ISO-8601 time with a zone (events of that moment and later), or an event id or
            a `transition_id` (events after that one; 0 for all).
        entity: `TYPE/ID`: events of this entity alone.
        run: events of this run, and of everything in it.

    Raises:
        EntityNotFoundError: there is no such event, entity or run.
        StoreUsageError: `since`, `entity` or `run` cannot be read.
    """
    until = last_row(store.database)
    after = 0
    wanted: dict[str, str] = {}
    if since is not None:
        row = _row_of(store, since, until)
        if row is None:
            wanted["since"] = _moment(since)
        else:
            after = row
    if entity is not None:
        wanted["entity_type"], wanted["entity_id"] = _entity(store, entity)
    if run is not None:
        if not run:
            raise StoreUsageError("The run has an empty name. Give its id, such as run_01JH.")
        wanted["run_id"] = store.get("run", run).run_id
    return Selection(after, until, wanted)


def export_events(store: StateStore, selection: Selection) -> Iterator[dict[str, Any]]:
    """The chosen events in the canonical shape (decisions E2), in the order of their rows.

    On PostgreSQL it ends before the first row that a running transaction may still come in front
    of: who goes on later with `since` the last one misses nothing.

    Raises:
        HistoryDamagedError: the next row cannot be read.
    """
    pages = settled_pages(store.database, selection.after, selection.wanted, until=selection.until)
    for page in pages:
        for record in page:
            yield record.as_event()


def _row_of(store: StateStore, since: str, newest: int) -> int | None:
    """The row that `since` names; None when it is no name of a row."""
    if since.isascii() and since.isdigit():
        number = since.lstrip("0") or "0"
        if len(number) > _DIGITS or int(number) > newest:
            raise EntityNotFoundError("transition", _shortened(since))
        return int(number)
    if not since.startswith(EVENT_PREFIX):
        return None
    row = rows_of(store.database, since).get(since)
    if row is None:
        raise EntityNotFoundError("event", since)
    return row


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _moment(since: str) -> str:
    try:
        return timestamp(parse_timestamp(_shortened(since)))
    except StoreUsageError as error:
        raise StoreUsageError(
            f"{error} Since when can be said by a time such as 2026-01-31T08:00:00Z, "
            "by an event id (evt_...) or by a transition id (a number)."
        ) from error


def _entity(store: StateStore, entity: str) -> tuple[str, str]:
    """Type and key of an entity that is there."""
    entity_type, _, key = entity.partition("/")
    if entity_type not in MACHINES or not key:
        raise StoreUsageError(
            f"{entity!r} names no entity. Write TYPE/ID, such as task/task_01JH; the types are: "
            f"{', '.join(MACHINES)}."
        )
    return entity_type, getattr(store.get(entity_type, key), kind_of(entity_type).key)
