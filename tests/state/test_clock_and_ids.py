"""Time and ids: text order is time order, and no id comes twice."""

import threading
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

MOMENTS = st.datetimes(
    min_value=datetime(1971, 1, 1),
    timezones=st.just(UTC),
)


def test_a_timestamp_is_utc_with_microseconds() -> None:
    east = timezone(timedelta(hours=2))
    assert timestamp(datetime(2026, 1, 2, 5, 4, 5, 6, east)) == "2026-01-02T03:04:05.000006Z"
    with pytest.raises(StoreUsageError):
        timestamp(datetime(2026, 1, 2))


@pytest.mark.parametrize("text", ["soon", "2026-01-02T03:04:05", ""])
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


def test_test_doubles_do_as_they_are_told() -> None:
    clock, ids = ManualClock(), SequentialIds()
    before = clock.now()
    assert clock.advance(1.5) - before == timedelta(seconds=1.5)
    assert [ids.new("a_"), ids.new("a_"), ids.new("b_")] == ["a_000001", "a_000002", "b_000001"]


def test_the_system_clock_says_utc() -> None:
    assert SystemClock().now().tzinfo is UTC
