"""What is late, by which limit, and what only seems to be."""

from math import inf, isinf, nan

import pytest

from state.analysis.stuck import stuck
from state.deadlines import DEADLINES, RESTS_WHEN_HELD, deadlines
from state.errors import StoreUsageError
from state.machines import MACHINES
from tests.state.world import NEEDS, World, shortest_way

LIVE = {
    (name, state)
    for name, machine in MACHINES.items()
    for state in machine.states
    if state not in machine.terminal
}
RESTING = {
    ("worker", "idle"),
    ("uet_worker", "IDLE"),
    ("patch_ledger", "committed"),
    ("circuit_breaker", "CLOSED"),
}
FINITE = sorted(LIVE - RESTING)


def late(world: World, **given: object) -> list[tuple[str, str, str, float]]:
    """Id, state, why and limit of what is stuck, but for the run and workstream of the world."""
    return [
        (one.entity_id, one.state, one.why, one.limit_sec)
        for one in stuck(world.store, **given)  # pyright: ignore[reportArgumentType]
        if one.entity_id not in (world.run_id, world.ws_id)
    ]


def enter(world: World, entity_type: str, state: str, **columns: object) -> str:
    """A new entity in a state that it enters now; the time before is of no importance."""
    entity_id = world.make(entity_type, **columns)
    for target in shortest_way(entity_type, state):
        world.clock.advance(120)  # beyond any cooldown
        given = NEEDS.get((entity_type, target), {})
        world.store.transition(entity_type, entity_id, target, **given)
    return entity_id


def test_exactly_the_states_that_do_not_end_have_a_deadline() -> None:
    assert {(name, state) for name, states in DEADLINES.items() for state in states} == LIVE
    assert all(sec > 0 for states in DEADLINES.values() for sec in states.values())


def test_only_where_an_entity_rightly_rests_is_there_no_limit() -> None:
    table = {
        (name, state): sec for name, states in DEADLINES.items() for state, sec in states.items()
    }
    assert {key for key, seconds in table.items() if isinf(seconds)} == RESTING


def test_states_that_rest_in_a_held_run_are_states() -> None:
    assert {(name, one) for name, states in RESTS_WHEN_HELD.items() for one in states} <= LIVE


def test_decided_limits_are_as_decided() -> None:
    assert DEADLINES["workstream"]["executing"] == 3600
    assert DEADLINES["task"]["running"] == 1800
    assert DEADLINES["worker"]["unresponsive"] == 300


@pytest.mark.parametrize(("entity_type", "state"), FINITE)
def test_past_its_limit_an_entity_is_stuck_and_at_it_not_yet(
    world: World, entity_type: str, state: str
) -> None:
    entity_id = enter(world, entity_type, state)
    if state == "HALF_OPEN":
        world.store.update(entity_type, entity_id, probe_token="probe")
    extra = 60.0 if state == "OPEN" else 0.0  # the breaker's cooldown comes first
    limit = DEADLINES[entity_type][state]
    world.clock.advance(limit + extra)
    assert entity_id not in [one.entity_id for one in stuck(world.store) if one.why == "state"]
    world.clock.advance(0.000001)
    (found,) = [
        one for one in stuck(world.store) if (one.entity_id, one.why) == (entity_id, "state")
    ]
    assert (found.entity_type, found.state) == (entity_type, state)
    assert found.limit_sec == limit + extra
    assert found.seconds == limit + extra + 0.000001


@pytest.mark.parametrize(("entity_type", "state"), sorted(RESTING))
def test_what_rests_is_never_stuck(world: World, entity_type: str, state: str) -> None:
    enter(world, entity_type, state)
    world.clock.advance(10 * 365 * 86400)
    assert [one for one in late(world) if one[2] == "state"] == []


def test_a_gate_that_was_not_run_rests_once_what_it_was_to_judge_has_ended(world: World) -> None:
    task, other, ws = world.make("task"), world.make("task"), world.make("workstream")
    gates = [
        world.make_in("test_gate", "BLOCKED", **whose)
        for whose in ({"task_id": task}, {"workstream_id": ws}, {"task_id": other})
    ]
    world.store.transition("task", task, "cancelled")
    world.store.transition("workstream", ws, "cancelled")
    world.clock.advance(2 * 86400)
    assert {one[0] for one in late(world)} == {other, gates[-1]}


def test_a_half_open_breaker_rests_until_somebody_probes(world: World) -> None:
    tool = enter(world, "circuit_breaker", "HALF_OPEN")
    world.clock.advance(86400)
    assert late(world) == []
    world.store.update("circuit_breaker", tool, probe_token="probe")
    assert [one[0] for one in late(world)] == [tool]


def test_what_ended_is_never_stuck(world: World) -> None:
    for name, machine in MACHINES.items():
        for state in machine.terminal:
            enter(world, name, state)
    world.clock.advance(10 * 365 * 86400)
    assert late(world) == []


