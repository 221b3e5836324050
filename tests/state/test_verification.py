"""Whatever is done to audit rows behind the store's back, verification finds where and since."""

from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from state.errors import PatchlineError
from state.machines import MACHINES
from state.schema import state_transitions
from state.verification import verify_history
from tests.state.tampering import at, codes, finished_task, forged, only, place, tamper
from tests.state.world import NEEDS, World, fresh_world

# Clean histories


def test_an_untouched_history_is_clean(world: World) -> None:
    finished_task(world)
    for name, machine in MACHINES.items():
        for state in machine.states:
            world.make_in(name, state)
    world.store.record("run", world.run_id, "held", reason="lunch", operator="ann")
    task = world.make("task")
    awkward = {"text": "caf\u00e9 \U0001f600 \u2028 \x7f", "n": [1, 1.5, -0.0, 1e300, None, True]}
    reason = 'a "quoted" \\ reason\nwith \x00 and \udcff'
    world.go("task", task, "queued", metadata=awkward, reason=reason)
    found = verify_history(world.store)
    assert (found.count, found.problems) == (0, [])
    with world.store.reading() as connection:
        rows = connection.scalar(sa.select(sa.func.count()).select_from(state_transitions))
    assert found.entries == rows


@settings(max_examples=25, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(list(MACHINES)), st.integers(0, 8), st.integers(-90, 90)),
        max_size=25,
    )
)
def test_a_history_after_any_walk_is_clean(steps: list[tuple[str, int, int]]) -> None:
    with fresh_world() as world:
        store, clock = world.store, world.clock
        entities: dict[str, str] = {}
        for name, pick, seconds in steps:
            if name not in entities:
                entities[name] = world.make(name)
            target = MACHINES[name].states[pick % len(MACHINES[name].states)]
            try:
                needs = NEEDS.get((name, target), {})
                store.transition(name, entities[name], target, **needs)
            except PatchlineError:
                del entities[name]  # another one next time
            clock.advance(seconds)
        found = verify_history(store)
        assert found.problems == []
        assert found.entries >= len(entities) + 2


