"""One run in one process: everything its tasks share, put together in one place."""

import threading
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from resources.commands.processes import DEFAULT_LIMITS, Limits
from resources.execution.progress import Progress
from resources.execution.recovery import Recovery
from resources.execution.workers import HEARTBEAT_SEC, WorkerPool
from resources.gates import GateRunner
from resources.git.repository import Repository
from resources.globs import Globs
from resources.landing.turns import LEASE_SEC, LandingTurns
from resources.sandbox_pool import SandboxPool
from resources.specs import RunSpec
from state.clock_and_ids import Clock, parse_timestamp
from state.crash_points import crash_point
from state.home import Home
from state.run_view import run_view
from state.store import StateStore


class RunSession:
    """The parts that the ops of a run work with. Thread-safe; close it when the process is done.

    Args:
        store: the state.
        home: where sandboxes and archives lie.
        repository: the run's repository.
        run_id: the run.
        spec: the plan it follows.
        interrupted: set when the run must stop here.
        heartbeat_sec: seconds between heartbeats of its workers.
        lease_sec: seconds that its right to land on a branch outlives its last sign of life.
        tool_limits: output and grace of tools.
        gate_limits: output and grace of gates.
    """

    def __init__(
        self,
        store: StateStore,
        home: Home,
        repository: Repository,
        run_id: str,
        spec: RunSpec,
        interrupted: threading.Event,
        heartbeat_sec: float = HEARTBEAT_SEC,
        tool_limits: Limits = DEFAULT_LIMITS,
        gate_limits: Limits = DEFAULT_LIMITS,
        lease_sec: float = LEASE_SEC,
    ) -> None:
        self.store, self.home, self.repository = store, home, repository
        self.run_id, self.spec, self.interrupted = run_id, spec, interrupted
        self.tool_limits = tool_limits
        self.gates = GateRunner(store, spec.gates, gate_limits, spec.plan_dir)
        self.turns = LandingTurns(store, repository, lease_sec, keep_fences=True)
        self.recovery = Recovery(store, home, repository, run_id)
        self.progress = Progress(store, run_id, spec.policy, home.root, self.recovery)
        self.sandboxes = SandboxPool(store, repository, home.root, run_id)
        self.workers = WorkerPool(
            store,
            run_id,
            spec.capabilities,
            self.sandboxes,
            self.recovery.fence,
            interrupted,
            heartbeat_sec,
        )
        self._workstream_ids: dict[str, str | None] = {}
        self.files_in_scope = lru_cache(maxsize=256)(self._files_in_scope)

    @property
    def clock(self) -> Clock:
        """The injected clock."""
        return self.store.clock

    def now(self) -> str:
        """The time as it is stored."""
        return self.store.now()

    def seconds_until(self, moment: str | None) -> float:
        """Seconds from now to a stored time; 0 when it is past or None."""
        if moment is None:
            return 0.0
        return max(0.0, (parse_timestamp(moment) - self.clock.now()).total_seconds())

    def dependencies_of(self, ws_id: str) -> Sequence[Any]:
        """The workstreams that this one waits for, in plan order."""
        view = run_view(self.store, self.run_id)
        needed = set(view.workstream_needs.get(ws_id, ()))
        return [row for row in view.workstreams.values() if row.ws_id in needed]

    def workstream_id(self, slug: str) -> str | None:
        """The row of a workstream of the plan; None when it is not part of this run."""
        if slug not in self._workstream_ids:
            rows = self.store.find("workstream", run_id=self.run_id, slug=slug)
            self._workstream_ids[slug] = rows[0].ws_id if rows else None
        return self._workstream_ids[slug]

    def task_id(self, workstream: str, slug: str) -> str | None:
        """The row that stands for a task of the plan now; None when it is not part of this run."""
        ws_id = self.workstream_id(workstream)
        rows = self.store.find("task", workstream_id=ws_id, slug=slug) if ws_id else []
        return rows[-1].task_id if rows else None

    def close(self) -> None:
        """End every worker and sandbox of this session; what one still holds is rolled back."""
        try:
            self.workers.close()
            crash_point("workers-ended", "every worker is shut down; its sandboxes are there")
            self.turns.close()
        finally:
            self.sandboxes.close()

    def _files_in_scope(self, commit: str, scope: tuple[str, ...]) -> tuple[str, ...]:
        globs = Globs(scope)
        return tuple(f for f in self.repository.tracked_files(commit) if globs.matches(f))
