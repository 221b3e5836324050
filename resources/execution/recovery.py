"""Taking over a run whose process is gone: git says what happened, the state follows.

Source: design section 4 step 1 and "Failure", section 6 ("`resume RUN` starts at once"),
decisions K2, T5.
"""

import os
import socket
from datetime import datetime, timedelta
from typing import Any

import psutil

from resources.commands.identity import process_started_at
from resources.git.repository import Repository
from resources.landing.moving import is_on
from resources.landing.turns import LandingTurns
from resources.patches.ledger import UNLANDED, commit_landed, end_unlanded
from resources.worktrees import discard_sandbox
from state.clock_and_ids import SystemClock, parse_timestamp, timestamp
from state.crash_points import crash_point
from state.errors import PreflightError
from state.home import Home
from state.lost_transactions import redone_when_lost
from state.machines import MACHINES
from state.run_view import run_view
from state.store import StateStore
from state.transaction import Transaction

KILLED_EXIT_CODE = -9
KILL_ROUNDS = 10
SILENT_FOR = timedelta(seconds=120 + 300)
"""Without a heartbeat for so long a worker is unresponsive and beyond recovery (decisions K1)."""
WORKER_ENDED = MACHINES["worker"].terminal
SANDBOX_ENDED = MACHINES["uet_worker"].terminal


class Recovery:
    """Repairs what a process that died left half-way in one run. Idempotent."""

    def __init__(self, store: StateStore, home: Home, repository: Repository, run_id: str) -> None:
        self._store, self._home = store, home
        self._repository, self._run_id = repository, run_id
        self._turns = LandingTurns(store, repository)

    def take_over(self) -> None:
        """Fence every worker of the run that is not of this process, and clean up after it."""
        refuse_if_alive(self._store, self._run_id)
        kill_leftovers(self._run_id)
        self._turns.retire_dead()  # a git command of theirs may still be under way
        crash_point("dead-landers-out", "no dead lander moves a branch; its patches are half-way")
        for task in run_view(self._store, self._run_id).tasks.values():
            self._abandon_if_dead(task)
        for worker in _workers(self._store, self._run_id):
            if not is_alive(worker, self._store.clock.now()):
                self.fence(worker.worker_id)
        for sandbox in self._store.find("uet_worker", run_id=self._run_id):
            if sandbox.state not in SANDBOX_ENDED:
                self._store.transition(
                    "uet_worker", sandbox.worker_id, "TERMINATED", reason="its process is gone"
                )
            discard_sandbox(self._home.worktrees, sandbox.worker_id)
        self._end_gates()

    def abandon_dead_attempt(self, task_id: str) -> None:
        """Roll a running task back when the worker that ran it is dead (step 1)."""
        self._abandon_if_dead(self._store.get("task", task_id))

    def _abandon_if_dead(self, task: Any) -> None:
        if task.state != "running":
            return
        worker = self._store.get("worker", task.worker_id)
        if worker.state in WORKER_ENDED or not is_alive(worker, self._store.clock.now()):
            self.fence(worker.worker_id)

    def fence(self, worker_id: str, reason: str = "its process is gone") -> None:
        """Shut a worker down; its task leaves running in the same transaction (K2).

        A worker that was shut down without its task is repaired: the task leaves running. Before
        it is looked at what has landed, git is told to let the worker move nothing any more.
        """
        for branch in self._being_landed_on(worker_id):
            self._turns.retire(branch)
            crash_point("worker-fenced-in-git", "git lets a worker move nothing; it has its task")
        self._shut_down(worker_id, reason)

    def _being_landed_on(self, worker_id: str) -> set[str]:
        """The branches on which a worker's patches have landed, or are about to."""
        found: set[str] = set()
        for task in self._store.find("task", worker_id=worker_id, state="running"):
            wanted: dict[str, Any] = {"task_id": task.task_id, "state": "verified"}
            if self._store.find("patch_ledger", **wanted):
                found.add(self._store.get("workstream", task.workstream_id).branch)
        return found

    @redone_when_lost
    def _shut_down(self, worker_id: str, reason: str) -> None:
        with self._store.batch() as tx:
            for task in tx.find("task", worker_id=worker_id, state="running"):
                self._roll_back(tx, task)
            if tx.get("worker", worker_id).state not in WORKER_ENDED:
                tx.transition("worker", worker_id, "shutdown", reason=reason)

    def _roll_back(self, tx: Transaction, task: Any) -> None:
        if self.settle_patches(tx, task, "the process died") is not None:
            return
        reason = f"worker {task.worker_id} is gone"
        columns: dict[str, Any] = {"trigger": "worker_lost", "reason": reason}
        if task.retry_count < task.max_retries:
            columns |= {"next_attempt_at": self._store.now()}
            tx.transition("task", task.task_id, "retrying", **columns)
        else:
            tx.transition("task", task.task_id, "failed", **columns)

    def settle_patches(self, tx: Transaction, task: Any, reason: str) -> str | None:
        """End what a running task's patches have under way; git decides about a verified one.

        Returns:
            The commit that git already has on the branch: the task is completed with it. None
            when nothing had landed; the task is still running then.
        """
        for entry in tx.find("patch_ledger", task_id=task.task_id):
            if entry.state == "verified" and self._has_landed(tx, entry):
                return commit_landed(tx, entry)
            if entry.state in UNLANDED:
                end_unlanded(tx, entry, reason)
        return None

    def _has_landed(self, tx: Transaction, entry: Any) -> bool:
        """Whether git has the entry's commit on its workstream's branch: git decides."""
        branch = tx.get("workstream", entry.workstream_id).branch
        head = self._repository.branch_head(branch) if branch else None
        return is_on(self._repository, entry.candidate_commit, head)

    def _end_gates(self) -> None:
        for gate in self._store.find("test_gate", run_id=self._run_id, state="RUNNING"):
            self._store.transition(
                "test_gate",
                gate.gate_id,
                "FAILED",
                exit_code=KILLED_EXIT_CODE,
                reason="its process is gone",
            )


