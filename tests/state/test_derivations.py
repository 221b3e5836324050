"""What follows for a workstream or a run from the states of its parts."""

from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.machines import MACHINES
from state.propagation.facts import LedgerFacts, Proposal, TaskFacts, WorkstreamFacts
from state.propagation.lineages import newest
from state.propagation.outcome import derive_run
from state.propagation.quarantine import Health, ledger_health
from state.propagation.skipping import skipped_closure
from state.propagation.tasks import next_of_waiting_task
from state.propagation.workstreams import (
    derive_workstream,
    next_of_waiting_workstream,
    skipped_workstreams,
)

TASK_STATES = st.sampled_from(MACHINES["task"].states)
WS_STATES = st.sampled_from(MACHINES["workstream"].states)


def tasks(*states: str, critical: bool = True) -> list[TaskFacts]:
    return [TaskFacts(f"t{n}", state, critical) for n, state in enumerate(states)]


def outcome(proposal: Proposal | None) -> str | None:
    return proposal.state if proposal else None


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (["failed", "running"], "failed"),
        (["failed", "pending"], "failed"),
        (["running", "completed"], "executing"),
        (["retrying", "completed"], "executing"),
        (["pending", "completed"], None),
        (["completed", "completed"], "validating"),
        (["completed", "cancelled"], "failed"),
        ([], None),
    ],
)
def test_a_workstream_follows_its_tasks(states: list[str], expected: str | None) -> None:
    for order in permutations(states):
        assert outcome(derive_workstream(tasks(*order))) == expected


def test_a_noncritical_failure_fails_the_workstream_only_at_its_end() -> None:
    failed = TaskFacts("t9", "failed", is_critical=False, slug="docs")
    assert derive_workstream([*tasks("running"), failed]) == Proposal(
        "executing", "first_task_started"
    )
    ended = derive_workstream([*tasks("completed"), failed])
    assert ended is not None
    assert (ended.state, ended.names) == ("failed", ("docs",))
    assert "docs" in (ended.reason or "")
    assert outcome(derive_workstream([*tasks("completed"), failed], (), True)) == "validating"


def test_allowing_noncritical_failures_allows_no_critical_ones() -> None:
    assert outcome(derive_workstream(tasks("completed", "cancelled"), (), True)) == "failed"


def test_the_newest_of_a_lineage_counts() -> None:
    first = TaskFacts("t1", "failed", slug="a")
    second = TaskFacts("t2", "failed", retry_of="t1", slug="a2")
    third = TaskFacts("t3", "completed", retry_of="t2", slug="a3")
    assert newest([first, second, third]) == [third]
    assert outcome(derive_workstream([first, second, third])) == "validating"
    assert outcome(derive_workstream([first, second])) == "failed"


@pytest.mark.parametrize(
    ("ledger", "expected"),
    [
        ([("committed", "t0", None)], "validating"),
        ([("verified", "t0", None)], "validating"),
        ([("applied", "t0", None)], None),
        ([("created", "t0", None)], None),
        ([("dropped", "t0", None)], "validating"),
        ([("quarantined", "t0", None), ("committed", "t0", None)], "validating"),
        ([("rolled_back", "t0", None)], "failed"),
        ([("rolled_back", "t0", None), ("committed", "t0", None)], "validating"),
        ([("rolled_back", "t0", None), ("committed", None, "l0")], "validating"),
        ([("rolled_back", "t0", None), ("committed", "t1", None)], "failed"),
        ([("committed", "t0", None), ("rolled_back", "t0", None)], "failed"),
    ],
)
def test_a_workstream_validates_once_its_patches_are_settled(
    ledger: list[tuple[str, str | None, str | None]], expected: str | None
) -> None:
    entries = [LedgerFacts(f"l{n}", *entry) for n, entry in enumerate(ledger)]
    assert outcome(derive_workstream(tasks("completed", "completed"), entries)) == expected


@pytest.mark.parametrize(
    ("task", "critical", "health"),
    [
        ("running", True, Health.OPEN),
        ("retrying", True, Health.OPEN),
        ("completed", True, Health.SOUND),
        ("failed", True, Health.LOST),
        ("failed", False, Health.SOUND),
        ("cancelled", True, Health.SOUND),
    ],
)
def test_a_quarantined_patch_is_lost_only_with_a_critical_task_out_of_attempts(
    task: str, critical: bool, health: Health
) -> None:
    entry = LedgerFacts("l0", "quarantined", "t0")
    assert ledger_health([TaskFacts("t0", task, critical)], [entry]) == [(entry, health)]


def test_a_quarantined_patch_counts_for_the_newest_of_its_tasks_lineage() -> None:
    entry = LedgerFacts("l0", "quarantined", "t0")
    facts = [TaskFacts("t0", "failed"), TaskFacts("t1", "pending", retry_of="t0")]
    assert ledger_health(facts, [entry]) == [(entry, Health.OPEN)]
    later = LedgerFacts("l1", "committed", "t1")
    assert ledger_health(facts, [entry, later])[0] == (entry, Health.SOUND)


