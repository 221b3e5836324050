"""One attempt at a task: sandbox, tool, patch, apply, gates, commit.

Steps 3 to 8 of design section 4; the last three are `resources.landing.lander`. Every step records
its intent or its result in the store before the next begins, and every write carries the attempt's
fencing token, so that a process may die at any line: whoever comes next finds out where it was.
"""

from pathlib import Path
from typing import Any, NoReturn

from resources.effects import MAX_INFLATED_BYTES, examine
from resources.execution.outcomes import AttemptFailed, AttemptStopped, Completed
from resources.execution.patch_tool import run_patch_tool
from resources.execution.session import RunSession
from resources.execution.unread import why_unread, wrong_encoding
from resources.execution.workers import Claim
from resources.gates import Subject
from resources.git.command import GitError
from resources.git.merging import Conflict
from resources.landing.branches import WorkstreamBranch, WorkstreamBranches
from resources.landing.candidates import Candidate, carrier_of, patch_candidate
from resources.landing.lander import LandingOrder, PatchLander
from resources.landing.outcomes import Committed, Conflicted, GatesFailed, NeverStill, Stopped
from resources.patch_policy import Reason, Scope, judge
from resources.patches.conflicts import in_words
from resources.patches.ledger import PatchLedger
from resources.patches.records import Artifact, Patch
from resources.specs import OnNoChange, TaskSpec, ToolKind
from resources.tools import ToolResult, ToolRun, run_tool
from resources.worktrees import UnreadableError
from state.crash_points import crash_point
from state.lost_transactions import redone_when_lost

FEEDBACK_TAIL = 8000


