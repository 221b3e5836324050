"""Is the history what it was? Every audit row is hashed anew and followed from the one before.

What the rows say against the entities is asked by SQL. A history that is whole in itself may still
lack its end or be another one: checkpoints (`state.checkpoints`) and their anchors
(`resources.audit_anchor`) tell that. Source: design section 2, "Audit".
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple

import sqlalchemy as sa

from state.chain import row_hash
from state.entities import KINDS
from state.machines import MACHINES, NONE_STATE, StateMachine
from state.raw_history import COLUMNS, any_text, damage_told, raw_pages
from state.schema import state_transitions
from state.store import StateStore

KEPT = 1000
"""How many problems are kept; the rest are counted."""

_PAGE = 1000

Progress = Callable[[int, int], None]
"""Told now and then how many rows are done, and how many there are."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in the history that is not as the store wrote it.

    Attributes:
        code: `row_changed` (its hash is not that of its columns), `chain_broken` (it does not carry
            the hash of the row before: rows were taken out, put in or moved), `state_gap`,
            `version_gap`, `time_order` (it does not go on from the row before),
            `illegal_transition`, `unknown_type`; `entity_changed` (an entity is not what its last
            audit row says), `entity_missing` (an audited entity has no row), `audit_missing` (an
            entity has no audit row); `unreadable` (the database itself is damaged).
        entity_type: of the entity that it is about; None for the whole database.
        entity_id: of the same.
        transition_id: the first audit row that is wrong; the entity's last one when the entity is.
        event_id: of that row.
        since: when that row was written; of an entity without history when it was made; empty when
            nothing tells.
        message: what, where, and since when.
    """

    code: str
    entity_type: str | None
    entity_id: str | None
    transition_id: int | None
    event_id: str | None
    since: str
    message: str


@dataclass(slots=True)
class History:
    """What verification has found.

    Attributes:
        entries: audit rows that were looked at.
        count: how many problems there are.
        problems: the first `KEPT` of them, rows before entities.
    """

    entries: int = 0
    count: int = 0
    problems: list[Problem] = field(default_factory=list[Problem])

    def add(self, problem: Callable[[], Problem]) -> None:
        """Count a problem; it is worded only when it is kept."""
        self.count += 1
        if self.count <= KEPT:
            self.problems.append(problem())


def verify_history(store: StateStore, progress: Progress | None = None) -> History:
    """Verify every audit row, and every entity against its last one, as of one moment.

    Raises:
        StoreUnavailableError: the database cannot be read now. One that is damaged has a problem
            with the code `unreadable` instead.
    """
    found = History()
    with (
        damage_told(store, lambda message: found.add(lambda: _unreadable(message))),
        store.reading() as connection,
    ):
        _verify_rows(connection, found, progress)
        with any_text(connection):
            for machine in MACHINES.values():
                _verify_entities(connection, machine, found)
    return found


# Rows

_Raw = Sequence[Any]


class _Row(NamedTuple):
    """Of an audit row what its place in the chain takes; anything may stand in any column."""

    entity_type: Any
    entity_id: Any
    entity_version: Any
    from_state: Any
    to_state: Any
    transitioned_at: Any
    prev_hash: Any
    hash: Any
    transition_id: Any
    event_id: Any


_pick = itemgetter(*(COLUMNS.index(name) for name in _Row._fields))
_METADATA = COLUMNS.index("metadata")
_NOTHING = _Row(None, None, 0, None, NONE_STATE, "", None, None, None, None)

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


def _verify_rows(connection: sa.Connection, found: History, progress: Progress | None) -> None:
    counted = sa.select(sa.func.count()).select_from(state_transitions)
    total, before = connection.scalar(counted) or 0, _NOTHING
    for page in raw_pages(connection):
        before = _verify_page(page, before, found)
        found.entries += len(page)
        if progress:
            progress(found.entries, total)


def _verify_page(page: Sequence[_Raw], before: _Row, found: History) -> _Row:
    """Verify rows that follow on `before`; says the last one."""
    for raw in page:
        row = _Row._make(_pick(raw))
        if row.entity_id != before.entity_id or row.entity_type != before.entity_type:
            before = _NOTHING
        if not (_hash(raw) == row.hash and _follows(row, before)):
            found.add(partial(_problem, raw, row, before))
        before = row
    return before


def _hash(raw: _Raw) -> str | None:
    try:
        return row_hash(dict(zip(COLUMNS, raw, strict=True)), raw[_METADATA])
    except UnicodeEncodeError:  # somebody put bytes there that are no text
        return None


def _follows(row: _Row, before: _Row) -> bool:
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


def _problem(raw: _Raw, row: _Row, before: _Row) -> Problem:
    faults = list(_faults(raw, row, before))
    since = shown(row.transitioned_at)
    message = (
        f"Audit row {row.transition_id} (event {shown(row.event_id)}) of the "
        f"{_named(row.entity_type, row.entity_id)}, written at {since}: "
        f"{'; '.join(text for _, text in faults)}."
    )
    return _about(faults[0][0], row, since, message)


def _faults(raw: _Raw, row: _Row, before: _Row) -> Iterator[tuple[str, str]]:
    """What is wrong with a row: codes and words."""
    if row.entity_type not in MACHINES:
        yield "unknown_type", "there is no such kind of entity"
    if _hash(raw) != row.hash:
        yield "row_changed", "it was changed: its hash is not that of its columns"
    first = before is _NOTHING
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


# Entities


def _verify_entities(connection: sa.Connection, machine: StateMachine, found: History) -> None:
    """Every entity of a machine against its last audit row."""
    table = KINDS[machine.name].table
    key, audit = table.c[machine.key], state_transitions.alias("a")
    last = (
        sa.select(sa.func.max(state_transitions.c.transition_id))
        .where(state_transitions.c.entity_type == machine.name)
        .where(state_transitions.c.entity_id == key)
        .correlate(table)
        .scalar_subquery()
    )
    told = (
        sa.select(sa.literal(1))
        .where(audit.c.transition_id == last, audit.c.hash == table.c.audit_head)
        .where(audit.c.to_state == table.c.state, audit.c.entity_version == table.c.version)
        .correlate(table)
    )
    columns = (key, table.c.state, table.c.version, table.c.created_at, last)
    untold = sa.select(*columns).where(~told.exists()).order_by(key)
    for entity in connection.execute(untold.execution_options(yield_per=_PAGE)):
        found.add(partial(_not_as_told, connection, machine, entity))
    rows = state_transitions.c
    audited = sa.select(rows.entity_id, sa.func.max(rows.transition_id).label("last"))
    one = audited.where(rows.entity_type == machine.name).group_by(rows.entity_id).subquery()
    there = sa.select(sa.literal(1)).where(key == one.c.entity_id).correlate(one)
    gone = sa.select(one.c.last).where(~there.exists()).order_by(one.c.last)
    for (number,) in connection.execute(gone.execution_options(yield_per=_PAGE)):
        found.add(partial(_gone, connection, number))


def _row_of(connection: sa.Connection, number: int) -> _Row:
    """An audit row by its number."""
    columns = state_transitions.c
    query = sa.select(*(columns[name] for name in _Row._fields))
    return _Row._make(connection.execute(query.where(columns.transition_id == number)).one())


def _not_as_told(connection: sa.Connection, machine: StateMachine, entity: Any) -> Problem:
    entity_id, state, version, created_at, last = entity
    what = f"The {_named(machine.name, entity_id)} is {shown(state)}, version {version}"
    if last is None:
        since = shown(created_at)
        message = f"{what}, but has no audit row at all, though it was made at {since}."
        nobody = _NOTHING._replace(entity_type=machine.name, entity_id=entity_id)
        return _about("audit_missing", nobody, since, message)
    row = _row_of(connection, last)
    since = shown(row.transitioned_at)
    says = f"{shown(row.to_state)}, version {row.entity_version}"
    if (state, version) == (row.to_state, row.entity_version):
        says = "the same with another hash"
    message = (
        f"{what}, but its last audit row {row.transition_id} of {since} says {says}: the row was "
        "changed, or audit rows were put in or taken out after that one."
    )
    return _about("entity_changed", row, since, message)


def _gone(connection: sa.Connection, number: int) -> Problem:
    row = _row_of(connection, number)
    since = shown(row.transitioned_at)
    message = (
        f"The {_named(row.entity_type, row.entity_id)} is not there, but its audit rows are; the "
        f"last is row {number} of {since}."
    )
    return _about("entity_missing", row, since, message)


# Words


def _unreadable(message: str) -> Problem:
    return Problem("unreadable", None, None, None, None, "", message)


def _about(code: str, row: _Row, since: str, message: str) -> Problem:
    event = None if row.event_id is None else shown(row.event_id)
    whose = (shown(row.entity_type), shown(row.entity_id))
    return Problem(code, *whose, row.transition_id, event, since, message)


def _named(entity_type: Any, entity_id: Any) -> str:
    return f"{shown(entity_type).replace('_', ' ')} {shown(entity_id)}"


def shown(value: Any) -> str:
    """A stored value in words; SQLite keeps anything in any column."""
    return value if isinstance(value, str) else repr(value)
