"""What a transition must be given, and what must hold before it."""

from typing import Any

import pytest

from state.errors import (
    GuardNotSatisfied,
    OptimisticLockError,
    StaleTokenError,
    TerminalStateViolation,
    TimestampOrderingViolation,
)
from state.store import StateStore
from tests.state.world import FLAGS, World


@pytest.mark.parametrize(
    ("name", "source", "target", "given", "missing"),
    [
        ("task", "queued", "running", {}, ("worker_id",)),
        ("task", "queued", "running", {"worker_id": " "}, ("worker_id",)),
        ("patch_ledger", "created", "validated", {}, tuple(FLAGS)),
        (
            "patch_ledger",
            "created",
            "validated",
            {"format_ok": True, "scope_ok": False, "constraints_ok": True},
            ("scope_ok",),
        ),
        ("patch_ledger", "applied", "verified", {}, ("tests_ok",)),
        ("patch_ledger", "verified", "committed", {}, ("commit_sha",)),
        ("patch_ledger", "created", "quarantined", {"reason": "no"}, ("quarantine_reason",)),
        ("patch_ledger", "committed", "rolled_back", {}, ("rollback_reason", "operator")),
        ("patch_ledger", "quarantined", "dropped", {"reason": "no"}, ("operator",)),
        ("test_gate", "RUNNING", "PASSED", {}, ("exit_code",)),
        ("test_gate", "RUNNING", "FAILED", {}, ("exit_code",)),
        ("test_gate", "RUNNING", "PASSED", {"exit_code": 3}, ("exit_code",)),
    ],
)
def test_a_transition_without_what_it_needs_is_refused(
    world: World, name: str, source: str, target: str, given: dict[str, Any], missing: Any
) -> None:
    entity_id = world.make_in(name, source)
    before = world.store.get(name, entity_id)
    with pytest.raises(GuardNotSatisfied) as refused:
        world.store.transition(name, entity_id, target, **given)
    assert refused.value.missing == missing
    assert all(one in str(refused.value) for one in missing)
    assert world.store.get(name, entity_id) == before


def test_legality_is_judged_before_versions_and_versions_before_guards(world: World) -> None:
    store = world.store
    task = world.make_in("task", "queued")
    with pytest.raises(OptimisticLockError) as stale:
        store.transition("task", task, "running", expected_version=1)
    assert (stale.value.expected, stale.value.actual) == (1, 2)
    done = world.make_in("task", "completed")
    with pytest.raises(TerminalStateViolation):
        store.transition("task", done, "running", expected_version=1, token="old")
    with pytest.raises(StaleTokenError):
        store.transition("task", task, "running", token="old")


def test_a_gate_passes_with_any_of_its_expected_exit_codes(world: World) -> None:
    gate = world.make("test_gate", expected_exit_codes=[0, 5])
    world.go("test_gate", gate, "RUNNING")
    world.store.transition("test_gate", gate, "PASSED", exit_code=5)
    assert world.store.get("test_gate", gate).completed_at is not None


def test_retries_are_counted_and_end(world: World) -> None:
    store, task = world.store, world.make("task", max_retries=2)
    for attempt in (1, 2):
        world.go("task", task, "queued", "running", "retrying")
        assert store.get("task", task).retry_count == attempt
    world.go("task", task, "queued", "running")
    with pytest.raises(GuardNotSatisfied, match="all 2 retries are used up"):
        store.transition("task", task, "retrying")
    # An interruption by a person uses no attempt up.
    store.transition("task", task, "retrying", retry_count=2)
    assert store.get("task", task).retry_count == 2


def test_a_retry_waits_for_its_delay_unless_an_operator_says_otherwise(world: World) -> None:
    store, clock = world.store, world.clock
    task = world.make_in("task", "running")
    due = clock.now()
    clock.advance(-10)
    store.transition("task", task, "retrying", next_attempt_at=due)
    with pytest.raises(GuardNotSatisfied) as early:
        store.transition("task", task, "queued")
    assert early.value.missing == ("next_attempt_at",)
    clock.advance(10)
    store.transition("task", task, "queued")
    assert store.get("task", task).next_attempt_at is None

    other = world.make_in("task", "running")
    store.transition("task", other, "retrying", next_attempt_at="2099-01-01T00:00:00Z")
    record = store.transition("task", other, "queued", operator="ann", trigger="manual_override")
    assert (record.severity, record.trigger) == ("warning", "manual_override")


def test_a_breaker_stays_open_for_its_cooldown(world: World) -> None:
    store, clock = world.store, world.clock
    tool = world.make("circuit_breaker", tool_id="codex", cooldown_sec=60, failure_count=5)
    store.transition("circuit_breaker", tool, "OPEN")
    clock.advance(59.9)
    with pytest.raises(GuardNotSatisfied, match="cooldown"):
        store.transition("circuit_breaker", tool, "HALF_OPEN")
    clock.advance(0.1)
    store.transition("circuit_breaker", tool, "HALF_OPEN")
    store.transition("circuit_breaker", tool, "CLOSED")
    row = store.get("circuit_breaker", tool)
    assert (row.failure_count, row.probe_token) == (0, None)


