"""Every state that tasks, patches, gates, workers and a breaker can reach together is looked at.

The model (`tests.property.model`) allows a crash, a pause, an interrupt, a stranger's hand on the
branch and a cancel at every step, as far as its world is given them. What follows from what, and
what a guard lets through, it asks of the code under test (`tests.property.real`).
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from state.machines import MACHINES
from tests.property.exploring import broken, dead_ends, endless, explore, settled, without_exit
from tests.property.model import ENDED, State
from tests.property.properties import ALWAYS, ended_with_everything_under_it
from tests.property.worlds import ONCE, WORLDS, world

NOT_MODELLED = {
    ("patch_ledger", "apply_failed", "queued"): "a moved branch makes a new entry",
    ("patch_ledger", "validated", "quarantined"): "a refusal is known before validation",
    ("task", "validating", "failed"): "validation and completion are one transaction",
    ("test_gate", "BLOCKED", "PENDING"): "a re-run is a new row (G2)",
    ("worker", "initializing", "shutdown"): "made and registered in one transaction",
    ("workstream", "ready", "skipped"): "a plan never changes once a run of it has begun",
}
"""Legal transitions of the seven machines that no step of the model takes, and why."""

every_world = pytest.mark.parametrize("name", WORLDS)


# -- what never happens ----------------------------------------------------------------------------


@every_world
@pytest.mark.parametrize("holds", ALWAYS, ids=lambda one: one.__name__)
def test_a_property_holds_in_every_state(name: str, holds: Callable[[State], bool]) -> None:
    assert broken(world(name), holds) == []


# -- what always happens in the end ----------------------------------------------------------------


@every_world
def test_nothing_stops_before_everything_is_settled(name: str) -> None:
    assert dead_ends(world(name)) == []


@every_world
def test_nothing_goes_on_for_ever(name: str) -> None:
    """With `dead_ends` empty: whatever happened, left alone, every run comes to its end."""
    assert endless(world(name)) == []


@every_world
def test_a_cancelled_run_ends_with_everything_under_it(name: str) -> None:
    """Where nothing goes on any more after a cancel, run and all are ended: `ends` finds these.

    That the system always gets there is what the two tests before this one say. A cancel that comes
    when everything is done already is too late (decisions R2).
    """
    graph = world(name)
    ends = [
        state
        for state, following in zip(graph.states, graph.system, strict=True)
        if state.cancelling and not following
    ]
    assert len(ends) > 5
    for state in ends:
        done = {"completed", "skipped"}.issuperset(state.streams)
        assert state.run == ("succeeded" if done else "canceled")
        assert settled(state)
    assert {task.state for state in ends for task in state.tasks} > {"cancelled", "completed"}


def test_a_run_that_is_declared_ended_takes_what_lives_under_it_with_it() -> None:
    """Whatever was going on there: what settles the run next cancels it, or waits for a verdict."""
    graph = explore(replace(WORLDS["crashes"][0].without(), luck=ONCE._replace(overrides=1)))
    assert broken(graph, ended_with_everything_under_it) != []
    assert dead_ends(graph) == []
    assert endless(graph) == []


def entities(state: State) -> Iterator[tuple[str, str]]:
    """Machine and state of every row of the model."""
    yield "run", state.run
    yield from (("workstream", stream) for stream in state.streams)
    yield "circuit_breaker", state.breaker.state
    yield from (("task", task.state) for task in state.tasks)
    yield from (("patch_ledger", entry.state) for entry in state.entries if entry)
    yield from (("worker", worker) for worker in state.workers if worker)
    yield from (("test_gate", gate) for gate in state.gates if gate)
    yield from (("test_gate", "BLOCKED") for _ in state.hindered)


LOCAL: dict[str, Callable[[State], str | None]] = {
    "run": lambda state: state.run,
    "workstream": lambda state: state.streams[-1],
    "task": lambda state: state.tasks[-1].state,
    "patch_ledger": lambda state: entry.state if (entry := state.entries[-1]) else None,
    "worker": lambda state: state.workers[-1] or None,
    "test_gate": lambda state: state.gates[-1] or None,
    "test_gate that was not run": lambda state: "BLOCKED" if 0 in state.hindered else None,
    "circuit_breaker": lambda state: state.breaker.state,
}
"""One entity of each machine. The breaker's rests are left out, as are those of `settled`."""
AT_REST = {"patch_ledger": {"committed"}, "circuit_breaker": {"CLOSED", "HALF_OPEN"}}


@every_world
@pytest.mark.parametrize("entity", LOCAL)
def test_every_state_that_is_not_an_end_has_an_exit(name: str, entity: str) -> None:
    machine = entity.split()[0]
    resting = frozenset(ENDED[machine] | AT_REST.get(machine, set()))
    assert without_exit(world(name), LOCAL[entity], resting) == []


def test_every_state_that_is_not_an_end_has_a_deadline() -> None:
    from state.deadlines import DEADLINES

    seen = {pair for name in WORLDS for state in world(name).states for pair in entities(state)}
    wanted = {(machine, one) for machine, one in seen if one not in ENDED[machine]}
    assert len(wanted) > 20
    assert not {(m, s) for m, s in wanted if not DEADLINES.get(m, {}).get(s, 0) > 0}


# -- the check itself ------------------------------------------------------------------------------


@every_world
def test_the_check_has_looked_at_enough(name: str) -> None:
    graph = world(name)
    assert len(graph.states) > WORLDS[name][1]
    assert len(set(graph.states)) == len(graph.states)
    runs = {state.run for state in graph.states}
    assert runs == set(MACHINES["run"].states)


def test_every_legal_transition_is_taken_somewhere() -> None:
    used = {step for name in WORLDS for step in world(name).used}
    legal = {
        (name, one.source, one.target)
        for name, machine in MACHINES.items()
        for one in machine.all_transitions()
        if name != "uet_worker"
    }
    assert legal - used == NOT_MODELLED.keys()
