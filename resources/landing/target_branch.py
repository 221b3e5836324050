"""The branch that people use, as patches land on it: rollbacks and replacements."""

from resources.git.ref_moves import Fence
from resources.git.repository import Repository
from resources.landing.candidates import Candidate
from resources.landing.moving import (
    Lost,
    land_on_target,
    move_left_behind_checkout,
    refuse_if_checked_out_busy,
    refuse_if_in_the_way,
)
from state.errors import PatchlineError


class TargetGone(PatchlineError):
    """The branch to land on is not there any more."""

    code = "target_gone"


class TargetBranch:
    """One branch that people use (`resources.landing.lander.Destination`).

    Unlike a workstream's it belongs to them: it is never put back, whatever they have moved it to.

    Args:
        repository: where it is.
        branch: its name, without `refs/heads/`.
    """

    def __init__(self, repository: Repository, branch: str) -> None:
        self._repository = repository
        self.branch = branch

    def head(self) -> str:
        """The commit at it.

        Raises:
            TargetGone: there is no such branch.
        """
        found = self._repository.branch_head(self.branch)
        if found is None:
            raise TargetGone(
                f"there is no branch {self.branch} in {self._repository.root}; "
                "make it again where you want the change"
            )
        return found

    def refuse_unfit(self) -> None:
        """Make sure, before anything is recorded, that the branch can be landed on.

        Raises:
            TargetGone: there is no such branch.
            CheckoutBusy: it is checked out with local changes, or a git command there does not end.
            RepositoryLocked: other landings do not end.
        """
        self.head()
        refuse_if_checked_out_busy(self._repository, self.branch)

    def refuse_in_the_way(self, candidate: Candidate) -> None:
        """Look, before a candidate is judged, whether a clean checkout could move along to it.

        Raises:
            CheckoutBusy: it is checked out with local changes, or with untracked files where new
                ones would go, or a git command there does not end.
            RepositoryLocked: other landings do not end.
        """
        refuse_if_in_the_way(self._repository, self.branch, candidate)

    def land(self, candidate: Candidate, commit: str, fence: Fence) -> Lost | None:
        """Compare and swap; a clean checkout moves along (`land_on_target`).

        Raises:
            CheckoutBusy: a person's work in its checkout is in the way; nothing landed.
            GitError: the checkout cannot be moved along; the branch was taken back.
            StaleLeaseError: the turn that the fence is of is over; nothing was moved.
        """
        return land_on_target(self._repository, self.branch, candidate, commit, fence)

    def head_after(self, lost: Lost, fence: Fence) -> str:
        """Where somebody else has moved it."""
        return self.head()

    def put_right(self, fence: Fence) -> None:
        """Never: what is on it belongs to people."""

    def finish_checkout(self, before: str | None, commit: str) -> None:
        """Move a checkout along that a process left behind, which died after moving the branch.

        Args:
            before: where the branch was.
            commit: what landed.
        """
        move_left_behind_checkout(self._repository, self.branch, before, commit)
