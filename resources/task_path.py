"""A task, step by step: from queued to a commit on its workstream's branch.

The nine steps of design section 4. Every step records its intent or its result in the store before
the next begins, and every write of an attempt carries the attempt's fencing token, so that a
process may die at any line: whoever comes next finds out where it was.
"""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from resources.effects import diff_text, effects_between, size_of
from resources.gates import Subject
from resources.landing import Lost, land, landing_turn, message_with_trailers, patch_candidate
from resources.ledger import Artifact, Patch, PatchLedger
from resources.patch_policy import Reason, Scope, judge
from resources.repository import Conflict, GitError
from resources.retries import RetryDecision, decide_retry
from resources.session import RunSession
from resources.specs import OnNoChange, TaskSpec
from resources.tools import ToolResult, ToolRun, run_tool
from resources.workers import Claim
from resources.worktrees import OversizeError, Sandbox
from state.clock_and_ids import timestamp
from state.errors import StaleTokenError
from state.machines import MACHINES

MAX_APPLIES = 3
INFLATED_BYTES = 8 * 1024 * 1024
TASK = MACHINES["task"]


@dataclass(frozen=True)
class Completed:
    """The task is done; `commit` is None when nothing had to change."""

    commit: str | None


@dataclass(frozen=True)
class Retry:
    """The attempt failed; another may begin in `delay` seconds."""

    delay: float
    reason: str


@dataclass(frozen=True)
class Failed:
    """The task failed for good."""

    reason: str


@dataclass(frozen=True)
class Cancelled:
    """Somebody ended the task, or something it needs cannot be had any more."""

    reason: str


@dataclass(frozen=True)
class Interrupted:
    """The run stops here; the task can be taken up again by `resume`."""

    reason: str = "interrupted"


Outcome = Completed | Retry | Failed | Cancelled | Interrupted


@dataclass(eq=False)
class AttemptFailed(Exception):
    """An attempt came to nothing; carries what the next one should know."""

    reason: str
    feedback: str = ""
    retryable: bool = True
    exit_code: int | None = None
    timed_out: bool = False


class AttemptStopped(Exception):
    """The attempt was told to stop: an interrupt, a cancellation or a lost claim."""


