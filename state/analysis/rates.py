"""How often states change, and who changed them by hand, in a window of time."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Integer, func, literal_column, select

from state.analysis.changes import PAGE, is_change
from state.analysis.moments import Moment, window
from state.audit import TransitionRecord
from state.clock_and_ids import parse_timestamp, timestamp
from state.entities import kind_of
from state.errors import StoreUsageError
from state.schema import state_transitions
from state.store import StateStore

_SECOND, _MINUTE = len("2026-01-02T03:04:05"), len("2026-01-02T03:04")


@dataclass(frozen=True, slots=True)
class TransitionRate:
    """How often one change happened. `buckets` has the start of each bucket in which it did."""

    entity_type: str
    from_state: str
    to_state: str
    count: int
    per_second: float
    buckets: Mapping[str, int]


def transition_rates(
    store: StateStore,
    since: Moment,
    until: Moment,
    bucket_sec: float,
    *,
    entity_type: str | None = None,
    run_id: str | None = None,
) -> list[TransitionRate]:
    """How often each change of state happened, in all and by bucket, the most frequent first.

    The database counts by the second or minute when the buckets fall on those, so that only the
    counts travel. Leans on an index on (transitioned_at), or on (run_id) when a run is named.

    Args:
        store: to read.
        since: beginning of the window and of the first bucket; included.
        until: end of the window; excluded. The last bucket may be shorter than the others.
        bucket_sec: length of a bucket in seconds, at least a microsecond.
        entity_type: only changes of these entities.
        run_id: only changes in this run.

    Raises:
        StoreUsageError: no such type, no such window, or a bucket without length.
    """
    first, last = window(since, until)
    start = parse_timestamp(first)
    length = _bucket(bucket_sec)
    columns = state_transitions.c
    key = (columns.entity_type, columns.from_state, columns.to_state)
    # Written out, not bound: PostgreSQL must see that it groups by just what it selects.
    characters = literal_column(str(_precision(start, length)), Integer)
    at = func.substr(columns.transitioned_at, literal_column("1", Integer), characters)
    query = (
        select(*key, at, func.count())
        .where(is_change(), columns.transitioned_at >= first, columns.transitioned_at < last)
        .group_by(*key, at)
    )
    if entity_type is not None:
        query = query.where(columns.entity_type == kind_of(entity_type).machine_of().name)
    if run_id is not None:
        query = query.where(columns.run_id == run_id)
    found: dict[tuple[str, str, str], dict[int, int]] = {}
    with store.reading() as connection:
        rows = connection.execute(query, execution_options={"yield_per": PAGE})
        for kind, source, target, moment, count in rows:
            place = (_read(moment) - start) // length
            counts = found.setdefault((kind, source, target), {})
            counts[place] = counts.get(place, 0) + count
    seconds = (parse_timestamp(last) - start).total_seconds()
    rates = [
        TransitionRate(
            *change,
            count=(total := sum(counts.values())),
            per_second=total / seconds,
            buckets={timestamp(start + place * length): counts[place] for place in sorted(counts)},
        )
        for change, counts in found.items()
    ]
    order = {change: place for place, change in enumerate(sorted(found))}
    return sorted(
        rates, key=lambda one: (-one.count, order[one.entity_type, one.from_state, one.to_state])
    )


def _bucket(seconds: float) -> timedelta:
    try:
        length = timedelta(seconds=seconds)
    except (OverflowError, ValueError) as error:
        raise StoreUsageError(f"A bucket cannot be {seconds} seconds long.") from error
    if length <= timedelta(0):
        raise StoreUsageError(f"A bucket of {seconds:g} seconds has no length. Give more than 0.")
    return length


def _precision(start: datetime, length: timedelta) -> int:
    """How many characters of a time decide in which bucket it is."""
    if start.microsecond or length % timedelta(seconds=1):
        return len(timestamp(start))
    return _SECOND if start.second or length % timedelta(minutes=1) else _MINUTE


def _read(moment: str) -> datetime:
    """A stored time, or the beginning of one, which says UTC without saying so."""
    return parse_timestamp(moment if moment.endswith("Z") else f"{moment}Z")


@dataclass(frozen=True, slots=True)
class Overrides:
    """What operators did: how much each did, the busiest first, and the acts, oldest first.

    `by_operator` counts all of them, also when `acts` was cut off at a limit.
    """

    by_operator: Mapping[str, int]
    acts: tuple[TransitionRecord, ...]

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self.by_operator.values())


def overrides(
    store: StateStore,
    since: Moment,
    until: Moment,
    *,
    run_id: str | None = None,
    limit: int | None = None,
) -> Overrides:
    """Every act of an operator in a window, holds and releases included (decisions E2).

    Leans on an index on (transitioned_at), partial where there is an operator.

    Args:
        store: to read.
        since: beginning of the window; included.
        until: end of the window; excluded.
        run_id: only acts on this run and what is under it.
        limit: how many acts to bring at most; the latest are left out.

    Raises:
        StoreUsageError: no such window.
    """
    first, last = window(since, until)
    columns = state_transitions.c
    chosen: list[ColumnElement[bool]] = [
        columns.operator.is_not(None),
        columns.transitioned_at >= first,
        columns.transitioned_at < last,
    ]
    if run_id is not None:
        chosen.append(columns.run_id == run_id)
    counting = select(columns.operator, func.count()).where(*chosen).group_by(columns.operator)
    order = (columns.transitioned_at, columns.transition_id)
    listing = select(state_transitions).where(*chosen).order_by(*order).limit(limit)
    with store.reading() as connection:
        counts = {operator: count for operator, count in connection.execute(counting)}
        rows = connection.execute(listing).mappings()
        acts = tuple(TransitionRecord(**{str(name): row[name] for name in row}) for row in rows)
    ranked = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    return Overrides(dict(ranked), acts)