def test_progress_is_told_up_to_the_last_row(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("state.raw_history._PAGE", 4)
    finished_task(world)
    told: list[tuple[int, int]] = []
    found = verify_history(world.store, lambda done, total: told.append((done, total)))
    assert [done for done, _ in told] == [*range(4, found.entries, 4), found.entries]
    assert {total for _, total in told} == {found.entries}


# Rows


@pytest.mark.parametrize(
    "change",
    [
        "reason = 'nothing happened'",
        "operator = 'nobody'",
        'metadata = \'{"worker_id": "w1"}\'',
        "metadata = '{} '",
        "severity = 'error'",
        "run_id = NULL",
        "event_id = 'evt_other'",
        "\"trigger\" = 'manual_override'",
    ],
)
def test_a_changed_column_is_found(world: World, change: str) -> None:
    _, audit = finished_task(world)
    row = audit[3]
    tamper(
        world, f"UPDATE state_transitions SET {change} WHERE transition_id = {row.transition_id}"
    )
    problem = only(world)
    assert problem.code == "row_changed"
    assert place(problem) == at(row)
    assert f"Audit row {row.transition_id}" in problem.message
    assert row.transitioned_at in problem.message


def test_a_blank_more_in_the_metadata_is_found(world: World) -> None:
    task = world.make("task")
    row = world.store.transition("task", task, "queued", metadata={"a": 1})
    world.go("task", task, "running")
    where = f"WHERE transition_id = {row.transition_id}"
    tamper(world, f"UPDATE state_transitions SET metadata = '{{\"a\": 1}}' {where}")
    problem = only(world)
    assert (problem.code, place(problem)) == ("row_changed", at(row))
    tamper(world, f"UPDATE state_transitions SET metadata = '{{\"a\":1}}' {where}")
    assert verify_history(world.store).count == 0


def test_a_changed_hash_is_found_where_it_is_and_in_the_next_row(world: World) -> None:
    _, audit = finished_task(world)
    number = audit[2].transition_id
    tamper(
        world, f"UPDATE state_transitions SET hash = '{'ab' * 32}' WHERE transition_id = {number}"
    )
    assert codes(verify_history(world.store)) == [
        ("row_changed", number),
        ("chain_broken", audit[3].transition_id),
    ]


def test_two_rows_that_changed_places_are_found(world: World) -> None:
    task, audit = finished_task(world)
    one, other = audit[1].transition_id, audit[2].transition_id
    move = "UPDATE state_transitions SET transition_id = {} WHERE transition_id = {}"
    tamper(world, move.format(10**6, one), move.format(one, other), move.format(other, 10**6))
    found = verify_history(world.store)
    assert [one.code for one in found.problems] == ["chain_broken"] * 3
    first = found.problems[0]
    assert (first.entity_id, first.transition_id, first.event_id) == (task, one, audit[2].event_id)
    assert first.since == audit[2].transitioned_at


def test_a_missing_middle_is_found(world: World) -> None:
    _, audit = finished_task(world)
    tamper(world, f"DELETE FROM state_transitions WHERE transition_id = {audit[2].transition_id}")
    problem = only(world)
    assert (problem.code, place(problem)) == ("chain_broken", at(audit[3]))
    assert "version 4 comes after 2" in problem.message


def test_a_missing_beginning_is_found(world: World) -> None:
    _, audit = finished_task(world)
    tamper(world, f"DELETE FROM state_transitions WHERE transition_id = {audit[0].transition_id}")
    problem = only(world)
    assert (problem.code, place(problem)) == ("chain_broken", at(audit[1]))
    assert "the row it follows is missing" in problem.message


def test_a_missing_end_is_found(world: World) -> None:
    task, audit = finished_task(world)
    tamper(
        world,
        f"DELETE FROM state_transitions WHERE entity_id = '{task}'"
        f" AND transition_id > {audit[2].transition_id}",
    )
    problem = only(world)
    assert (problem.code, place(problem)) == ("entity_changed", at(audit[2]))
    assert "is completed, version 5" in problem.message
    assert "says running, version 3" in problem.message


def test_a_row_that_was_put_in_with_a_wrong_hash_is_found(world: World) -> None:
    task, audit = finished_task(world)
    tamper(world, forged(audit[4], prev_hash=audit[4].hash, hash="ab" * 32))
    found = verify_history(world.store)
    assert [one.code for one in found.problems] == ["row_changed", "entity_changed"]
    assert {one.entity_id for one in found.problems} == {task}
    assert {one.event_id for one in found.problems} == {"evt_forged"}


def test_a_row_that_was_put_in_with_its_right_hash_is_found_by_the_entity(world: World) -> None:
    task = world.make("task")
    row = world.go("task", task, "queued")
    later = "2027-01-01T00:00:00.000000Z"
    forgery = {"from_state": "queued", "to_state": "running", "entity_version": 3}
    tamper(world, forged(row, prev_hash=row.hash, transitioned_at=later, **forgery))
    problem = only(world)
    assert (problem.code, problem.entity_id, problem.since) == ("entity_changed", task, later)
    assert problem.event_id == "evt_forged"


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        ({"from_state": "running", "to_state": "validating"}, "state_gap", "led to queued"),
        ({"from_state": "none", "to_state": "pending"}, "state_gap", "goes on from none"),
        ({"to_state": "completed"}, "illegal_transition", "queued to completed"),
        ({"to_state": "resting"}, "illegal_transition", "queued to resting"),
        ({"entity_version": 5}, "version_gap", "version 5 comes after 2"),
        ({"entity_version": 2}, "version_gap", "version 2 comes after 2"),
        ({"transitioned_at": "2020-01-01T00:00:00.000000Z"}, "time_order", "which is later"),
        ({"prev_hash": None}, "chain_broken", "does not follow"),
        ({"to_state": "queued"}, "version_gap", "version 3 comes after 2"),
    ],
)
def test_a_row_that_hashes_right_but_breaks_a_rule_is_found(
    world: World, changes: dict[str, Any], code: str, said: str
) -> None:
    task = world.make("task")
    row = world.go("task", task, "queued")
    right = {"from_state": "queued", "to_state": "running", "entity_version": 3}
    tamper(world, forged(row, **{"prev_hash": row.hash, **right, **changes}))
    first = verify_history(world.store).problems[0]
    assert (first.code, first.entity_id, first.event_id) == (code, task, "evt_forged")
    assert said in first.message


def test_a_kind_of_entity_that_does_not_exist_is_found(world: World) -> None:
    _, audit = finished_task(world)
    born = audit[0]
    tamper(world, forged(born, entity_type="ghost"))
    problem = only(world)
    assert (problem.code, problem.entity_type) == ("unknown_type", "ghost")
