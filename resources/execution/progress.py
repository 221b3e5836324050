"""What one entity's change means for the others of its run: unblocking, cancelling, ending.

`state.propagation` decides and `settle` applies (decisions R2, R3, T3, W2, W4 to W8). It is
idempotent and may be called by any process at any time, also after a crash: each entity changes in
one transaction, children first, by a compare-and-swap on what was read; whoever is overtaken reads
again and decides anew.
"""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from resources.execution.archive import archive_workstream
from resources.execution.recovery import Recovery
from resources.specs import OnCriticalFailure, PolicySpec
from state.errors import (
    GuardNotSatisfied,
    InvalidTransitionError,
    OptimisticLockError,
    PatchlineError,
)
from state.machines import MACHINES
from state.propagation.cascade import cascade, task_step
from state.propagation.facts import (
    Cancellation,
    LedgerFacts,
    Policy,
    Proposal,
    Step,
    TaskFacts,
)
from state.propagation.reading import run_facts
from state.propagation.tasks import LOST
from state.propagation.workstreams import derive_workstream
from state.store import StateStore
from state.transaction import Transaction

MAX_OVERTAKEN = 100
"""Times in a row that others may be faster before something must be wrong."""
CHILDREN = {"workstream": ("task", "workstream_id"), "run": ("workstream", "run_id")}
"""What lies under an entity, and the column that says so."""
UNFINISHED = {
    kind: [state for state in MACHINES[kind].states if state not in MACHINES[kind].terminal]
    for kind, _ in CHILDREN.values()
}


