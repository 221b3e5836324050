"""Writers of the event file do not wait for each other longer than they must, and leave no row."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from state.locks import file_lock
from state.store import StateStore
from tests.forks import Companion
from tests.state.event_series import lines_of, table
from tests.state.event_writing_process import write_some_in_vain
from tests.state.world import World


def test_one_writer_waits_and_the_others_leave_their_rows_to_it(world: World) -> None:
    path = world.folder / "transitions.jsonl.lock"
    stores = [world.open() for _ in range(3)]
    with ThreadPoolExecutor(1) as pool:
        with file_lock(path):
            waiting = pool.submit(world.make, "worker")
            while not somebody_waits(path):
                assert not waiting.done()
            for store in stores:
                store.create("worker")
            assert not waiting.done()
            assert len(lines_of(world.store.events.path)) == 2
        waiting.result()
        assert lines_of(world.store.events.path) == table(world.store)
        assert len(table(world.store)) == 6
    for store in stores:
        store.close()


def somebody_waits(path: Path) -> bool:
    """Whether a lock on that file is waited for; to try it would be in the way."""
    inode = f":{path.stat().st_ino} "
    waiting = [one for one in Path("/proc/locks").read_text().splitlines() if " -> " in one]
    return any(inode in one for one in waiting)


def test_when_processes_race_every_row_is_in_the_file_once_all_have_returned(world: World) -> None:
    writers = [Companion(write_some_in_vain, *world.address) for _ in range(4)]
    assert [writer.hear() for writer in writers] == ["ready"] * 4
    for writer in writers:
        writer.tell("go")
    assert [writer.hear() for writer in writers] == ["done"] * 4
    found = lines_of(world.store.events.path)
    for writer in writers:
        writer.tell("go")
        writer.ended()
    assert found == table(world.store)
    assert len(found) == 2 + 4 * 48 * 2


# Rows behind a transaction that still runs


@pytest.fixture
def other(world: World) -> Iterator[StateStore]:
    with world.open() as store:
        yield store


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)  # SQLite's writers take turns
@pytest.mark.parametrize("kept", [True, False])
def test_whoever_ends_a_gap_writes_what_was_left_behind_it(
    world: World, other: StateStore, kept: bool
) -> None:
    path = world.store.events.path

    def end() -> None:
        with world.store.batch() as early:
            early.create("worker")
            other.create("worker")
            other.create("worker")
            assert len(lines_of(path)) == 2
            if not kept:
                raise ZeroDivisionError

    if kept:
        end()
    else:
        with pytest.raises(ZeroDivisionError):
            end()
    assert lines_of(path) == table(world.store)
    assert len(lines_of(path)) == 4 + kept