class Attempt:
    """Executes claimed tasks of one run; used by many threads at once."""

    def __init__(self, session: RunSession) -> None:
        self._session, self._store = session, session.store
        self._ledger = PatchLedger(session.store, session.run_id)
        self._branches = WorkstreamBranches(session.store, session.repository)
        self._lander = PatchLander(
            session.store, session.repository, session.gates, session.run_id, session.turns
        )

    # -- 3, 4: sandbox and tool --------------------------------------------------------------

    def run(self, claim: Claim, spec: TaskSpec) -> Completed:
        """Execute a claimed task up to its commit.

        Raises:
            AttemptFailed: it came to nothing; says why, and what the next attempt should know.
            AttemptStopped: it was told to stop.
            PatchlineError, OSError: git, the store or the disk failed.
        """
        try:
            return self._run(claim, spec)
        except GitError as error:
            if reason := wrong_encoding(error):  # in the repository, whatever the tool may do
                raise AttemptFailed(reason.message, retryable=False) from error
            raise

    def _run(self, claim: Claim, spec: TaskSpec) -> Completed:
        sandbox = claim.sandbox
        task = self._store.get("task", claim.task_id)
        workstream = self._store.get("workstream", task.workstream_id)
        base = self._branches.tip(workstream)
        if spec.tool.kind is ToolKind.PATCH:
            sandbox.throw_objects_away()  # its files are for the gates only, and reset by them
            captured, result = self._read_patch(claim, spec, base, task.workstream_id)
        else:
            sandbox.reset(base, base)
            result = self._run_tool(claim, spec, base, task.feedback or "")
            captured = self._capture(claim, spec, base, task.workstream_id, result)
        if captured is None:
            return self._unchanged(claim, spec, result)
        patch, paths = captured
        crash_point("patch-queued", "the patch is queued; its objects are the sandbox's alone")
        sandbox.adopt_objects()
        crash_point("patch-adopted", "the patch's objects are in the repository; none names them")
        return self._land(claim, spec, patch, paths, workstream)

    def _run_tool(self, claim: Claim, spec: TaskSpec, base: str, feedback: str) -> ToolResult:
        sandbox = claim.sandbox
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
                env={**sandbox.environment, **spec.env},
            ),
            stop=claim.stop,
            limits=self._session.tool_limits,
        )
        if result.outcome == "stopped":
            raise AttemptStopped
        if result.outcome != "succeeded":
            self._give_up(claim, spec, base, result)
        return result

    def _give_up(self, claim: Claim, spec: TaskSpec, base: str, result: ToolResult) -> NoReturn:
        """The tool has failed: keep what is known of it, and end the attempt."""
        self._store.update("task_attempt", claim.token, **_facts(claim, base, result))
        tail = result.output[-FEEDBACK_TAIL:]
        raise AttemptFailed(
            f"tool {spec.tool_id}: {result.reason}",
            feedback=f"Tool {spec.tool_id} failed: {result.reason}\n{tail}",
            retryable=result.retryable,
            exit_code=result.exit_code,
            timed_out=result.timed_out,
        )

    @redone_when_lost
    def _unchanged(self, claim: Claim, spec: TaskSpec, result: ToolResult) -> Completed:
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

    def _read_patch(
        self, claim: Claim, spec: TaskSpec, base: str, workstream_id: str
    ) -> tuple[tuple[Patch, frozenset[str]] | None, ToolResult]:
        """As `_run_tool` and `_capture`, for a tool whose patch lies in a file."""
        read = run_patch_tool(
            *(self._session.repository, base, spec, self._session.spec.policy),
            plan_dir=Path(self._session.spec.plan_dir),
            attempt=claim.attempt,
            objects=claim.sandbox.new_objects,
        )
        if isinstance(read, ToolResult):
            self._give_up(claim, spec, base, read)
        checked, facts = read.checked, _facts(claim, base, read.result)
        owner = {"task_id": claim.task_id, "workstream_id": workstream_id, "token": claim.token}
        empty = [reason.code for reason in checked.reasons] == ["empty"]
        if empty and spec.on_no_change is OnNoChange.COMPLETE:
            self._store.update("task_attempt", claim.token, **facts)
            return None, read.result
        if (change := checked.change) is None or checked.tree is None:
            self._store.update("task_attempt", claim.token, **facts)
            self._quarantine_unread(owner, *checked.reasons)
        artifact = Artifact(base, checked.tree, change, spec.tool_id)
        patch = self._ledger.record(artifact, checked.reasons, facts, **owner)
        if checked.reasons:
            feedback = _refusal_feedback(checked.reasons)
            raise AttemptFailed(_refusal(checked.reasons), feedback=feedback)
        return (patch, change.paths), read.result

    def _capture(
        self, claim: Claim, spec: TaskSpec, base: str, workstream_id: str, result: ToolResult
    ) -> tuple[Patch, frozenset[str]] | None:
        """The judged and accepted patch and its paths; None when nothing changed."""
        policy, facts = self._session.spec.policy, _facts(claim, base, result)
        owner = {"task_id": claim.task_id, "workstream_id": workstream_id, "token": claim.token}
        try:
            tree = claim.sandbox.capture(MAX_INFLATED_BYTES, policy.max_files)
            change = examine(claim.sandbox.judged, base, tree)
        except (UnreadableError, GitError) as error:
            reason = why_unread(error)
            if reason is None:
                raise
            self._store.update("task_attempt", claim.token, **facts)
            self._quarantine_unread(owner, reason)
        if not change.effects:
            self._store.update("task_attempt", claim.token, **facts)
            return None
        reasons = judge(change, Scope(spec.scope, spec.create), policy)
        artifact = Artifact(base, tree, change, spec.tool_id)
        patch = self._ledger.record(artifact, reasons, facts, **owner)
        if reasons:
            raise AttemptFailed(_refusal(reasons), feedback=_refusal_feedback(reasons))
        return patch, change.paths

    def _quarantine_unread(self, owner: dict[str, str], *reasons: Reason) -> NoReturn:
        self._ledger.refuse_unread(reasons, **owner)
        raise AttemptFailed(_refusal(reasons), feedback=_refusal_feedback(reasons))

    # -- 6, 7, 8: apply, gates, commit ---------------------------------------------------------

    def _land(
        self,
        claim: Claim,
        spec: TaskSpec,
        patch: Patch,
        paths: frozenset[str],
        workstream: Any,
    ) -> Completed:
        repository = self._session.repository
        # Before the turn: whatever others need not wait for.
        carrier = carrier_of(repository, patch.base, patch.tree, patch.created_at)

        def candidate_on(head: str) -> Candidate | Conflict:
            return patch_candidate(repository, head, patch.base, patch.tree, carrier, paths)

        order = LandingOrder(
            patch=patch,
            destination=WorkstreamBranch(self._branches, repository, workstream),
            candidate_on=candidate_on,
            gates=spec.gates,
            subject=self._subject(claim, spec, patch),
            title=spec.title,
            task=spec.id,
            finish=self._ledger.committed,
        )
        match self._lander.land(order, claim.sandbox, claim.stop):
            case Committed(commit):
                return Completed(commit)
            case Stopped():
                raise AttemptStopped
            case Conflicted(conflicting, _, others, reason):
                raise AttemptFailed(
                    reason,
                    feedback=f"Meanwhile others changed the same lines of "
                    f"{in_words(conflicting, others)}. Work on the new state.",
                )
            case GatesFailed(reason, feedback):
                raise AttemptFailed(reason, feedback=feedback)
            case NeverStill(reason):
                raise AttemptFailed(reason)

    def _subject(self, claim: Claim, spec: TaskSpec, patch: Patch) -> Subject:
        """Whose gates they are; the lander says which tree."""
        return Subject(
            tree="",
            head="",
            run_id=self._session.run_id,
            workstream_id=patch.workstream_id,
            role="exit",
            task_id=claim.task_id,
            label=spec.id,
            prompt=spec.prompt,
            scope=spec.scope,
            feedback=self._store.get("task", claim.task_id).feedback or "",
            attempt=claim.attempt,
        )


def _facts(claim: Claim, base: str, result: ToolResult) -> dict[str, Any]:
    """What the row of the attempt keeps of the tool's run."""
    return {
        "base_commit": base,
        "uet_worker_id": claim.sandbox.worker_id,
        "exit_code": result.exit_code,
        "output": result.output,
        "output_bytes": result.output_bytes,
        "seconds": result.seconds,
    }


def _refusal(reasons: tuple[Reason, ...]) -> str:
    return "patch refused: " + "; ".join(f"{r.code}: {r.message}" for r in reasons[:5])


def _refusal_feedback(reasons: tuple[Reason, ...]) -> str:
    lines = "\n".join(f"- {r.code}: {r.message}" for r in reasons[:50])
    return f"The patch was refused before any test ran:\n{lines}"
