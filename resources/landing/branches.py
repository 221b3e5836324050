"""Workstream branches are where the state says; whatever else moved one is put right.

A tool can reach the repository's refs, and a person may move any branch. What a workstream has
committed is in the state, commit by commit, so the state and not the ref tells what comes next.
"""

import logging
from typing import Any

from resources.git.ref_moves import Fence
from resources.git.repository import Repository
from resources.landing.candidates import Candidate
from resources.landing.moving import Lost, is_on, land
from resources.patches.ledger import write_landed
from state.errors import PatchlineError
from state.landed import ON_THE_BRANCH, landings
from state.store import StateStore

log = logging.getLogger(__name__)

MAX_REPAIRS = 10


class BranchDisagrees(PatchlineError):
    """A workstream's branch, its ledger and git's history do not tell the same story."""

    code = "branch_disagrees"


class WorkstreamBranches:
    """The branches of a run's workstreams. Thread-safe.

    Args:
        store: what the workstreams have committed.
        repository: where the branches are.
    """

    def __init__(self, store: StateStore, repository: Repository) -> None:
        self._store, self._repository = store, repository

    def tip(self, row: Any) -> str:
        """The newest commit of a workstream as the state has it; asks git nothing.

        Args:
            row: the workstream, which has been opened.
        """
        tip, _ = self._tips(row)
        return tip

    def landed(self, row: Any) -> str:
        """`tip`, after writing down what somebody landed who has not come to say so.

        To be asked in the turn on the branch: whoever verified a patch and does not have the turn
        any more has landed it by now, or never will without taking the turn again.
        """
        while True:
            tip, waiting = self._tips(row)
            found = self._repository.branch_head(row.branch) if waiting else None
            if found is None or not self._written_down(row, tip, found):
                return tip

    def head(self, row: Any, fence: Fence) -> str:
        """The commit at the workstream's branch, after putting a moved or deleted one back.

        Args:
            row: the workstream, which has been opened.
            fence: of the turn on its branch.

        Raises:
            BranchDisagrees: somebody keeps moving the branch.
            GitError: git cannot write.
            StaleLeaseError: the turn is not ours any more; nothing was moved.
        """
        for _ in range(MAX_REPAIRS):
            tip = self.landed(row)
            found = self._repository.branch_head(row.branch)
            if found == tip:
                return tip
            self._put_back(row.branch, tip, found, fence)
        raise BranchDisagrees(
            f"{row.branch} is moved by somebody else again and again; leave it to the run"
        )

    def create(self, row: Any, fence: Fence) -> None:
        """Make the branch of a workstream that is being opened; one that is there is put right."""
        if self._repository.branch_head(row.branch) is None:
            self._repository.move_branch(row.branch, self.tip(row), None, fence)
        self.head(row, fence)

    def check(self, row: Any, tip: str) -> None:
        """Make sure that what would be merged is exactly what the ledger says is committed.

        Raises:
            BranchDisagrees: a committed entry is not there, or a commit has no entry.
        """
        entries = [e for e in landings(self._store, row.ws_id) if e.state in ON_THE_BRANCH]
        ledger = sorted(entry.commit_sha for entry in entries)
        history = self._repository.first_parents(row.base_commit, tip)
        if ledger == sorted(history):
            return
        missing = ", ".join(sorted(set(ledger) - set(history))) or "none"
        unknown = ", ".join(sorted(set(history) - set(ledger))) or "none"
        raise BranchDisagrees(
            f"{row.branch} at {tip} is not what was committed: missing commits {missing}, "
            f"unknown commits {unknown}"
        )

    def delete(self, row: Any, fence: Fence) -> None:
        """Delete the branch of a workstream that is on the target, unless it is somewhere else."""
        found = self._repository.branch_head(row.branch)
        if found is None:
            return
        if found == row.head_commit:
            self._repository.delete_branch(row.branch, found, fence)
        else:
            log.warning("%s was moved to %s and is left there", row.branch, found)

    def _tips(self, row: Any) -> tuple[str, bool]:
        """The newest commit that is written down, and whether one may lie on it unwritten."""
        entries = landings(self._store, row.ws_id)
        next_of = {e.base_commit: e.commit_sha for e in entries if e.state in ON_THE_BRANCH}
        tip = row.base_commit
        while tip in next_of:
            tip = next_of.pop(tip)
        return tip, any(e.state == "verified" and e.base_commit == tip for e in entries)

    def _written_down(self, row: Any, tip: str, head: str) -> bool:
        """Whether an entry's commit lies on the tip, which is written down by now."""
        waiting: dict[str, Any] = {"workstream_id": row.ws_id, "state": "verified"}
        for entry in self._store.find("patch_ledger", **waiting):
            if entry.base_commit == tip and is_on(self._repository, entry.candidate_commit, head):
                write_landed(self._store, entry.ledger_id)
                return True
        return False

    def _put_back(self, branch: str, tip: str, found: str | None, fence: Fence) -> None:
        if self._repository.move_branch(branch, tip, found, fence):
            was = f"was at {found}" if found else "was deleted"
            log.warning("%s %s; it is back at %s, where the ledger has it", branch, was, tip)


class WorkstreamBranch:
    """One workstream's branch as patches land on it (`resources.landing.lander.Destination`).

    Args:
        branches: of the run.
        repository: where it is.
        row: the workstream, which has been opened.
    """

    def __init__(self, branches: WorkstreamBranches, repository: Repository, row: Any) -> None:
        self._branches, self._repository, self._row = branches, repository, row
        self.branch: str = row.branch

    def head(self) -> str:
        """The newest commit by the state; git is asked by the compare-and-swap."""
        return self._branches.landed(self._row)

    def refuse_in_the_way(self, candidate: Candidate) -> None:
        """Never: nobody works on it, and no checkout moves along."""

    def land(self, candidate: Candidate, commit: str, fence: Fence) -> Lost | None:
        """Compare and swap; once more where somebody had only moved the branch away."""
        lost = land(self._repository, self.branch, candidate, commit, fence)
        if lost is None or is_on(self._repository, commit, lost.found):
            return None
        if self.head_after(lost, fence) == candidate.head:
            return land(self._repository, self.branch, candidate, commit, fence)
        return lost

    def head_after(self, lost: Lost, fence: Fence) -> str:
        """Where the branch is, after putting it right."""
        return self._branches.head(self._row, fence)

    def put_right(self, fence: Fence) -> None:
        """Put the branch where the ledger says that it is."""
        self._branches.head(self._row, fence)
