"""Workstream branches are where the state says; whatever else moved one is put right.

A tool can reach the repository's refs, and a person may move any branch. What a workstream has
committed is in the state, commit by commit, so the state and not the ref tells what comes next.
"""

import logging
from typing import Any

from resources.landing import Candidate, Lost, land
from resources.repository import Repository
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

    def head(self, row: Any) -> str:
        """The commit at the workstream's branch, after putting a moved or deleted one back.

        It is `tip`, or a commit that has just landed and is not yet written down.

        Raises:
            BranchDisagrees: somebody keeps moving the branch.
            GitError: git cannot write.
        """
        for _ in range(MAX_REPAIRS):
            tip, landing = self._tips(row)
            found = self._repository.branch_head(row.branch)
            if found is not None and (found == tip or found in landing):
                return found
            self._put_back(row.branch, tip, found)
        raise BranchDisagrees(
            f"{row.branch} is moved by somebody else again and again; leave it to the run"
        )

    def create(self, row: Any) -> None:
        """Make the branch of a workstream that is being opened; one that is there is put right."""
        if self._repository.branch_head(row.branch) is None:
            self._repository.move_branch(row.branch, self.tip(row), None)
        self.head(row)

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

    def delete(self, row: Any) -> None:
        """Delete the branch of a workstream that is on the target, unless it is somewhere else."""
        found = self._repository.branch_head(row.branch)
        if found is None:
            return
        if found == row.head_commit:
            self._repository.delete_branch(row.branch, found)
        else:
            log.warning("%s was moved to %s and is left there", row.branch, found)

    def _tips(self, row: Any) -> tuple[str, frozenset[str]]:
        """The newest commit that is written down, and those that may lie on it unwritten."""
        entries = landings(self._store, row.ws_id)
        next_of = {e.base_commit: e.commit_sha for e in entries if e.state in ON_THE_BRANCH}
        tip = row.base_commit
        while tip in next_of:
            tip = next_of.pop(tip)
        verified = (e for e in entries if e.state == "verified" and e.base_commit == tip)
        return tip, frozenset(entry.candidate_commit for entry in verified)

    def _put_back(self, branch: str, tip: str, found: str | None) -> None:
        if self._repository.move_branch(branch, tip, found):
            was = f"was moved to {found}" if found else "was deleted"
            log.warning("%s %s by somebody else; it is at %s again", branch, was, tip)


class WorkstreamBranch:
    """One workstream's branch as patches land on it (`resources.patch_lander.Destination`).

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
        return self._branches.tip(self._row)

    def land(self, candidate: Candidate, commit: str) -> Lost | None:
        """Compare and swap; once more where somebody had only moved the branch away."""
        lost = land(self._repository, self.branch, candidate, commit)
        if lost is not None and self.head_after(lost) == candidate.head:
            return land(self._repository, self.branch, candidate, commit)
        return lost

    def head_after(self, lost: Lost) -> str:
        """Where the branch is, after putting it right."""
        return self._branches.head(self._row)
