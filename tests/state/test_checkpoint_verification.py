"""Checkpoints hold on to every audit row under them."""

import pytest

from state.checkpoint_verification import verify_checkpoints
from state.checkpoints import checkpoint
from state.errors import HistoryDamagedError
from state.proofs import prove
from state.schema import state_transitions
from tests.state.tampering import checkpoint_codes, make_three, tamper
from tests.state.world import World


@pytest.mark.parametrize(
    "statement",
    [
        f"UPDATE state_transitions SET hash = '{'ab' * 32}' WHERE transition_id = 4",
        "UPDATE state_transitions SET hash = NULL WHERE transition_id = 4",
        "UPDATE state_transitions SET hash = 'no hash' WHERE transition_id = 4",
        "DELETE FROM state_transitions WHERE transition_id = 4",
        "DELETE FROM state_transitions WHERE transition_id = 5",
        "UPDATE state_transitions SET transition_id = 100 WHERE transition_id = 4",
    ],
)
def test_rows_that_were_changed_or_taken_out_are_found(world: World, statement: str) -> None:
    _, second, _ = make_three(world)
    tamper(world, statement)
    assert checkpoint_codes(world) == [("checkpoint_rows", 2)]
    problem = verify_checkpoints(world.store)[0]
    assert problem.since == second.created_at
    assert "rows 3 to 5" in problem.message


def test_rows_that_changed_places_are_found(world: World) -> None:
    make_three(world)
    tamper(
        world,
        "UPDATE state_transitions SET transition_id = 1000 WHERE transition_id = 4",
        "UPDATE state_transitions SET transition_id = 4 WHERE transition_id = 5",
        "UPDATE state_transitions SET transition_id = 5 WHERE transition_id = 1000",
    )
    assert checkpoint_codes(world) == [("checkpoint_rows", 2)]


def test_a_row_that_was_put_in_where_no_number_was_used_is_found(world: World) -> None:
    checkpoint(world.store)
    skip_numbers = {
        "sqlite": "UPDATE sqlite_sequence SET seq = 10 WHERE name = 'state_transitions'",
        "postgresql": "SELECT setval('state_transitions_transition_id_seq', 10)",
    }
    tamper(world, skip_numbers[world.store.database.engine.dialect.name])
    world.make("task")
    second = checkpoint(world.store)
    assert second is not None
    assert (second.first_transition_id, second.entries) == (11, 1)
    assert verify_checkpoints(world.store) == []
    columns = ", ".join(f'"{name}"' for name in state_transitions.c.keys()[2:])
    tamper(
        world,
        f"INSERT INTO state_transitions (transition_id, event_id, {columns}) "
        f"SELECT 7, 'evt_x', {columns} FROM state_transitions WHERE transition_id = 2",
    )
    assert checkpoint_codes(world) == [("checkpoint_rows", 2)]
    with pytest.raises(HistoryDamagedError, match="cannot be proved"):
        prove(world.store, "evt_x")


def test_a_tail_that_was_cut_off_is_found(world: World) -> None:
    make_three(world)
    tamper(world, "DELETE FROM state_transitions WHERE transition_id > 7")
    assert checkpoint_codes(world) == [("checkpoint_rows", 3)]
    assert "2 rows are there, 4 were" in verify_checkpoints(world.store)[0].message


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("DELETE FROM audit_checkpoints WHERE checkpoint_id = 1", [2]),
        ("DELETE FROM audit_checkpoints WHERE checkpoint_id = 2", [3]),
        ("UPDATE audit_checkpoints SET entries = 4 WHERE checkpoint_id = 2", [2]),
        ("UPDATE audit_checkpoints SET last_transition_id = 4 WHERE checkpoint_id = 2", [2]),
        ("UPDATE audit_checkpoints SET last_transition_id = 'x' WHERE checkpoint_id = 2", [2]),
        ("UPDATE audit_checkpoints SET created_at = x'00ff' WHERE checkpoint_id = 2", [2]),
        ("UPDATE audit_checkpoints SET hash = 'x' WHERE checkpoint_id = 2", [2, 3]),
    ],
)
def test_checkpoints_that_were_changed_or_taken_out_are_found(
    world: World, statement: str, found: list[int]
) -> None:
    make_three(world)
    tamper(world, statement)
    chain = [number for code, number in checkpoint_codes(world) if code == "checkpoint_chain"]
    assert chain == found
