"""The sandboxes of one run: pooled, each used by one task at a time (decisions K4)."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from resources.git.repository import Repository
from resources.worktrees import Sandbox, discard_sandbox
from state.crash_points import crash_point
from state.lost_transactions import redone_when_lost
from state.store import StateStore
from state.transaction import Transaction


class SandboxPool:
    """The sandboxes of one run in this process; each is used by one task at a time.

    Thread-safe. Rows: `uet_workers` (machine `uet_worker`).
    """

    def __init__(self, store: StateStore, repository: Repository, home: Path, run_id: str) -> None:
        self._store, self._repository, self._run_id = store, repository, run_id
        self._home = home.resolve() / "worktrees"
        self._idle: list[Sandbox] = []
        self._spawned: set[str] = set()
        self._lock = threading.Lock()

    @contextmanager
    def lease(self, task_id: str | None) -> Iterator[Sandbox]:
        """An idle sandbox, or a new one, for the duration of a block."""
        sandbox = self.take()
        try:
            self._store.transition("uet_worker", sandbox.worker_id, "BUSY", task_id=task_id)
            yield sandbox
        finally:
            self._give_back(sandbox)

    @redone_when_lost
    def _give_back(self, sandbox: Sandbox) -> None:
        with self._store.batch() as tx:
            usable = self.make_idle(tx, sandbox)
        if usable:
            self.put_back(sandbox)

    def take(self) -> Sandbox:
        """An idle sandbox, or a new one; the caller makes its row BUSY, and IDLE at the end."""
        with self._lock:
            sandbox = self._idle.pop() if self._idle else None
        return sandbox or self._spawn()

    def make_idle(self, tx: Transaction, sandbox: Sandbox) -> bool:
        """Make a sandbox's row IDLE; False when somebody has ended the sandbox (fencing)."""
        state = tx.get("uet_worker", sandbox.worker_id).state
        if state == "BUSY":
            tx.transition("uet_worker", sandbox.worker_id, "IDLE", task_id=None)
        return state in ("BUSY", "IDLE")

    def put_back(self, sandbox: Sandbox) -> None:
        """Let others have a sandbox that is IDLE again."""
        with self._lock:
            self._idle.append(sandbox)

    def _spawn(self) -> Sandbox:
        worker_id = self._new_row()
        crash_point("sandbox-begun", "a sandbox has its row; it has no folder")
        path = self._home / worker_id
        try:
            path.mkdir(parents=True)
        except OSError as error:
            self._store.transition("uet_worker", worker_id, "TERMINATED", reason=str(error))
            raise
        crash_point("sandbox-made", "a sandbox has its folder; its row does not say so")
        self._store.transition("uet_worker", worker_id, "IDLE", path=str(path))
        return Sandbox(worker_id, self._repository, path)

    @redone_when_lost
    def _new_row(self) -> str:
        repo = str(self._repository.root)
        with self._store.batch() as tx:
            row = tx.create("uet_worker", run_id=self._run_id, repo=repo)
            self._spawned.add(row.worker_id)  # before it is kept: none may be left behind
        return row.worker_id

    def close(self) -> None:
        """End every sandbox that this pool ever made, and delete its files."""
        with self._lock:
            self._idle.clear()
            ours = sorted(self._spawned)
        for row in self._store.find("uet_worker", worker_id=ours) if ours else ():
            if row.state != "TERMINATED":
                self._store.transition("uet_worker", row.worker_id, "TERMINATED")
            crash_point("sandbox-ended", "a sandbox's row says so; its files are there")
            discard_sandbox(self._home, row.worker_id)
