"""How long, how often, by whom: the figures of a history that is known to the second."""

import pytest

from state.analysis.durations import time_in_state, time_in_states
from state.analysis.rates import overrides, transition_rates
from state.clock_and_ids import timestamp
from state.errors import EntityNotFoundError, StoreUsageError
from tests.state.world import NEEDS, World

BEGINNING = "2026-01-02T03:04:05.000000Z"
"""What the test's clock shows at the beginning."""


def walk(world: World, entity_type: str, entity_id: str, *steps: tuple[float, str]) -> None:
    """Wait so many seconds, then change to that state; again and again."""
    for seconds, state in steps:
        world.clock.advance(seconds)
        given = NEEDS.get((entity_type, state), {})
        world.store.transition(entity_type, entity_id, state, **given)


def now(world: World) -> str:
    return timestamp(world.clock.now())


# One entity


def test_an_entitys_stays_follow_each_other_and_the_last_one_lasts(world: World) -> None:
    began = now(world)
    task = world.make("task")
    walk(world, "task", task, (10, "queued"), (2.5, "running"), (60, "retrying"), (4, "queued"))
    world.clock.advance(1)

    found = time_in_state(world.store, "task", task)
    assert [(one.state, one.seconds) for one in found.spans] == [
        ("pending", 10),
        ("queued", 2.5),
        ("running", 60),
        ("retrying", 4),
        ("queued", 1),
    ]
    assert found.spans[0].entered_at == began
    lefts = [one.left_at for one in found.spans]
    assert lefts == [*(one.entered_at for one in found.spans[1:]), None]
    assert found.totals == {"pending": 10, "queued": 3.5, "running": 60, "retrying": 4}


def test_time_in_state_stops_where_it_is_told_to(world: World) -> None:
    task = world.make("task")
    walk(world, "task", task, (10, "queued"), (20, "running"))
    world.clock.advance(-5)
    middle = world.clock.now()

    found = time_in_state(world.store, "task", task, until=middle)
    assert [(one.state, one.left_at is None, one.seconds) for one in found.spans] == [
        ("pending", False, 10),
        ("queued", True, 15),
    ]
    assert time_in_state(world.store, "task", task, until="2020-01-01T00:00:00Z").spans == ()


def test_a_clock_that_stepped_back_makes_no_time_negative(world: World) -> None:
    task = world.make("task")
    walk(world, "task", task, (10, "queued"), (-100, "running"))
    assert time_in_state(world.store, "task", task).totals == {
        "pending": 10,
        "queued": 0,
        "running": 0,
    }


def test_a_hold_interrupts_no_stay(world: World) -> None:
    world.store.transition("run", world.run_id, "running")
    world.clock.advance(5)
    world.store.record("run", world.run_id, "held", operator="ann", held=True)
    world.clock.advance(5)
    world.store.transition("run", world.run_id, "succeeded")
    found = time_in_state(world.store, "run", world.run_id)
    assert [(one.state, one.seconds) for one in found.spans] == [
        ("pending", 0),
        ("running", 10),
        ("succeeded", 0),
    ]
    assert time_in_states(world.store, "run")["running"].total_sec == 10


def test_who_is_not_there_spent_no_time(world: World) -> None:
    with pytest.raises(EntityNotFoundError, match="no task 'ghost'"):
        time_in_state(world.store, "task", "ghost")
    with pytest.raises(StoreUsageError, match="has no states"):
        time_in_state(world.store, "phase", "p1")


# Many entities


def test_stays_are_summed_up_by_state(world: World) -> None:
    for seconds in range(1, 21):
        walk(world, "task", world.make("task"), (seconds, "queued"), (1, "running"), (7, "failed"))
    old = world.make("task")
    world.clock.advance(30)
    world.make("task")
    world.clock.advance(12)

    found = time_in_states(world.store, "task")
    assert list(found) == ["pending", "queued", "running"]
    pending = found["pending"]
    assert (pending.count, pending.total_sec, pending.mean_sec) == (20, 210, 10.5)
    assert (pending.p50_sec, pending.p95_sec, pending.max_sec) == (10, 19, 20)
    assert (pending.open_count, pending.open_longest_sec) == (2, 42)
    assert (found["running"].p50_sec, found["running"].open_count) == (7, 0)
    walk(world, "task", old, (0, "queued"))
    assert time_in_states(world.store, "task")["pending"].max_sec == 42


def test_a_state_in_which_everybody_still_is_has_only_stays_that_last(world: World) -> None:
    world.make("task")
    world.clock.advance(3)
    pending = time_in_states(world.store, "task")["pending"]
    assert (pending.count, pending.mean_sec, pending.p95_sec, pending.max_sec) == (0, 0, 0, 0)
    assert (pending.open_count, pending.open_longest_sec) == (1, 3)


