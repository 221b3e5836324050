"""Time and identity, both injectable: nothing in the store reads a wall clock or a random source.

Timestamps are UTC ISO-8601 with microseconds and `Z`, so that text order is time order (design
section 2). Ids are ULIDs with a prefix (design section 7).
"""

import os
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

from state.errors import StoreUsageError

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [first + second for first in _CROCKFORD for second in _CROCKFORD]
_SHIFTS = range(120, -1, -10)
_RANDOM_BITS = 80


class Clock(Protocol):
    """Says what time it is."""

    def now(self) -> datetime:
        """The time now, aware, in UTC."""
        ...


class IdSource(Protocol):
    """Makes ids that were never given out before."""

    def new(self, prefix: str) -> str:
        """A fresh id that begins with `prefix`."""
        ...


class SystemClock:
    """The computer's clock."""

    def now(self) -> datetime:
        """The time now, in UTC."""
        return datetime.now(UTC)


class ManualClock:
    """A clock for tests: it moves when it is told to.

    Args:
        start: the first time it shows; aware.
    """

    def __init__(self, start: datetime = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) -> None:
        self._now = start
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """The time it was last set to."""
        with self._lock:
            return self._now

    def advance(self, seconds: float) -> datetime:
        """Move by so many seconds (backwards when negative) and say the new time."""
        with self._lock:
            self._now += timedelta(seconds=seconds)
            return self._now


class UlidSource:
    """ULIDs that grow strictly within this process, whatever its clock does. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0
        self._pid = 0

    def new(self, prefix: str) -> str:
        """A fresh id such as `task_01JH...` (26 characters after the prefix)."""
        with self._lock:
            # A forked child must not go on where its parent stood: both would count the same ids.
            if self._pid != os.getpid():
                self._pid, self._last = os.getpid(), 0
            fresh = (time.time_ns() // 1_000_000) << _RANDOM_BITS
            if fresh >> _RANDOM_BITS > self._last >> _RANDOM_BITS:
                self._last = fresh | int.from_bytes(os.urandom(_RANDOM_BITS // 8), "big")
            else:
                self._last += 1
            value = self._last
        return prefix + "".join([_PAIRS[(value >> shift) & 1023] for shift in _SHIFTS])


class SequentialIds:
    """Ids for tests: `task_1`, `task_2`, ... counted for each prefix. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}

    def new(self, prefix: str) -> str:
        """The next id of that prefix; padded so that text order is the order of making."""
        with self._lock:
            count = self._counts[prefix] = self._counts.get(prefix, 0) + 1
        return f"{prefix}{count:06d}"


def timestamp(moment: datetime) -> str:
    """A time as stored text: `2026-01-02T03:04:05.000006Z`.

    Raises:
        StoreUsageError: the time has no zone, so nobody can say when it is.
    """
    if moment.tzinfo is None:
        raise StoreUsageError(f"The time {moment.isoformat()} has no time zone. Give it one (UTC).")
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return f"{moment.isoformat(timespec='microseconds')[:26]}Z"


def parse_timestamp(text: str) -> datetime:
    """Stored text as an aware time in UTC; other ISO-8601 spellings with a zone are read as well.

    Raises:
        StoreUsageError: not a time, or a time without a zone.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise StoreUsageError(f"{text!r} is not an ISO-8601 time.") from error
    if moment.tzinfo is None:
        raise StoreUsageError(f"The time {text!r} has no time zone. Append Z for UTC.")
    return moment.astimezone(UTC)
