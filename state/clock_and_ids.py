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
_DIGIT_OF_BYTE = bytes(ord(_CROCKFORD[byte & 31]) for byte in range(256))
_TIME_SHIFTS = range(40, -1, -10)
_LARGEST_TAIL = (1 << 20) - 1


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
    """ULIDs that grow strictly within this process, whatever its clock does. Thread-safe.

    Of the 80 random bits the last 20 are counted up within a millisecond, or while the clock does
    not move forward; the rest, and their spelling, is made once for all of these ids.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pid = 0
        self._millisecond = 0
        self._head = ""
        self._tail = 0

    def new(self, prefix: str) -> str:
        """A fresh id such as `task_01JH...` (26 characters after the prefix)."""
        with self._lock:
            now = time.time_ns() // 1_000_000
            # A forked child must not go on where its parent stood: both would count the same ids.
            if now > self._millisecond or self._pid != os.getpid() or self._tail == _LARGEST_TAIL:
                self._begin(now)
            else:
                self._tail += 1
            tail = self._tail
            return f"{prefix}{self._head}{_PAIRS[tail >> 10]}{_PAIRS[tail & 1023]}"

    def _begin(self, now: int) -> None:
        if self._pid != os.getpid():
            self._pid, self._millisecond = os.getpid(), 0
        self._millisecond = max(now, self._millisecond + 1)
        drawn = os.urandom(15)
        self._tail = int.from_bytes(drawn[:3], "big") & _LARGEST_TAIL
        spelled = [_PAIRS[(self._millisecond >> shift) & 1023] for shift in _TIME_SHIFTS]
        self._head = "".join(spelled) + drawn[3:].translate(_DIGIT_OF_BYTE).decode()


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
    return "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ" % (  # noqa: UP031 - twice as fast
        moment.year,
        moment.month,
        moment.day,
        moment.hour,
        moment.minute,
        moment.second,
        moment.microsecond,
    )


def parse_timestamp(text: str) -> datetime:
    """Stored text as an aware time in UTC; other ISO-8601 spellings with a zone are read as well.

    Raises:
        StoreUsageError: not a time, a time without a zone, or one that UTC has no year for.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise StoreUsageError(f"{text!r} is not an ISO-8601 time.") from error
    if moment.tzinfo is None:
        raise StoreUsageError(f"The time {text!r} has no time zone. Append Z for UTC.")
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise StoreUsageError(
            f"{text!r} lies before the year 1 or after the year 9999 in UTC."
        ) from error