def refuse_if_alive(store: StateStore, run_id: str) -> None:
    """Raise PreflightError when a live process other than this one is working on the run."""
    for worker in _workers(store, run_id):
        if not _is_ours(worker) and is_alive(worker, store.clock.now()):
            raise PreflightError(
                f"run {run_id} is being executed by process {worker.pid} on {worker.host}",
                hint=_what_to_do(worker),
            )


def _is_ours(worker: Any) -> bool:
    return worker.pid == os.getpid() and _started_as_noted(worker)


def _what_to_do(worker: Any) -> str:
    if worker.host == socket.gethostname():
        return "wait for it, or stop it with Ctrl-C, then resume"
    seen = _last_sign(worker)
    known = timestamp(parse_timestamp(seen) + SILENT_FOR)
    return (
        f"it last gave a sign of life at {seen} and counts as dead from {known} on; "
        "wait for it, or stop it there, then resume"
    )


def _last_sign(worker: Any) -> str:
    return max(worker.heartbeat_at or "", worker.updated_at)


def _workers(store: StateStore, run_id: str) -> list[Any]:
    rows = store.find("worker", run_id=run_id)
    return [row for row in rows if row.state not in WORKER_ENDED]


def is_alive(worker: Any, now: datetime | None = None) -> bool:
    """Whether the process of a worker row lives.

    Nobody can look at a process on another machine: it lives while its workers give signs of life.

    Args:
        worker: the row.
        now: the time, by the clock that the heartbeats are written with; the system's if None.
    """
    if worker.host != socket.gethostname():
        return parse_timestamp(_last_sign(worker)) + SILENT_FOR > (now or SystemClock().now())
    return _started_as_noted(worker)


def _started_as_noted(worker: Any) -> bool:
    """Whether the process with the worker's number is the very one that made the worker."""
    started = process_started_at(worker.pid) if worker.pid else None
    return started is not None and abs(started - float(worker.pid_started_at)) < 1.0


def kill_leftovers(run_id: str) -> None:
    """Kill what tools and gates of a dead process left running: they carry the run in their env."""
    for _ in range(KILL_ROUNDS):  # one that was just being forked shows in the next round
        killed = [process for process in psutil.process_iter() if _killed(process, run_id)]
        if not killed:
            return
        psutil.wait_procs(killed, timeout=1)


def _killed(process: psutil.Process, run_id: str) -> bool:
    """Kill a process if it belongs to a run and is neither us nor above us; says whether it did."""
    try:
        if process.environ().get("PATCHLINE_RUN") != run_id:
            return False
        if process.pid in {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}:
            return False
        process.kill()
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return False
    return True