class Overtaken(PatchlineError):
    """The rows are no longer as they were read: read again and decide anew."""

    code = "overtaken"

    def __init__(self, step: Step, detail: str) -> None:
        self.entity_type, self.entity_id, self.detail = step.entity_type, step.entity_id, detail
        super().__init__(
            f"The {step.entity_type} {step.entity_id} could not become {step.target}: {detail} "
            "If it stays so, see `patchline status`, and resume the run."
        )


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
        self._store, self._run_id, self._home = store, run_id, home
        self._recovery = recovery
        self._policy = Policy(
            allow_noncritical_failures=policy.allow_noncritical_failures,
            skipped_satisfies=policy.skipped_satisfies,
            stop_on_critical_failure=policy.on_critical_failure is OnCriticalFailure.STOP,
            strict=store.strict,
        )
        self._lock = threading.Lock()

    # -- asking ------------------------------------------------------------------------------------

    def has_losses(self, task_id: str) -> bool:
        """Whether a task's workstream has a task that ended badly: its end may mean something."""
        workstream_id = self._store.get("task", task_id).workstream_id
        lost = self._store.find("task", workstream_id=workstream_id, state=sorted(LOST), limit=1)
        return bool(lost)

    def derive(self, ws_id: str) -> Proposal | None:
        """What a workstream at work should become, from its tasks and patches (W2, W6)."""
        return derive_workstream(
            [TaskFacts.of(task) for task in self._store.find("task", workstream_id=ws_id)],
            [LedgerFacts.of(one) for one in self._store.find("patch_ledger", workstream_id=ws_id)],
            self._policy.allow_noncritical_failures,
        )

    # -- settling ----------------------------------------------------------------------------------

    def settle(self) -> None:
        """Apply everything that follows from how the run stands. Nothing is done twice.

        Raises:
            Overtaken: a step was refused again and again, although the facts, read anew each time,
                called for it.
        """
        with self._lock:
            self._until_settled(lambda: cascade(run_facts(self._store, self._run_id), self._policy))

    def settle_task(self, task_id: str) -> None:
        """Block, unblock or cancel one task by what has become of its dependencies."""

        def steps() -> list[Step]:
            step = task_step(run_facts(self._store, self._run_id), task_id, self._policy)
            return [step] if step else []

        if self._until_settled(steps) and self._store.get("task", task_id).state in LOST:
            self.settle()

    def task_started(self, task_id: str) -> None:
        """ready -> executing for the workstream of a task that runs (W2), without a look around."""
        workstream_id = self._store.get("task", task_id).workstream_id
        row = self._store.get("workstream", workstream_id)
        derived = self.derive(workstream_id) if row.state == "ready" else None
        if derived is not None and derived.state == "executing":
            self._try(Step("workstream", workstream_id, row.version, (derived,)))

    # -- ending on purpose -------------------------------------------------------------------------

    def cancel_run(self, reason: str, operator: str | None = None) -> None:
        """Cancel a run with everything under it, children first (R3). Idempotent.

        The wish is kept with the run and nothing of it is dispatched any more: what a crash leaves
        over is cancelled by the next settling. A validating entity waits for its verdict.
        """
        self._ask("run", self._run_id, Cancellation(reason, operator), held=True)
        self.settle()

    def cancel_workstream(self, ws_id: str, reason: str, operator: str | None = None) -> None:
        """Cancel a workstream with its tasks, and settle the others. Idempotent.

        In a run that has not started it takes effect at the start.
        """
        self._ask("workstream", ws_id, Cancellation(reason, operator))
        self.settle()

    def cancel_task(self, task_id: str, reason: str, operator: str | None = None) -> None:
        """Cancel a task, and settle the others. One that has ended, or is being judged, stays."""
        trigger = "user_cancelled" if operator else "dependency_failed"

        def steps() -> list[Step]:
            task = self._store.get("task", task_id)
            if MACHINES["task"].find(task.state, "cancelled", strict=self._policy.strict) is None:
                return []
            proposal = Proposal("cancelled", trigger, reason)
            return [Step("task", task_id, task.version, (proposal,), operator)]

        self._until_settled(steps)
        self.settle()

    def end_workstream(self, ws_id: str, reason: str, trigger: str) -> bool:
        """executing or validating -> failed, archived before (W8); whether it was this that did.

        Somebody else may have ended it meanwhile.
        """

        def steps() -> list[Step]:
            row = self._store.get("workstream", ws_id)
            if row.state in MACHINES["workstream"].terminal:
                return []
            left = self._store.find("task", workstream_id=ws_id, state=UNFINISHED["task"])
            told = Proposal("cancelled", "critical_sibling_failed", reason)
            ending = [Step("task", task.task_id, task.version, (told,)) for task in left]
            proposal = Proposal("failed", trigger, reason)
            return [*ending, Step("workstream", ws_id, row.version, (proposal,))]

        return self._until_settled(steps)

    def _ask(self, kind: str, key: str, wish: Cancellation, **columns: Any) -> None:
        """Keep that somebody wants an entity to end; the first who asks is kept."""
        with self._store.batch() as tx:
            row = tx.get(kind, key)
            if row.state in MACHINES[kind].terminal or Cancellation.of(row.metadata):
                return
            metadata = {**row.metadata, **wish.as_metadata()}
            tx.update(kind, key, metadata=metadata, **columns)
            tx.record(kind, key, "cancel_requested", reason=wish.reason, operator=wish.operator)

    # -- applying ----------------------------------------------------------------------------------

    def _until_settled(self, decide: Callable[[], Sequence[Step]]) -> bool:
        """Apply what is decided, and decide again, until nothing is left; whether anything was.

        Facts only ever move towards their ends, so this ends; being overtaken is bounded.
        """
        changed, overtaken = False, 0
        while steps := decide():
            try:
                for step in steps:
                    as_decided = self._apply(step)
                    changed, overtaken = True, 0
                    if not as_decided:
                        break
            except Overtaken:
                overtaken += 1
                if overtaken >= MAX_OVERTAKEN:
                    raise
        return changed

    def _try(self, step: Step) -> None:
        """Apply one step, or leave it to whoever changed the entity meanwhile."""
        try:
            self._apply(step)
        except Overtaken:
            return

    def _apply(self, step: Step) -> bool:
        """One step in one transaction.

        Returns:
            Whether it was done as decided: a task that git has a commit of is completed instead of
            cancelled, and what was to follow must be decided again.

        Raises:
            Overtaken: the rows have changed since this was decided; nothing was written.
        """
        if step.needs_archive:
            reason = step.path[-1].reason or "failed"
            archive_workstream(self._store, self._home, step.entity_id, reason)
        try:
            with self._store.batch() as tx:
                return self._write(tx, step)
        except (OptimisticLockError, GuardNotSatisfied) as refused:
            raise Overtaken(step, str(refused)) from refused
        except InvalidTransitionError as refused:
            if self._store.get(step.entity_type, step.entity_id).version == step.version:
                raise  # it is as it was read, so the decision was wrong
            raise Overtaken(step, str(refused)) from refused

    def _write(self, tx: Transaction, step: Step) -> bool:
        """The transitions of a step; False when git had a commit that makes them wrong."""
        kind, key = step.entity_type, step.entity_id
        if step.ends:
            self._check_children(tx, step)
        if (kind, step.target) == ("task", "cancelled"):
            task = tx.get("task", key)
            if task.version != step.version:
                raise OptimisticLockError("task", key, step.version, task.version)
            reason = step.path[-1].reason or "cancelled"
            if self._recovery.settle_patches(tx, task, reason) is not None:
                return False
        about = {"asked_by": step.asked_by} if step.asked_by else None
        for place, proposal in enumerate(step.path):
            tx.transition(
                kind,
                key,
                proposal.state,
                trigger=proposal.trigger,
                reason=proposal.reason,
                operator=step.operator,
                metadata=about,
                expected_version=step.version + place,
                **proposal.columns,
            )
        return True

    def _check_children(self, tx: Transaction, step: Step) -> None:
        """Nothing ends before what is under it, though a child was made since (R3)."""
        under = CHILDREN.get(step.entity_type)
        if under is None:
            return
        kind, parent = under
        wanted: dict[str, Any] = {parent: step.entity_id, "state": UNFINISHED[kind]}
        left = tx.find(kind, limit=1, **wanted)
        if left:
            key = getattr(left[0], MACHINES[kind].key)
            raise Overtaken(step, f"the {kind} {key} under it is {left[0].state}.")
