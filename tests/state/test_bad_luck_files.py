"""Files that cannot be written, that vanish or are replaced: an error, never a silent loss."""

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from state.errors import StoreUnavailableError
from state.store import StateStore
from tests.state.soundness import assert_sound

ROOT = Path(__file__).parents[2]
TRY = """
import os, sys
from state.errors import StoreUnavailableError
from state.store import StateStore
url, worker, user = sys.argv[1:]
if os.geteuid() == 0:
    os.setgid(int(user)), os.setuid(int(user))  # nothing is read-only for root
store = None
try:
    store = StateStore.open(url)
    store.transition("worker", worker, "idle")
    print("written")
except (StoreUnavailableError, OSError) as error:
    print(type(error).__name__, error)
"""
NOBODY = 65534


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "home"
    made.mkdir()
    return made


@pytest.fixture
def address(folder: Path) -> str:
    return f"sqlite:///{folder / 'pipeline.db'}"


@pytest.mark.parametrize("what", ["folder", "file"])
def test_what_may_only_be_read_is_refused_with_the_remedy(
    folder: Path, address: str, what: str
) -> None:
    with StateStore.open(address) as store:
        worker = store.create("worker").worker_id
    owned_by_all(folder)
    target = folder if what == "folder" else folder / "pipeline.db"
    mode = target.stat().st_mode
    target.chmod(0o555 if what == "folder" else 0o444)
    said = try_to_write(address, worker)
    assert "StoreUnavailableError" in said
    assert str(folder) in said
    assert "you may write it" in said or "writable" in said
    target.chmod(mode)
    with StateStore.open(address) as store:
        assert store.get("worker", worker).state == "initializing"
        store.transition("worker", worker, "idle")
        assert_sound(address, store.events.path)


def try_to_write(address: str, worker: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", TRY, address, worker, str(NOBODY)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout + done.stderr


def owned_by_all(folder: Path) -> None:
    for path in (folder, *folder.iterdir()):
        path.chmod(0o777 if path.is_dir() else 0o666)
    for path in folder.parents:
        if path.owner() == folder.owner() and path.stat().st_mode & 0o777 == 0o700:
            path.chmod(0o711)


@pytest.mark.parametrize("what", ["pipeline.db", "pipeline.db-wal"])
@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_a_database_that_vanishes_under_a_store_is_refused(
    folder: Path, address: str, what: str, how: str
) -> None:
    with StateStore.open(address) as store:
        worker = store.create("worker").worker_id
        path, aside = folder / what, folder / "aside"
        path.rename(aside)
        if how == "replaced":
            shutil.copy(aside, path)
        for write in (
            lambda: store.transition("worker", worker, "idle"),
            lambda: store.create("run"),
            lambda: store.get("worker", worker),
            lambda: store.reading().__enter__(),
        ):
            with pytest.raises(StoreUnavailableError, match="removed or replaced while in use"):
                write()
        path.unlink(missing_ok=True)
        aside.rename(path)
        assert store.get("worker", worker).state == "initializing"
        store.transition("worker", worker, "idle")
        assert assert_sound(address, store.events.path) == 2


def test_a_database_that_vanishes_in_mid_transaction_is_refused(folder: Path, address: str) -> None:
    path = folder / "pipeline.db"

    def write_while_it_vanishes(store: StateStore) -> None:
        with store.batch() as tx:
            tx.create("worker")
            path.rename(folder / "aside")

    with StateStore.open(address) as store:
        with pytest.raises(StoreUnavailableError, match="removed or replaced"):
            write_while_it_vanishes(store)
        (folder / "aside").rename(path)
        assert store.find("worker") == []
        assert_sound(address, store.events.path)


def test_after_a_deletion_nothing_is_made_by_looking(folder: Path, address: str) -> None:
    with StateStore.open(address) as store:
        store.create("worker")
        store.close()
        for path in folder.glob("pipeline.db*"):
            path.unlink()
        with pytest.raises(StoreUnavailableError):
            store.find("worker")
    assert not (folder / "pipeline.db").exists()


def test_a_failure_that_a_batch_swallows_keeps_nothing_of_it(address: str, folder: Path) -> None:
    """When a page is damaged SQLite may end the transaction; what comes next must not be kept."""
    with StateStore.open(address) as store:
        store.create("worker")

        def swallow() -> None:
            with store.batch() as tx:
                tx.create("worker")
                failing = Failing(tx.connection.driver)
                tx.connection.driver = failing
                for _ in range(3):
                    try:
                        tx.create("worker")
                    except sqlite3.Error:
                        tx.connection.driver = failing.driver

        with pytest.raises(StoreUnavailableError, match="full"):
            swallow()
        assert len(store.find("worker")) == 1
        assert assert_sound(address, store.events.path) == 1


class Failing:
    """A driver whose statements meet a page limit: a full disk that SQLite itself makes."""

    def __init__(self, driver: sqlite3.Connection) -> None:
        self.driver = driver

    def execute(self, sql: str, values: tuple[object, ...]) -> sqlite3.Cursor:
        (pages,) = self.driver.execute("PRAGMA page_count").fetchone()
        self.driver.execute(f"PRAGMA max_page_count = {pages}")
        try:
            while True:
                self.driver.execute(
                    "INSERT INTO phases (phase_id, plan, sha256, document, created_at, metadata)"
                    f" VALUES ('{os.urandom(8).hex()}', 'p', 's', '{'x' * 9000}', 'now', '{{}}')"
                )
        finally:
            self.driver.execute("PRAGMA max_page_count = 1073741823")
