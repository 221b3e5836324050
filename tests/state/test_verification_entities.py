"""An entity that is not what its audit rows say is found, whatever was changed."""

from typing import Any

import pytest

from state.chain import HASHED, row_hash
from state.machines import MACHINES
from state.queries import history
from tests.state.tampering import at, only, place, problems, tamper
from tests.state.world import World


def test_an_entity_whose_state_was_changed_is_found(world: World) -> None:
    task = world.make("task")
    row = world.go("task", task, "queued")
    tamper(world, f"UPDATE tasks SET state = 'pending' WHERE task_id = '{task}'")
    problem = only(world)
    assert (problem.code, place(problem)) == ("entity_changed", at(row))
    assert "is pending, version 2" in problem.message


@pytest.mark.parametrize("change", ["version = 7", "audit_head = NULL", "audit_head = 'x'"])
@pytest.mark.parametrize("name", MACHINES)
def test_an_entity_that_is_not_what_its_last_row_says_is_found(
    world: World, name: str, change: str
) -> None:
    machine = MACHINES[name]
    entity = world.make(name)
    tamper(world, f"UPDATE {machine.table} SET {change} WHERE {machine.key} = '{entity}'")
    problem = only(world)
    row = history(world.store, name, entity)[-1]
    assert (problem.code, place(problem)) == ("entity_changed", at(row))


def test_an_entity_that_was_taken_out_is_found(world: World) -> None:
    worker = world.make_in("worker", "idle")
    tamper(world, f"DELETE FROM workers WHERE worker_id = '{worker}'")
    problem = only(world)
    row = history(world.store, "worker", worker)[-1]
    assert (problem.code, place(problem)) == ("entity_missing", at(row))


def test_an_entity_without_history_is_found(world: World) -> None:
    worker = world.make("worker")
    made_at = world.store.get("worker", worker).created_at
    tamper(world, f"DELETE FROM state_transitions WHERE entity_id = '{worker}'")
    problem = only(world)
    assert (problem.code, place(problem)) == ("audit_missing", ("worker", worker, None, made_at))


# Columns that rows tell of


COMMIT = "UPDATE patch_ledger_entries SET commit_sha = '{}' WHERE ledger_id = '{}'"


def test_a_column_that_the_audit_tells_of_and_was_changed_is_found(world: World) -> None:
    entry = world.make_in("patch_ledger", "committed")
    row = history(world.store, "patch_ledger", entry)[-1]
    world.make_in("patch_ledger", "committed")
    tamper(world, COMMIT.format("d" * 40, entry))
    problem = only(world)
    assert (problem.code, place(problem)) == ("entity_changed", at(row))
    assert f"commit_sha '{'d' * 40}'" in problem.message
    assert f"says '{'c' * 40}'" in problem.message
    tamper(world, COMMIT.format("c" * 40, entry))
    assert problems(world) == []


@pytest.mark.parametrize(
    ("entity_type", "state", "change"),
    [
        ("patch_ledger", "quarantined", "quarantine_reason = 'nothing'"),
        ("patch_ledger", "rolled_back", "rollback_reason = 'nothing'"),
        ("patch_ledger", "rolled_back", "commit_sha = NULL"),
        ("test_gate", "FAILED", "exit_code = 77"),
        ("test_gate", "PASSED", "exit_code = 'zero'"),
    ],
)
def test_what_became_of_an_entity_is_in_its_history(
    world: World, entity_type: str, state: str, change: str
) -> None:
    entity = world.make_in(entity_type, state)
    machine = MACHINES[entity_type]
    tamper(world, f"UPDATE {machine.table} SET {change} WHERE {machine.key} = '{entity}'")
    problem = only(world)
    assert (problem.code, problem.entity_id) == ("entity_changed", entity)
    assert change.split()[0] in problem.message


def test_the_newest_value_counts_though_a_later_row_does_not_tell_it(world: World) -> None:
    task = world.make_in("task", "running")
    world.go("task", task, "validating", exit_code=1)
    world.go("task", task, "completed", exit_code=0)
    world.store.record("task", task, "noted")
    assert problems(world) == []
    tamper(world, f"UPDATE tasks SET exit_code = 1 WHERE task_id = '{task}'")
    assert only(world).transition_id == history(world.store, "task", task)[-2].transition_id


def test_entities_are_compared_also_when_their_rows_come_in_several_pages(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("state.raw_history._PAGE", 2)
    gates = [world.make_in("test_gate", "FAILED") for _ in range(5)]
    assert problems(world) == []
    tamper(world, "UPDATE test_gates SET exit_code = 3")
    assert sorted(one.entity_id or "" for one in problems(world)) == sorted(gates)


@pytest.mark.parametrize(
    "told",
    [{"set": None}, {"set": [1]}, {"set": {"colour": "red"}}, {"note": {"set": {"state": 1}}}],
)
def test_what_tells_of_no_column_is_nothing(world: World, told: dict[str, Any]) -> None:
    worker = world.make("worker")
    world.store.record("worker", worker, "noted", metadata=told)
    assert problems(world) == []


def test_a_row_whose_hash_is_false_tells_nothing(world: World) -> None:
    gate = world.make_in("test_gate", "FAILED")
    row = history(world.store, "test_gate", gate)[-1]
    for text in ('{"set": {"exit_code": 5}}', '{"set":', "[" * 9999):
        tamper(
            world,
            (
                "UPDATE state_transitions SET metadata = :text WHERE transition_id = :row",
                {"text": text, "row": row.transition_id},
            ),
        )
        assert only(world).code == "row_changed"


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("text", ['{"set":', "[" * 9999 + '"set"', '["set"]'])
def test_metadata_that_is_no_document_is_no_error(world: World, text: str) -> None:
    """Somebody gave it the hash that goes with it."""
    gate = world.make_in("test_gate", "FAILED")
    row = history(world.store, "test_gate", gate)[-1]
    digest = row_hash({name: getattr(row, name) for name in HASHED}, text)
    tamper(
        world,
        (
            "UPDATE state_transitions SET metadata = :text, hash = :hash "
            "WHERE transition_id = :row",
            {"text": text, "hash": digest, "row": row.transition_id},
        ),
        f"UPDATE test_gates SET audit_head = '{digest}'",
    )
    assert problems(world) == []
