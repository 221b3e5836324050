"""A proof convinces without the database, and a bent one does not."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from state.checkpoints import checkpoint, checkpoints
from state.clock_and_ids import SequentialIds
from state.errors import EntityNotFoundError, HistoryDamagedError, StoreUsageError
from state.proofs import NotCheckpointedError, Proof, prove, verify_proof
from state.queries import list_entities, transitions_since
from state.store import StateStore
from tests.state.tampering import events, make_three, tamper
from tests.state.world import World


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
