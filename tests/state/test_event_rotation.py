"""The event file in several pieces: together they are the audit table, whatever happened."""

import random

import pytest

from state.errors import StoreUsageError
from state.event_files import MAX_BYTES, MAX_BYTES_VARIABLE, rotated_files
from state.event_repair import repair
from state.events import EventFile
from state.store import StateStore
from tests.forks import Companion
from tests.state.dying_event_writer import die_at_every_call
from tests.state.event_series import SMALL, assert_whole, lines_of, series, table, write_together
from tests.state.event_writing_process import write
from tests.state.world import World


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MAX_BYTES_VARIABLE, SMALL)


def grow(world: World, files: int) -> None:
    """Write until there are so many full files."""
    while len(rotated_files(world.store.events.path)) < files:
        world.make("worker")


def test_a_full_file_is_named_by_its_rows_and_a_new_one_begins(world: World) -> None:
    grow(world, 3)
    assert_whole(world.store)
    (first, *_) = rotated_files(world.store.events.path)
    assert first.path.name == f"transitions-000000000001-{first.last:012d}.jsonl"
    assert lines_of(world.store.events.path)[-1] == table(world.store)[-1]


def test_a_batch_is_split_between_files(world: World) -> None:
    with world.store.batch() as tx:
        for _ in range(50):
            tx.create("worker")
    assert len(rotated_files(world.store.events.path)) > 4
    assert_whole(world.store)


def test_a_line_longer_than_the_limit_has_a_file_of_its_own(world: World) -> None:
    for _ in range(2):
        worker = world.make("worker")
        world.store.transition("worker", worker, "idle", reason="x" * 5000)
    world.make("worker")
    assert series(world.store.events.path) == table(world.store)
    sizes = [one.path.stat().st_size for one in rotated_files(world.store.events.path)]
    assert sum(size > 5000 for size in sizes) == 2
    assert all(size <= int(SMALL) or size < 6000 for size in sizes)


