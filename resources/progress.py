"""What one entity's change means for the others of its run: unblocking, cancelling, ending.

`settle` applies the rules of decisions R2, R3, W2 to W8 and T3 until nothing changes any more. It
is idempotent and may be called by any process at any time: every change is a compare-and-swap,
children go first, and what another process did meanwhile is simply seen on the next round.
"""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from resources.archive import archive_workstream
from resources.recovery import Recovery
from resources.specs import OnCriticalFailure, PolicySpec
from state.derivations import (
    LedgerFacts,
    Proposal,
    TaskFacts,
    WorkstreamFacts,
    derive_run,
    derive_workstream,
)
from state.errors import InvalidTransitionError, OptimisticLockError
from state.machines import MACHINES
from state.run_view import RunView, run_view
from state.store import StateStore

RUN_ENDED = MACHINES["run"].terminal
WS_ENDED = MACHINES["workstream"].terminal
TASK_ENDED = MACHINES["task"].terminal
ENDED_BADLY = frozenset({"failed", "cancelled"})


class Progress:
    """Keeps a run consistent. Thread-safe.

    Args:
        store: the state.
        run_id: the run.
        policy: what a failure means for the others.
        home: where failed workstreams are archived.
        recovery: knows what git has of a task's patches.
    """

    def __init__(
        self, store: StateStore, run_id: str, policy: PolicySpec, home: Path, recovery: Recovery
    ) -> None:
        self._store, self._run_id, self._policy, self._home = store, run_id, policy, home
        self._recovery = recovery
        self._lock = threading.Lock()

    def settle(self) -> None:
        """Apply every rule until the run is consistent. Nothing is done twice."""
        with self._lock:
            while self._round(run_view(self._store, self._run_id)):
                pass

    def settle_task(self, task_id: str) -> None:
        """Block, unblock or cancel one task by what has become of its dependencies."""
        view = run_view(self._store, self._run_id)
        if view.run.state == "running" and self._task(view, view.tasks[task_id]):
            self.settle()

    def has_losses(self, task_id: str) -> bool:
        """Whether a task's workstream has a task that ended badly: its end may mean something."""
        workstream_id = self._store.get("task", task_id).workstream_id
        lost = self._store.find(
            "task", workstream_id=workstream_id, state=sorted(ENDED_BADLY), limit=1
        )
        return bool(lost)

    def task_started(self, task_id: str) -> None:
        """ready -> executing for the workstream of a task that runs."""
        workstream_id = self._store.get("task", task_id).workstream_id
        row = self._store.get("workstream", workstream_id)
        if row.state == "ready":
            self._move("workstream", row.ws_id, "executing", row)

    def derive(self, ws_id: str, tasks: Sequence[Any] | None = None) -> Proposal | None:
        """What an executing workstream should become, from its tasks and patches (W2, W6)."""
        tasks = self._store.find("task", workstream_id=ws_id) if tasks is None else tasks
        ledger = self._store.find("patch_ledger", workstream_id=ws_id)
        return derive_workstream(
            [TaskFacts.of(task) for task in tasks],
            [LedgerFacts.of(entry) for entry in ledger],
            self._policy.allow_noncritical_failures,
        )

    def cancel_task(self, task_id: str, reason: str) -> None:
        """Cancel a task that cannot begin, and settle the others."""
        self._cancel_task(self._store.get("task", task_id), "dependency_failed", reason)
        self.settle()

    def cancel_workstream(self, ws_id: str, reason: str) -> None:
        """Cancel a workstream that cannot begin, with its tasks, and settle the others."""
        view = run_view(self._store, self._run_id)
        row = view.workstreams[ws_id]
        trigger = "dependency_unreachable" if row.state == "blocked" else "user_cancelled"
        self._cancel_workstream(view, row, trigger, reason)
        self.settle()

    def end_workstream(self, ws_id: str, reason: str, trigger: str) -> bool:
        """executing or validating -> failed, archived before (decisions W8)."""
        row = self._store.get("workstream", ws_id)
        if row.state in WS_ENDED:
            return False
        archive_workstream(self._store, self._home, ws_id, reason)
        return self._move("workstream", ws_id, "failed", row, reason=reason, trigger=trigger)

    # -- one round -------------------------------------------------------------------------------

    def _round(self, view: RunView) -> bool:
        """One pass over the run; whether anything changed."""
        if view.run.state != "running":
            return False
        changed = [self._task(view, task) for task in view.tasks.values()]
        changed += [self._workstream(view, row) for row in view.workstreams.values()]
        if not any(changed):
            changed.append(self._run(view))
        return any(changed)

    def _task(self, view: RunView, task: Any) -> bool:
        if task.state not in ("pending", "blocked"):
            return False
        needs = [view.newest(need) for need in view.task_needs.get(task.task_id, ())]
        lost = [need.slug for need in needs if need.state in ENDED_BADLY]
        if lost:
            reason = f"needs {', '.join(lost)}, which did not complete"
            return self._cancel_task(task, "dependency_failed", reason)
        open_needs = [need.slug for need in needs if need.state != "completed"]
        if task.state == "blocked" and not open_needs:
            return self._move("task", task.task_id, "pending", task)
        if task.state == "pending" and open_needs:
            return self._move("task", task.task_id, "blocked", task, blocked_by=open_needs)
        return False

    def _workstream(self, view: RunView, row: Any) -> bool:
        if row.state in WS_ENDED or row.state == "validating":
            return False
        if row.state in ("planned", "blocked", "ready") and self._unreachable(view, row):
            return True
        if self._stopping(view) and self._cancel_workstream(
            view, row, "critical_sibling_failed", "a critical workstream failed"
        ):
            return True
        if row.state not in ("ready", "executing"):
            return False
        proposal = self.derive(row.ws_id, view.tasks_of(row.ws_id))
        if proposal is None or proposal.state != "failed":
            return False
        if row.state == "ready":  # none of its tasks could begin
            reason = proposal.reason or "no task could begin"
            return self._cancel_workstream(view, row, "user_cancelled", reason)
        return self._fail_workstream(view, row, proposal)

    def _unreachable(self, view: RunView, row: Any) -> bool:
        """A dependency that cannot complete any more cancels what waits for it (decisions W4)."""
        needs = [view.workstreams[need] for need in view.workstream_needs.get(row.ws_id, ())]
        lost = [need.slug or need.ws_id for need in needs if need.state in ENDED_BADLY]
        if not lost:
            return False
        reason = f"needs {', '.join(lost)}, which did not complete"
        return self._cancel_workstream(view, row, "dependency_unreachable", reason)

    def _stopping(self, view: RunView) -> bool:
        return self._policy.on_critical_failure is OnCriticalFailure.STOP and any(
            row.state == "failed" and row.is_critical for row in view.workstreams.values()
        )

    def _fail_workstream(self, view: RunView, row: Any, proposal: Proposal) -> bool:
        siblings = [t for t in view.tasks_of(row.ws_id) if t.state not in TASK_ENDED]
        if any(task.state == "validating" for task in siblings):
            return False  # it waits for its verdict (decisions R3)
        for task in siblings:
            reason = proposal.reason or "a critical task failed"
            self._cancel_task(task, "critical_sibling_failed", reason)
        return self.end_workstream(row.ws_id, proposal.reason or "failed", proposal.trigger)

    def _cancel_workstream(self, view: RunView, row: Any, trigger: str, reason: str) -> bool:
        siblings = [t for t in view.tasks_of(row.ws_id) if t.state not in TASK_ENDED]
        if any(task.state == "validating" for task in siblings):
            return False
        task_trigger = "dependency_failed" if trigger == "dependency_unreachable" else trigger
        for task in siblings:
            self._cancel_task(task, task_trigger, reason)
        if row.state == "planned" and trigger == "dependency_unreachable":
            self._move("workstream", row.ws_id, "blocked", row)
            row = self._store.get("workstream", row.ws_id)
        own = trigger if row.state == "blocked" and trigger == "dependency_unreachable" else None
        return self._move("workstream", row.ws_id, "cancelled", row, trigger=own, reason=reason)

    def _cancel_task(self, task: Any, trigger: str, reason: str) -> bool:
        """Cancel a task together with whatever it had under way (children first).

        One whose commit is on its branch already is completed instead.
        """
        try:
            with self._store.batch() as tx:
                if self._recovery.settle_patches(tx, task, reason) is not None:
                    return True
                tx.transition(
                    "task",
                    task.task_id,
                    "cancelled",
                    trigger=trigger,
                    reason=reason,
                    expected_version=task.version,
                )
        except OptimisticLockError:
            pass
        except InvalidTransitionError:
            self._unless_overtaken("task", task.task_id, task.version)
        return True

    def _run(self, view: RunView) -> bool:
        facts = [WorkstreamFacts.of(row) for row in view.workstreams.values()]
        proposal = derive_run(facts, self._policy.allow_noncritical_failures)
        if proposal is None:
            return False
        return self._move(
            "run",
            self._run_id,
            proposal.state,
            view.run,
            trigger=proposal.trigger,
            reason=proposal.reason,
        )

    def _move(self, kind: str, key: str, target: str, row: Any, **columns: Any) -> bool:
        """A compare-and-swap on the row as it was seen; being overtaken asks for another round."""
        try:
            self._store.transition(kind, key, target, expected_version=row.version, **columns)
        except OptimisticLockError:
            pass
        except InvalidTransitionError:
            self._unless_overtaken(kind, key, row.version)
        return True

    def _unless_overtaken(self, kind: str, key: str, version: int) -> None:
        """Re-raise a refusal, unless somebody changed the row after we had read it."""
        if self._store.get(kind, key).version == version:
            raise
