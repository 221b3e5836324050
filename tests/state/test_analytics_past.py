"""The audit alone tells what the tables said at any moment."""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from state.analysis.past import state_at
from state.audit import TransitionRecord
from state.errors import PatchlineError, StoreUsageError
from state.machines import MACHINES
from state.queries import transitions_since
from state.store import StateStore
from tests.state.world import NEEDS, World, fresh_world

Snapshot = dict[tuple[str, str], tuple[str, int]]

STEP = st.tuples(
    st.sampled_from(list(MACHINES)),
    st.integers(0, 3),  # which entity of that type; a new one when there are not so many
    st.integers(0, 8),  # which of the states that may follow
    st.integers(0, 2),  # seconds; with none several changes have one timestamp
)


def tables(store: StateStore) -> Snapshot:
    """State and version of everything, from the tables."""
    return {
        (name, getattr(row, machine.key)): (row.state, row.version)
        for name, machine in MACHINES.items()
        for row in store.find(name)
    }


def step(world: World, entity_type: str, place: int, pick: int) -> None:
    """Make an entity, hold or touch it, or take it to one of the states that may follow."""
    rows = world.store.find(entity_type)
    if place >= len(rows):
        world.make(entity_type)
        return
    machine, row = MACHINES[entity_type], rows[place]
    entity_id = getattr(row, machine.key)
    targets = machine.targets(row.state)
    if pick == 8:
        world.store.record(entity_type, entity_id, "held", operator="ann")
    elif targets:
        target = targets[pick % len(targets)]
        given_columns = NEEDS.get((entity_type, target), {})
        try:
            world.store.transition(entity_type, entity_id, target, **given_columns)
        except PatchlineError:  # a guard (a cooldown, retries used up) refused: nothing changed
            return


def plain(found: Mapping[tuple[str, str], tuple[str, int, str]]) -> Snapshot:
    return {key: (state, version) for key, (state, version, _) in found.items()}


@settings(max_examples=30, deadline=None)
@given(steps=st.lists(STEP, min_size=10, max_size=40))
def test_the_past_is_what_the_tables_said_then(steps: list[tuple[str, int, int, int]]) -> None:
    with fresh_world() as world:
        store, clock = world.store, world.clock
        by_time: dict[str, Snapshot] = {store.now(): tables(store)}
        by_position: dict[int, Snapshot] = {}
        for entity_type, place, pick, seconds in steps:
            clock.advance(seconds)
            step(world, entity_type, place, pick)
            by_time[store.now()] = tables(store)
            by_position[len(transitions_since(store))] = tables(store)

        for moment, snapshot in by_time.items():
            assert plain(state_at(store, moment)) == snapshot
        for position, snapshot in by_position.items():
            assert plain(state_at(store, position)) == snapshot
        last = by_time[store.now()]
        for (entity_type, entity_id), state in last.items():
            one = state_at(store, clock.now(), entity_type=entity_type, entity_id=entity_id)
            assert plain(one) == {(entity_type, entity_id): state}
        of_type = state_at(store, clock.now(), entity_type="task")
        assert plain(of_type) == {key: one for key, one in last.items() if key[0] == "task"}


@settings(max_examples=10, deadline=None)
@given(steps=st.lists(st.tuples(STEP, st.integers(-90, 90)), min_size=5, max_size=25))
def test_by_position_the_past_is_exact_also_when_the_clock_steps_back(
    steps: list[tuple[tuple[str, int, int, int], int]],
) -> None:
    with fresh_world() as world:
        store, clock = world.store, world.clock
        taken: dict[int, Snapshot] = {}
        for (entity_type, place, pick, _), seconds in steps:
            clock.advance(seconds)
            step(world, entity_type, place, pick)
            taken[len(transitions_since(store))] = tables(store)
        for position, snapshot in taken.items():
            assert plain(state_at(store, position)) == snapshot


