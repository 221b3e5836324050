"""The merge of a workstream with the target: judged by its gates, recorded, and landed.

Source: design section 4 step 9, decisions W5, W6, W8.
"""

import logging
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

from resources.execution.session import RunSession
from resources.gates import Subject, Verdict
from resources.git.command import GitError
from resources.git.commit_text import message_with_trailers
from resources.git.merging import Conflict
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
    refuse_if_in_the_way,
)
from resources.landing.turns import Turn
from resources.patches.conflicts import in_words, others_since
from resources.specs import MergeKind, WorkstreamSpec
from state.crash_points import crash_point
from state.errors import StaleLeaseError
from state.lost_transactions import redone_when_lost
from state.queries import history

log = logging.getLogger(__name__)

MAX_TARGET_MOVES = 20
TARGET_BEFORE = "target_before"
"""Metadata of a workstream about to land: where the target was, for whoever takes over."""
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


INTERRUPTED = NotLanded("validating", "interrupted", interrupted=True)


class WorkstreamMerge:
    """Lands the validating workstreams of one run; used by many threads at once."""

    def __init__(self, session: RunSession) -> None:
        self._session, self._store = session, session.store
        self._repository = session.repository
        self._branches = WorkstreamBranches(session.store, session.repository)

    def land(self, ws_id: str, spec: WorkstreamSpec) -> Landed | NotLanded:
        """Judge and land the merge of a workstream that is validating."""
        row = self._store.get("workstream", ws_id)
        target = self._store.get("run", self._session.run_id).target
        try:
            with self._turn(row.branch) as turn:
                if turn is None:
                    return INTERRUPTED
                # For people: a failed workstream's branch is kept.
                turn.do(partial(self._branches.head, row))
            self._branches.check(row, row.head_commit)
            with self._turn(target) as turn:
                return INTERRUPTED if turn is None else self._land(row, spec, target, turn)
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
        refuse_if_in_the_way(self._repository, target, candidate)
        verdict = self._judge(row, spec, candidate, tip)
        if verdict.stopped:
            return INTERRUPTED
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
        self.delete_branch(row)
        return Landed(commit)

    def delete_branch(self, row: Any) -> None:
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
