"""The check finds what is wrong: worlds without a rule, a step or a guard come to grief."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from state import rules as rules_of_state
from tests.property.exploring import (
    broken,
    dead_ends,
    explore,
)
from tests.property.model import Rules, State
from tests.property.properties import (
    branch_is_as_written,
    committed_only_when_gated,
    held_once,
    landed_is_what_is_written,
    landed_only_when_gated,
    retried_no_more_than_allowed,
    written_is_on_the_branch,
)
from tests.property.worlds import ASLEEP, GOOD, ONCE, WORLDS

TWO_PROCESSES = Rules(
    needs=((), ()),
    slots=2,
    threshold=9,
    outcomes=GOOD,
    luck=ASLEEP,
    left_out=frozenset({"user cancels", "gate: FAILED", "conflict"}),
)


def test_under_a_fenced_lease_a_branch_holds_what_is_written_and_nothing_else() -> None:
    graph = explore(TWO_PROCESSES)
    assert broken(graph, written_is_on_the_branch) == []
    assert broken(graph, branch_is_as_written) == []
    assert dead_ends(graph) == []


@pytest.mark.parametrize("part", ["git fence", "settle"])
def test_without_a_part_of_the_lease_a_sleeper_is_in_the_way(part: str) -> None:
    """Taken over in its sleep, it moves the branch; or what it landed is never written down."""
    assert broken(explore(TWO_PROCESSES.without(part)), branch_is_as_written) != []


def test_without_a_lease_a_sleeper_can_push_one_off_and_the_workstream_fails() -> None:
    """Landing needs the lease in all processes together, not only a lock in each of them.

    The ledger is compared with the branch before anything is merged, so nothing wrong reaches
    the target even then (`landed_is_what_is_written`).
    """
    graph = explore(replace(TWO_PROCESSES.without(), landing_lease=False))
    assert broken(graph, written_is_on_the_branch) != []
    assert broken(graph, landed_is_what_is_written) == []


CRASHES = WORLDS["crashes"][0]
SLEEPERS = Rules(
    needs=((), ()),
    max_retries=0,
    outcomes=GOOD,
    luck=ONCE._replace(pauses=1),
    left_out=frozenset({"gate: FAILED", "conflict"}),
)
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


MUTANTS: dict[str, tuple[str, str, Any]] = {
    "a lost task cancels nobody": ("chain", "state.propagation.tasks.LOST", frozenset[str]()),
    "a lost workstream cancels nobody": (
        "streams",
        "state.propagation.cascade.unreachable",
        lambda *_: None,
    ),
    "a critical failure fails nobody": (
        "chain",
        "state.propagation.cascade.derive_workstream",
        lambda *_: None,
    ),
    "no run ends": ("crashes", "state.propagation.cascade.derive_run", lambda *_: None),
    "no cancelled run ends": (
        "crashes",
        "state.propagation.cascade.derive_cancelled_run",
        lambda *_: None,
    ),
    "nobody is told that a need is met": (
        "chain",
        "state.propagation.tasks.unmet",
        lambda needs: [one for one in needs if one.state != "validating"],
    ),
}


def test_where_gates_do_not_decide_the_store_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that verifies what its gates refused lands it; it is never written as committed."""
    careless = SMALL.without("gates decide", "crash", "crash in a transaction")
    assert broken(explore(careless), landed_only_when_gated) == []
    monkeypatch.setattr("tests.property.parts.unpassed", lambda gates: [])
    assert broken(explore(careless.without()), landed_only_when_gated) != []


@pytest.mark.parametrize("mutant", MUTANTS)
def test_rules_that_leave_somebody_waiting_are_found_out(
    mutant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, where, instead = MUTANTS[mutant]
    monkeypatch.setattr(where, instead)
    assert dead_ends(explore(WORLDS[name][0].without())) != []


def test_retries_that_nobody_counts_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(rules_of_state._AUTOMATIC, "task", lambda request: {})
    graph = explore(CRASHES.without(), retried_no_more_than_allowed)
    assert broken(graph, retried_no_more_than_allowed) != []


@pytest.mark.parametrize(
    ("rules", "guard", "holds"),
    [
        (SMALL, "gates decide", committed_only_when_gated),
        (
            Rules(
                needs=((), ()), max_retries=0, outcomes=GOOD, luck=ONCE._replace(pauses=1)
            ).without("gate: FAILED", "conflict"),
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
