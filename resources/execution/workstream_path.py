"""A workstream from its branch to the target: open, validate the merge, land it.

Source: design section 4 step 9, decisions W2, W5, W6, W8.
"""

import logging
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from resources.execution.session import RunSession
from resources.gates import Subject, Verdict
from resources.git.command import GitError
from resources.git.commit_text import message_with_trailers
from resources.git.merging import Conflict, merge
from resources.git.repository_turn import RepositoryLocked
from resources.landing.branches import BranchDisagrees, WorkstreamBranches
from resources.landing.busy_checkouts import CheckoutBusy
from resources.landing.candidates import Candidate, merge_candidate
from resources.landing.moving import (
    LandedTreeMismatch,
    Lost,
    is_on,
    land_on_target,
    move_left_behind_checkout,
)
from resources.landing.turns import Turn
from resources.patches.conflicts import in_words, others_since
from resources.specs import MergeKind, WorkstreamSpec
from state.crash_points import crash_point
from state.errors import StaleLeaseError
from state.lost_transactions import redone_when_lost
from state.machines import MACHINES
from state.queries import history

log = logging.getLogger(__name__)

MAX_TARGET_MOVES = 20
TARGET_BEFORE = "target_before"
"""Metadata of a workstream about to land: where the target was, for whoever takes over."""
ENDED = MACHINES["workstream"].terminal
CANNOT_LAND = (CheckoutBusy, GitError, RepositoryLocked, BranchDisagrees, LandedTreeMismatch)
"""What fails a validation for good, with words that a person can act upon."""


@dataclass(frozen=True)
class Landed:
    """The workstream is on the target; `commit` is what the target got, None for no change."""

    commit: str | None


@dataclass(frozen=True)
class NotLanded:
    """The workstream ended, or stops here, without touching the target."""

    state: str
    reason: str
    interrupted: bool = False


_INTERRUPTED = NotLanded("validating", "interrupted", interrupted=True)


