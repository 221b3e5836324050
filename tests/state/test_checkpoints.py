"""Checkpoints are made over every audit row, one after the other."""

import hashlib
import json
import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from state.checkpoint_verification import chain_problem, verify_checkpoints
from state.checkpoints import Checkpoint, checkpoint, checkpoints, uncovered
from state.errors import EntityExistsError, HistoryDamagedError, StoreUsageError
from state.merkle import MerkleTree
from state.queries import transitions_since
from state.transaction import Transaction
from tests.state.tampering import make_three, tamper
from tests.state.world import World


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


def test_nothing_is_put_on_top_of_a_checkpoint_that_was_changed(world: World) -> None:
    make_three(world)
    tamper(world, "UPDATE audit_checkpoints SET last_transition_id = 'x' WHERE checkpoint_id = 3")
    world.make("task")
    with pytest.raises(HistoryDamagedError, match="Checkpoint 3, the last one, was changed"):
        checkpoint(world.store)


@pytest.mark.parametrize(
    "change",
    [
        "reason = 'another'",
        "metadata = '{\"a\": 1}'",
        f"hash = '{'ab' * 32}'",
        "hash = NULL",
        "hash = 'no hash'",
        "operator = CAST(x'63ff' AS TEXT)",
    ],
)
def test_no_checkpoint_is_made_over_a_row_that_was_changed(world: World, change: str) -> None:
    world.make("task")
    tamper(world, f"UPDATE state_transitions SET {change} WHERE transition_id = 2")
    with pytest.raises(HistoryDamagedError, match=r"audit row 2 was changed.*audit verify"):
        checkpoint(world.store)
    assert checkpoints(world.store) == []


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_nobody_waits_for_a_transaction_that_somebody_forgot(world: World) -> None:
    """What comes behind its rows is left to the next checkpoint."""
    with ThreadPoolExecutor(1) as pool, world.open(clock=world.clock) as other:
        with other.batch() as forgotten:
            forgotten.create("worker")
            world.make("task")
            first = pool.submit(checkpoint, world.store).result(timeout=20)
            assert first is not None
            assert (first.entries, first.last_transition_id) == (2, 2)
            assert uncovered(world.store) == 1
            assert checkpoint(world.store) is None
            world.make("task")
        second = checkpoint(world.store)
    assert second is not None
    assert (second.first_transition_id, second.entries) == (3, 3)
    assert uncovered(world.store) == 0
    assert verify_checkpoints(world.store) == []


def test_rows_that_no_checkpoint_covers_are_counted(world: World) -> None:
    assert uncovered(world.store) == 2
    checkpoint(world.store)
    assert uncovered(world.store) == 0
    world.make("task")
    assert uncovered(world.store) == 1
    tamper(world, "UPDATE audit_checkpoints SET entries = 7")
    assert uncovered(world.store) == 3
