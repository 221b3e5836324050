"""Turns on a branch: exclusive, taken over from the dead and the silent, and fenced in git."""

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from resources.landing import fences
from resources.landing import turns as landing_turns
from resources.landing.fenced_leases import FencedLeases
from resources.landing.turns import LandingTurns
from state import leases
from state.clock_and_ids import ManualClock
from state.leases import Holder, Lease, StaleLeaseError
from state.store import StateStore
from tests.resources.gitbox import GitBox

BRANCH = "patchline/run/core"
REF = f"refs/heads/{BRANCH}"


class Place:
    """A store, a repository, and sessions that land there."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.store = StateStore.open(f"sqlite:///{folder / 'pipeline.db'}", clock=self.clock)
        self.box = GitBox(folder)
        self.box.git("branch", BRANCH)
        self.store.create("run", base_commit=self.box.head())
        self.base, self.one = self.box.head(), self.box.commit({"a.txt": "one\n"})
        self.two = self.box.commit({"a.txt": "two\n"})

    def turns(self, **more: Any) -> LandingTurns:
        return LandingTurns(self.store, self.box.repository, **more)

    def leases(self) -> FencedLeases:
        return FencedLeases(self.store, self.box.repository, ttl=30.0)

    def fences(self) -> list[str]:
        return self.box.git("for-each-ref", "--format=%(refname)", fences.FOLDER).split()

    def move(self, new: str, old: str | None, fence: Any) -> bool:
        return self.box.repository.move_branch(BRANCH, new, old, fence)

    def held(self) -> list[str]:
        name = str(self.box.repository.git_dir)
        held = self.store.look(lambda connection: leases.held_in(connection, name))
        return [one.branch for one in held]

    def leave_dead(self, pid: int) -> Lease:
        """A lease whose holder did not come to release it."""
        holder = Holder("lander_dead", os.uname().nodename, pid, "1.0")
        name = str(self.box.repository.git_dir)
        with self.store.batch() as tx:
            lease = leases.acquire(tx, name, BRANCH, holder, 1e6)
        assert isinstance(lease, Lease)
        return lease


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.store.close()


def test_a_turn_leaves_neither_lease_nor_fence(place: Place) -> None:
    with place.turns().turn(BRANCH) as turn:
        assert turn is not None
        assert place.move(place.one, place.base, turn.fence)
        assert len(place.fences()) == len(place.held()) == 1
    assert (place.fences(), place.held()) == ([], [])
    assert place.box.head(BRANCH) == place.one


def test_a_session_keeps_its_fence_until_it_is_closed(place: Place) -> None:
    turns = place.turns(keep_fences=True)
    seen = []
    for _ in range(2):
        with turns.turn(BRANCH) as turn:
            assert turn is not None
            seen.append(turn.fence)
    assert seen[0] == seen[1]
    assert (place.fences(), place.held()) == ([seen[0].reference], [])
    turns.close()
    assert (place.fences(), place.held()) == ([], [])


def test_the_fence_is_new_when_another_session_had_a_turn_between(place: Place) -> None:
    ours, theirs = place.turns(keep_fences=True), place.turns(keep_fences=True)
    tokens = []
    for turns in (ours, theirs, ours):
        with turns.turn(BRANCH) as turn:
            assert turn is not None
            tokens.append(turn.fence.token)
            assert place.move(place.box.head(BRANCH), place.box.head(BRANCH), turn.fence)
    assert tokens == [1, 2, 3]
    theirs.close()
    ours.close()
    assert place.fences() == []


def test_git_refuses_the_move_of_a_lander_that_was_taken_over(place: Place) -> None:
    slow = place.turns(ttl=30.0)
    with slow.turn(BRANCH) as stale:
        assert stale is not None
        place.clock.advance(31)
        overtake(place)
        for new, old in ((place.two, place.base), (place.two, place.one), (place.base, place.one)):
            with pytest.raises(StaleLeaseError):
                place.move(new, old, stale.fence)
        with pytest.raises(StaleLeaseError):
            place.box.repository.delete_branch(BRANCH, place.one, stale.fence)
        assert place.box.head(BRANCH) == place.one
        stale.take_again()
        assert place.move(place.two, place.one, stale.fence)
    assert place.fences() == []


def overtake(place: Place) -> None:
    """Another process takes the branch, lands on it, and is done."""
    theirs = place.leases()
    lease = theirs.acquire(BRANCH)
    assert isinstance(lease, Lease)
    fenced = theirs.fenced(lease)
    assert fenced is not None
    assert place.move(place.one, place.base, fenced[1])
    theirs.take_down(fenced[1])
    theirs.release(lease)


def test_who_slept_before_the_fence_was_up_does_not_put_it_up_later(place: Place) -> None:
    sleeper = place.leases()
    lease = sleeper.acquire(BRANCH)
    assert isinstance(lease, Lease)
    place.clock.advance(31)
    overtake(place)
    assert sleeper.fenced(lease) is None
    assert place.fences() == []


def test_the_lease_of_a_dead_process_is_taken_over_at_once(place: Place) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    lease = place.leave_dead(gone.pid)
    with place.turns().turn(BRANCH) as turn:
        assert turn is not None
        assert turn.lease.token == lease.token + 1


def test_a_process_of_the_same_number_is_not_taken_for_the_dead_one(place: Place) -> None:
    place.leave_dead(os.getpid())
    with place.turns().turn(BRANCH) as turn:
        assert turn is not None


def test_what_dead_landers_left_behind_is_put_right(place: Place) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    place.leave_dead(gone.pid)
    turns = place.turns(keep_fences=True)
    with turns.turn("other"):
        pass  # released, and its process dies before it is closed
    kept = place.turns(keep_fences=True)
    with kept.turn("kept"):
        pass
    kept.retire_dead()
    (left,) = fences.find(place.box.repository, fences.FOLDER)
    assert (left.branch, place.held()) == ("kept", [])


def test_a_wait_for_a_live_holder_ends_when_told_to_stop(
    place: Place, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landing_turns, "TOLD_AFTER", 0.0)
    stop = threading.Event()
    holder = Holder("lander_far", "another-computer", 7, "1.0")
    name = str(place.box.repository.git_dir)
    with place.store.batch() as tx:
        leases.acquire(tx, name, BRANCH, holder, 30.0)
    place.store.clock.now()
    got: list[object] = []

    def wait() -> None:
        with place.turns().turn(BRANCH, stop) as turn:
            got.append(turn)

    with caplog.at_level(logging.WARNING):
        thread = threading.Thread(target=wait)
        thread.start()
        while "process 7 on another-computer" not in caplog.text:
            thread.join(0.01)
        assert got == []
        stop.set()
        thread.join()
    assert got == [None]


def test_threads_of_a_session_hand_the_lease_on(place: Place) -> None:
    turns, tokens = place.turns(keep_fences=True), list[int]()

    def land() -> None:
        with turns.turn(BRANCH) as turn:
            assert turn is not None
            tokens.append(turn.lease.token)
            until.add(held_until(place))

    with turns.turn(BRANCH):
        threads = [threading.Thread(target=land) for _ in range(3)]
        for thread in threads:
            thread.start()
        while turns._waiting[BRANCH] < len(threads):
            threads[0].join(0.005)
        until = {held_until(place)}
        place.clock.advance(1)
    for thread in threads:
        thread.join()
    assert tokens == [1, 1, 1]
    assert len(until) == 1  # it was neither released nor taken anew
    assert place.held() == []
    turns.close()
    assert place.fences() == []


def test_a_lease_is_renewed_while_its_holder_works(place: Place) -> None:
    renewed = threading.Event()
    with place.turns(ttl=0.03).turn(BRANCH):
        before = held_until(place)
        place.clock.advance(0.02)
        while held_until(place) == before:
            renewed.wait(0.005)
    assert place.held() == []


def held_until(place: Place) -> str:
    name = str(place.box.repository.git_dir)
    (held,) = place.store.look(lambda connection: leases.held_in(connection, name))
    return held.expires_at


def test_a_database_that_was_put_back_gives_out_no_token_that_git_knows(place: Place) -> None:
    turns = place.turns(keep_fences=True)
    with turns.turn(BRANCH) as turn:
        assert turn is not None
        later = Lease(turn.lease.repository, BRANCH, "lander_of_the_future", 41)
        (found,) = fences.find(place.box.repository, turn.fence.reference)
        fences.put_up(place.box.repository, later, turn.fence.reference, found)
    with place.turns().turn(BRANCH) as turn:
        assert turn is not None
        assert turn.lease.token == 42
        assert place.move(place.one, place.base, turn.fence)


def test_two_databases_on_one_repository_have_fences_of_their_own(
    place: Place, tmp_path: Path
) -> None:
    with StateStore.open(f"sqlite:///{tmp_path / 'other.db'}") as store:
        store.create("run", base_commit=place.base)
        others = LandingTurns(store, place.box.repository, keep_fences=True)
        with others.turn(BRANCH), place.turns(keep_fences=True).turn("x"):
            pass
        with place.turns(keep_fences=True).turn(BRANCH):
            assert len(place.fences()) == 3
        others.close()
