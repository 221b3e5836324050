"""Checkpoints hold on to every audit row under them; proofs convince without the database."""

import hashlib
import json
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError

from state.checkpoints import (
    Checkpoint,
    HistoryDamagedError,
    chain_problem,
    checkpoint,
    checkpoints,
    verify_checkpoints,
)
from state.clock_and_ids import SequentialIds
from state.errors import EntityExistsError, EntityNotFoundError, StoreUsageError
from state.merkle import MerkleTree
from state.proofs import NotCheckpointedError, Proof, prove, verify_proof
from state.queries import list_entities, transitions_since
from state.schema import state_transitions
from state.store import StateStore
from state.transaction import Transaction
from state.trigger_sql import drop_statements
from tests.state.world import World


def tamper(world: World, *statements: str) -> None:
    """Run SQL as somebody would who took the triggers away first; each must change a row."""
    engine = sa.create_engine(world.url, poolclass=sa.NullPool)
    try:
        with engine.begin() as connection:
            for statement in drop_statements(engine.dialect.name):
                connection.exec_driver_sql(statement)
            for statement in statements:
                assert connection.exec_driver_sql(statement).rowcount != 0, statement
    except DBAPIError as error:
        # SQLite's columns take any value.
        if not isinstance(error.orig, psycopg.DataError | psycopg.ProgrammingError):
            raise
        pytest.skip("PostgreSQL's types refuse this value")
    finally:
        engine.dispose()


def make_three(world: World) -> list[Checkpoint]:
    """Three checkpoints, over 2, 3 and 4 rows."""
    made: list[Checkpoint | None] = []
    for rows in (0, 3, 4):
        for _ in range(rows):
            world.make("task")
        made.append(checkpoint(world.store))
        world.clock.advance(60)
    assert [one.entries for one in made if one] == [2, 3, 4]
    return [one for one in made if one]


def events(world: World) -> list[str]:
    return [one.event_id for one in transitions_since(world.store)]


def codes(world: World) -> list[tuple[str, int]]:
    return [(one.code, one.checkpoint_id) for one in verify_checkpoints(world.store)]


# Making


def test_a_checkpoint_holds_the_root_over_the_rows_since_the_last_one(world: World) -> None:
    first, second, third = make_three(world)
    rows = transitions_since(world.store)
    tree = MerkleTree()
    for row in rows[2:5]:
        assert row.hash is not None
        tree.append(bytes.fromhex(row.hash))
    assert (second.root, second.entries) == (tree.root().hex(), 3)
    assert (second.first_transition_id, second.last_transition_id) == (
        rows[2].transition_id,
        rows[4].transition_id,
    )
    assert [one.checkpoint_id for one in (first, second, third)] == [1, 2, 3]
    assert [one.prev_hash for one in (first, second, third)] == [None, first.hash, second.hash]
    assert second.created_at == "2026-01-02T03:05:05.000000Z"
    assert checkpoints(world.store) == [first, second, third]
    assert verify_checkpoints(world.store) == []


def test_without_new_rows_there_is_no_new_checkpoint(world: World) -> None:
    assert checkpoint(world.store) is not None
    assert checkpoint(world.store) is None
    world.make("task")
    again = checkpoint(world.store)
    assert again is not None
    assert again.checkpoint_id == 2
    assert checkpoint(world.store) is None


def test_checkpoints_do_not_go_back_in_time_when_the_clock_does(world: World) -> None:
    first = checkpoint(world.store)
    world.make("task")
    world.clock.advance(-3600)
    second = checkpoint(world.store)
    assert first is not None
    assert second is not None
    assert second.created_at == first.created_at


def test_the_hash_is_over_every_column(world: World) -> None:
    one = checkpoint(world.store)
    assert one is not None
    assert one.sound
    for name, value in one.as_document().items():
        other = value + 1 if isinstance(value, int) else "0" * 64
        assert not replace(one, **{name: other}).sound, name


def rehashed(one: Checkpoint, **changes: Any) -> Checkpoint:
    """A checkpoint with other columns and the hash that these have."""
    columns = {**one.as_document(), **changes}
    del columns["hash"]
    text = json.dumps(columns, sort_keys=True, separators=(",", ":"))
    return Checkpoint(**columns, hash=hashlib.sha256(text.encode()).hexdigest())


def test_a_checkpoint_follows_the_one_before_by_number_and_by_hash(world: World) -> None:
    first, second, third = make_three(world)
    assert rehashed(second) == second
    assert chain_problem(second, first) is None
    for one, previous in (
        (second, None),
        (third, first),
        (rehashed(second, checkpoint_id=3), first),
        (rehashed(second, prev_hash=None), first),
        (rehashed(second, prev_hash=third.hash), first),
    ):
        assert one.sound
        assert chain_problem(one, previous)