def test_the_limit_comes_from_the_environment(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert world.store.events.max_bytes == int(SMALL)
    for text, limit in (("0", 0), ("", MAX_BYTES), (" 12 ", 12)):
        monkeypatch.setenv(MAX_BYTES_VARIABLE, text)
        assert EventFile(world.store.events.path, world.store.database).max_bytes == limit
    for text in ("64MiB", "-1", "1.5"):
        monkeypatch.setenv(MAX_BYTES_VARIABLE, text)
        with pytest.raises(StoreUsageError, match=MAX_BYTES_VARIABLE):
            EventFile(world.store.events.path, world.store.database)


def test_without_a_limit_there_is_one_file(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MAX_BYTES_VARIABLE, "0")
    with world.open() as store, store.batch() as tx:
        for _ in range(50):
            tx.create("worker")
    assert rotated_files(world.store.events.path) == []
    assert lines_of(world.store.events.path) == table(world.store)


@pytest.mark.parametrize("how", ["torn", "halved", "missing", "empty", "no front", "alien"])
@pytest.mark.parametrize("notes", ["notes", "no notes"])
def test_mending_the_current_file_repeats_nothing_of_full_ones(
    world: World, how: str, notes: str
) -> None:
    grow(world, 2)
    for _ in range(3):
        world.make("worker")
    path = world.store.events.path
    whole = path.read_bytes()
    damage = {
        "torn": lambda: path.write_bytes(whole[:-7]),
        "halved": lambda: path.write_bytes(whole[: len(whole) // 2]),
        "missing": path.unlink,
        "empty": lambda: path.write_bytes(b""),
        "no front": lambda: path.write_bytes(whole[whole.index(b"\n") + 1 :]),
        "alien": lambda: path.write_bytes(b'{"event_id":"evt_alien"}\n'),
    }
    damage[how]()
    if notes == "no notes":
        (world.folder / "transitions.jsonl.lock").write_bytes(b"")
    with world.open() as store:
        assert path.read_bytes() == whole
        assert_whole(store)
    world.make("worker")
    assert_whole(world.store)


@pytest.mark.parametrize("deleted", ["oldest", "newest", "all"])
@pytest.mark.parametrize("lost", [False, True])
def test_full_files_that_were_deleted_are_not_written_again(
    world: World, deleted: str, lost: bool
) -> None:
    grow(world, 3)
    path = world.store.events.path
    full = rotated_files(path)
    gone = {"oldest": full[:1], "newest": full[-1:], "all": full}[deleted]
    missing = {event["event_id"] for one in gone for event in lines_of(one.path)}
    for one in gone:
        one.path.unlink()
    if lost:
        path.unlink()
    with world.open() as store:
        store.create("worker")
        assert repair(store.events) == []
    world.make("worker")
    kept = [event for event in table(world.store) if event["event_id"] not in missing]
    assert series(path) == kept


def test_a_new_database_does_not_inherit_full_files(world: World) -> None:
    grow(world, 2)
    old = len(table(world.store))
    with StateStore.open(f"sqlite:///{world.folder / 'new.db'}") as fresh:
        with fresh.batch() as tx:
            for _ in range(old + 5):
                tx.create("worker")
        assert_whole(fresh)
        assert len(table(fresh)) == old + 5
    assert len(list(world.folder.glob("*.jsonl.old"))) == 3


def test_a_folder_with_the_name_of_a_full_file_is_none(world: World) -> None:
    grow(world, 1)
    folder = world.folder / "transitions-000000000900-000000000901.jsonl"
    folder.mkdir()
    with world.open() as store:
        store.create("worker")
        assert repair(store.events) == []
        assert_whole(store)
    assert folder.is_dir()


def test_repair_mends_full_files_and_leaves_good_ones(world: World) -> None:
    grow(world, 4)
    path = world.store.events.path
    one, two, three, _ = rotated_files(path)
    before = [full.path.read_bytes() for full in (one, two, three)]
    one.path.write_bytes(before[0][: len(before[0]) // 2])
    two.path.write_bytes(before[1].replace(b"info", b"INFO", 1))
    assert repair(world.store.events) == [one.path, two.path]
    assert [full.path.read_bytes() for full in (one, two, three)] == before
    assert repair(world.store.events) == []
    assert_whole(world.store)


def test_repair_drops_rows_that_stand_twice(world: World) -> None:
    grow(world, 3)
    path = world.store.events.path
    one, two, _ = rotated_files(path)
    joined = path.with_name(f"transitions-{one.first:012d}-{two.last:012d}.jsonl")
    joined.write_bytes(one.path.read_bytes() + two.path.read_bytes())
    path.write_bytes(two.path.read_bytes() + path.read_bytes())
    assert repair(world.store.events)
    assert series(path) == table(world.store)


def test_threads_and_stores_rotate_together(world: World) -> None:
    write_together(world, 8)
    world.store.events.catch_up()
    assert len(table(world.store)) == 98
    assert_whole(world.store)


def test_a_writer_may_die_at_any_call(world: World) -> None:
    calls, step = 60, 1 if world.url.startswith("sqlite") else 5
    writers = Companion(die_at_every_call, *world.address, calls, step)
    died, ended = writers.hear()
    writers.ended()
    tried = len(range(0, calls, step))
    assert died + ended == tried
    assert died > tried // 2
    assert ended > 0, "some have to come to their end, or not every call was tried"
    with world.open() as store:
        assert_whole(store)
    assert not list(world.folder.glob("*.old"))


def test_killed_processes_leave_a_whole_series(world: World) -> None:
    chance = random.Random(7)
    told: list[str] = []
    for _ in range(2):
        writers = [Companion(write, *world.address) for _ in range(3)]
        assert [writer.hear() for writer in writers] == ["ready"] * 3
        for writer in writers:
            writer.tell("go")
        for writer in writers:
            told += [writer.hear() for _ in range(chance.randint(1, 25))]
            told += writer.killed()
    with world.open() as store:
        assert_whole(store)
        kept = {row.worker_id: row.state for row in store.find("worker")}
    assert {kept[worker] for worker in told} == {"idle"}
    assert rotated_files(world.store.events.path)
