"""Workers of a run: claims, heartbeats, fencing, and who counts as alive."""

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from resources.commands.identity import process_started_at
from resources.execution.recovery import Recovery, is_alive, refuse_if_alive
from resources.execution.workers import WorkerPool
from resources.sandbox_pool import SandboxPool
from state.clock_and_ids import parse_timestamp, timestamp
from state.errors import (
    EntityNotFoundError,
    PreflightError,
    StoreUnavailableError,
    TerminalStateViolation,
)
from state.home import Home
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
        home = Home.at(folder / "home")
        self.recovery = Recovery(store, home, box.repository, self.run_id)
        fence = self.recovery.fence
        self.pool = WorkerPool(
            store, self.run_id, skills, self.sandboxes, fence, self.interrupted, heartbeat_sec=0.05
        )

    def queued(self, **columns: Any) -> str:
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


def test_a_process_on_another_machine_lives_while_its_workers_give_signs_of_life(
    crew: Crew,
) -> None:
    row = crew.store.create(
        "worker", run_id=crew.run_id, host="another-machine", pid=os.getpid(), pid_started_at=1.0
    )
    seen = parse_timestamp(row.created_at)
    assert is_alive(row, seen + timedelta(seconds=419))
    assert not is_alive(row, seen + timedelta(seconds=421))
    with pytest.raises(PreflightError) as refused:
        refuse_if_alive(crew.store, crew.run_id)
    assert "another-machine" in str(refused.value)
    assert row.created_at in str(refused.value)
    later = seen + timedelta(seconds=400)
    crew.store.update("worker", row.worker_id, heartbeat_at=timestamp(later))
    beaten = crew.store.get("worker", row.worker_id)
    assert is_alive(beaten, later + timedelta(seconds=419))


def test_an_idle_worker_says_that_it_lives_too(crew: Crew) -> None:
    task_id = crew.queued()
    with crew.pool.claim(task_id) as claim:
        assert claim is not None
        end(crew, task_id, claim.token)
    first = crew.store.get("worker", claim.worker_id).heartbeat_at
    deadline = time.monotonic() + SOON
    while crew.store.get("worker", claim.worker_id).heartbeat_at == first:
        assert time.monotonic() < deadline


def test_a_task_that_a_claim_leaves_running_is_rolled_back(crew: Crew) -> None:
    task_id = crew.queued()
    with crew.pool.claim(task_id) as claim:
        assert claim is not None  # and its attempt comes to no result
    task = crew.store.get("task", task_id)
    assert (task.state, task.worker_id, task.retry_count) == ("retrying", None, 1)
    assert crew.worker_states() == ["shutdown"]
    crew.pool.close()
    crew.sandboxes.close()
    assert [row.state for row in crew.store.find("uet_worker")] == ["TERMINATED"]


def test_a_claim_that_cannot_be_made_loses_neither_worker_nor_sandbox(crew: Crew) -> None:
    with pytest.raises(EntityNotFoundError), crew.pool.claim("task_none"):
        pass
    task_id = crew.queued()
    with crew.pool.claim(task_id) as claim:
        assert claim is not None
        end(crew, task_id, claim.token)
    assert crew.worker_states() == ["idle"]
    assert len(crew.store.find("uet_worker")) == 1


def test_a_worker_is_not_lost_when_there_is_no_room_for_a_sandbox(
    crew: Crew, tmp_path: Path
) -> None:
    worktrees = tmp_path / "home" / "worktrees"
    worktrees.write_text("in the way")
    task_id = crew.queued()
    with pytest.raises(OSError, match="worktrees"), crew.pool.claim(task_id):
        pass
    assert crew.store.get("task", task_id).state == "queued"
    crew.pool.close()
    assert crew.worker_states() == ["shutdown"]


def test_closing_ends_also_what_was_never_handed_back(
    crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_id = crew.queued()
    broken = StoreUnavailableError("disk full")
    with ExitStack() as stack:
        claim = stack.enter_context(crew.pool.claim(task_id))
        assert claim is not None
        # From here on nothing can be written: the claim's end fails too.
        monkeypatch.setattr(crew.store, "batch", raising(broken))
        with pytest.raises(StoreUnavailableError):
            stack.close()
    monkeypatch.undo()
    assert crew.store.get("task", task_id).state == "running"
    crew.pool.close()
    crew.sandboxes.close()
    assert crew.worker_states() == ["shutdown"]
    assert crew.store.get("task", task_id).state == "retrying"
    assert [row.state for row in crew.store.find("uet_worker")] == ["TERMINATED"]
    assert not claim.sandbox.path.exists()


def test_a_heartbeat_that_meets_a_busy_database_is_sent_again(
    crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_id = crew.queued()
    tried = threading.Event()
    with crew.pool.claim(task_id) as claim:
        assert claim is not None
        busy = raising(StoreUnavailableError("database is locked"), tried, times=2)
        monkeypatch.setattr(crew.store, "heartbeat", busy)
        assert tried.wait(SOON), "it was tried again"
        assert not claim.stop.is_set()
        end(crew, task_id, claim.token)


def raising(error: Exception, seen: threading.Event | None = None, times: int = 1) -> Any:
    """A function that always fails, and sets `seen` at its call number `times`."""
    calls: list[None] = []

    def fail(*_: Any, **__: Any) -> None:
        calls.append(None)
        if seen is not None and len(calls) >= times:
            seen.set()
        raise error

    return fail