def test_a_checkpoint_inside_a_batch_is_refused(world: World) -> None:
    with world.store.batch(), pytest.raises(StoreUsageError, match="inside a batch"):
        checkpoint(world.store)
    assert checkpoint(world.store) is not None


def test_whoever_is_overtaken_takes_the_rows_that_are_left(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, real = world.store, world.store.batch
    overtakers = [lambda: world.make("task"), lambda: checkpoint(store), lambda: world.make("task")]

    @contextmanager
    def overtaken() -> Generator[Transaction]:
        monkeypatch.setattr(store, "batch", real)
        for act in overtakers:
            act()
        with real() as tx:
            yield tx

    monkeypatch.setattr(store, "batch", overtaken)
    late = checkpoint(store)
    early = checkpoints(store)[0]
    assert late is not None
    assert (early.checkpoint_id, early.first_transition_id, early.last_transition_id) == (1, 1, 3)
    assert (late.checkpoint_id, late.first_transition_id, late.last_transition_id) == (2, 4, 4)
    assert verify_checkpoints(store) == []


def test_whoever_is_overtaken_and_finds_nothing_left_makes_none(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, real = world.store, world.store.batch

    @contextmanager
    def overtaken() -> Generator[Transaction]:
        monkeypatch.setattr(store, "batch", real)
        assert checkpoint(store) is not None
        with real() as tx:
            yield tx

    monkeypatch.setattr(store, "batch", overtaken)
    assert checkpoint(store) is None
    assert len(checkpoints(store)) == 1


def test_the_same_number_is_given_once(world: World) -> None:
    first = checkpoint(world.store)
    assert first is not None
    with pytest.raises(EntityExistsError, match="checkpoint"), world.store.batch() as tx:
        tx.add_checkpoint({**first.as_document(), "hash": "0" * 64, "metadata": {}})
    assert checkpoints(world.store) == [first]


def test_many_who_write_and_checkpoint_at_once_leave_every_row_under_one(world: World) -> None:
    go = threading.Barrier(4)

    def work(number: int) -> int:
        made = 0
        with world.open(clock=world.clock) as store:
            go.wait()
            for turn in range(12):
                store.create("task", task_id=f"task_{number}_{turn}", workstream_id=world.ws_id)
                made += checkpoint(store) is not None
        return made

    with ThreadPoolExecutor(4) as pool:
        made = sum(pool.map(work, range(4)))
    kept, rows = checkpoints(world.store), transitions_since(world.store)
    assert len(kept) == made
    assert sum(one.entries for one in kept) == len(rows) == 50
    assert kept[-1].last_transition_id == rows[-1].transition_id
    assert verify_checkpoints(world.store) == []


# Verifying


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
    assert codes(world) == [("checkpoint_rows", 2)]
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
    assert codes(world) == [("checkpoint_rows", 2)]


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
    assert codes(world) == [("checkpoint_rows", 2)]
    with pytest.raises(HistoryDamagedError, match="cannot be proved"):
        prove(world.store, "evt_x")


def test_a_tail_that_was_cut_off_is_found(world: World) -> None:
    make_three(world)
    tamper(world, "DELETE FROM state_transitions WHERE transition_id > 7")
    assert codes(world) == [("checkpoint_rows", 3)]
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
    chain = [number for code, number in codes(world) if code == "checkpoint_chain"]
    assert chain == found


def test_nothing_is_put_on_top_of_a_checkpoint_that_was_changed(world: World) -> None:
    make_three(world)
    tamper(world, "UPDATE audit_checkpoints SET last_transition_id = 'x' WHERE checkpoint_id = 3")
    world.make("task")
    with pytest.raises(HistoryDamagedError, match="Checkpoint 3, the last one, was changed"):
        checkpoint(world.store)


# Proving


@settings(max_examples=15, deadline=None)
@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_every_event_under_a_checkpoint_is_proved(
    sizes: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    url = f"sqlite:///{tmp_path_factory.mktemp('proofs') / 'pipeline.db'}"
    with StateStore.open(url, ids=SequentialIds()) as store:
        for size in sizes:
            with store.batch() as tx:
                for _ in range(size):
                    tx.create("worker")
            assert checkpoint(store) is not None
        kept = {one.checkpoint_id: one for one in checkpoints(store)}
        for row in transitions_since(store):
            proof = prove(store, row.event_id)
            assert verify_proof(proof)
            assert proof.checkpoint == kept[proof.checkpoint.checkpoint_id]
            assert proof.hash == row.hash
            assert json.loads(proof.event)["event_id"] == row.event_id


def test_a_proof_travels_as_json(world: World) -> None:
    make_three(world)
    proof = prove(world.store, events(world)[3])
    text = json.dumps(proof.as_document())
    assert Proof.from_document(json.loads(text)) == proof
    assert json.loads(text)["root"] == checkpoints(world.store)[1].root


def bent(proof: Proof) -> Iterator[Proof]:
    """The proof with one thing changed, in every way."""
    yield replace(proof, event=proof.event.replace("task", "tusk", 1))
    yield replace(proof, event=proof.event + "\ud800")
    yield replace(proof, hash="00" * 32)
    yield replace(proof, hash="no hexadecimal")
    yield replace(proof, place=proof.place + 1)
    yield replace(proof, place=-1)
    yield replace(proof, path=proof.path[1:])
    yield replace(proof, path=(*proof.path, "00" * 32))
    yield replace(proof, path=("", *proof.path[1:]))
    yield replace(proof, path=("?", *proof.path[1:]))
    yield replace(proof, checkpoint=replace(proof.checkpoint, entries=2))
    yield replace(proof, checkpoint=replace(proof.checkpoint, root="00" * 32))
    yield replace(proof, checkpoint=replace(proof.checkpoint, hash="00" * 32))


def test_a_proof_that_was_bent_does_not_hold(world: World) -> None:
    make_three(world)
    proof = prove(world.store, events(world)[3])
    assert verify_proof(proof)
    for place, one in enumerate(bent(proof)):
        assert not verify_proof(one), place


def test_another_events_text_does_not_go_with_a_proof(world: World) -> None:
    make_three(world)
    one, other = (prove(world.store, events(world)[place]) for place in (3, 4))
    assert not verify_proof(replace(one, event=other.event))
    assert not verify_proof(replace(one, event=other.event, hash=other.hash))


@pytest.mark.parametrize(
    "change",
    [
        {"place": "1"},
        {"place": True},
        {"event": None},
        {"path": [1]},
        {"path": {}},
        {"root": "00" * 32},
        {"checkpoint": []},
        {"checkpoint": {}},
        {"more": 1},
    ],
)
def test_what_is_no_proof_is_refused(world: World, change: dict[str, Any]) -> None:
    make_three(world)
    document = prove(world.store, events(world)[3]).as_document()
    with pytest.raises(StoreUsageError, match="This is no"):
        Proof.from_document({**document, **change})
    for nothing in (None, [], "x", {}):
        with pytest.raises(StoreUsageError, match="This is no proof"):
            Proof.from_document(nothing)


def test_an_event_that_is_not_there_is_a_clear_error(world: World) -> None:
    checkpoint(world.store)
    with pytest.raises(EntityNotFoundError, match="no event 'evt_nothing'"):
        prove(world.store, "evt_nothing")


def test_an_event_without_a_checkpoint_is_a_clear_error(world: World) -> None:
    first = events(world)[0]
    with pytest.raises(NotCheckpointedError, match="there is none yet"):
        prove(world.store, first)
    checkpoint(world.store)
    world.make("task")
    newest = list_entities(world.store, "events", limit=1)[0]["event_id"]
    with pytest.raises(NotCheckpointedError, match=r"ends at row 2.*patchline audit checkpoint"):
        prove(world.store, newest)
    assert verify_proof(prove(world.store, first))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE state_transitions SET reason = 'another' WHERE transition_id = 4",
        f"UPDATE state_transitions SET hash = '{'ab' * 32}' WHERE transition_id = 3",
        "DELETE FROM state_transitions WHERE transition_id = 5",
        "UPDATE state_transitions SET metadata = '{' WHERE transition_id = 4",
        "UPDATE state_transitions SET metadata = '{\"x\":NaN}' WHERE transition_id = 4",
        "UPDATE state_transitions SET entity_id = x'00ff' WHERE transition_id = 4",
        "UPDATE state_transitions SET hash = NULL WHERE transition_id = 4",
        "UPDATE audit_checkpoints SET root = 'x' WHERE checkpoint_id = 2",
        "UPDATE audit_checkpoints SET first_transition_id = 5 WHERE checkpoint_id = 2",
        "UPDATE audit_checkpoints SET first_transition_id = 99 WHERE checkpoint_id = 2",
    ],
)
def test_a_history_that_was_changed_proves_nothing(world: World, statement: str) -> None:
    make_three(world)
    wanted = events(world)[3]
    tamper(world, statement)
    with pytest.raises(HistoryDamagedError, match="patchline audit verify"):
        prove(world.store, wanted)
