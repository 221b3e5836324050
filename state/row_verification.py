"""Every audit row is hashed anew and followed from the one before; their numbers are counted."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from operator import itemgetter

import sqlalchemy as sa

from state.history_problems import (
    NOTHING,
    History,
    Place,
    Problem,
    about,
    about_all,
    named,
    shown,
)
from state.machines import MACHINES, NONE_STATE
from state.raw_history import COLUMNS, RawRow, hash_of, raw_pages
from state.schema import state_transitions
from state.told_columns import ToldColumns

Progress = Callable[[int, int], None]
"""Told now and then how many rows are done, and how many there are."""

_pick = itemgetter(*(COLUMNS.index(name) for name in Place._fields))
_METADATA = COLUMNS.index("metadata")

_STEPS = {
    (name, source, target)
    for name, machine in MACHINES.items()
    for source, target in (
        (NONE_STATE, machine.initial),
        *((one.source, one.target) for one in machine.all_transitions()),
        *((state, state) for state in machine.states),  # an act that is no change of state
    )
}
"""Every `entity_type, from_state, to_state` that an audit row may have."""


def verify_rows(
    connection: sa.Connection, found: History, of_entities: History, progress: Progress | None
) -> None:
    """Verify every audit row, and entities against the columns that rows tell of."""
    counted = sa.select(sa.func.count()).select_from(state_transitions)
    total, before = connection.scalar(counted) or 0, NOTHING
    told = ToldColumns()
    for page in raw_pages(connection):
        before = _verify_page(page, before, found, told)
        told.compare(connection, of_entities, still=before)
        found.entries += len(page)
        if progress:
            progress(found.entries, total)
    told.compare(connection, of_entities)


def _verify_page(page: Sequence[RawRow], before: Place, found: History, told: ToldColumns) -> Place:
    """Verify rows that follow on `before`; says the last one."""
    for raw in page:
        row = Place._make(_pick(raw))
        if row.entity_id != before.entity_id or row.entity_type != before.entity_type:
            before = NOTHING
        right = hash_of(raw) == row.hash
        if not (right and _follows(row, before)):
            found.add(partial(_problem, raw, row, before))
        if right:
            told.note(row, raw[_METADATA])
        before = row
    return before


def _follows(row: Place, before: Place) -> bool:
    try:
        return (
            row.prev_hash == before.hash
            and row.from_state == before.to_state
            and row.entity_version == before.entity_version + (row.from_state != row.to_state)
            and row.transitioned_at >= before.transitioned_at
            and (row.entity_type, row.from_state, row.to_state) in _STEPS
        )
    except TypeError:  # something is there in the place of a number or a time
        return False


def _problem(raw: RawRow, row: Place, before: Place) -> Problem:
    faults = list(_faults(raw, row, before))
    since = shown(row.transitioned_at)
    message = (
        f"Audit row {row.transition_id} (event {shown(row.event_id)}) of the "
        f"{named(row.entity_type, row.entity_id)}, written at {since}: "
        f"{'; '.join(text for _, text in faults)}."
    )
    return about(faults[0][0], row, since, message)


def _faults(raw: RawRow, row: Place, before: Place) -> Iterator[tuple[str, str]]:
    """What is wrong with a row: codes and words."""
    if row.entity_type not in MACHINES:
        yield "unknown_type", "there is no such kind of entity"
    if hash_of(raw) != row.hash:
        yield "row_changed", "it was changed: its hash is not that of its columns"
    first = before is NOTHING
    if row.prev_hash != before.hash:
        what = "the row it follows is missing" if first else "it does not follow the row before it"
        yield "chain_broken", what
    if row.from_state != before.to_state:
        led = "no row before it" if first else f"the row before it led to {shown(before.to_state)}"
        yield "state_gap", f"it goes on from {shown(row.from_state)}, but {led}"
    elif (row.entity_type, row.from_state, row.to_state) not in _STEPS:
        step = f"{shown(row.from_state)} to {shown(row.to_state)}"
        yield "illegal_transition", f"its machine has no change from {step}"
    try:
        if row.entity_version != before.entity_version + (row.from_state != row.to_state):
            yield "version_gap", f"version {row.entity_version} comes after {before.entity_version}"
        if row.transitioned_at < before.transitioned_at:
            yield "time_order", f"the row before it is of {before.transitioned_at}, which is later"
    except TypeError:
        yield "row_changed", "its version and its time do not compare with those of the row before"


# Numbers


def verify_numbers(connection: sa.Connection, found: History) -> None:
    """Whether every row is there that got a number, so that no entity went with its history.

    SQLite gives each number once, leaves none out, and takes back those of a transaction that was
    not kept. PostgreSQL does not take them back: there a gap says nothing.
    """
    if connection.dialect.name != "sqlite":
        return
    number = state_transitions.c.transition_id
    numbers = sa.select(sa.func.count(), sa.func.coalesce(sa.func.max(number), 0))
    count, last = connection.execute(numbers.where(number > 0)).one()
    if count < last:
        found.add(partial(_rows_missing, connection, last - count))
    given = connection.exec_driver_sql(
        "SELECT seq FROM sqlite_sequence WHERE name = ?", (state_transitions.name,)
    ).scalar()
    if isinstance(given, int) and given > last:
        found.add(partial(_tail_missing, connection, last, given))


def _rows_missing(connection: sa.Connection, count: int) -> Problem:
    here, before = state_transitions.c.transition_id, state_transitions.alias("before")
    follows = sa.exists().where(before.c.transition_id == here - 1)
    behind = sa.select(sa.func.min(here)).where(here > 1, ~follows)
    later = connection.execute(behind).scalar_one()
    earlier = connection.scalar(sa.select(sa.func.max(here)).where(here < later, here > 0)) or 0
    since = _written_at(connection, earlier)
    message = (
        f"The rows of {count} audit numbers are missing, the first of them "
        f"{_span(earlier + 1, later - 1)}: {_after(earlier, since)} comes row {later} of "
        f"{_written_at(connection, later)}. They were taken out, perhaps with their entities."
    )
    return about_all("rows_missing", message, earlier + 1, since)


def _tail_missing(connection: sa.Connection, last: int, given: int) -> Problem:
    since = _written_at(connection, last)
    message = (
        f"The end of the audit is missing: numbers were given up to {given}, but "
        f"{_after(last, since)} no row comes. {_span(last + 1, given).capitalize()} was taken out, "
        "perhaps with its entity."
    )
    return about_all("tail_missing", message, last + 1, since)


def _written_at(connection: sa.Connection, number: int) -> str:
    columns = state_transitions.c
    query = sa.select(columns.transitioned_at).where(columns.transition_id == number)
    at = connection.execute(query).scalar()
    return "" if at is None else shown(at)


def _span(first: int, last: int) -> str:
    return f"row {first}" if first == last else f"rows {first} to {last}"


def _after(number: int, since: str) -> str:
    return f"after row {number} of {since}" if number else "at the beginning"
