"""Time and ids: text order is time order, and no id comes twice."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.clock_and_ids import (
    ManualClock,
    SequentialIds,
    SystemClock,
    UlidSource,
    parse_timestamp,
    timestamp,
)
from state.errors import StoreUsageError

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
MOMENTS = st.datetimes(
    timezones=st.just(UTC),
)


def test_a_timestamp_is_utc_with_microseconds() -> None:
    east = timezone(timedelta(hours=2))
    assert timestamp(datetime(2026, 1, 2, 5, 4, 5, 6, east)) == "2026-01-02T03:04:05.000006Z"
    with pytest.raises(StoreUsageError):
        timestamp(datetime(2026, 1, 2))


@pytest.mark.parametrize(
    "text",
    [
        *("soon", "2026-01-02T03:04:05", ""),
        *("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"),
    ],
)
def test_what_is_no_time_with_a_zone_is_refused(text: str) -> None:
    with pytest.raises(StoreUsageError):
        parse_timestamp(text)


@given(one=MOMENTS, other=MOMENTS)
def test_text_order_is_time_order_and_reading_gives_the_time_back(
    one: datetime, other: datetime
) -> None:
    assert (timestamp(one) < timestamp(other)) == (one < other)
    assert parse_timestamp(timestamp(one)) == one


def test_ulids_grow_and_never_repeat_across_threads() -> None:
    source = UlidSource()
    start = threading.Barrier(8)

    def make(_: int) -> list[str]:
        start.wait()
        return [source.new("x_") for _ in range(500)]

    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(make, range(8)))
    assert all(part == sorted(part) for part in parts)
    assert len({one for part in parts for one in part}) == 4000
    assert all(len(one) == 28 and one.startswith("x_") for one in parts[0])


def test_ulids_are_of_their_time_and_go_on_when_the_clock_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    moment = 1_700_000_000_123
    monkeypatch.setattr(time, "time_ns", lambda: moment * 1_000_000)
    source = UlidSource()
    first = source.new("")
    assert [CROCKFORD.index(letter) for letter in first[:10]] == digits(moment, 10)
    assert set(first) <= set(CROCKFORD)
    moment -= 5000
    more = [source.new("") for _ in range(3)]
    assert [number(one) - number(first) for one in more] == [1, 2, 3]
    moment += 5001
    assert digits(moment, 10) == [CROCKFORD.index(letter) for letter in source.new("")[:10]]


def test_ulids_of_a_millisecond_do_not_run_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 10**18)
    monkeypatch.setattr(os, "urandom", lambda size: b"\xff" * size)
    source = UlidSource()
    ids = [source.new("") for _ in range(3)]
    assert ids == sorted(set(ids))


def test_a_fork_makes_other_ids() -> None:
    source = UlidSource()
    ours = source.new("")
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        os.write(write, source.new("").encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(read, 100).decode()
    os.close(read)
    os.close(write)
    assert theirs[:22] != ours[:22]


def number(ulid: str) -> int:
    """A ULID as the number that it spells."""
    value = 0
    for letter in ulid:
        value = value * 32 + CROCKFORD.index(letter)
    return value


def digits(value: int, count: int) -> list[int]:
    """The last digits of a number to the base 32."""
    return [value >> (5 * place) & 31 for place in reversed(range(count))]


def test_test_doubles_do_as_they_are_told() -> None:
    clock, ids = ManualClock(), SequentialIds()
    before = clock.now()
    assert clock.advance(1.5) - before == timedelta(seconds=1.5)
    assert [ids.new("a_"), ids.new("a_"), ids.new("b_")] == ["a_000001", "a_000002", "b_000001"]


def test_the_system_clock_says_utc() -> None:
    assert SystemClock().now().tzinfo is UTC
