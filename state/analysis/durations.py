"""How long entities are in their states: one entity's path, and all of them summed up by state."""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, func, literal_column, select

from state.analysis.changes import PAGE, entered_current, is_change
from state.analysis.moments import Moment, as_stored_time, seconds_between
from state.entities import Kind, kind_of
from state.errors import EntityNotFoundError
from state.machines import NONE_STATE
from state.schema import state_transitions
from state.store import StateStore


@dataclass(frozen=True, slots=True)
class Span:
    """One stay in a state. `left_at` is None while it lasts; `seconds` then run to the moment asked
    about."""

    state: str
    entered_at: str
    left_at: str | None
    seconds: float


@dataclass(frozen=True, slots=True)
class TimeInState:
    """One entity's stays in order, and the seconds of each state it has been in."""

    spans: tuple[Span, ...]
    totals: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class StateDurations:
    """The stays in one state that have ended, in seconds, and those that last.

    Percentiles are of the nearest rank: each is the length of a stay that happened. With no ended
    stay all figures are zero. `open_count` and `open_longest_sec` tell of the stays that last;
    a state that ends an entity is never left and is not listed.
    """

    count: int
    total_sec: float
    mean_sec: float
    p50_sec: float
    p95_sec: float
    max_sec: float
    open_count: int
    open_longest_sec: float


def time_in_state(
    store: StateStore, entity_type: str, entity_id: str, until: Moment | None = None
) -> TimeInState:
    """Which states an entity was in, from when to when, and how long in all.

    Leans on ix_state_transitions_entity.

    Args:
        store: to read.
        entity_type: of the entity.
        entity_id: of the entity.
        until: what happened later is left out, and a stay that lasts is counted up to here; the
            store's time by default.

    Raises:
        EntityNotFoundError: there is no such entity.
        StoreUsageError: no such type, or `until` is no time.
    """
    columns = state_transitions.c
    query = (
        select(columns.to_state, columns.transitioned_at)
        .where(
            columns.entity_type == kind_of(entity_type).machine_of().name,
            columns.entity_id == entity_id,
            is_change(),
        )
        .order_by(columns.transition_id)
    )
    with store.reading() as connection:
        entries = [(state, at) for state, at in connection.execute(query)]
    if not entries:
        raise EntityNotFoundError(entity_type, entity_id)
    # A clock that stepped back is no reason to leave out what has happened already.
    end = max(store.now(), entries[-1][1]) if until is None else as_stored_time(until)
    spans = tuple(_spans([one for one in entries if one[1] <= end], end))
    totals: dict[str, float] = {}
    for span in spans:
        totals[span.state] = totals.get(span.state, 0.0) + span.seconds
    return TimeInState(spans, totals)


def _spans(entries: Sequence[tuple[str, str]], end: str) -> Iterable[Span]:
    lefts = [at for _, at in entries[1:]]
    for (state, entered), left in zip(entries, [*lefts, None], strict=False):
        yield Span(state, entered, left, seconds_between(entered, left or end))


def time_in_states(
    store: StateStore,
    entity_type: str,
    run_id: str | None = None,
    since: Moment | None = None,
) -> dict[str, StateDurations]:
    """How long entities of a type stay in each state, in the machine's order of states.

    Rows are streamed; what is kept is eight bytes for each ended stay.

    Args:
        store: to read.
        entity_type: whose states.
        run_id: only entities of this run.
        since: only stays that ended then or later, or that last.

    Raises:
        StoreUsageError: no such type, or `since` is no time.
    """
    kind = kind_of(entity_type)
    machine = kind.machine_of()
    now = store.now()
    ended: dict[str, array[float]] = {}
    lasting: dict[str, tuple[int, float]] = {}
    with store.reading() as connection:
        for state, entered, left in _stream(connection, _ended_stays(kind, run_id, since)):
            if entered is not None:  # else somebody took the row out; `audit verify` tells
                ended.setdefault(state, array("d")).append(seconds_between(entered, left))
        for state, entered, _ in _stream(connection, _lasting_stays(kind, run_id)):
            count, longest = lasting.get(state, (0, 0.0))
            lasting[state] = (count + 1, max(longest, seconds_between(entered, now)))
    return {
        state: _summary(ended.get(state, array("d")), *lasting.get(state, (0, 0.0)))
        for state in machine.states
        if state in ended or state in lasting
    }


_Stays = Select[Any, Any, Any]
"""Rows of state, entry and end."""


def _stream(connection: Connection, query: _Stays) -> Iterator[tuple[str, Any, str]]:
    rows = connection.execute(query, execution_options={"yield_per": PAGE})
    return (tuple(row) for row in rows)


def _ended_stays(kind: Kind, run_id: str | None, since: Moment | None) -> _Stays:
    """State, entry and end of every stay that ended: a change of state, and the one before it.

    The changes are found through an index on (run_id) or (transitioned_at) when those are given,
    else by ix_state_transitions_entity, which finds the change before each of them as well. That is
    asked for each by itself: joined, databases now and then begin with it and read the whole audit.
    """
    after, before = state_transitions, state_transitions.alias("before")
    entered = (
        select(func.max(before.c.transitioned_at))
        .where(
            before.c.entity_type == kind.name,
            before.c.entity_id == after.c.entity_id,
            before.c.entity_version == after.c.entity_version - 1,
            is_change(before),
        )
        .correlate(after)
        .scalar_subquery()
    )
    query = select(after.c.from_state, entered, after.c.transitioned_at).where(
        after.c.from_state != NONE_STATE, is_change(after)
    )
    if run_id is not None:
        query = query.where(after.c.run_id == run_id)
    if since is None:
        return query.where(after.c.entity_type == kind.name)
    # Spelled so that no index finds the type: else SQLite reads all of it in all of time.
    of_type = after.c.entity_type.concat(literal_column("''")) == kind.name
    return query.where(of_type, after.c.transitioned_at >= as_stored_time(since))


def _lasting_stays(kind: Kind, run_id: str | None) -> _Stays:
    """State and entry (twice, for one shape) of every entity that has not ended.

    The entities are found by the index on their `state`, their entry by
    ix_state_transitions_entity.
    """
    machine, entry = kind.machine_of(), state_transitions
    live = [state for state in machine.states if state not in machine.terminal]
    query = (
        select(kind.table.c.state, entry.c.transitioned_at, entry.c.transitioned_at)
        .select_from(kind.table)
        .join(entry, entered_current(kind))
        .where(kind.table.c.state.in_(live))
    )
    return query if run_id is None else query.where(entry.c.run_id == run_id)


def _summary(seconds: "array[float]", lasting: int, longest: float) -> StateDurations:
    ranked = sorted(seconds)
    count, total = len(ranked), sum(ranked)
    return StateDurations(
        count=count,
        total_sec=total,
        mean_sec=total / count if count else 0.0,
        p50_sec=_percentile(ranked, 50),
        p95_sec=_percentile(ranked, 95),
        max_sec=ranked[-1] if ranked else 0.0,
        open_count=lasting,
        open_longest_sec=longest,
    )


def _percentile(ranked: Sequence[float], percent: int) -> float:
    """The value of the nearest rank: the smallest that so many percent do not exceed."""
    if not ranked:
        return 0.0
    return ranked[-(-len(ranked) * percent // 100) - 1]