def test_a_patch_is_applied_at_most_three_times(world: World) -> None:
    entry = world.make_in("patch_ledger", "queued")
    for _ in range(2):
        world.go("patch_ledger", entry, "apply_failed", "queued")
    world.go("patch_ledger", entry, "apply_failed")
    assert world.store.get("patch_ledger", entry).apply_attempts == 3
    with pytest.raises(GuardNotSatisfied, match="3 times"):
        world.store.transition("patch_ledger", entry, "queued")


def test_a_task_waits_for_its_dependencies_and_a_retry_stands_for_them(world: World) -> None:
    store = world.store
    first, second = world.make("task"), world.make("task")
    store.add_dependency("task", second, first)
    with pytest.raises(GuardNotSatisfied) as waiting:
        store.transition("task", second, "queued")
    assert waiting.value.missing == ("depends_on",)
    assert first in str(waiting.value)
    store.transition("task", second, "blocked")
    assert store.get("task", second).blocked_by == [first]

    world.go("task", first, "queued", "running", "failed")
    with pytest.raises(GuardNotSatisfied):
        store.transition("task", second, "pending")
    successor = world.make("task", retry_of=first)
    with pytest.raises(GuardNotSatisfied):
        store.transition("task", second, "pending")
    world.go("task", successor, "queued", "running", "validating", "completed")
    store.transition("task", second, "pending")
    store.transition("task", second, "queued")
    assert store.get("task", second).blocked_by is None


def test_entry_gates_must_have_passed_and_a_rerun_stands_for_its_original(world: World) -> None:
    store, task = world.store, world.make("task")
    gate, judge = world.make("test_gate"), world.make("test_gate")
    store.add_task_gate(task, gate, "entry")
    store.add_task_gate(task, judge, "exit")
    world.go("test_gate", gate, "RUNNING", "FAILED")
    with pytest.raises(GuardNotSatisfied) as refused:
        store.transition("task", task, "queued")
    assert refused.value.missing == ("entry_gates",)
    again = world.make("test_gate", retry_of=gate)
    world.go("test_gate", again, "RUNNING", "PASSED")
    assert store.transition("task", task, "queued").to_state == "queued"


def test_an_advisory_entry_gate_holds_no_task_up(world: World) -> None:
    store, task = world.store, world.make("task")
    gate = world.make("test_gate", blocking=False)
    store.add_task_gate(task, gate, "entry")
    world.go("test_gate", gate, "RUNNING", "FAILED")
    assert store.transition("task", task, "queued").to_state == "queued"


def test_a_workstream_waits_and_a_skipped_one_satisfies_only_where_the_plan_says_so(
    world: World,
) -> None:
    store = world.store
    for satisfies in (False, True):
        run = store.create("run", metadata={"skipped_satisfies": satisfies}).run_id
        first = store.create("workstream", run_id=run).ws_id
        second = store.create("workstream", run_id=run).ws_id
        store.add_dependency("workstream", second, first)
        with pytest.raises(GuardNotSatisfied):
            store.transition("workstream", second, "ready")
        store.transition("workstream", first, "skipped")
        if satisfies:
            store.transition("workstream", second, "ready")
        else:
            with pytest.raises(GuardNotSatisfied):
                store.transition("workstream", second, "ready")


@pytest.mark.parametrize("state", ["unresponsive", "shutdown"])
def test_a_task_does_not_start_on_a_worker_that_is_gone(world: World, state: str) -> None:
    worker, task = world.make_in("worker", state), world.make_in("task", "queued")
    with pytest.raises(GuardNotSatisfied, match=f"is {state}"):
        world.store.transition("task", task, "running", worker_id=worker)


def test_a_time_that_contradicts_the_others_is_refused(world: World) -> None:
    store, task = world.store, world.make_in("task", "queued")
    with pytest.raises(TimestampOrderingViolation) as wrong:
        store.transition(
            "task", task, "running", worker_id="w", started_at="1999-01-01T00:00:00+01:00"
        )
    assert wrong.value.later == ("started_at", "1998-12-31T23:00:00.000000Z")


def test_a_clock_that_steps_back_does_not_break_the_order(world: World) -> None:
    store = world.store
    task = world.make_in("task", "running")
    started = store.get("task", task).started_at
    world.clock.advance(-100_000)
    world.go("task", task, "validating", "completed")
    row = store.get("task", task)
    assert row.created_at <= started == row.started_at <= row.completed_at <= row.updated_at


def test_started_at_is_the_first_start(world: World, store: StateStore) -> None:
    task = world.make_in("task", "running")
    first = store.get("task", task).started_at
    world.go("task", task, "retrying", "queued", "running")
    assert store.get("task", task).started_at == first


def test_a_run_canceled_before_its_start_has_no_start(world: World) -> None:
    world.store.transition("run", world.run_id, "canceled", reason="changed my mind")
    row = world.store.get("run", world.run_id)
    assert row.started_at is None
    assert row.completed_at is not None
    assert row.reason == "changed my mind"


def test_of_several_retries_the_newest_counts(world: World) -> None:
    store = world.store
    first, waiting = world.make("task"), world.make("task")
    store.add_dependency("task", waiting, first)
    world.go("task", first, "queued", "running", "failed")
    again = world.make("task", retry_of=first)
    world.go("task", again, "queued", "running", "failed")
    last = world.make("task", retry_of=first)
    world.go("task", last, "queued", "running", "validating", "completed")
    assert store.transition("task", waiting, "queued").to_state == "queued"
