"""Every state that tasks, patches, gates, workers and a breaker can reach together is looked at.

The model (`tests.property.model`) allows a crash, a pause, an interrupt, a stranger's hand on the
branch and a cancel at every step, as far as its world is given them.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache

import pytest

from state.machines import MACHINES
from tests.property.exploring import (
    Graph,
    broken,
    dead_ends,
    endless,
    explore,
    without_exit,
)
from tests.property.model import ENDED, Luck, Rules, State, settled
from tests.property.properties import (
    ALWAYS,
    committed_only_when_gated,
    held_once,
    landed_is_what_is_written,
    written_is_on_the_branch,
)

FEW = frozenset({"failed", "good"})
GOOD = frozenset({"good"})
ONCE = Luck(crashes=1, interrupts=0, idle_deaths=0)
ASLEEP = Luck(crashes=0, pauses=1, interrupts=0, idle_deaths=0)

WORLDS = {
    # One task, any number of crashes and interrupts, somebody who moves the branch.
    "crashes": (Rules(luck=Luck(strangers=1)), 5_000),
    # A task that waits for another.
    "chain": (Rules(needs=((), (0,)), max_retries=0), 4_000),
    # A thread that sleeps through its own fencing, and wakes while the next attempt is at work.
    "sleeper": (
        Rules(slots=2, threshold=9, outcomes=GOOD, luck=ONCE._replace(crashes=0, pauses=1)),
        10_000,
    ),
    # Two tasks that land on one branch.
    "branch": (
        Rules(needs=((), ()), slots=2, max_retries=0, threshold=9, outcomes=GOOD, luck=ONCE),
        40_000,
    ),
    # Two tasks behind one breaker, and one that fails takes the other with it.
    "breaker": (
        Rules(
            needs=((), ()),
            slots=2,
            max_retries=0,
            max_applies=1,
            outcomes=FEW,
            luck=ONCE._replace(crashes=0),
        ),
        20_000,
    ),
}
"""The rules of each world, and how many states it has at the least."""

NOT_MODELLED = {
    ("patch_ledger", "apply_failed", "queued"): "a moved branch makes a new entry",
    ("patch_ledger", "validated", "quarantined"): "a refusal is known before validation",
    ("task", "validating", "failed"): "validation and completion are one transaction",
    ("test_gate", "BLOCKED", "PENDING"): "a re-run is a new row (G2)",
    ("worker", "initializing", "shutdown"): "made and registered in one transaction",
}
"""Legal transitions of the five machines that no step of the model takes, and why."""


@cache
def world(name: str) -> Graph:
    return explore(WORLDS[name][0])


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

    That the system always gets there is what the two tests before this one say.
    """
    graph = world(name)
    ends = [
        state
        for state, following in zip(graph.states, graph.system, strict=True)
        if state.cancelling and not following
    ]
    assert len(ends) > 5
    assert {state.run for state in ends} == {"canceled"}
    assert all(settled(state) for state in ends)
    assert {task.state for state in ends for task in state.tasks} > {"cancelled", "completed"}


def entities(state: State) -> Iterator[tuple[str, str]]:
    """Machine and state of every row of the model."""
    yield "run", state.run
    yield "workstream", state.ws
    yield "circuit_breaker", state.breaker.state
    yield from (("task", task.state) for task in state.tasks)
    yield from (("patch_ledger", entry.state) for entry in state.entries if entry)
    yield from (("worker", worker) for worker in state.workers if worker)
    yield from (("test_gate", gate) for gates in state.gates for gate in gates)


