"""Entities that are in a state for longer than allowed, and workers that fell silent (E5)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isinf
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Table, and_, exists, not_, or_, select

from state.analysis.changes import PAGE, entered_current
from state.analysis.moments import Moment, as_stored_time, seconds_before, seconds_between
from state.connection import Row
from state.deadlines import DEADLINES, RESTS_WHEN_HELD, WORKER_SILENT_SEC, Limits
from state.entities import Kind, kind_of
from state.machines import MACHINES
from state.schema import (
    circuit_breakers,
    runs,
    state_transitions,
    tasks,
    test_gates,
    uet_workers,
    workers,
    workstreams,
)
from state.store import StateStore

_BEATING = ("idle", "busy")
"""States of a worker in which it sends heartbeats; an unresponsive one is known to be silent."""


def _timeout_of_task(holder: Table) -> ColumnElement[Any]:
    return select(tasks.c.timeout_sec).where(tasks.c.task_id == holder.c.task_id).scalar_subquery()


_OWN: Mapping[tuple[str, str], ColumnElement[Any]] = {
    ("task", "running"): tasks.c.timeout_sec,
    ("task", "retrying"): tasks.c.next_attempt_at,
    ("test_gate", "RUNNING"): test_gates.c.timeout_sec,
    ("worker", "busy"): _timeout_of_task(workers),
    ("uet_worker", "BUSY"): _timeout_of_task(uet_workers),
    ("circuit_breaker", "OPEN"): circuit_breakers.c.cooldown_sec,
}
"""What a row says itself about how long it may be in a state; see `_allowance`."""

_RESTS: Mapping[tuple[str, str], ColumnElement[bool]] = {
    ("test_gate", "BLOCKED"): or_(
        exists().where(
            tasks.c.task_id == test_gates.c.task_id,
            tasks.c.state.in_(sorted(MACHINES["task"].terminal)),
        ),
        exists().where(
            workstreams.c.ws_id == test_gates.c.workstream_id,
            workstreams.c.state.in_(sorted(MACHINES["workstream"].terminal)),
        ),
    ),
    ("circuit_breaker", "HALF_OPEN"): circuit_breakers.c.probe_token.is_(None),
}
"""Where an entity rests though its state has a limit: a gate that was never run because another did
not pass, once whatever it was to judge has ended; a breaker that waits for its next caller."""

_INSTEAD = frozenset({("task", "running"), ("test_gate", "RUNNING")})
"""Where that replaces the limit of the table, so that it may also be shorter."""


@dataclass(frozen=True, slots=True)
class Stuck:
    """An entity that is late.

    `why` is `state` when it is in its state for too long, `silent` when it is a worker without a
    heartbeat; one entity may be both. It is `seconds` past `since`, where `limit_sec` are allowed.
    """

    entity_type: str
    entity_id: str
    state: str
    why: Literal["state", "silent"]
    since: str
    seconds: float
    limit_sec: float
    run_id: str | None
    workstream_id: str | None


def stuck(
    store: StateStore,
    limits: Limits = DEADLINES,
    now: Moment | None = None,
    *,
    silent_sec: float = WORKER_SILENT_SEC,
) -> list[Stuck]:
    """Everything that is late, the one that is longest beyond its limit first.

    A task and a gate with a timeout of their own have that for a limit while they run; a worker
    and a sandbox have at least that of their task. A retry is late from when it is due, an open
    breaker from when its cooldown ends. What waits for dispatch in a held run is not late.

    The database finds the entities by the index on their `state` and leaves out those that are too
    young to be late; the entry into the state comes from ix_state_transitions_entity.

    Args:
        store: to read.
        limits: machine -> state -> seconds, see `state.deadlines`; a state without a limit, or with
            an infinite one, is not looked at.
        now: the time to judge by; the store's by default.
        silent_sec: seconds without a heartbeat that an idle or busy worker is allowed.

    Raises:
        StoreUsageError: `now` is no time.
    """
    moment = store.now() if now is None else as_stored_time(now)
    late: list[Stuck] = []
    with store.reading() as connection:
        for name, states in limits.items():
            finite = {state: sec for state, sec in states.items() if not isinf(sec)}
            if finite:
                late += _late(connection, kind_of(name), finite, moment)
        late += _silent(connection, silent_sec, moment)
        held = set(connection.scalars(select(runs.c.run_id).where(runs.c.held)))
    found = [one for one in late if not _rests(one, held)]
    return sorted(found, key=lambda one: (one.limit_sec - one.seconds, one.entity_id, one.why))


def _rests(one: Stuck, held: set[str]) -> bool:
    return one.run_id in held and one.state in RESTS_WHEN_HELD.get(one.entity_type, ())


def _late(
    connection: Connection, kind: Kind, limits: Mapping[str, float], now: str
) -> Iterator[Stuck]:
    columns, entry = kind.table.c, state_transitions.c
    # No entity is longer in its state than it exists.
    candidates = (
        columns.state == state
        if (kind.name, state) in _INSTEAD
        else and_(
            columns.state == state,
            columns.created_at < seconds_before(now, seconds),
            *(not_(rests) for of, rests in _RESTS.items() if of == (kind.name, state)),
        )
        for state, seconds in limits.items()
    )
    query = (
        select(
            columns[kind.key].label("entity_id"),
            columns.state,
            entry.transitioned_at,
            entry.run_id,
            entry.workstream_id,
            *(
                own.label(f"own_{state}")
                for (name, state), own in _OWN.items()
                if name == kind.name
            ),
        )
        .select_from(kind.table)
        .join(state_transitions, entered_current(kind))
        .where(columns.state.in_(limits), or_(*candidates))
    )
    for row in connection.execute(query, execution_options={"yield_per": PAGE}):
        own = getattr(row, f"own_{row.state}", None)
        since, limit = _allowance(kind.name, row, own, limits[row.state])
        seconds = seconds_between(since, now)
        if seconds > limit:
            yield _stuck(kind.name, row, "state", since, seconds, limit)


def _allowance(entity_type: str, row: Row, own: Any, limit: float) -> tuple[str, float]:
    """From when, and for how many seconds, an entity may be in its state."""
    entered: str = row.transitioned_at
    if own is None:
        return entered, limit
    match entity_type, row.state:
        case "task", "retrying":
            return max(entered, own), limit
        case "circuit_breaker", _:
            return entered, limit + own
        case "worker" | "uet_worker", _:
            return entered, max(limit, own)
        case _:
            return entered, own


def _silent(connection: Connection, limit: float, now: str) -> Iterator[Stuck]:
    """Workers whose last heartbeat, or whose beginning when there was none, is too long ago."""
    entry = state_transitions.c
    query = (
        select(
            workers.c.worker_id.label("entity_id"),
            workers.c.state,
            workers.c.heartbeat_at,
            entry.transitioned_at,
            entry.run_id,
            entry.workstream_id,
        )
        .select_from(workers)
        .join(state_transitions, entered_current(kind_of("worker")))
        .where(workers.c.state.in_(_BEATING))
    )
    for row in connection.execute(query):
        since: str = row.heartbeat_at or row.transitioned_at
        seconds = seconds_between(since, now)
        if seconds > limit:
            yield _stuck("worker", row, "silent", since, seconds, limit)


def _stuck(
    entity_type: str,
    row: Row,
    why: Literal["state", "silent"],
    since: str,
    seconds: float,
    limit: float,
) -> Stuck:
    return Stuck(
        entity_type=entity_type,
        entity_id=row.entity_id,
        state=row.state,
        why=why,
        since=since,
        seconds=seconds,
        limit_sec=limit,
        run_id=row.run_id,
        workstream_id=row.workstream_id,
    )