def stream(ws_id: str, state: str, *depends_on: str, **columns: Any) -> WorkstreamFacts:
    return WorkstreamFacts(ws_id, state, depends_on=depends_on, **columns)


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (["completed", "completed"], "succeeded"),
        (["completed", "skipped"], "succeeded"),
        (["completed", "failed"], "failed"),
        (["completed", "cancelled"], "failed"),
        (["failed", "executing"], None),
        (["planned", "completed"], None),
        ([], None),
    ],
)
def test_a_run_ends_with_its_last_workstream(states: list[str], expected: str | None) -> None:
    facts = [stream(f"w{n}", state) for n, state in enumerate(states)]
    assert outcome(derive_run(facts)) == expected


def test_a_run_with_noncritical_failures_fails_unless_they_are_allowed() -> None:
    facts = [stream("a", "completed"), stream("b", "failed", is_critical=False)]
    refused, allowed = derive_run(facts), derive_run(facts, True)
    assert refused == Proposal(
        "failed", "critical_workstream_failed", "noncritical_incomplete", ("b",)
    )
    assert allowed is not None
    assert (allowed.state, allowed.names) == ("succeeded", ("b",))
    facts.append(stream("c", "cancelled"))
    assert outcome(derive_run(facts, True)) == "failed"


@given(states=st.lists(TASK_STATES, min_size=1, max_size=6), allow=st.booleans())
def test_what_is_proposed_is_a_state_that_executing_can_reach(
    states: list[str], allow: bool
) -> None:
    proposal = derive_workstream(tasks(*states), (), allow)
    if proposal is None:
        assert not set(states) <= MACHINES["task"].terminal
        return
    machine = MACHINES["workstream"]
    if proposal.state != "executing":
        step = machine.find("executing", proposal.state)
        assert step is not None
        assert proposal.trigger in step.triggers
    assert (proposal.state == "validating") == (set(states) == {"completed"})


@given(states=st.lists(WS_STATES, min_size=1, max_size=6), allow=st.booleans())
def test_a_run_ends_exactly_when_all_its_workstreams_have(states: list[str], allow: bool) -> None:
    facts = [stream(f"w{n}", state) for n, state in enumerate(states)]
    proposal = derive_run(facts, allow)
    assert (proposal is not None) == (set(states) <= MACHINES["workstream"].terminal)
    if proposal is not None:
        step = MACHINES["run"].find("running", proposal.state)
        assert step is not None
        assert proposal.trigger in step.triggers


def settle(facts: list[WorkstreamFacts], **policy: bool) -> dict[str, str]:
    """Apply what follows from dependencies alone, checking that each step is legal."""
    current = {one.ws_id: one for one in facts}
    changed = True
    while changed:
        changed = False
        skipped = skipped_workstreams(current.values(), **policy)
        for ws_id, one in list(current.items()):
            step = skipped.get(ws_id)
            if step is None and one.state in ("planned", "blocked"):
                step = next_of_waiting_workstream(one, current, **policy)
            if step is not None:
                legal = MACHINES["workstream"].find(one.state, step.state)
                assert legal is not None
                assert step.trigger in legal.triggers
                current[ws_id], changed = replace(one, state=step.state), True
    return {ws_id: one.state for ws_id, one in current.items()}


def test_dependents_of_a_failure_are_cancelled_in_a_cascade() -> None:
    facts = [stream("a", "failed"), stream("b", "planned", "a"), stream("c", "planned", "b")]
    assert settle(facts) == {"a": "failed", "b": "cancelled", "c": "cancelled"}


def test_dependents_of_a_skipped_workstream_are_skipped_before_they_block() -> None:
    facts = [
        stream("c", "planned", "b"),
        stream("b", "planned", "a"),
        stream("a", "planned", enabled=False),
    ]
    assert settle(facts) == {"a": "skipped", "b": "skipped", "c": "skipped"}
    assert settle(facts, skipped_satisfies=True) == {"a": "skipped", "b": "ready", "c": "blocked"}


def test_a_workstream_waits_and_then_is_ready() -> None:
    waiting = [stream("a", "executing"), stream("b", "planned", "a"), stream("d", "planned")]
    assert settle(waiting) == {"a": "executing", "b": "blocked", "d": "ready"}
    assert settle([stream("a", "completed"), stream("b", "blocked", "a")])["b"] == "ready"


def test_a_ready_workstream_that_is_disabled_is_skipped() -> None:
    facts = [stream("a", "ready", enabled=False), stream("b", "blocked", "a")]
    assert settle(facts) == {"a": "skipped", "b": "cancelled"}


def test_skipping_reaches_what_is_not_listed_in_order() -> None:
    needs = {"d": ["c"], "c": ["b"], "b": ["a"], "x": []}
    assert skipped_closure(needs, {"a"}, False) == {"a", "b", "c", "d"}
    assert skipped_closure(needs, {"a"}, True) == {"a"}


@pytest.mark.parametrize(
    ("state", "needs", "expected"),
    [
        ("pending", ["completed"], "queued"),
        ("pending", [], "queued"),
        ("blocked", ["completed"], "pending"),
        ("pending", ["completed", "running"], "blocked"),
        ("blocked", ["completed", "running"], None),
        ("blocked", ["running", "failed"], "cancelled"),
        ("pending", ["cancelled"], "cancelled"),
    ],
)
def test_a_task_waits_for_what_it_depends_on(
    state: str, needs: list[str], expected: str | None
) -> None:
    step = next_of_waiting_task(TaskFacts("t", state), tasks(*needs))
    assert outcome(step) == expected
    if step is not None:
        legal = MACHINES["task"].find(state, step.state)
        assert legal is not None
        assert step.trigger in legal.triggers
