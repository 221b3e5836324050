"""Workers of a run: claims, heartbeats, fencing, and who counts as alive."""

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from resources.recovery import is_alive
from resources.workers import WorkerPool, process_started_at
from resources.worktrees import SandboxPool
from state.errors import TerminalStateViolation
from state.store import StateStore
from tests.resources.gitbox import GitBox

SOON = 10.0


class Crew:
    """A run with queued tasks and a pool of workers."""

    def __init__(self, store: StateStore, folder: Path) -> None:
        self.store, self.interrupted = store, threading.Event()
        self.run_id = store.create("run").run_id
        self.ws_id = store.create("workstream", run_id=self.run_id).ws_id
        box = GitBox(folder)
        self.sandboxes = SandboxPool(store, box.repository, folder / "home", self.run_id)
        skills = frozenset({"python"})
        self.pool = WorkerPool(
            store, self.run_id, skills, self.sandboxes, self.interrupted, heartbeat_sec=0.05
        )

    def queued(self, **columns: object) -> str:
        task_id = self.store.create("task", workstream_id=self.ws_id, **columns).task_id
        self.store.transition("task", task_id, "queued")
        return task_id

    def worker_states(self) -> list[str]:
        return [row.state for row in self.store.find("worker", run_id=self.run_id)]


@pytest.fixture
def crew(tmp_path: Path) -> Iterator[Crew]:
    with StateStore.open(f"sqlite:///{tmp_path / 'pipeline.db'}") as store:
        made = Crew(store, tmp_path)
        yield made
        made.pool.close()
        made.sandboxes.close()


def end(crew: Crew, task_id: str, token: str) -> None:
    crew.store.transition("task", task_id, "validating", token=token)


def test_a_worker_is_busy_for_a_claim_and_used_again_afterwards(crew: Crew) -> None:
    for _ in range(2):
        task_id = crew.queued()
        with crew.pool.claim(task_id) as claim:
            assert claim is not None
            assert crew.worker_states() == ["busy"]
            assert crew.store.get("task", task_id).worker_id == claim.worker_id
            end(crew, task_id, claim.token)
    assert crew.worker_states() == ["idle"]
    crew.pool.close()
    assert crew.worker_states() == ["shutdown"]


def test_a_task_is_claimed_by_one_worker_only(crew: Crew) -> None:
    task_id = crew.queued()
    wins: list[str] = []
    barrier = threading.Barrier(8)

    def compete() -> None:
        barrier.wait()
        with crew.pool.claim(task_id) as claim:
            if claim is not None:
                wins.append(claim.worker_id)
                end(crew, task_id, claim.token)

    threads = [threading.Thread(target=compete) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wins) == 1
    assert set(crew.worker_states()) == {"idle"}


def test_a_task_that_needs_more_than_the_workers_can_is_not_claimed(crew: Crew) -> None:
    with crew.pool.claim(crew.queued(capabilities=["rust"])) as claim:
        assert claim is None


def test_a_claim_that_was_taken_away_is_told_to_stop(crew: Crew) -> None:
    task_id = crew.queued()
    with crew.pool.claim(task_id) as claim:
        assert claim is not None
        crew.store.transition("task", task_id, "cancelled")
        assert claim.stop.wait(SOON)
        with pytest.raises(TerminalStateViolation):
            end(crew, task_id, claim.token)
    assert crew.worker_states() == ["idle"]


def test_an_interrupt_reaches_every_claim(crew: Crew) -> None:
    first, second = crew.queued(), crew.queued()
    with crew.pool.claim(first) as one, crew.pool.claim(second) as two:
        assert one is not None
        assert two is not None
        assert not one.stop.is_set()
        crew.interrupted.set()
        assert one.stop.wait(SOON)
        assert two.stop.wait(SOON)
        end(crew, first, one.token)
        end(crew, second, two.token)


def test_a_busy_worker_says_that_it_lives(crew: Crew) -> None:
    task_id = crew.queued()
    with crew.pool.claim(task_id) as claim:
        assert claim is not None
        first = crew.store.get("worker", claim.worker_id).heartbeat_at
        deadline = time.monotonic() + SOON
        while crew.store.get("worker", claim.worker_id).heartbeat_at == first:
            assert time.monotonic() < deadline
        end(crew, task_id, claim.token)


def test_a_process_that_ended_is_dead_also_before_anybody_waited_for_it(crew: Crew) -> None:
    child = subprocess.Popen(["sleep", "60"])
    started = process_started_at(child.pid)
    assert started is not None
    row = crew.store.create(
        "worker",
        run_id=crew.run_id,
        host=os.uname().nodename,
        pid=child.pid,
        pid_started_at=started,
    )
    assert is_alive(row)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not is_alive(row)
    child.wait()
    assert not is_alive(row)


def test_a_process_number_that_is_used_again_is_not_the_same_process(crew: Crew) -> None:
    row = crew.store.create(
        "worker", run_id=crew.run_id, host=os.uname().nodename, pid=os.getpid(), pid_started_at=1.0
    )
    assert not is_alive(row)
    elsewhere = crew.store.create(
        "worker", run_id=crew.run_id, host="another-machine", pid=1, pid_started_at=1.0
    )
    assert is_alive(elsewhere)