class TaskPath:
    """Executes the tasks of one run; used by many threads at once."""

    def __init__(self, session: RunSession, jitter: random.Random | None = None) -> None:
        self._session = session
        self._store = session.store
        self._ledger = PatchLedger(session.store, session.run_id)
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
        outcome = self._ready(task_id)
        if outcome is None:
            outcome = self._claim_and_attempt(task_id, spec)
        self._session.progress.settle()
        return outcome

    # -- 1, 2: enter, queue, claim -----------------------------------------------------------

    def _ready(self, task_id: str) -> Outcome | None:
        """Bring the task to `queued`; an outcome when it cannot be, or need not be."""
        self._session.progress.settle()
        task = self._store.get("task", task_id)
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
        if task.state in ("pending", "retrying"):
            self._store.transition("task", task_id, "queued", expected_version=task.version)
        return None

    def _claim_and_attempt(self, task_id: str, spec: TaskSpec) -> Outcome:
        with self._session.workers.claim(task_id) as claim:
            if claim is None:
                return self._after_losing(task_id)
            self._session.progress.task_started(task_id)
            try:
                return self._attempt(claim, spec)
            except AttemptFailed as failure:
                return self._fail(claim, spec, failure)
            except (AttemptStopped, StaleTokenError):
                return self._stop(claim)
            except (GitError, OSError) as error:
                return self._fail(claim, spec, AttemptFailed(f"{type(error).__name__}: {error}"))

    def _after_losing(self, task_id: str) -> Outcome:
        task = self._store.get("task", task_id)
        return Cancelled(f"the task is {task.state} elsewhere")

    # -- 3, 4: sandbox and tool --------------------------------------------------------------

    def _attempt(self, claim: Claim, spec: TaskSpec) -> Outcome:
        session = self._session
        task = self._store.get("task", claim.task_id)
        workstream = self._store.get("workstream", task.workstream_id)
        with session.sandboxes.lease(claim.task_id) as sandbox:
            base = session.repository.branch_head(workstream.branch)
            if base is None:
                raise AttemptFailed(f"branch {workstream.branch} is gone", retryable=False)
            sandbox.reset(base, base)
            result = self._run_tool(claim, spec, sandbox, base, task.feedback or "")
            patch = self._capture(claim, spec, sandbox, base, task.workstream_id)
            if patch is None:
                return self._unchanged(claim, spec, result)
            sandbox.adopt_objects()
            return self._land(claim, spec, patch, sandbox, workstream.branch)

    def _run_tool(
        self, claim: Claim, spec: TaskSpec, sandbox: Sandbox, base: str, feedback: str
    ) -> ToolResult:
        result = run_tool(
            ToolRun(
                spec=spec.tool,
                prompt=spec.prompt,
                files=self._session.files_in_scope(base, spec.scope),
                worktree=sandbox.path,
                feedback=feedback,
                run_id=self._session.run_id,
                task=spec.id,
                attempt=claim.attempt,
                plan_dir=Path(self._session.spec.plan_dir),
                timeout_sec=spec.timeout_sec,
                env=spec.env,
            ),
            stop=claim.stop,
        )
        if result.outcome == "stopped":
            raise AttemptStopped
        self._store.update(
            "task_attempt",
            claim.token,
            base_commit=base,
            uet_worker_id=sandbox.worker_id,
            exit_code=result.exit_code,
            output=result.output,
            output_bytes=result.output_bytes,
            seconds=result.seconds,
        )
        if result.outcome != "succeeded":
            raise AttemptFailed(
                f"tool {spec.tool_id}: {result.reason}",
                feedback=f"Tool {spec.tool_id} failed: {result.reason}\n{result.output[-8000:]}",
                retryable=result.retryable,
                exit_code=result.exit_code,
                timed_out=result.timed_out,
            )
        return result

    def _unchanged(self, claim: Claim, spec: TaskSpec, result: ToolResult) -> Outcome:
        if spec.on_no_change is OnNoChange.FAIL:
            raise AttemptFailed(
                f"tool {spec.tool_id} changed nothing",
                feedback=f"The tool exited with {result.exit_code} and changed no file.",
                exit_code=result.exit_code,
            )
        with self._store.batch() as tx:
            reason = "nothing to change"
            tx.transition("task", claim.task_id, "validating", token=claim.token, reason=reason)
            tx.transition("task", claim.task_id, "completed")
        return Completed(None)

    # -- 5: patch ----------------------------------------------------------------------------

    def _capture(
        self, claim: Claim, spec: TaskSpec, sandbox: Sandbox, base: str, workstream_id: str
    ) -> Patch | None:
        """The judged and accepted patch; None when nothing changed."""
        policy = self._session.spec.policy
        owner = {"task_id": claim.task_id, "workstream_id": workstream_id, "token": claim.token}
        try:
            tree = sandbox.capture(INFLATED_BYTES, policy.max_files)
        except OversizeError as error:
            self._quarantine_unread(owner, Reason("oversize", str(error)))
        except GitError as error:
            self._quarantine_unread(owner, Reason("git_dir", error.stderr[-500:]))
        judged = sandbox.judged
        effects = effects_between(judged, base, tree)
        if not effects:
            return None
        size, diff = size_of(judged, base, tree), diff_text(judged, base, tree)
        reasons = judge(effects, size, len(diff), Scope(spec.scope, spec.create), policy)
        patch = self._ledger.record(
            Artifact(base, tree, diff, effects, size, spec.tool_id), reasons, **owner
        )
        if reasons:
            raise AttemptFailed(_refusal(reasons), feedback=_refusal_feedback(reasons))
        return patch

    def _quarantine_unread(self, owner: dict[str, str], reason: Reason) -> NoReturn:
        self._ledger.refuse_unread(reason, **owner)
        raise AttemptFailed(_refusal((reason,)), feedback=_refusal_feedback((reason,)))

    # -- 6, 7, 8: apply, gates, commit ---------------------------------------------------------

    def _land(
        self, claim: Claim, spec: TaskSpec, patch: Patch, sandbox: Sandbox, branch: str
    ) -> Outcome:
        repository = self._session.repository
        with landing_turn(repository, branch):
            for apply in range(1, MAX_APPLIES + 1):
                if claim.stop.is_set():
                    raise AttemptStopped
                head = repository.branch_head(branch) or patch.base
                candidate = patch_candidate(
                    repository, head, patch.base, patch.tree, patch.created_at
                )
                if isinstance(candidate, Conflict):
                    self._conflict(patch, candidate, head)
                audit_head = self._ledger.applied(patch, head, candidate.tree, apply)
                gate_ids = self._judge(claim, spec, patch, candidate.tree, head, sandbox)
                date = self._session.now()
                commit = repository.commit(
                    candidate.tree,
                    candidate.parents,
                    self._message(spec, patch, gate_ids, audit_head),
                    date,
                )
                self._ledger.verified(patch, commit, date)
                lost = land(repository, branch, candidate, commit)
                if not isinstance(lost, Lost):
                    self._ledger.committed(patch, commit)
                    return Completed(commit)
                patch = self._ledger.requeue(patch, f"{branch} moved to {lost.found}")
        self._ledger.drop_queued(patch, "the branch moved at every apply")
        raise AttemptFailed(f"{branch} moved during each of {MAX_APPLIES} applies")

    def _conflict(self, patch: Patch, conflict: Conflict, head: str) -> NoReturn:
        paths = ", ".join(conflict.paths)
        self._ledger.conflict(patch, conflict.paths, head)
        raise AttemptFailed(
            f"conflict in {paths}",
            feedback=f"Meanwhile others changed the same lines of {paths}. Work on the new state.",
        )

    def _judge(
        self, claim: Claim, spec: TaskSpec, patch: Patch, tree: str, head: str, sandbox: Sandbox
    ) -> tuple[str, ...]:
        subject = Subject(
            tree=tree,
            head=head,
            run_id=self._session.run_id,
            workstream_id=patch.workstream_id,
            role="exit",
            task_id=claim.task_id,
            ledger_id=patch.ledger_id,
            label=spec.id,
        )
        verdict = self._session.gates.judge(spec.gates, subject, sandbox, claim.stop)
        if verdict.passed:
            return verdict.gate_ids
        reason = "; ".join(verdict.failures) or "no gate judged it"
        self._ledger.gates_failed(patch, reason)
        if verdict.stopped:
            raise AttemptStopped
        raise AttemptFailed(reason, feedback=verdict.feedback)

    def _message(
        self, spec: TaskSpec, patch: Patch, gate_ids: tuple[str, ...], audit_head: str
    ) -> str:
        trailers = {
            "Patchline-Run": self._session.run_id,
            "Patchline-Task": spec.id,
            "Patchline-Ledger": patch.ledger_id,
            "Patchline-Patch-SHA256": patch.sha256,
            "Patchline-Gates": ", ".join(gate_ids),
            "Patchline-Audit": audit_head,
        }
        return message_with_trailers(spec.title, trailers)

    # -- when it does not work out -------------------------------------------------------------

    def _fail(self, claim: Claim, spec: TaskSpec, failure: AttemptFailed) -> Outcome:
        """running -> retrying or failed, with what the next attempt should know."""
        task = self._store.get("task", claim.task_id)
        if task.token != claim.token:
            return self._stop(claim)
        now = self._session.clock.now()
        decision = decide_retry(
            reason=failure.reason,
            retryable=failure.retryable,
            retry_count=task.retry_count,
            max_retries=task.max_retries,
            spec=spec.retry,
            now=now,
            uniform=self._jitter,
        )
        columns = {
            "token": claim.token,
            "trigger": "timeout_exceeded" if failure.timed_out else "execution_failed",
            "exit_code": failure.exit_code,
            "timeout_occurred": failure.timed_out or task.timeout_occurred,
            "feedback": failure.feedback or failure.reason,
        }
        if isinstance(decision, RetryDecision):
            self._store.transition(
                "task",
                claim.task_id,
                "retrying",
                reason=decision.reason,
                next_attempt_at=timestamp(decision.at),
                **columns,
            )
            return Retry(decision.delay, decision.reason)
        self._store.transition("task", claim.task_id, "failed", reason=decision.reason, **columns)
        return Failed(decision.reason)

    def _stop(self, claim: Claim) -> Outcome:
        """The attempt was stopped. An interrupt uses no attempt up; a cancellation is final."""
        task = self._store.get("task", claim.task_id)
        if task.token != claim.token:
            return Cancelled(task.reason or f"the task is {task.state}")
        with self._store.batch() as tx:
            self._ledger.end_unlanded(tx, claim.task_id, "interrupted")
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


def _refusal(reasons: tuple[Reason, ...]) -> str:
    return "patch refused: " + "; ".join(f"{r.code}: {r.message}" for r in reasons[:5])


def _refusal_feedback(reasons: tuple[Reason, ...]) -> str:
    lines = "\n".join(f"- {r.code}: {r.message}" for r in reasons[:50])
    return f"The patch was refused before any test ran:\n{lines}"
