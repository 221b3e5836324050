"""Orchestration workers of one run in this process: who executes a task, and that it is alive.

Source: design section 4 step 2, decisions K1 to K4.
"""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from resources.commands.identity import process_started_at
from resources.sandbox_pool import SandboxPool
from resources.worktrees import Sandbox
from state import claims
from state.crash_points import crash_point
from state.errors import (
    EntityNotFoundError,
    StaleTokenError,
    TaskAlreadyAssignedError,
    TerminalStateViolation,
)
from state.lost_transactions import redone_when_lost
from state.machines import MACHINES
from state.store import StateStore

log = logging.getLogger(__name__)

HEARTBEAT_SEC = 60.0
TICK_SEC = 0.05
"""How soon an interrupt of the run reaches the tools."""
LOOK_SEC = 1.0
"""How often we look whether a claim is still ours; a cancelled task's tool dies this soon."""
WORKER_ENDED = MACHINES["worker"].terminal
LOST = (StaleTokenError, TerminalStateViolation, EntityNotFoundError)
"""What says that a claim is no longer ours."""


@dataclass(frozen=True)
class Claim:
    """A task that a worker of ours is executing.

    Attributes:
        token: the attempt id, the fencing token of every later write (decisions T9).
        attempt: number of the attempt, from 1.
        sandbox: where the attempt works, its alone until the claim ends.
        stop: set when the attempt must end: the run was interrupted, or the claim was lost.
    """

    task_id: str
    worker_id: str
    token: str
    attempt: int
    sandbox: Sandbox
    stop: threading.Event = field(default_factory=threading.Event)