LOCAL: dict[str, Callable[[State], str | None]] = {
    "run": lambda state: state.run,
    "workstream": lambda state: state.ws,
    "task": lambda state: state.tasks[-1].state,
    "patch_ledger": lambda state: entry.state if (entry := state.entries[-1]) else None,
    "worker": lambda state: state.workers[-1] or None,
    "test_gate": lambda state: gates[0] if (gates := state.gates[-1]) else None,
    "circuit_breaker": lambda state: state.breaker.state,
}
"""One entity of each machine. The breaker's rests are left out, as are those of `settled`."""
AT_REST = {"patch_ledger": {"committed"}, "circuit_breaker": {"CLOSED", "HALF_OPEN"}}


@every_world
@pytest.mark.parametrize("machine", LOCAL)
def test_every_state_that_is_not_an_end_has_an_exit(name: str, machine: str) -> None:
    resting = frozenset(ENDED[machine] | AT_REST.get(machine, set()))
    assert without_exit(world(name), LOCAL[machine], resting) == []


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
    machines = ("task", "patch_ledger", "test_gate", "worker", "circuit_breaker")
    legal = {
        (name, one.source, one.target)
        for name in machines
        for one in MACHINES[name].all_transitions()
    }
    assert legal - used == NOT_MODELLED.keys()


TWO_PROCESSES = Rules(
    needs=((), ()),
    slots=2,
    threshold=9,
    outcomes=GOOD,
    luck=ASLEEP,
    left_out=frozenset({"user cancels", "gate: FAILED", "conflict"}),
)


def test_under_a_landing_lease_no_committed_patch_is_pushed_off_its_branch() -> None:
    leased = replace(TWO_PROCESSES, landing_lease=True, used=set())
    graph = explore(leased)
    assert broken(graph, written_is_on_the_branch) == []
    assert dead_ends(graph) == []


def test_without_a_lease_a_sleeper_can_push_one_off_and_the_workstream_fails() -> None:
    """Landing needs the lease in all processes together, not only a lock in each of them.

    The ledger is compared with the branch before anything is merged, so nothing wrong reaches
    the target even then (`landed_is_what_is_written`).
    """
    graph = explore(TWO_PROCESSES)
    assert broken(graph, written_is_on_the_branch) != []
    assert broken(graph, landed_is_what_is_written) == []


CRASHES = WORLDS["crashes"][0]
SMALL = Rules(max_retries=0, max_applies=1, outcomes=GOOD)


@pytest.mark.parametrize(
    ("machine", "source", "target"),
    [
        ("worker", "unresponsive", "shutdown"),
        ("task", "running", "retrying"),
        ("task", "queued", "cancelled"),
        ("task", "retrying", "queued"),
        ("patch_ledger", "verified", "dropped"),
        ("patch_ledger", "apply_failed", "dropped"),
        ("test_gate", "RUNNING", "FAILED"),
        ("circuit_breaker", "OPEN", "HALF_OPEN"),
        ("workstream", "executing", "cancelled"),
        ("run", "running", "canceled"),
    ],
)
def test_without_a_transition_the_run_gets_stuck(machine: str, source: str, target: str) -> None:
    graph = explore(CRASHES.illegal(machine, source, target))
    assert len(graph.states) > 1000
    assert dead_ends(graph) != []


@pytest.mark.parametrize("step", ["fence", "end gate", "probe expires", "cancel", "hand back"])
def test_without_a_step_of_the_upkeep_the_run_gets_stuck(step: str) -> None:
    graph = explore(CRASHES.without(step))
    assert len(graph.states) > 1000
    assert dead_ends(graph) != []


@pytest.mark.parametrize(
    ("rules", "guard", "holds"),
    [
        (SMALL, "gates decide", committed_only_when_gated),
        (
            Rules(needs=((), ()), max_retries=0, outcomes=GOOD, luck=ONCE._replace(pauses=1)),
            "one task per worker",
            held_once,
        ),
    ],
    ids=["gates", "holding"],
)
def test_without_a_guard_a_property_breaks(
    rules: Rules, guard: str, holds: Callable[[State], bool]
) -> None:
    assert broken(explore(rules), holds) == []
    assert broken(explore(rules.without(guard)), holds) != []
