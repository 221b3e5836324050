"""A clock that is set back by an hour in mid-life: order holds, history agrees, waiting ends."""

from datetime import timedelta

import pytest

from state.analysis.past import state_at
from state.claims import Claim
from state.clock_and_ids import timestamp
from state.errors import GuardNotSatisfied
from state.queries import history, transitions_since
from state.verification import verify_history
from tests.state.soundness import assert_sound
from tests.state.world import FLAGS, World

HOUR = 3600.0


def claimed(world: World) -> tuple[str, Claim]:
    worker, _ = world.make_in("worker", "idle"), world.make_in("task", "queued")
    claim = world.store.claim_task(worker)
    assert claim is not None
    return worker, claim


def test_stamps_keep_their_order_and_the_history_verifies(world: World) -> None:
    store, clock = world.store, world.clock
    worker, claim = claimed(world)
    started = store.get("task", claim.task_id).started_at
    clock.advance(-HOUR)
    store.heartbeat(worker, token=claim.token)
    store.update("task", claim.task_id, token=claim.token, metadata={"seen": 1})
    store.transition("task", claim.task_id, "validating", token=claim.token)
    clock.advance(-HOUR)
    store.transition("task", claim.task_id, "completed")
    store.transition("worker", worker, "idle")
    row = store.get("task", claim.task_id)
    assert row.created_at <= row.started_at == started <= row.completed_at <= row.updated_at
    attempt = store.get("task_attempt", claim.token)
    assert attempt.started_at <= attempt.ended_at
    for entity in (("task", claim.task_id), ("worker", worker)):
        times = [record.transitioned_at for record in history(store, *entity)]
        assert times == sorted(times)
    found = verify_history(store)
    assert (found.count, found.problems) == (0, [])
    assert found.entries == assert_sound(world.url, store.events.path)


def test_the_state_as_of_each_row_is_what_the_tables_were_then(world: World) -> None:
    store, clock = world.store, world.clock
    entry = world.make("patch_ledger")
    seen: dict[int, dict[tuple[str, str], str]] = {}
    for target, columns in (("validated", FLAGS), ("queued", {}), ("applied", {})):
        clock.advance(-HOUR)
        record = store.transition("patch_ledger", entry, target, **columns)
        world.make("task")  # its own life begins an hour earlier than what is there already
        last = max(one.transition_id for one in transitions_since(store, limit=10_000))
        assert last > record.transition_id
        seen[last] = {("patch_ledger", entry): target}
    for last, expected in seen.items():
        past = state_at(store, last)
        assert past["patch_ledger", entry].state == expected["patch_ledger", entry]
    now = {key: one.state for key, one in state_at(store, max(seen)).items()}
    assert now["patch_ledger", entry] == store.get("patch_ledger", entry).state
    assert sum(kind == "task" for kind, _ in now) == 3


def test_a_retry_is_never_early_and_comes_due_when_the_clock_is_there(world: World) -> None:
    store, clock = world.store, world.clock
    _, claim = claimed(world)
    due = clock.now() + timedelta(seconds=60)
    store.transition(
        "task",
        claim.task_id,
        "retrying",
        token=claim.token,
        reason="flaky",
        next_attempt_at=timestamp(due),
    )
    clock.advance(-HOUR)
    with pytest.raises(GuardNotSatisfied, match="due at"):
        store.transition("task", claim.task_id, "queued")
    clock.advance(HOUR + 59)
    with pytest.raises(GuardNotSatisfied, match="due at"):
        store.transition("task", claim.task_id, "queued")
    clock.advance(1)
    store.transition("task", claim.task_id, "queued")
    assert [one.to_state for one in history(store, "task", claim.task_id)][-2:] == [
        "retrying",
        "queued",
    ]


def test_a_cooldown_is_never_shortened_and_an_operator_need_not_wait(world: World) -> None:
    store, clock = world.store, world.clock
    waiting, reset = (
        world.make("circuit_breaker", cooldown_sec=60, failure_count=5) for _ in range(2)
    )
    for tool in (waiting, reset):
        store.transition("circuit_breaker", tool, "OPEN")
    clock.advance(-HOUR)
    with pytest.raises(GuardNotSatisfied, match="cooldown"):
        store.transition("circuit_breaker", waiting, "HALF_OPEN")
    store.transition("circuit_breaker", reset, "HALF_OPEN", operator="ann", reason="mended")
    clock.advance(HOUR + 60)
    store.transition("circuit_breaker", waiting, "HALF_OPEN")
    assert_sound(world.url, store.events.path)