def test_stays_of_one_run_or_of_late_are_told_apart(world: World) -> None:
    other = world.store.create("run").run_id
    theirs = world.store.create("workstream", run_id=other).ws_id
    walk(world, "task", world.make("task"), (5, "queued"))
    walk(world, "task", world.make("task", workstream_id=theirs), (50, "queued"))
    assert time_in_states(world.store, "task", run_id=other)["pending"].max_sec == 50
    assert time_in_states(world.store, "task", run_id=world.run_id)["pending"].max_sec == 5
    assert time_in_states(world.store, "task", run_id=other)["queued"].open_count == 1

    late = time_in_states(world.store, "task", since=world.clock.now())
    assert (late["pending"].count, late["pending"].total_sec) == (1, 50)
    world.clock.advance(1)
    assert "pending" not in time_in_states(world.store, "task", since=world.clock.now())


def test_what_ended_everything_is_no_stay(world: World) -> None:
    walk(world, "task", world.make("task"), (1, "queued"), (1, "cancelled"))
    world.clock.advance(1000)
    assert list(time_in_states(world.store, "task")) == ["pending", "queued"]


# Rates


@pytest.mark.parametrize("offset", [0, 0.25, 7])
@pytest.mark.parametrize("bucket", [60, 10, 2.5])
def test_changes_are_counted_in_the_bucket_they_fall_in(
    world: World, offset: float, bucket: float
) -> None:
    # To a whole minute, where the database may count by the minute, and a bit beyond it.
    world.clock.advance(55 + offset)
    since, seconds = world.clock.now(), [0.0, 0.5, 2.5, 9.999999, 10, 59.9, 60, 61, 119.999999]
    at = 0.0
    for one in seconds:
        world.clock.advance(one - at)
        at = one
        world.make("task")
    world.clock.advance(120 - at)
    world.make("task")

    (rate,) = transition_rates(world.store, since, world.clock.now(), bucket, entity_type="task")
    assert (rate.from_state, rate.to_state) == ("none", "pending")
    assert (rate.count, rate.per_second) == (9, 9 / 120)
    base = since.timestamp()
    expected: dict[str, int] = {}
    for one in seconds:
        start = type(since).fromtimestamp(base + one // bucket * bucket, since.tzinfo)
        expected[timestamp(start)] = expected.get(timestamp(start), 0) + 1
    assert rate.buckets == expected


def test_rates_are_by_change_the_most_frequent_first_and_without_holds(world: World) -> None:
    since = world.clock.now()
    walk(world, "task", world.make("task"), (1, "queued"))
    world.make("task")
    world.store.record("run", world.run_id, "held", operator="ann", held=True)
    other = world.store.create("run").run_id
    world.clock.advance(1)
    found = transition_rates(world.store, since, world.clock.now(), 60)
    assert [(one.entity_type, one.from_state, one.to_state, one.count) for one in found] == [
        ("run", "none", "pending", 2),
        ("task", "none", "pending", 2),
        ("task", "pending", "queued", 1),
        ("workstream", "none", "planned", 1),
    ]
    of_other = transition_rates(world.store, since, world.clock.now(), 60, run_id=other)
    assert [(one.entity_type, one.count) for one in of_other] == [("run", 1)]


@pytest.mark.parametrize("bucket", [0, -1, float("nan"), float("inf"), 1e-9])
def test_a_bucket_without_length_is_refused(world: World, bucket: float) -> None:
    with pytest.raises(StoreUsageError, match="bucket"):
        transition_rates(world.store, BEGINNING, "2027-01-01T00:00:00Z", bucket)


def test_a_window_that_ends_before_it_begins_is_refused(world: World) -> None:
    with pytest.raises(StoreUsageError, match="window ends"):
        transition_rates(world.store, BEGINNING, BEGINNING, 60)
    with pytest.raises(StoreUsageError, match="no time zone"):
        overrides(world.store, "2026-01-01T00:00:00", BEGINNING)


# Overrides


def test_what_operators_did_in_a_window_is_listed_and_counted(world: World) -> None:
    store = world.store
    early = world.make("task")
    store.transition("task", early, "cancelled", operator="zoe", reason="too early")
    world.clock.advance(10)
    since = world.clock.now()
    first, second = world.make("task"), world.make("task")
    store.transition("task", first, "cancelled", operator="bob", reason="not needed")
    store.record("run", world.run_id, "held", operator="ann", held=True)
    store.transition("task", second, "queued")
    world.clock.advance(1)
    store.transition("task", second, "cancelled", operator="bob", reason="nor this")
    world.clock.advance(1)
    until = world.clock.now()
    store.record("run", world.run_id, "released", operator="ann", held=False)

    found = overrides(store, since, until)
    assert [(one.entity_id, one.operator, one.trigger) for one in found.acts] == [
        (first, "bob", "user_cancelled"),
        (world.run_id, "ann", "held"),
        (second, "bob", "user_cancelled"),
    ]
    assert list(found.by_operator.items()) == [("bob", 2), ("ann", 1)]
    assert found.count == 3
    assert found.acts[0].as_event()["event_type"] == "manual_override"

    cut = overrides(store, since, until, limit=1)
    assert (cut.count, [one.entity_id for one in cut.acts]) == (3, [first])
    assert overrides(store, since, until, run_id="other").count == 0
