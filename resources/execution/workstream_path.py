"""A workstream from its branch to the target: opened, and landed when its tasks are done.

Source: design section 4 step 9, decisions W2, W5, W6, W8.
"""

from dataclasses import replace
from functools import partial
from typing import Any

from resources.execution.session import RunSession
from resources.execution.workstream_merge import INTERRUPTED, Landed, NotLanded, WorkstreamMerge
from resources.git.commit_text import message_with_trailers
from resources.git.merging import Conflict, merge
from resources.landing.branches import WorkstreamBranches
from resources.specs import WorkstreamSpec
from state.crash_points import crash_point
from state.lost_transactions import redone_when_lost
from state.machines import MACHINES

ENDED = MACHINES["workstream"].terminal


class WorkstreamPath:
    """Opens and lands the workstreams of one run; used by many threads at once."""

    def __init__(self, session: RunSession) -> None:
        self._session, self._store = session, session.store
        self._repository = session.repository
        self._branches = WorkstreamBranches(session.store, session.repository)
        self._merge = WorkstreamMerge(session)

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
            self._merge.delete_branch(row)
            return Landed(row.merge_commit)
        if row.state not in ENDED and self._session.interrupted.is_set():
            return replace(INTERRUPTED, state=row.state)
        if row.state in ("ready", "executing") and not self._validating(row):
            row = self._store.get("workstream", ws_id)
        if row.state in ENDED or row.state in ("planned", "blocked", "ready"):
            return NotLanded(row.state, row.reason or row.state)
        result = self._merge.land(ws_id, spec)
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
