"""A full disk: the error says so, nothing is lost, and with room again everything goes on."""

import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from state.errors import StoreUnavailableError
from state.store import EVENT_FILE, StateStore
from tests.state.soundness import assert_sound

SIZE = 6 << 20
LEAVE = 64 << 10


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few megabytes."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small tmpfs may be mounted by root alone")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path, leave: int = 0) -> Path:
    """Take all room of a disk but this much."""
    ballast = folder / "ballast"
    with ballast.open("wb") as file:
        room = shutil.disk_usage(folder).free - leave
        while room > 0:
            room -= file.write(bytes(min(room, 4096)))
    return ballast


def write_until_refused(store: StateStore) -> tuple[list[str], StoreUnavailableError]:
    """Workers made one by one, until the disk is full; those that were said to be kept."""
    made: list[str] = []
    for number in range(10_000):
        try:
            made.append(store.create("worker", metadata={"n": number, "pad": "x" * 500}).worker_id)
        except StoreUnavailableError as error:
            return made, error
    raise AssertionError("the disk was never full")


def test_a_full_disk_is_named_and_loses_nothing(
    small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    address = f"sqlite:///{small_disk / 'pipeline.db'}"
    with StateStore.open(address) as store:
        first = store.create("worker").worker_id
        ballast = fill(small_disk, LEAVE)
        made, error = write_until_refused(store)
        for word in (str(small_disk), "disk is full", "Make room"):
            assert word in str(error)
        with pytest.raises(StoreUnavailableError, match="full"):
            store.transition("worker", first, "idle")
        assert store.get("worker", first).state == "initializing"  # reading goes on
        assert {row.worker_id for row in store.find("worker")} == {first, *made}

        ballast.unlink()
        store.transition("worker", first, "idle")
        store.create("worker")
        assert {row.worker_id for row in store.find("worker")} > {first, *made}
        assert assert_sound(address, store.events.path) == len(made) + 3


def test_a_full_disk_under_eight_threads_loses_nothing(small_disk: Path) -> None:
    address = f"sqlite:///{small_disk / 'pipeline.db'}"
    with StateStore.open(address) as store:
        ballast = fill(small_disk, 4 * LEAVE)
        with ThreadPoolExecutor(8) as pool:
            parts = list(pool.map(write_until_refused, [store] * 8))
        ballast.unlink()
        made = [worker for part, _ in parts for worker in part]
        assert sorted(row.worker_id for row in store.find("worker")) == sorted(made)
        store.create("run")
        assert assert_sound(address, store.events.path) == len(made) + 1


def test_a_disk_full_for_the_event_file_alone_fails_no_change(
    small_disk: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    address = f"sqlite:///{tmp_path / 'pipeline.db'}"
    with StateStore.open(address, events=small_disk / EVENT_FILE) as store:
        store.create("run")
        ballast = fill(small_disk)
        made = [store.create("worker").worker_id for _ in range(30)]
        assert "lags behind" in caplog.text
        assert "No space left" in caplog.text
        assert len(store.find("worker", worker_id=made)) == 30
        ballast.unlink()
        store.create("run")
        assert assert_sound(address, store.events.path) == 32


def test_a_full_disk_at_the_opening_is_named(small_disk: Path) -> None:
    address = f"sqlite:///{small_disk / 'pipeline.db'}"
    ballast = fill(small_disk)
    with pytest.raises((StoreUnavailableError, OSError), match=r"full|No space left"):
        StateStore.open(address)
    ballast.unlink()
    with StateStore.open(address) as store:
        store.create("run")
        assert assert_sound(address, store.events.path) == 1
