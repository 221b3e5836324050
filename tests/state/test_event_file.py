"""The event file is the audit table, line by line, whatever happened to it."""

import fcntl
import json
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from state import reads
from state.clock_and_ids import SequentialIds
from state.entities import kind_of
from state.errors import StoreUnavailableError
from state.event_repair import repair
from state.locks import file_lock
from state.queries import transitions_since
from state.store import StateStore
from tests.forks import Companion
from tests.state.event_series import write_together
from tests.state.event_writing_process import write
from tests.state.world import World


def events(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def table(store: StateStore) -> list[dict[str, Any]]:
    return [record.as_event() for record in transitions_since(store, limit=100_000)]


def test_a_line_has_the_canonical_shape(world: World) -> None:
    gate = world.make("test_gate", workstream_id=world.ws_id)
    world.store.transition("test_gate", gate, "BLOCKED", reason="lint failed\n\u2028ünd")
    line = events(world.store.events.path)[-1]
    assert line == {
        "event_id": line["event_id"],
        "timestamp": world.store.now(),
        "event_type": "gate_state_transition",
        "severity": "warning",
        "entity_type": "test_gate",
        "entity_id": gate,
        "from_state": "PENDING",
        "to_state": "BLOCKED",
        "trigger": "dependency_failed",
        "reason": "lint failed\n\u2028ünd",
        "metadata": {},
        "operator": None,
        "context": {
            "run_id": world.run_id,
            "workstream_id": world.ws_id,
            "phase_id": None,
        },
    }
    assert list(line)[:3] == ["event_id", "timestamp", "event_type"]


def test_the_file_holds_each_row_when_the_call_returns(world: World) -> None:
    for _ in range(3):
        world.make_in("task", "completed")
        assert events(world.store.events.path) == table(world.store)


def test_a_ledgers_event_is_a_patchs(world: World) -> None:
    entry = world.make("patch_ledger")
    assert events(world.store.events.path)[-1]["event_type"] == "patch_state_transition"
    assert events(world.store.events.path)[-1]["entity_id"] == entry


@pytest.mark.parametrize("how", ["torn", "halved", "missing", "empty", "no cursor", "behind"])
def test_a_damaged_file_is_mended_when_a_store_opens(world: World, how: str) -> None:
    world.make_in("task", "completed")
    path, lock = world.store.events.path, world.folder / "transitions.jsonl.lock"
    whole = path.read_bytes()
    damage = {
        "torn": lambda: path.write_bytes(whole[:-7]),
        "halved": lambda: path.write_bytes(whole[: len(whole) // 2]),
        "missing": path.unlink,
        "empty": lambda: path.write_bytes(b""),
        "no cursor": lock.unlink,
        "behind": lambda: path.write_bytes(b"".join(whole.splitlines(keepends=True)[:-2])),
    }
    damage[how]()
    with world.open():
        assert path.read_bytes() == whole


@pytest.mark.parametrize("how", ["torn", "behind", "missing"])
def test_the_next_change_mends_the_file_too(world: World, how: str) -> None:
    path = world.store.events.path
    whole = path.read_bytes()
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(whole[:-9] if how == "torn" else whole[: whole.index(b"\n") + 1])
    world.make("task")
    assert events(path) == table(world.store)


@pytest.mark.parametrize("content", [b"\x00" * 300 + b"\n", b"[]\n", b'{"event_id":"evt_alien"}\n'])
def test_a_file_that_does_not_fit_is_kept_aside_and_written_anew(
    world: World, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = world.store.events.path
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING), world.open() as store:
        assert events(path) == table(store)
    assert (world.folder / "transitions.jsonl.old").read_bytes() == content
    assert "does not fit" in caplog.text


def test_a_new_database_does_not_inherit_an_old_file(world: World) -> None:
    world.make_in("task", "completed")
    url = f"sqlite:///{world.folder / 'new.db'}"
    with StateStore.open(url, ids=SequentialIds()) as fresh:
        fresh.create("run")
        assert events(fresh.events.path) == table(fresh)
        assert len(table(fresh)) == 1


def test_a_rolled_back_change_is_not_an_event(world: World) -> None:
    before = world.store.events.path.read_bytes()

    def fail() -> None:
        with world.store.batch() as tx:
            tx.create("run")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert world.store.events.path.read_bytes() == before
    world.make("task")
    assert events(world.store.events.path) == table(world.store)


def test_a_file_that_cannot_be_written_fails_no_change_and_catches_up(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    path = world.store.events.path
    kept = path.read_bytes()
    path.unlink()
    path.mkdir()
    task = world.make("task")
    assert world.store.get("task", task).state == "pending"
    assert "lags behind" in caplog.text
    path.rmdir()
    path.write_bytes(kept)
    world.make("task")
    assert events(path) == table(world.store)


@pytest.mark.parametrize("without_notes", [False, True])
def test_a_file_that_lacks_its_beginning_is_written_anew(world: World, without_notes: bool) -> None:
    world.make_in("task", "completed")
    path = world.store.events.path
    whole = path.read_bytes()
    path.write_bytes(whole[whole.index(b"\n") + 1 :])
    if without_notes:
        (world.folder / "transitions.jsonl.lock").write_bytes(b"")
    with world.open():
        assert path.read_bytes() == whole


def test_repair_finds_what_is_wrong_in_the_middle(world: World) -> None:
    world.make_in("task", "completed")
    path = world.store.events.path
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    for damaged in (lines[:2] + lines[3:], lines[:3] + lines[2:], [*lines[:2], *lines[3:1:-1]]):
        path.write_bytes(b"".join([*damaged, lines[-1]]))
        assert repair(world.store.events) == [path]
        assert path.read_bytes() == whole
    path.write_bytes(whole.replace(b"completed", b"completeD", 1))
    assert repair(world.store.events) == [path]
    assert path.read_bytes() == whole
    assert repair(world.store.events) == []


def test_catching_up_tells_why_the_file_cannot_be_written(world: World) -> None:
    path = world.store.events.path
    kept = path.read_bytes()
    path.unlink()
    path.mkdir()
    with pytest.raises(StoreUnavailableError, match=r"event file .* cannot be written: Is a dir"):
        world.store.events.catch_up()
    path.rmdir()
    world.store.events.catch_up()
    assert path.read_bytes() == kept


def test_a_writer_that_waits_for_its_turn_at_the_file_holds_no_transaction(world: World) -> None:
    path = world.folder / "transitions.jsonl.lock"
    with file_lock(path) as lock, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(world.make, "task")
        while len(world.store.find("task")) < 1:
            assert not waiting.done()
        # Its row is kept, and another writer gets through to the table.
        with world.store.database.writing(kept=lambda: None) as connection:
            (row,) = reads.search(connection, kind_of("task"), {}, None)
            reads.lock(connection, kind_of("task"), row.task_id)
        assert not waiting.done()
        fcntl.flock(lock, fcntl.LOCK_UN)
    assert events(world.store.events.path) == table(world.store)


def test_many_stores_and_threads_write_one_file_in_order(world: World) -> None:
    write_together(world, 5)
    assert len(table(world.store)) == 62
    assert events(world.store.events.path) == table(world.store)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_cut_anywhere_it_comes_back_the_same(world: World, data: st.DataObject) -> None:
    path = world.store.events.path
    whole = path.read_bytes()
    os.truncate(path, data.draw(st.integers(0, len(whole))))
    world.store.events.catch_up()
    assert path.read_bytes() == whole


def test_a_killed_writer_loses_nothing_that_it_was_told_is_kept(world: World) -> None:
    writer = Companion(write, *world.address)
    assert writer.hear() == "ready"
    writer.tell("go")
    told = [writer.hear() for _ in range(20)]
    told += writer.killed()
    with world.open() as store:
        assert events(store.events.path) == table(store)
        kept = {row.worker_id: row.state for row in store.find("worker")}
        assert {kept[worker] for worker in told} == {"idle"}