class WorkerPool:
    """Workers that grow on demand up to one for each thread that claims. Thread-safe.

    Args:
        store: the state.
        run_id: the run they work for.
        capabilities: what they can do.
        sandboxes: where they work; a claim comes with one.
        fence: ends a worker by its id for a reason, and rolls back the task that it holds.
        interrupted: set when the whole run must stop here.
        heartbeat_sec: seconds between heartbeats; the first is sent at once.
    """

    def __init__(
        self,
        store: StateStore,
        run_id: str,
        capabilities: frozenset[str],
        sandboxes: SandboxPool,
        fence: Callable[[str, str], None],
        interrupted: threading.Event,
        heartbeat_sec: float = HEARTBEAT_SEC,
    ) -> None:
        self._store, self._run_id, self._capabilities = store, run_id, capabilities
        self._sandboxes, self._fence = sandboxes, fence
        self._interrupted, self._heartbeat_sec = interrupted, heartbeat_sec
        self._idle: list[str] = []
        self._spawned: set[str] = set()
        self._claims: dict[str, Claim] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="patchline-workers", daemon=True)
        self._watcher.start()

    @contextmanager
    def claim(self, task_id: str) -> Iterator[Claim | None]:
        """Queue and claim a task for the duration of a block; None when another was faster.

        A task that the block leaves running is rolled back: nobody else would end it.

        Raises:
            GuardNotSatisfied: the task may not be queued.
            OSError, PatchlineError: no worker or sandbox could be made; nothing is held then.
        """
        worker_id = self._take_idle() or self._spawn()
        sandbox = None
        try:
            sandbox = self._sandboxes.take()
            won = self._queue_and_claim(task_id, worker_id, sandbox)
            if won is None:
                yield None
                return
            crash_point("task-claimed", "the task is running; its tool has not been started")
            with self._watched(Claim(task_id, worker_id, won.token, won.attempt, sandbox)) as claim:
                yield claim
        finally:
            self._hand_back(worker_id, sandbox)

    @contextmanager
    def _watched(self, claim: Claim) -> Iterator[Claim]:
        """Heartbeats, interrupts and the loss of the claim reach it during the block."""
        with self._lock:
            self._claims[claim.token] = claim
        if self._interrupted.is_set():
            claim.stop.set()
        try:
            yield claim
        finally:
            with self._lock:
                del self._claims[claim.token]

    @redone_when_lost
    def _queue_and_claim(
        self, task_id: str, worker_id: str, sandbox: Sandbox
    ) -> claims.Claim | None:
        try:
            with self._store.batch() as tx:
                if tx.get("task", task_id).state in ("pending", "retrying"):
                    tx.transition("task", task_id, "queued")
                won = tx.claim_task(worker_id, task_id=task_id, capabilities=self._capabilities)
                if won is not None:
                    tx.transition("uet_worker", sandbox.worker_id, "BUSY", task_id=task_id)
                return won
        except TaskAlreadyAssignedError:
            return None

    def close(self) -> None:
        """Shut every worker down that this pool ever made, and end the watcher."""
        self._closed.set()
        self._watcher.join(timeout=10)
        with self._lock:
            self._idle.clear()
            ours = sorted(self._spawned)
        for worker in self._store.find("worker", worker_id=ours) if ours else ():
            if worker.state not in WORKER_ENDED:
                self._fence(worker.worker_id, "its process ended")

    def _take_idle(self) -> str | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    @redone_when_lost
    def _spawn(self) -> str:
        with self._store.batch() as tx:
            row = tx.create(
                "worker",
                run_id=self._run_id,
                capabilities=sorted(self._capabilities),
                host=socket.gethostname(),
                pid=os.getpid(),
                pid_started_at=process_started_at(os.getpid()),
            )
            self._spawned.add(row.worker_id)
            tx.transition("worker", row.worker_id, "idle")
        return row.worker_id

    @redone_when_lost
    def _hand_back(self, worker_id: str, sandbox: Sandbox | None) -> None:
        """Worker and sandbox are idle again, unless somebody has ended them (fencing)."""
        if self._store.find("task", worker_id=worker_id, state="running", limit=1):
            self._fence(worker_id, "its attempt ended without a result")
        with self._store.batch() as tx:
            worker_state = tx.get("worker", worker_id).state
            if worker_state == "busy":
                tx.transition("worker", worker_id, "idle", task_id=None)
            usable = sandbox is not None and self._sandboxes.make_idle(tx, sandbox)
        crash_point("worker-idle", "an attempt has ended; its worker and sandbox are idle again")
        if worker_state in ("busy", "idle"):
            with self._lock:
                self._idle.append(worker_id)
        if sandbox is not None and usable:
            self._sandboxes.put_back(sandbox)

    def _watch(self) -> None:
        """Every tick: pass an interrupt on; now and then heartbeats and a look at the claims."""
        last_beat = last_look = time.monotonic()
        while not self._closed.wait(TICK_SEC):
            with self._lock:
                claims, idle = list(self._claims.values()), list(self._idle)
            if self._interrupted.is_set():
                for claim in claims:
                    claim.stop.set()
                continue
            now = time.monotonic()
            beat, look = now - last_beat >= self._heartbeat_sec, now - last_look >= LOOK_SEC
            if beat or look:
                last_beat, last_look = (now if beat else last_beat), now
                for claim in claims:
                    self._look_after(claim, beat)
                for worker_id in idle if beat else ():
                    self._beat_of_idle(worker_id)

    def _beat_of_idle(self, worker_id: str) -> None:
        """Others tell by its workers whether this process lives; trouble waits for the next one."""
        try:
            self._store.heartbeat(worker_id)
        except Exception:
            log.exception("idle worker %s: heartbeat failed, trying again", worker_id)

    def _look_after(self, claim: Claim, beat: bool) -> None:
        """Heartbeat and liveness of one claim.

        Only what says that the claim is lost stops the tool. Other trouble (a busy database, say)
        is logged, and the next round tries again.
        """
        try:
            if beat:
                self._store.heartbeat(claim.worker_id, token=claim.token)
            elif self._store.get("task", claim.task_id).token != claim.token:
                claim.stop.set()
        except LOST as error:
            log.warning("worker %s: heartbeat refused: %s", claim.worker_id, error)
            claim.stop.set()
        except Exception:
            log.exception("worker %s: heartbeat failed, trying again", claim.worker_id)
