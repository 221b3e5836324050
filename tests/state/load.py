"""Threads that claim and finish tasks, and keep count of what they were told was kept."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from state.lost_transactions import redone_when_lost
from state.store import StateStore
from tests.state.soundness import plain
from tests.state.world import World

PATIENCE_SEC = 30.0


@dataclass
class Tally:
    """What the store has said is kept, and what it has refused."""

    created: list[str] = field(default_factory=list)
    claimed: list[str] = field(default_factory=list)
    finished: list[str] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)


class Load:
    """Workers, each a thread that creates a task, queues it, claims any and finishes that.

    Args:
        world: whose store they share.
        threads: how many.
    """

    def __init__(self, world: World, threads: int = 8) -> None:
        self.store = world.store
        self.world = world
        self.tally = Tally()
        self._stop = threading.Event()
        workers = [world.make_in("worker", "idle") for _ in range(threads)]
        self._threads = [threading.Thread(target=self._run, args=(one,)) for one in workers]

    def during(self, trouble: Callable[[], None]) -> Tally:
        """Work for as long as the trouble lasts, and then until all is finished."""
        for thread in self._threads:
            thread.start()
        try:
            trouble()
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join(60)
        assert not any(thread.is_alive() for thread in self._threads)
        return self.tally

    @property
    def done(self) -> int:
        """How many tasks are finished so far."""
        return len(self.tally.finished)

    def work_until(self, wanted: int) -> None:
        """Wait until so many tasks are finished, so that the next trouble meets work."""
        deadline = time.monotonic() + PATIENCE_SEC
        while self.done < wanted:
            assert self.tally.errors == [], self.tally.errors
            assert time.monotonic() < deadline, self.tally
            time.sleep(0.002)

    def _run(self, worker: str) -> None:
        try:
            while not self._stop.is_set():
                task = self.store.create("task", workstream_id=self.world.ws_id).task_id
                self.tally.created.append(task)
                self.store.transition("task", task, "queued")
                self._take(worker)
            while self._take(worker):
                pass
        except Exception as error:
            self.tally.errors.append(error)

    def _take(self, worker: str) -> bool:
        claim = self.store.claim_task(worker)
        if claim is None:
            return False
        self.tally.claimed.append(claim.task_id)
        self.store.heartbeat(worker, token=claim.token)
        finish(self.store, claim.task_id, claim.token, worker)
        self.tally.finished.append(claim.task_id)
        return True


@redone_when_lost
def finish(store: StateStore, task: str, token: str, worker: str) -> None:
    """End an attempt and free its worker, in one transaction."""
    with store.batch() as tx:
        tx.transition("task", task, "validating", token=token)
        tx.transition("worker", worker, "idle")


def assert_nothing_lost_and_nothing_twice(world: World, tally: Tally) -> None:
    """What was said to be kept is in the table once, and nothing else is."""
    assert tally.errors == []
    assert tally.created
    query = "SELECT to_state, entity_id FROM state_transitions WHERE entity_type = 'task'"
    with plain(world.url) as connection:
        rows = connection.execute(query).fetchall()
    for state in ("pending", "queued", "running", "validating"):
        assert sorted(task for to, task in rows if to == state) == sorted(tally.created), state
    assert sorted(tally.claimed) == sorted(tally.created) == sorted(tally.finished)