@pytest.mark.parametrize("timeout", [10.0, 7200.0])
@pytest.mark.parametrize(("entity_type", "state"), [("task", "running"), ("test_gate", "RUNNING")])
def test_a_timeout_of_its_own_is_the_limit(
    world: World, entity_type: str, state: str, timeout: float
) -> None:
    entity_id = enter(world, entity_type, state, timeout_sec=timeout)
    world.clock.advance(timeout)
    assert late(world) == []
    world.clock.advance(1)
    assert late(world) == [(entity_id, state, "state", timeout)]


def test_a_worker_is_allowed_the_timeout_of_its_task(world: World) -> None:
    task = world.make_in("task", "queued", timeout_sec=30000.0)
    worker = world.make_in("worker", "idle")
    world.store.heartbeat(worker)
    assert world.store.claim_task(worker, task_id=task)
    for _ in range(300):
        world.clock.advance(100)
        world.store.heartbeat(worker)
    assert late(world) == []
    world.clock.advance(1)
    assert late(world) == [
        (task, "running", "state", 30000),
        (worker, "busy", "state", 30000),
    ]


def test_a_retry_is_late_only_after_it_was_due(world: World) -> None:
    task = enter(world, "task", "running")
    due = world.clock.now().replace(year=2027)
    world.store.transition("task", task, "retrying", next_attempt_at=due)
    wait = (due - world.clock.now()).total_seconds()
    world.clock.advance(wait + 600)
    assert late(world) == []
    world.clock.advance(1)
    assert late(world) == [(task, "retrying", "state", 600)]


def test_a_worker_without_a_heartbeat_is_silent(world: World) -> None:
    busy, idle = enter(world, "worker", "busy"), enter(world, "worker", "idle")
    world.store.heartbeat(busy)
    world.store.heartbeat(idle)
    world.clock.advance(120)
    assert late(world) == []
    world.clock.advance(1)
    world.store.heartbeat(idle)
    assert late(world) == [(busy, "busy", "silent", 120)]
    assert late(world, silent_sec=300.0) == []
    world.store.transition("worker", busy, "unresponsive")
    assert late(world) == []


def test_no_heartbeat_is_asked_of_a_worker_that_begins_or_has_ended(world: World) -> None:
    world.make("worker")
    enter(world, "worker", "shutdown")
    world.make("worker")
    world.clock.advance(110)
    assert [one for one in late(world, now=world.clock.now()) if one[2] == "silent"] == []


def test_what_waits_for_dispatch_in_a_held_run_is_not_late(world: World) -> None:
    waiting, running = enter(world, "task", "queued"), enter(world, "task", "running")
    world.store.record("run", world.run_id, "held", operator="ann", held=True)
    world.clock.advance(7200)
    assert late(world) == [(running, "running", "state", 1800)]
    world.store.record("run", world.run_id, "released", operator="ann", held=False)
    assert {one[0] for one in late(world)} == {running, waiting}


def test_an_update_or_a_hold_does_not_make_an_entity_younger(world: World) -> None:
    task = enter(world, "task", "running")
    world.clock.advance(1801)
    world.store.update("task", task, feedback="still at it")
    world.store.record("task", task, "seen", operator="ann")
    assert late(world) == [(task, "running", "state", 1800)]


def test_the_worst_comes_first_and_says_where_it_belongs(world: World) -> None:
    first = enter(world, "task", "running")
    world.clock.advance(60)
    second = enter(world, "task", "running")
    world.clock.advance(3000)
    found = [one for one in stuck(world.store) if one.entity_type == "task"]
    assert [one.entity_id for one in found] == [first, second]
    assert {(one.run_id, one.workstream_id) for one in found} == {(world.run_id, world.ws_id)}


def test_limits_are_data(world: World) -> None:
    task = enter(world, "task", "queued")
    world.clock.advance(11)
    assert late(world) == []
    assert late(world, limits=deadlines({"task": {"queued": 10}})) == [
        (task, "queued", "state", 10)
    ]
    assert late(world, limits={"task": {"running": 1}}) == []
    assert (
        late(world, now="2040-01-01T00:00:00Z", limits=deadlines({"task": {"queued": inf}})) == []
    )
    assert DEADLINES["task"]["queued"] == 3600
    assert late(world, limits=deadlines({"task": {"queued": 1e15}})) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"song": {"sung": 1}}, "no entity type 'song'"),
        ({"phase": {"new": 1}}, "has no states"),
        ({"task": {"completed": 1}}, "no deadline in the state 'completed'"),
        ({"task": {"running": 0}}, "not above zero"),
        ({"task": {"running": nan}}, "not above zero"),
    ],
)
def test_limits_that_make_no_sense_are_refused(
    changes: dict[str, dict[str, float]], message: str
) -> None:
    with pytest.raises(StoreUsageError, match=message):
        deadlines(changes)
