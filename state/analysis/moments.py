"""Points in time as callers give them, and the distances between those that are stored."""

from datetime import datetime, timedelta

from state.clock_and_ids import parse_timestamp, timestamp
from state.errors import StoreUsageError

Moment = datetime | str
"""An aware time, or ISO-8601 text with a zone."""


def as_stored_time(moment: Moment) -> str:
    """A moment as the tables keep it, so that comparing text compares time.

    Raises:
        StoreUsageError: not a time, or a time without a zone.
    """
    return timestamp(parse_timestamp(moment) if isinstance(moment, str) else moment)


def seconds_between(early: str, late: str) -> float:
    """Seconds from one stored time to another; never below zero, whatever a clock did."""
    passed = datetime.fromisoformat(late) - datetime.fromisoformat(early)
    return max(0.0, passed.total_seconds())


def seconds_before(moment: str, seconds: float) -> str:
    """The stored time so many seconds before another; empty, so before all, if before 1970."""
    try:
        earlier = parse_timestamp(moment) - timedelta(seconds=seconds)
    except OverflowError:
        return ""
    return timestamp(earlier) if earlier.year >= 1970 else ""


def window(since: Moment, until: Moment) -> tuple[str, str]:
    """A span of time as stored text: from `since`, included, to `until`, excluded.

    Raises:
        StoreUsageError: one of the two is no time, or the second is not after the first.
    """
    first, last = as_stored_time(since), as_stored_time(until)
    if last <= first:
        raise StoreUsageError(f"The window ends at {last}, not after its beginning {first}.")
    return first, last
