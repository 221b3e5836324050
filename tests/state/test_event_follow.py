"""Programs that follow the event files see each event once, in order, across rotations."""

import os
import random
import threading
from pathlib import Path

import pytest

from state.errors import StoreUsageError
from state.event_files import MAX_BYTES_VARIABLE, rotated_files
from state.event_follow import EventFollower, follow
from tests.state.event_series import SMALL, lines_of, series, table
from tests.state.world import World


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MAX_BYTES_VARIABLE, SMALL)


def make_many(world: World, number: int) -> None:
    for _ in range(number):
        world.make("worker")


def test_everything_or_what_comes_after_an_event(world: World) -> None:
    make_many(world, 40)
    everything = table(world.store)
    path = world.store.events.path
    assert len(rotated_files(path)) > 3
    assert list(follow(path)) == everything
    for place in (0, 7, 20, len(everything) - 1):
        after = everything[place]["event_id"]
        assert list(follow(path, after)) == everything[place + 1 :]


def test_a_follower_reads_on_where_it_was(world: World) -> None:
    seen = []
    chance = random.Random(3)
    with EventFollower(world.store.events.path) as follower:
        for _ in range(12):
            seen += list(follower.read())
            assert seen == table(world.store)
            assert list(follower.read()) == []
            make_many(world, chance.randint(0, 20))
        assert follower.position == seen[-1]["event_id"]


def test_one_that_stops_in_the_middle_goes_on_there(world: World) -> None:
    make_many(world, 30)
    seen = []
    with EventFollower(world.store.events.path) as follower:
        while event := next(follower.read(), None):
            seen.append(event)
    assert seen == table(world.store)


def test_a_follower_keeps_up_with_a_writer(world: World) -> None:
    writer = threading.Thread(target=make_many, args=(world, 150))
    seen = []
    with EventFollower(world.store.events.path) as follower:
        writer.start()
        while writer.is_alive():
            seen += list(follower.read())
        seen += list(follower.read())
    writer.join()
    assert seen == table(world.store)


def test_a_torn_line_is_read_when_it_is_whole(world: World) -> None:
    path = world.store.events.path
    whole = path.read_bytes()
    os.truncate(path, len(whole) - 5)
    with EventFollower(path) as follower:
        assert len(list(follower.read())) == 1
        assert list(follower.read()) == []
        world.store.events.catch_up()
        assert list(follower.read()) == table(world.store)[1:]


def test_a_writer_that_died_while_rotating_holds_nobody_up(world: World) -> None:
    make_many(world, 20)
    path = world.store.events.path
    with EventFollower(path) as follower:
        seen = list(follower.read())
        os.rename(path, path.with_name("transitions-000000000015-000000000022.jsonl"))
        assert list(follower.read()) == []
        path.touch()
        assert list(follower.read()) == []
        path.unlink()
        world.store.events.catch_up()
        make_many(world, 20)
        assert [*seen, *follower.read()] == table(world.store)


def test_a_file_that_was_written_anew_is_found_again(world: World) -> None:
    make_many(world, 20)
    path = world.store.events.path
    with EventFollower(path) as follower:
        seen = list(follower.read())
        path.unlink()
        world.store.events.catch_up()
        make_many(world, 3)
        assert [*seen, *follower.read()] == table(world.store)


def test_an_event_whose_file_was_deleted_is_told(world: World) -> None:
    make_many(world, 40)
    path = world.store.events.path
    oldest = rotated_files(path)[0].path
    event_id = lines_of(oldest)[0]["event_id"]
    oldest.unlink()
    with pytest.raises(StoreUsageError, match=f"export events --since {event_id}"):
        list(follow(path, event_id))
    assert list(follow(path)) == series(path)


def test_files_that_were_copied_elsewhere_can_be_followed(world: World, tmp_path: Path) -> None:
    make_many(world, 20)
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in world.folder.glob("transitions*.jsonl"):
        (copy / path.name).write_bytes(path.read_bytes())
    assert list(follow(copy / "transitions.jsonl")) == table(world.store)


def test_where_nothing_is_nothing_comes(tmp_path: Path) -> None:
    assert list(follow(tmp_path / "transitions.jsonl")) == []
