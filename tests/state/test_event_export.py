"""Choosing events from the table: since when, of which entity, of which run."""

import tracemalloc
from typing import Any

import pytest

from state.errors import EntityNotFoundError, StoreUsageError
from state.event_export import export_events, select_events
from state.raw_history import COLUMNS
from tests.state.event_series import table
from tests.state.tampering import tamper
from tests.state.world import World


def export(world: World, **choice: str) -> list[dict[str, Any]]:
    return list(export_events(world.store, select_events(world.store, **choice)))


def test_without_a_choice_it_is_the_table(world: World) -> None:
    with world.store.batch() as tx:
        for _ in range(2500):
            tx.create("worker")
    assert export(world) == table(world.store)


def test_since_an_event_a_number_or_a_time(world: World) -> None:
    task = world.make_in("task", "running")
    everything = table(world.store)
    assert export(world, since="0") == everything
    assert export(world, since="3") == everything[3:]
    assert export(world, since=everything[2]["event_id"]) == everything[3:]
    assert export(world, since=str(len(everything))) == []
    at = everything[-1]["timestamp"]
    assert export(world, since=at) == [everything[-1]]
    assert export(world, since=at.replace("Z", "+00:00")) == [everything[-1]]
    assert export(world, since="2020-01-01T00:00:00+02:00", entity=f"task/{task}") == [
        event for event in everything if event["entity_id"] == task
    ]
    assert export(world, since="9999-01-01T00:00:00Z") == []


def test_a_clock_that_stepped_back_hides_nothing(world: World) -> None:
    at = world.store.now()
    world.clock.advance(-60)
    world.make("worker")
    world.clock.advance(120)
    last = world.make("worker")
    found = export(world, since=at)
    assert [event["timestamp"] >= at for event in found] == [True] * 3
    assert found[-1]["entity_id"] == last


def test_of_a_run_with_everything_in_it(world: World) -> None:
    other = world.store.create("run").run_id
    ws_id = world.store.create("workstream", run_id=other).ws_id
    task = world.store.create("task", workstream_id=ws_id).task_id
    gate = world.make("test_gate", task_id=task)
    world.make("task")
    found = [event["entity_id"] for event in export(world, run=other)]
    assert found == [other, ws_id, task, gate]
    assert export(world, run=other, entity=f"test_gate/{gate}")[0]["entity_id"] == gate
    assert export(world, run=world.run_id, entity=f"test_gate/{gate}") == []


def test_a_row_that_may_still_come_is_waited_for(world: World) -> None:
    """Who goes on with `since` the last event must not miss one with a lower number."""
    before = table(world.store)
    with world.store.batch() as early:
        early.create("worker")
        with world.open() as store:
            seen = list(export_events(store, select_events(store)))
    assert seen == before
    rest = export(world, since=seen[-1]["event_id"])
    assert [*seen, *rest] == table(world.store)


def test_what_comes_later_is_not_exported(world: World) -> None:
    chosen = select_events(world.store)
    before = table(world.store)
    world.make("worker")
    assert list(export_events(world.store, chosen)) == before


@pytest.mark.parametrize(
    "choice",
    [
        {"since": "evt_x"},
        {"since": "999"},
        {"run": "run_x"},
        {"entity": "task/task_x"},
    ],
)
def test_what_is_not_there_is_told(world: World, choice: dict[str, str]) -> None:
    with pytest.raises(EntityNotFoundError):
        select_events(world.store, **choice)


@pytest.mark.parametrize(
    "choice",
    [
        {"since": "yesterday"},
        {"since": "2026-01-02T03:04:05"},
        {"since": ""},
        {"entity": "task"},
        {"entity": "phase/x"},
        {"entity": ""},
    ],
)
def test_what_cannot_be_read_is_told(world: World, choice: dict[str, str]) -> None:
    with pytest.raises(StoreUsageError):
        select_events(world.store, **choice)


def test_memory_does_not_grow_with_the_number_of_events(world: World) -> None:
    def peak(since: str) -> int:
        chosen = select_events(world.store, since=since)
        tracemalloc.start()
        for _ in export_events(world.store, chosen):
            pass
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    same = ", ".join(f'"{one}"' for one in COLUMNS if one not in ("transition_id", "event_id"))
    tamper(  # the database makes them in no time, the store in many seconds
        world,
        f"INSERT INTO state_transitions (event_id, {same}) WITH RECURSIVE"
        " n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9000)"
        f" SELECT 'evt_of_many_' || i, {same} FROM state_transitions, n WHERE transition_id = 1",
    )
    assert len(table(world.store)) > 9000
    for _ in export_events(world.store, select_events(world.store)):
        pass  # what is made once stays out of the comparison
    assert peak("0") < 1.5 * peak("6000")