class WorkstreamPath:
    """Opens and lands the workstreams of one run; used by many threads at once."""

    def __init__(self, session: RunSession) -> None:
        self._session, self._store = session, session.store
        self._repository = session.repository
        self._branches = WorkstreamBranches(session.store, session.repository)

    # -- open --------------------------------------------------------------------------------------

    def open(self, ws_id: str) -> bool:
        """Make the branch and say ready. Idempotent.

        Returns:
            Whether its tasks may run.
        """
        self._session.progress.settle()
        self._note_head()
        row = self._store.get("workstream", ws_id)
        if row.state in ENDED:
            return False
        if row.state in ("planned", "blocked"):
            base = row.base_commit or self._base(row)
            if isinstance(base, Conflict):
                paths = ", ".join(base.paths)
                self._session.progress.cancel_workstream(
                    ws_id, f"its dependencies conflict with each other in {paths}"
                )
                return False
            branch = f"patchline/{self._session.run_id}/{row.slug}"
            self._store.update("workstream", ws_id, branch=branch, base_commit=base)
            crash_point("branch-named", "a workstream's branch is recorded; git has none")
            with self._session.turns.turn(branch, self._session.interrupted) as turn:
                if turn is None:
                    return False
                turn.do(partial(self._branches.create, self._store.get("workstream", ws_id)))
                crash_point("branch-made", "a workstream's branch is there; it is not ready")
            self._store.transition("workstream", ws_id, "ready")
        return True

    @redone_when_lost
    def _note_head(self) -> None:
        """Where the target stands, until a workstream of the run lands on it."""
        run = self._store.get("run", self._session.run_id)
        head = None if run.head_commit else self._repository.branch_head(run.target)
        if head is None:
            return
        with self._store.batch() as tx:
            if tx.get("run", run.run_id).head_commit is None:
                tx.update("run", run.run_id, head_commit=head)

    def _base(self, row: Any) -> str | Conflict:
        """Where the branch starts: the run's base, or the work of its dependencies, merged.

        Taken from the dependencies' own branches and not from the target, so that the same plan
        on the same base gives the same trees, whichever workstream happens to land first.
        """
        run = self._store.get("run", self._session.run_id)
        base = run.base_commit
        for dependency in self._session.dependencies_of(row.ws_id):
            tip = dependency.head_commit
            if tip is None or self._repository.is_ancestor(tip, base):
                continue
            if self._repository.is_ancestor(base, tip):
                base = tip
                continue
            merged = merge(self._repository, base, tip)
            if isinstance(merged, Conflict):
                return merged
            message = message_with_trailers(
                f"Start {row.slug} on {dependency.slug}", {"Patchline-Run": run.run_id}
            )
            base = self._repository.commit(merged.tree, (base, tip), message, run.created_at)
        return base

    # -- land --------------------------------------------------------------------------------------

    def land(self, ws_id: str, spec: WorkstreamSpec) -> Landed | NotLanded:
        """Validate the merge with the target and land it. Idempotent."""
        self._session.progress.settle()
        row = self._store.get("workstream", ws_id)
        if row.state == "completed":
            self._delete_branch(row)
            return Landed(row.merge_commit)
        if row.state not in ENDED and self._session.interrupted.is_set():
            return replace(_INTERRUPTED, state=row.state)
        if row.state in ("ready", "executing") and not self._validating(row):
            row = self._store.get("workstream", ws_id)
        if row.state in ENDED or row.state in ("planned", "blocked", "ready"):
            return NotLanded(row.state, row.reason or row.state)
        result = self._validate(ws_id, spec)
        self._session.progress.settle()
        return result

    def _validating(self, row: Any) -> bool:
        """executing -> validating, when all tasks are done (decisions W2, W6)."""
        proposal = self._session.progress.derive(row.ws_id)
        if proposal is None or proposal.state != "validating":
            return False
        if row.state == "ready":  # every task was cancelled or done before any ran here
            self._store.transition("workstream", row.ws_id, "executing")
        head = self._branches.tip(row)
        self._store.transition("workstream", row.ws_id, "validating", head_commit=head)
        return True

    def _validate(self, ws_id: str, spec: WorkstreamSpec) -> Landed | NotLanded:
        row = self._store.get("workstream", ws_id)
        target = self._store.get("run", self._session.run_id).target
        try:
            with self._turn(row.branch) as turn:
                if turn is None:
                    return _INTERRUPTED
                # For people: a failed workstream's branch is kept.
                turn.do(partial(self._branches.head, row))
            self._branches.check(row, row.head_commit)
            with self._turn(target) as turn:
                return _INTERRUPTED if turn is None else self._land(row, spec, target, turn)
        except CANNOT_LAND as error:
            return self._failed(ws_id, str(error))

    def _turn(self, branch: str) -> AbstractContextManager[Turn | None]:
        return self._session.turns.turn(branch, self._session.interrupted)

    def _land(self, row: Any, spec: WorkstreamSpec, target: str, turn: Turn) -> Landed | NotLanded:
        for _ in range(MAX_TARGET_MOVES):
            try:
                result = self._try_to_land(row, spec, target, turn)
            except StaleLeaseError as stale:
                log.warning("%s", stale)
                turn.take_again()
                continue  # others may have landed meanwhile
            if not isinstance(result, Lost):
                return result
            crash_point("target-lost", "a person has moved the target; the merge is not landed")
        return self._failed(row.ws_id, f"{target} moved during each of {MAX_TARGET_MOVES} merges")

    def _try_to_land(
        self, row: Any, spec: WorkstreamSpec, target: str, turn: Turn
    ) -> Landed | NotLanded | Lost:
        tip = row.head_commit
        head = self._repository.branch_head(target)
        if tip == row.base_commit:
            return self._completed(row, None, head)
        if head and self._repository.is_ancestor(tip, head):
            if TARGET_BEFORE in row.metadata and row.merge_commit:
                before = row.metadata[TARGET_BEFORE]
                move_left_behind_checkout(self._repository, target, before, row.merge_commit)
            # A person may have merged it by hand after we had said what we would do.
            ours = is_on(self._repository, row.merge_commit, head)
            return self._completed(row, row.merge_commit if ours else tip, head)
        always_merge = self._session.spec.merge is MergeKind.MERGE
        candidate = merge_candidate(self._repository, head, tip, always_merge)
        if isinstance(candidate, Conflict):
            return self._failed(row.ws_id, self._conflict(row, target, head or tip, candidate))
        verdict = self._judge(row, spec, candidate, tip)
        if verdict.stopped:
            return _INTERRUPTED
        if not verdict.passed:
            reason = "; ".join(verdict.failures) or "no gate judged the merge"
            return self._failed(row.ws_id, reason)
        commit = candidate.commit or self._merge_commit(row, spec, candidate, verdict)
        crash_point("merge-judged", "a merge has passed its gates; where it goes is not recorded")
        intent = {**row.metadata, TARGET_BEFORE: head}
        self._store.update("workstream", row.ws_id, merge_commit=commit, metadata=intent)
        self._refuse_unjudged(candidate, verdict)
        crash_point("merge-intended", "the merge is recorded; the target has not moved")
        lost = land_on_target(self._repository, target, candidate, commit, turn.fence)
        if lost is not None:
            return lost
        crash_point("merge-landed", "the workstream is on the target; it says validating")
        return self._completed(row, commit, commit)

    def _conflict(self, row: Any, target: str, head: str, conflict: Conflict) -> str:
        """Which paths, and who changed them on the target since the workstream began."""
        since = self._repository.common_ancestor(head, row.head_commit)
        others = others_since(self._store, self._repository, since, head, conflict.paths)
        return f"conflict with {target} in {in_words(conflict.paths, others)}"

    def _refuse_unjudged(self, candidate: Candidate, verdict: Verdict) -> None:
        """Every gate's record is of the tree that is about to land; git is asked by `land`."""
        gates = self._store.find("test_gate", gate_id=list(verdict.gate_ids))
        trees = {gate.tree for gate in gates}
        if trees != {candidate.tree}:
            raise LandedTreeMismatch(
                f"the merge has the tree {candidate.tree}, but its gates judged {sorted(trees)}; "
                "nothing landed"
            )

    def _judge(self, row: Any, spec: WorkstreamSpec, candidate: Candidate, tip: str) -> Verdict:
        """The gates' word on the merge."""
        subject = Subject(
            tree=candidate.tree,
            head=tip,
            run_id=self._session.run_id,
            workstream_id=row.ws_id,
            role="workstream",
            label=spec.id,
            commit=candidate.commit,
        )
        stop = self._session.interrupted
        with self._session.sandboxes.lease(None) as sandbox:
            return self._session.gates.judge(spec.gates, subject, sandbox, stop)

    def _merge_commit(
        self, row: Any, spec: WorkstreamSpec, candidate: Candidate, verdict: Verdict
    ) -> str:
        trailers = {
            "Patchline-Run": self._session.run_id,
            "Patchline-Workstream": row.ws_id,
            "Patchline-Gates": ", ".join(verdict.gate_ids),
            "Patchline-Audit": history(self._store, "workstream", row.ws_id)[-1].event_id,
        }
        message = message_with_trailers(f"Merge workstream {spec.id}: {spec.title}", trailers)
        return self._repository.commit(
            candidate.tree,
            candidate.parents,
            message,
            self._store.get("run", row.run_id).created_at,
        )

    @redone_when_lost
    def _completed(self, row: Any, commit: str | None, head: str | None) -> Landed:
        with self._store.batch() as tx:
            tx.transition("workstream", row.ws_id, "completed", merge_commit=commit)
            if head is not None:
                tx.update("run", row.run_id, head_commit=head)
        crash_point("workstream-completed", "a workstream is completed; its branch is there")
        self._delete_branch(row)
        return Landed(commit)

    def _delete_branch(self, row: Any) -> None:
        """Delete the branch of what has landed, and then its fence."""
        if self._repository.branch_head(row.branch) is None:
            return
        with self._turn(row.branch) as turn:
            if turn is not None:
                turn.do(partial(self._branches.delete, row))
                crash_point("branch-deleted", "a landed branch is deleted; its fence is up")
                turn.last = True

    def _failed(self, ws_id: str, reason: str) -> NotLanded:
        self._session.progress.end_workstream(ws_id, reason, "validation_failed")
        return NotLanded("failed", reason)
