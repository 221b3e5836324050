"""A task from pending to its end: enter, queue, claim, attempt, and what a failure means.

The frame of the nine steps of design section 4; steps 3 to 8 are `resources.execution.attempt`.
"""

import random
from typing import Any

from resources.execution.attempt import Attempt
from resources.execution.loop_guard import find_loop
from resources.execution.outcomes import (
    AttemptFailed,
    AttemptStopped,
    Cancelled,
    Completed,
    Failed,
    Interrupted,
    Outcome,
    Retry,
)
from resources.execution.retries import RetryDecision, Stop, decide_retry
from resources.execution.session import RunSession
from resources.execution.workers import Claim
from resources.gates import Subject
from resources.landing.branches import WorkstreamBranches
from resources.specs import TaskSpec
from state.clock_and_ids import timestamp
from state.errors import GuardNotSatisfied, PatchlineError
from state.lost_transactions import redone_when_lost


class TaskPath:
    """Executes the tasks of one run; used by many threads at once."""

    def __init__(self, session: RunSession, jitter: random.Random | None = None) -> None:
        self._session = session
        self._store = session.store
        self._attempt = Attempt(session)
        self._branches = WorkstreamBranches(session.store, session.repository)
        self._jitter = jitter or random.Random()

    def run(self, task_id: str, spec: TaskSpec) -> Outcome:
        """Bring a task as far as it gets now. Safe to call again at any time, also after a crash.

        Args:
            task_id: its row.
            spec: what to do.

        Returns:
            How it stands. Afterwards the run's other entities have been settled too.
        """
        self._session.recovery.abandon_dead_attempt(task_id)
        outcome = self._ready(task_id, spec)
        if outcome is None:
            outcome = self._claim_and_attempt(task_id, spec)
        if not isinstance(outcome, Completed) or self._session.progress.has_losses(task_id):
            self._session.progress.settle()
        return outcome

    # -- 1, 2: enter, queue, claim -----------------------------------------------------------

    def _ready(self, task_id: str, spec: TaskSpec) -> Outcome | None:
        """None when the task may be queued; an outcome when it cannot be, or need not be."""
        task = self._store.get("task", task_id)
        if task.state == "blocked":
            self._session.progress.settle_task(task_id)
            task = self._store.get("task", task_id)
        outcome = self._not_startable(task)
        if outcome is None and task.state == "pending" and spec.entry_gates:
            outcome = self._entry_gates(task, spec)
        return outcome

    def _not_startable(self, task: Any) -> Outcome | None:
        """Why an attempt cannot begin now, or need not; None when it can."""
        if task.state == "completed":
            return Completed(None)
        if task.state == "failed":
            return Failed(task.reason or "failed")
        if task.state == "cancelled":
            return Cancelled(task.reason or "cancelled")
        if self._session.interrupted.is_set():
            return Interrupted()
        if task.state == "blocked":
            return Cancelled(f"still waits for {', '.join(task.blocked_by or ())}")
        if task.state == "retrying":
            wait = self._session.seconds_until(task.next_attempt_at)
            if wait > 0:
                return Retry(wait, task.reason or "waiting to retry")
        return None

    def _entry_gates(self, task: Any, spec: TaskSpec) -> Outcome | None:
        """Judge the branch that the task starts from; None when the task may be queued (T4)."""
        workstream = self._store.get("workstream", task.workstream_id)
        head = self._branches.tip(workstream)
        subject = Subject(
            tree=self._session.repository.tree_of(head),
            head=head,
            run_id=self._session.run_id,
            workstream_id=task.workstream_id,
            role="entry",
            task_id=task.task_id,
            label=spec.id,
            prompt=spec.prompt,
            scope=spec.scope,
            feedback=task.feedback or "",
            attempt=task.attempts + 1,
            commit=head,
        )
        with self._session.sandboxes.lease(task.task_id) as sandbox:
            verdict = self._session.gates.judge(
                spec.entry_gates, subject, sandbox, self._session.interrupted
            )
        if verdict.stopped:
            return Interrupted()
        if verdict.passed:
            return None
        reason = f"entry gates: {'; '.join(verdict.failures)}"
        self._session.progress.cancel_task(task.task_id, reason)
        return Cancelled(reason)

    def _claim_and_attempt(self, task_id: str, spec: TaskSpec) -> Outcome:
        try:
            with self._session.workers.claim(task_id) as claim:
                if claim is None:
                    return self._after_losing(task_id)
                return self._execute(claim, spec)
        except GuardNotSatisfied as refused:
            if refused.to_state != "queued":
                raise
            return self._not_queued(task_id, refused)

    def _not_queued(self, task_id: str, refused: GuardNotSatisfied) -> Outcome:
        """The state does not let the task begin: overtaken meanwhile, or it never can."""
        outcome = self._not_startable(self._store.get("task", task_id))
        if outcome is None:
            self._session.progress.cancel_task(task_id, str(refused))
            outcome = Cancelled(str(refused))
        return outcome

    def _execute(self, claim: Claim, spec: TaskSpec) -> Outcome:
        """One attempt; whatever it came to is recorded before the claim ends."""
        try:
            self._session.progress.task_started(claim.task_id)
            return self._attempt.run(claim, spec)
        except AttemptFailed as failure:
            return self._fail(claim, spec, failure)
        except AttemptStopped:
            return self._stop(claim)
        except (PatchlineError, OSError) as error:
            return self._fail(claim, spec, AttemptFailed(f"{type(error).__name__}: {error}"))
        except Exception as error:  # a bug: recorded like any failure, and shown as what it is
            self._fail(claim, spec, AttemptFailed(f"internal error: {error!r}"))
            raise

    def _after_losing(self, task_id: str) -> Outcome:
        task = self._store.get("task", task_id)
        return Cancelled(f"the task is {task.state} elsewhere")

    # -- when it does not work out -------------------------------------------------------------

    @redone_when_lost
    def _fail(self, claim: Claim, spec: TaskSpec, failure: AttemptFailed) -> Outcome:
        """running -> retrying or failed, with what the next attempt should know."""
        task = self._store.get("task", claim.task_id)
        if task.token != claim.token:
            return self._overtaken(task)
        decision = self._decide(task, spec, failure)
        columns: dict[str, Any] = {
            "token": claim.token,
            "trigger": "timeout_exceeded" if failure.timed_out else "execution_failed",
            "exit_code": failure.exit_code,
            "timeout_occurred": failure.timed_out or task.timeout_occurred,
            "feedback": failure.feedback or failure.reason,
        }
        if isinstance(decision, RetryDecision):
            columns["next_attempt_at"] = timestamp(decision.at)
        with self._store.batch() as tx:
            landed = self._session.recovery.settle_patches(tx, task, decision.reason)
            if landed is not None:
                return Completed(landed)
            target = "retrying" if isinstance(decision, RetryDecision) else "failed"
            tx.transition("task", claim.task_id, target, reason=decision.reason, **columns)
        if isinstance(decision, RetryDecision):
            return Retry(decision.delay, decision.reason)
        return Failed(decision.reason)

    def _decide(self, task: Any, spec: TaskSpec, failure: AttemptFailed) -> RetryDecision | Stop:
        """Whether another attempt follows; not when it would only repeat what was refused."""
        decision = decide_retry(
            reason=failure.reason,
            retryable=failure.retryable,
            retry_count=task.retry_count,
            max_retries=task.max_retries,
            spec=spec.retry,
            now=self._session.clock.now(),
            uniform=self._jitter,
        )
        if isinstance(decision, RetryDecision):
            loop = find_loop(self._store, task.task_id, task.token)
            return Stop(loop) if loop else decision
        return decision

    @redone_when_lost
    def _stop(self, claim: Claim) -> Outcome:
        """The attempt was stopped. An interrupt uses no attempt up; a cancellation is final."""
        task = self._store.get("task", claim.task_id)
        if task.token != claim.token:
            return self._overtaken(task)
        with self._store.batch() as tx:
            landed = self._session.recovery.settle_patches(tx, task, "interrupted")
            if landed is not None:
                return Completed(landed)
            tx.transition(
                "task",
                claim.task_id,
                "retrying",
                token=claim.token,
                reason="interrupted",
                metadata={"interrupted": True},
                retry_count=task.retry_count,
                next_attempt_at=self._session.now(),
            )
        return Interrupted()

    def _overtaken(self, task: Any) -> Outcome:
        """Somebody else has ended the attempt: cancelled it, or found its commit in git."""
        if task.state != "completed":
            return Cancelled(task.reason or f"the task is {task.state}")
        landed = self._store.find("patch_ledger", task_id=task.task_id, state="committed")
        return Completed(landed[-1].commit_sha if landed else None)
