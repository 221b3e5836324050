"""Another process holds the database: it is waited for; after too long the error says so."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

import state.postgresql
import state.sqlite
from state.errors import StoreUnavailableError
from state.queries import history
from state.store import EVENT_FILE, StateStore
from tests import postgres
from tests.state.soundness import assert_sound

ROOT = Path(__file__).parents[2]
THREADS = 4


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'pipeline.db'}"


@contextmanager
def held(path: Path) -> Iterator[Callable[[], None]]:
    """Another process holds the write lock; gives what makes it let go."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "tests/state/holding_process.py"), str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "held\n"
        yield lambda: process.communicate("go\n")
        process.kill()


def test_a_lock_of_two_seconds_fails_nothing(address: str, tmp_path: Path) -> None:
    write_while_locked(address, tmp_path, seconds=2)


@pytest.mark.skipif(
    os.environ.get("PATCHLINE_LONG_TESTS") != "1",
    reason="takes 35 s of waiting; set PATCHLINE_LONG_TESTS=1 to run it",
)
def test_a_lock_of_thirty_five_seconds_fails_nothing(address: str, tmp_path: Path) -> None:
    assert state.sqlite.BUSY_TIMEOUT_SEC > 2 * 35
    write_while_locked(address, tmp_path, seconds=35)


def write_while_locked(address: str, folder: Path, seconds: float) -> None:
    path = folder / "pipeline.db"
    with StateStore.open(address) as store, StateStore.open(address) as other:
        existing = store.create("worker").worker_id
        with held(path) as let_go, ThreadPoolExecutor(2 * THREADS) as pool:
            writes = [pool.submit(make_worker, one) for one in (store, other) * THREADS]
            assert store.get("worker", existing).state == "initializing"  # readers do not wait
            time.sleep(seconds)
            assert not any(write.done() for write in writes)
            let_go()
            made = [write.result() for write in writes]
        assert len(set(made)) == 2 * THREADS
        assert {row.state for row in store.find("worker", worker_id=made)} == {"idle"}
        assert_sound(address, store.events.path)


def make_worker(store: StateStore) -> str:
    with store.batch() as tx:
        worker = tx.create("worker").worker_id
        tx.transition("worker", worker, "idle")
    return worker


def test_a_lock_longer_than_the_patience_is_an_error_that_names_cause_and_remedy(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state.sqlite, "BUSY_TIMEOUT_SEC", 1)
    path = tmp_path / "pipeline.db"
    with StateStore.open(address) as store:
        worker = store.create("worker").worker_id
        before = assert_sound(address, store.events.path)
        with held(path) as let_go:
            with pytest.raises(StoreUnavailableError) as refused:
                store.transition("worker", worker, "idle")
            with pytest.raises(StoreUnavailableError):
                make_worker(store)
            let_go()
        for word in (str(path), "database is locked", "Another process", "1 s", "fuser"):
            assert word in str(refused.value)
        assert store.get("worker", worker).state == "initializing"
        assert assert_sound(address, store.events.path) == before
        store.transition("worker", worker, "idle")
        make_worker(store)
        assert assert_sound(address, store.events.path) == before + 3


def test_a_store_that_stands_still_in_a_batch_is_waited_for_as_long_and_then_told(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds the turn that comes before SQLite's own lock."""
    monkeypatch.setattr(state.sqlite, "BUSY_TIMEOUT_SEC", 0.3)
    inside, go_on = threading.Event(), threading.Event()

    def stand_still(store: StateStore) -> None:
        with store.batch() as tx:
            tx.create("worker")
            inside.set()
            assert go_on.wait(30)

    with (
        StateStore.open(address) as slow,
        StateStore.open(address) as store,
        ThreadPoolExecutor(1) as pool,
    ):
        try:
            standing = pool.submit(stand_still, slow)
            assert inside.wait(30)
            for _ in range(3):
                with pytest.raises(StoreUnavailableError, match="Another process has held it"):
                    make_worker(store)
        finally:
            go_on.set()
        standing.result()
        # The turns of the three that gave up have passed on.
        assert [make_worker(one) for one in (store, slow) * 3]
        assert len(store.find("worker")) == 7
        assert_sound(address, store.events.path)


def test_a_row_that_another_session_holds_too_long_is_an_error_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state.postgresql, "LOCK_TIMEOUT_SEC", 1)
    with (
        postgres.database() as address,
        StateStore.open(address, events=tmp_path / EVENT_FILE) as store,
        psycopg.connect(address.replace("+psycopg", "")) as other,
    ):
        worker, free = store.create("worker").worker_id, store.create("worker").worker_id
        other.execute("SELECT 1 FROM workers WHERE worker_id = %s FOR UPDATE", (worker,))
        with pytest.raises(StoreUnavailableError) as refused:
            store.transition("worker", worker, "idle")
        for word in ("lock timeout", "Another session", "pg_blocking_pids"):
            assert word in str(refused.value)
        store.transition("worker", free, "idle")  # others are not held up
        done = threading.Event()

        def let_go_soon() -> None:
            done.wait(0.3)
            other.rollback()

        with ThreadPoolExecutor(1) as pool:
            pool.submit(let_go_soon)
            store.transition("worker", worker, "idle")
        assert [one.to_state for one in history(store, "worker", worker)] == [
            "initializing",
            "idle",
        ]
        assert_sound(address, store.events.path)