def until(rows: Sequence[TransitionRecord], moment: str) -> int:
    """The position that a time stands for, as the rows tell it."""
    if rows[-1].transitioned_at <= moment:
        return rows[-1].transition_id
    latest, position = "", 0
    for row in rows:
        latest = max(latest, row.transitioned_at)
        if latest > moment:
            break
        position = row.transition_id
    return position


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_clock_that_stepped_back_twice_mixes_nothing(world: World) -> None:
    store, pick, taken = world.store, Random(11), dict[int, Snapshot]()
    taken[len(transitions_since(store))] = tables(store)
    for turn in range(150):
        world.clock.advance(-90 if turn in (50, 100) else pick.choice((0, 1, 2)))
        step(world, pick.choice(list(MACHINES)), pick.randrange(4), pick.randrange(9))
        rows = transitions_since(store)
        taken[len(rows)] = tables(store)
        # From the newest row's time on all has happened, though others bear a later time.
        assert plain(state_at(store, rows[-1].transitioned_at)) == tables(store)
    rows = transitions_since(store)
    times = sorted({row.transitioned_at for row in rows})
    assert len(times) < len(rows)
    assert times[-1] > rows[-1].transitioned_at
    for moment in times:
        position = until(rows, moment)
        assert plain(state_at(store, moment)) == taken.get(position, {}), moment
        assert state_at(store, moment) == state_at(store, position)


def test_a_change_that_the_clock_dates_back_has_happened_now(world: World) -> None:
    task = world.make("task")
    world.clock.advance(-7200)
    worker = world.make("worker")
    found = state_at(world.store, world.store.now())
    assert found.keys() >= {("task", task), ("worker", worker), ("run", world.run_id)}
    world.clock.advance(-1)
    assert state_at(world.store, world.store.now()) == {}


def test_on_each_backend_the_past_is_what_the_tables_said_then(world: World) -> None:
    pick, taken = Random(7), dict[str, Snapshot]()
    for _ in range(120):
        world.clock.advance(pick.choice((0, 1, 2)))
        step(world, pick.choice(list(MACHINES)), pick.randrange(4), pick.randrange(9))
        taken[world.store.now()] = tables(world.store)
    for moment, snapshot in taken.items():
        assert plain(state_at(world.store, moment)) == snapshot


def test_a_run_has_a_past_of_its_own(world: World) -> None:
    other = world.store.create("run").run_id
    theirs = world.store.create("workstream", run_id=other).ws_id
    task = world.make("task", workstream_id=theirs)
    world.make("task")
    world.make("circuit_breaker")
    found = state_at(world.store, world.clock.now(), run_id=other)
    assert set(found) == {("run", other), ("workstream", theirs), ("task", task)}


def test_since_is_when_the_state_was_entered_whatever_happened_in_it(world: World) -> None:
    world.store.transition("run", world.run_id, "running")
    entered = world.store.now()
    world.clock.advance(9)
    world.store.record("run", world.run_id, "held", operator="ann", held=True)
    found = state_at(world.store, world.clock.now())["run", world.run_id]
    assert found == ("running", 2, entered)


def test_before_everything_there_was_nothing(world: World) -> None:
    assert state_at(world.store, "2020-01-01T00:00:00Z") == {}
    assert state_at(world.store, 0) == {}


def test_a_position_beyond_all_numbers_is_everything_or_nothing(world: World) -> None:
    everything = state_at(world.store, world.clock.now())
    assert len(everything) == 2
    assert state_at(world.store, 10**30) == state_at(world.store, 2**63) == everything
    assert state_at(world.store, -(10**30)) == {}


@pytest.mark.parametrize("moment", [True, 1.0, None, b"2026"])
def test_what_is_neither_time_nor_position_is_refused(world: World, moment: Any) -> None:
    with pytest.raises(StoreUsageError, match="neither a time nor"):
        state_at(world.store, moment)


def test_an_entity_without_its_type_is_refused(world: World) -> None:
    with pytest.raises(StoreUsageError, match="needs its type"):
        state_at(world.store, world.clock.now(), entity_id=world.run_id)
    with pytest.raises(StoreUsageError, match="no entity type 'song'"):
        state_at(world.store, world.clock.now(), entity_type="song")
